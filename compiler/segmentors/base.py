"""The parts of a segmentor: its wiring, its words, and the row that the registry holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ..axes import times
from ..errors import Problem
from ..ir import AuxHead, Constant, Fragment, Module, Shape
from ..model import Encoder, Model, Segmentor
from ..option import option
from ..passes.steps import Step


def dropout(rate: float) -> Any:
    """The dropout field of a head. Maps lose whole channels, tokens single values."""
    return option(rate, "share", "Dropout rate.")


class SharedOptions(TypedDict, total=False):
    """Keywords of options that several unrelated segmentors take."""

    encoder_depth: int | str | None
    dropout: float | str | None


@dataclass(frozen=True)
class TableRow:
    """A line of the docstring's table. `shape` is that of a map, or a text as it stands."""

    label: str
    shape: Shape | str
    level: str = ""
    text: str = ""


@dataclass(frozen=True)
class Doc:
    """A module's docstring: the first sentences, the rest, and paragraphs of their own.

    `drawing` stands at the end, line by line. In texts, `[C /2]` stands for a map of C channels at
    half size, `[C /2x4x4]` for one with a divisor of each axis, `[K ...]` for one on the grid of
    tokens, and `{3}` for 3x3 or 3x3x3.
    """

    first: str
    rest: str = ""
    paragraphs: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()


def divisor_of(model: Model, level: int) -> str:
    """How many times smaller a level is, as shapes in texts have it: `4`, or `2x4x4`."""
    divisor = model.divisors[level]
    return str(divisor[0]) if len(set(divisor)) == 1 else times(divisor, model.dims)


@dataclass(frozen=True)
class Wiring:
    """What a segmentor puts on an encoder: modules, the head after them, and their constants.

    `aux_head` is the head of the coarser stages, with deep supervision.
    """

    modules: tuple[Module, ...]
    head: Fragment
    constants: tuple[Constant, ...]
    aux_head: AuxHead | None = None


@dataclass(frozen=True)
class Words:
    """What a file says about its segmentor.

    `title` is its first sentence. `notes` follow its size, and `fits` says which images it takes.
    `docs` holds the docstring of each module by name. `rows` are the table's lines between the
    encoder and the output, whose own text is `output`. `model` follows the shapes in the model's
    docstring.
    """

    title: Callable[[Model], str]
    fits: str
    notes: Callable[[Model], tuple[str, ...]]
    docs: Callable[[Model], Mapping[str, Doc]]
    rows: Callable[[Model, Sequence[Step]], list[TableRow]]
    output: Callable[[Model], str]
    model: str = ""


@dataclass(frozen=True)
class Definition:
    """A segmentor: the head that its options fill, its program with every variant, its words.

    `problems` finds what is wrong with a head for an image of these sizes, and on the encoder if
    that is known. `compat` names the libraries that it can match, and `adapted` returns the head
    that matches one of them.
    """

    head: type[Segmentor]
    wiring: Callable[[Model], Wiring]
    words: Words
    problems: Callable[[Segmentor, tuple[int, ...], Encoder | None], list[Problem]]
    compat: tuple[str, ...] = ()
    adapted: Callable[[Segmentor, str], Segmentor] = lambda head, compat: head

    @property
    def name(self) -> str:
        return self.head.name
