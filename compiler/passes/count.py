"""Folds over the ledger: parameters, MACs, and the summary by stage."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from compiler.ir import Shape
from compiler.passes.trace import NOT_TRAINED, Ledger, Row


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
    """The ledger step by step; each step's output is what the next one gets."""
    groups: dict[str, list[Row]] = {"stem": []}
    for s in range(len(ledger.pyramid) - 1):
        groups[f"stage {s}"] = []
    groups["head"] = []
    for row in ledger.rows:
        groups[_step(row.path)].append(row)
    outputs = [shape for _, shape in ledger.pyramid] + [ledger.output]
    return tuple(
        Part(name, output, trainable(rows), macs(rows))
        for (name, rows), output in zip(groups.items(), outputs, strict=True)
        if rows or name != "head" or output != ledger.pyramid[-1][1]
    )


def _step(path: str) -> str:
    if path.startswith("encoder.stages."):
        return f"stage {path.split('.')[2]}"
    return "stem" if path.startswith("encoder.") else "head"
