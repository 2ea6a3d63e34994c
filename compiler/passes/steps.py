"""What a run over shapes notes: the steps that a person sees."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Shape
from .rows import Row
from .wires import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """A step that a person sees: its name, its output, and the rows that make it.

    Its output is `seen` where the framework calls layers: a row's path, and 0 for what goes in
    there or 1 for what comes out (before its activation).
    """

    name: str
    output: Shape
    rows: tuple[Row, ...]
    seen: tuple[str, int] = ("", 1)


@dataclass(frozen=True, slots=True)
class Turn:
    """A step as a run notes it: one turn of a module's outermost loop, or the module."""

    output: Tensor
    rows: tuple[Row, ...]
