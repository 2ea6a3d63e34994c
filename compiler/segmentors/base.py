"""What a segmentor is made of: its row in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ..axes import times
from ..errors import Problem
from ..ir import Constant, Fragment, Module, Shape
from ..model import Encoder, Model, Segmentor
from ..option import option
from ..passes.interpret import Step


def dropout(rate: float) -> Any:
    """The field of a head for its dropout: of values, or in convolutions of whole channels."""
    return option(rate, "share", "Dropout rate.")


class SharedOptions(TypedDict, total=False):
    """Options of several segmentors that are no relatives, as keywords."""

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

    The `aux_head` is that of the coarser stages, where they have one.
    """

    modules: tuple[Module, ...]
    head: Fragment
    constants: tuple[Constant, ...]
    aux_head: Fragment | None = None


@dataclass(frozen=True)
class Words:
    """What a file says about its segmentor.

    `title` is its first sentence and `notes` follow its size, which `fits` says of what images it
    takes; `docs` are its modules', by their names, and `rows` the table's lines between the encoder
    and the output, which has the text `output`. `model` is said after the shapes of the model.
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

    `problems` are those of a head at an image's sizes, on an encoder if one is known. `compat`
    names the libraries whose behaviour it can keep, and `adapted` is the head under one, or none.
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
