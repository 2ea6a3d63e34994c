"""Plan -> text: the only importer of jinja2 and black."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache

import black
import jinja2
from black.parsing import InvalidInput

from .arguments import spell_options
from .errors import Problem, raise_all
from .layout import broken
from .lower import lower
from .model import Model
from .options import BY_NAME
from .passes.inference import decided
from .passes.specialize import specialize
from .passes.trace import Ledger, trace
from .provenance import sign
from .targets import target_named
from .targets.base import Target
from .targets.prose import docstring
from .targets.text import ConstantText, Page, words
from .vendoring.known import TEMPLATES

WRITER = f"black {black.__version__}"  # type: ignore[attr-defined]
WIDTH = 100
_MODE = black.Mode(line_length=WIDTH)


@cache
def _environment(target: str) -> jinja2.Environment:
    own = target_named(target).templates
    folders = [own] if own else [folder / target for folder in TEMPLATES]
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.globals["docstring"] = docstring
    return made


def source(model: Model, target_name: str) -> str:
    """The emitted file, provenance included, formatted by black at 100 columns."""
    return compiled(model, target_name)[0]


def compiled(model: Model, target_name: str) -> tuple[str, Ledger]:
    """The emitted file, and the ledger that it was written from."""
    target: Target = target_named(target_name)
    raise_all(_lacking(model, target))
    network = specialize(target.built(decided(model, target_name)))
    ledger = trace(network)
    text = _file(target, target.page(lower(network, ledger)))
    if not target.python:
        return sign(text, model, target_name, ""), ledger
    return sign(_laid_out(broken(text)), model, target_name, WRITER), ledger


def _laid_out(text: str) -> str:
    """The text as black writes it: as it is if each of its parts is, which are often known."""
    if all(map(_is_laid_out, text.rstrip("\n").split("\n\n\n"))):
        return text
    return black.format_str(text, mode=_MODE)


@lru_cache(4096)
def _is_laid_out(part: str) -> bool:
    """Whether black leaves a part between two blank lines as it is; one of a string never is."""
    try:
        return bool(black.format_str(f"{part}\n", mode=_MODE) == f"{part}\n")
    except InvalidInput:
        return False


def _lacking(model: Model, target: Target) -> list[Problem]:
    """Options of the model that the target does not have; those of training it does not need."""
    return [
        Problem(
            f"{BY_NAME[name].flag} is not available in {target.title}: {why}",
            hint=f"leave {BY_NAME[name].flag} out: the network and its weights are the same",
        )
        for name, why in target.lacks.items()
        if name in spell_options(model) and not model.deploy
    ]


def as_it_can(model: Model, target_name: str) -> Model:
    """The model without what the target lacks: the same network with the same weights."""
    lacks = spell_options(model).keys() & target_named(target_name).lacks.keys()
    return replace(model, memory="standard") if lacks else model


def _used(constants: Sequence[ConstantText], code: str) -> list[str]:
    """The lines of the constants that the code needs, or that one of these lines needs."""
    lines: list[str] = []
    found = words(code)
    for constant in reversed(constants):
        if not found.isdisjoint(constant.names):
            lines.insert(0, constant.line)
            found |= words(constant.line)
    return lines


def _called(text: str) -> frozenset[str]:
    """The names that a text calls, but for methods."""
    return frozenset(re.findall(r"(?<![\w.])(\w+)\(", text))


def _file(target: Target, page: Page) -> str:
    """The page's text: helpers, constants and imports as what is written needs them."""
    render = _environment(target.name).get_template
    sections: list[str] = []
    waiting = list(target.helpers)

    def define(text: str) -> None:
        """The helpers that a text uses, and before them those that they use."""
        called = _called(text)
        for helper in [helper for helper in waiting if helper.name in called]:
            if helper in waiting:
                waiting.remove(helper)
                own = render(helper.template).render(facts=page.facts)
                define(own)
                sections.append(own)

    for part in page.parts:
        texts = [render(s.template).render(this=s.text, facts=page.facts) for s in part.sections]
        define("".join(texts))
        sections += texts
    called = _called("".join(sections))
    firsts = [helper for helper in target.first_helpers if helper.name in called]
    first = [render(helper.template).render(facts=page.facts) for helper in firsts]
    code = "\n\n".join([*first, *sections])
    more = _used(page.more_constants, code)
    constants = _used(page.constants, "\n".join([code, *more]))
    body = render("body.py.j2").render(page=page, constants=constants, more=more, code=code)
    return render("file.py.j2").render(page=page, body=body, imports=target.imports(body))


def formatted(text: str, mode: black.Mode = _MODE) -> str:
    """Somebody's text in the layout of an emitted file; as it is if black cannot read it."""
    try:
        return black.format_str(text, mode=mode)
    except Exception:  # of many kinds, for a text that may be anything
        return text


def mode(width: int, commas: bool) -> black.Mode:
    """Black's settings: the width of lines, and whether a trailing comma keeps lines apart."""
    return black.Mode(line_length=width, magic_trailing_comma=commas)
