"""What the page's worker asks, as JSON: questions about one network, and their answers.

A question is an object whose `ask` is a key of `QUESTIONS`; `network` in it is the page's state:
`model`, the name of an encoder, or `spec`, the text of one; and `options`, as people type them.
An answer is `{"answer": ...}`, or `{"problems": [...]}` where the compiler refuses the network.
What the first file does not need is imported later.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ..api import channels_last, description
from ..emitter import compiled
from ..errors import CompileError, Problem, raise_all
from ..model import Model
from ..nnunet.asked import OF_NAMES
from ..option import flagged
from ..options import BY_NAME
from ..passes.advice import advice
from ..passes.cost import cost_of
from ..passes.count import parts
from ..passes.inference import decided
from ..passes.lint import Note
from ..passes.specialize import specialize
from ..passes.trace import Ledger, trace
from ..passes.validate import resolve
from ..passes.values import find_target
from ..provenance import call_of, command_of
from ..showcase import file_name
from ..targets import target_named
from .form import MODEL, form, values
from .form import SETTINGS as SETTING_ROWS
from .marks import line_keys, row_keys
from .networks import SPEC_NAME, without_folder

Json: TypeAlias = dict[str, Any]
SETTINGS = {row["name"]: row["usual"] or None for row in SETTING_ROWS}


@dataclass(frozen=True)
class Asked:
    """A network as the page has it."""

    model: str
    spec: str
    options: tuple[tuple[str, str | bool], ...]


def answer(question: str) -> str:
    """The answer to a question, both as JSON. Problems of the compiler are an answer."""
    asked = json.loads(question)
    try:
        return json.dumps({"answer": QUESTIONS[asked["ask"]](asked)})
    except CompileError as error:
        return json.dumps({"problems": [problem_of(problem) for problem in error.problems]})


def problem_of(problem: Problem) -> Json:
    """A problem with the fields that it stands beside: those of its flags, or the model's."""
    known = (*BY_NAME, *OF_NAMES, "target", *SETTINGS)
    fields = [name for name in flagged(problem.message) if name in known]
    return {
        "message": problem.message,
        "at": problem.at,
        "hint": problem.hint,
        "fields": fields or [MODEL],
    }


def _asked(question: Mapping[str, Any]) -> Asked:
    network = question["network"]
    options = _given(network.get("options", {}))
    spec = network.get("spec", "")
    return Asked(str(network.get("model", "")), str(spec), tuple(sorted(options.items())))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a value."""
    return {name: value for name, value in options.items() if value not in ("", False, None)}


@lru_cache(maxsize=64)
def resolved(asked: Asked) -> Model:
    """The model that the page has. Raises `CompileError`."""
    with described(asked) as model:
        return resolve(model, dict(asked.options))


@contextmanager
def described(asked: Asked) -> Iterator[str]:
    """The name of a network or the path of its spec, as functions and commands take it."""
    if not asked.spec:
        yield asked.model
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SPEC_NAME
        path.write_text(asked.spec, encoding="utf-8", errors="surrogatepass")
        try:
            yield str(path)
        except CompileError as error:
            raise without_folder(error, folder) from None


def _network(question: Mapping[str, Any]) -> Json:
    """What every target shares: the ledger with its keys, the steps, the values of options."""
    model = resolved(_asked(question))
    network = specialize(model)
    ledger = trace(network)
    keys = row_keys(network, ledger)
    facts = description(model, ledger)
    rows: Any = facts["ledger"]
    notes: Any = facts["notes"]
    warnings = [Note("warning", message) for message in advice(model)]
    return {
        **facts,
        "head": getattr(model.head, "name", ""),
        "custom": model.encoder.custom,
        "notes": [note.described() for note in warnings] + notes,
        "values": values(model),
        "steps": [
            {
                "name": part.name,
                "output": channels_last(part.output),
                "parameters": part.parameters,
                "macs": part.macs,
            }
            for part in parts(ledger)
        ],
        "ledger": [{**row, "keys": keys[row["path"]]} for row in rows],
    }


def _source(question: Mapping[str, Any]) -> Json:
    """The file of one target, its name and its command, with the keys of its lines."""
    asked = _asked(question)
    problems: list[Problem] = []
    target = find_target(question["target"], problems)
    model = resolved(asked)
    text, ledger = _compiled(model, target)
    framework = target_named(target)
    lines = {}
    if framework.python:
        lines = line_keys(text, specialize(framework.built(decided(model, framework.name))), ledger)
    return {
        "target": target,
        "text": text,
        "file": file_name(model, target),
        "command": _command(asked, model, target),
        "call": call_of(model, target),
        "lines": lines,
    }


@lru_cache(maxsize=16)
def _compiled(model: Model, target: str) -> tuple[str, Ledger]:
    return compiled(model, target)


def _command(asked: Asked, model: Model, target: str) -> str:
    """The command that writes the same file: of the spec, where no name says the network."""
    if not model.encoder.custom:
        return command_of(model, target)
    words = ["plainnet emit", SPEC_NAME, f"--target {target}"]
    for name, value in asked.options:
        flag = BY_NAME[name].flag
        words.append(flag if value is True else f"{flag} {shlex.quote(str(value))}")
    return " ".join(words)


def _drawing(question: Mapping[str, Any]) -> Json:
    """The networks beside each other, on one scale."""
    from ..drawing.picture import picture, usual_name

    models = [resolved(_asked({"network": network})) for network in question["networks"]]
    return {"svg": picture(models), "file": usual_name(models)}


def _cost(question: Mapping[str, Any]) -> Json:
    """What the network costs with the settings of the page."""
    from ..costs import cost_description, find_setting

    problems: list[Problem] = []
    settings = _settings(question)
    batch, precision, optimizer = (
        settings["batch"] or 1,
        settings["precision"],
        settings["optimizer"],
    )
    chosen = find_setting(batch, precision, optimizer, problems)
    raise_all(problems)
    return cost_description(cost_of(resolved(_asked(question)), *chosen))


def _plan(question: Mapping[str, Any]) -> Json:
    """Which patches and batches fit into the memory of the settings."""
    from ..costs import find_request, fits_description
    from ..passes.fitting import fits_of

    asked, settings = _asked(question), _settings(question)
    spacing = settings.pop("spacing")
    options = dict(asked.options) | ({"spacing": spacing} if spacing else {})
    with described(asked) as model:
        return fits_description(fits_of(find_request(model, settings, options)))


def _settings(question: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the page, each with its usual value where it has none."""
    return {**SETTINGS, **_given(question.get("settings", {}))}


def _spec(question: Mapping[str, Any]) -> Json:
    """The network as a spec."""
    from ..spec.writing import spec_text

    return {"text": spec_text(resolved(_asked(question)), SPEC_NAME), "file": SPEC_NAME}


def _compare(question: Mapping[str, Any]) -> Json:
    """The difference of two networks' files, "" for none."""
    from ..vendoring.state import unified

    problems: list[Problem] = []
    target = find_target(question["target"], problems)
    models = [resolved(_asked({"network": question[name]})) for name in ("network", "other")]
    texts = [_compiled(model, target)[0] for model in models]
    names = [file_name(model, target) for model in models]
    return {"text": unified(*texts, *names), "file": f"{names[0]}.diff"}


def _dropped(question: Mapping[str, Any]) -> Json:
    from .dropped import dropped

    return dropped(question["files"])


QUESTIONS: dict[str, Callable[[Mapping[str, Any]], Json]] = {
    "form": lambda question: form(),
    "network": _network,
    "source": _source,
    "drawing": _drawing,
    "cost": _cost,
    "plan": _plan,
    "spec": _spec,
    "compare": _compare,
    "dropped": _dropped,
}
