"""Reads a spec file: the encoder and the options that it describes, with the line of each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import UNSET

from ..errors import CompileError, Problem, escaped, raise_all
from ..limits import SPEC_BYTES, SPEC_DOTS, SPEC_PROBLEMS
from ..model import Classifier, Encoder
from ..option import flagged
from ..options import BY_NAME
from ..reading import read_source
from .checks import Wrong, checked
from .definition import OPTION_AT, Spec, in_spec, place
from .encoders import COLUMNS, encoder_of
from .positions import KeyPath, positions, spelled

_HEAD = ("num_classes", "classifier_activation")  # options that another segmentor takes as well


# Arguments of `custom_encoder` that an option with another name replaces.
_OF_AXES = {"stem_stride": "strides", "stem_pool": "strides", "stem_kernels": "kernels"}


@dataclass(frozen=True)
class Loaded:
    """A spec as it was read: its encoder (None if it is wrong), its options, and its problems."""

    path: str
    lines: Mapping[KeyPath, int]
    encoder: Encoder | None
    options: Mapping[str, object]
    problems: tuple[Problem, ...]

    def with_options(self, given: Mapping[str, object]) -> dict[str, object]:
        """The options of the spec, each replaced by what was given beside it."""
        return overridden(self.options, given)

    def placed(self, problem: Problem, given: Mapping[str, object]) -> Problem:
        """The problem with the line of the key that it is about, in the words of a spec."""
        flags = flagged(problem.message)
        known = [BY_NAME[name] for name in flags if name in BY_NAME and not given.get(name)]
        paths = [place(option, head) for option in known for head in ("", Classifier.name)]
        paths = [path for path in paths if path in self.lines]
        if argument := problem.field.partition("[")[0]:
            option = _OF_AXES.get(argument, argument)
            paths = [] if given.get(option) else [_path_of(problem.field)]
        if not paths:
            return problem
        path = paths[0]
        message, hint = in_spec(problem.message), in_spec(problem.hint)
        if argument and path[0] in ("stem", "se", "unit"):
            message = message.replace(argument, spelled(path[:2]), 1)
        return Problem(message, located(self.path, self.lines, path), hint)


def overridden(options: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """The options of a description, each replaced by what was given beside it.

    Another number of dimensions replaces the sizes too, and another segmentor (or none) the options
    of the description's: they would have no meaning.
    """
    given = {n: value for n, value in given.items() if value is not None and value is not False}
    own = dict(options)
    shape = own.get("input_shape")
    if isinstance(shape, list) and "input_shape" not in given:
        if str(given.get("dims", len(shape) - 1)) != str(len(shape) - 1):
            own["in_channels"] = own.pop("input_shape")[-1]  # type: ignore[index]
            own.pop("channels_last", None)
        elif "in_channels" in given:
            own["input_shape"] = [*shape[:-1], given["in_channels"]]
    if "input_shape" in given:
        for name in ("in_channels", "channels_last"):
            own.pop(name, None)
    if str(given.get("segmentor", own.get("segmentor"))) != str(own.get("segmentor")):
        own = {name: value for name, value in own.items() if not BY_NAME[name].of}
        own.pop("features_only", None)
        own.pop("pooling", None)
    if "features_only" in given:
        own = {
            name: value
            for name, value in own.items()
            if not BY_NAME[name].of and name not in ("segmentor", *_HEAD)
        }
    return own | given


def located(file: str, lines: Mapping[KeyPath, int], path: KeyPath) -> str:
    """`net.toml:14, stages[0].width`: the key, or where its table starts if it is not there."""
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 0)
    where = f"{file}:{line}" if line else file
    return f"{where}, {escaped(spelled(path), longest=200)}"


def _path_of(field: str) -> KeyPath:
    """Where an argument of `custom_encoder` stands in a spec."""
    name, _, index = field.rstrip("]").partition("[")
    column = COLUMNS.get(name)
    if column:
        return ("stages", int(index), column) if index else ("stages",)
    for table in ("stem", "se", "unit"):
        if name.startswith(f"{table}_"):
            key = (table, name.removeprefix(f"{table}_"))
            return (*key, int(index)) if index else key
    return (name,)


def load(path: str) -> Loaded:
    """Read a spec. Raises `CompileError` if it is not TOML; other problems are in the result."""
    data, lines = _parsed(read_source(Path(path), SPEC_BYTES), path)
    wrong: list[Wrong] = []
    spec = checked(data, Spec, (), wrong)
    encoder, axes, found = encoder_of(spec, wrong)
    loaded = Loaded(path, lines, encoder, axes | _options(spec, wrong), ())
    problems = [Problem(w.message, located(path, lines, w.path), w.hint) for w in wrong]
    problems += [loaded.placed(problem, {}) for problem in found]
    problems.sort(key=lambda problem: _line(problem.at))
    more = len(problems) - SPEC_PROBLEMS.largest
    if more > 0:
        problems[SPEC_PROBLEMS.largest :] = [
            Problem(f"there are {more} more problems", at=path, hint=SPEC_PROBLEMS.of)
        ]
    return replace(loaded, problems=tuple(problems))


def _parsed(text: str, path: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The values of a text and the lines of their keys."""
    for number, line in enumerate(text.split("\n"), 1):
        dots = 0 if line.lstrip().startswith("#") else line.count(".")
        raise_all(SPEC_DOTS.problems("the number of dots", dots, f"{path}:{number}"))
    try:
        data = tomllib.loads(text)
        return data, positions(text)
    except tomllib.TOMLDecodeError as error:
        said, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        at = f"{path}:{found[1]}" if found else path
        message = f"it is not valid TOML: {said[:1].lower()}{said[1:]}"
        raise CompileError(
            Problem(message, at, "" if found else "the file ends too early")
        ) from None
    except RecursionError:
        raise CompileError(Problem("its tables and lists nest too deeply", at=path)) from None
    except ValueError as error:  # a number that Python does not read
        raise CompileError(Problem(f"it is not valid TOML: {error}", at=path)) from None


def _options(spec: dict[str, Any], wrong: list[Wrong]) -> dict[str, object]:
    """The options of a spec by name. Those that the encoder has from `encoder_of` are not among."""
    bad = {each.path for each in wrong}
    found: dict[str, object] = {}
    for path, name in OPTION_AT.items():
        value: Any = spec
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        usable = value is not None and not (isinstance(value, list) and UNSET in value)
        if usable and name in found:
            first = spelled(place(BY_NAME[name]))
            wrong.append(
                Wrong(path, f"{spelled(path)} is {first} once more", "give one of the two")
            )
        elif usable and path[0] != "se":
            found[name] = value
    if ("segmentor", "name") in bad:  # nobody can say which options it takes
        found = {name: value for name, value in found.items() if not BY_NAME[name].of}
    elif "segmentor" in spec and "segmentor" not in found:
        wrong.append(Wrong(("segmentor",), "the segmentor has no name", 'add name = "unet"'))
        found = {name: value for name, value in found.items() if not BY_NAME[name].of}
    return found


def _line(at: str) -> int:
    match = re.search(r":(\d+), ", at)
    return int(match[1]) if match else 0
