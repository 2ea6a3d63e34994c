"""What a run over shapes notes: the steps that a person sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir import Shape
from .rows import At, Row, path_of
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


def steps_of(
    names: Sequence[str], turns: Sequence[Turn], entered: Mapping[Tensor, At]
) -> tuple[Step, ...]:
    """The turns with their names and where each is seen, by the row that each tensor `entered`."""
    return tuple(
        Step(name, turn.output.shape, turn.rows, _seen(turn, entered))
        for name, turn in zip(names, turns, strict=True)
    )


def _seen(turn: Turn, entered: Mapping[Tensor, At]) -> tuple[str, int]:
    """Where a step's output is met: its row, else the row it enters, else its last row."""
    if turn.output.row:
        return path_of(turn.output.row), 1
    at = entered.get(turn.output)
    return (path_of(at), 0) if at else (turn.rows[-1].path, 1)
