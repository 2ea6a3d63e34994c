"""Folds over the ledger: parameters, MACs, and the summary by stage."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..ir import Shape
from .rows import NOT_TRAINED, Row
from .trace import Ledger


@dataclass(frozen=True)
class Part:
    """A stretch of rows that a person sees as one step: stem, stage 0, ..., head."""

    name: str
    output: Shape
    parameters: int
    macs: int


def trainable(rows: Iterable[Row]) -> int:
    """Weights that an optimizer moves."""
    return sum(
        math.prod(shape) for row in rows for name, shape in row.weights if name not in NOT_TRAINED
    )


def non_trainable(rows: Iterable[Row]) -> int:
    """Moving statistics of batch norms."""
    return sum(
        math.prod(shape) for row in rows for name, shape in row.weights if name in NOT_TRAINED
    )


def macs(rows: Iterable[Row]) -> int:
    """Multiply-accumulates of convolutions and dense layers, one item."""
    return sum(row.macs for row in rows)


def parts(ledger: Ledger) -> tuple[Part, ...]:
    """The ledger step by step: stem, stages, the decoder's stages, head."""
    return tuple(
        Part(step.name, step.output, trainable(step.rows), macs(step.rows)) for step in ledger.steps
    )
