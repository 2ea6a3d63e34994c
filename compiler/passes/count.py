"""Folds over the ledger: parameters, MACs, and the summary by stage."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..ir import Shape
from .interpret import NOT_TRAINED, Row
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
    steps = {"stem": ledger.pyramid[0][1]}
    steps |= {f"stage {s}": shape for s, (_, shape) in enumerate(ledger.pyramid[1:])}
    steps |= dict(ledger.decoder)
    rows: dict[str, list[Row]] = {step: [] for step in (*steps, "head")}
    for row in ledger.rows:
        rows[_step(row.path)].append(row)
    last = [*steps.values()][-1]
    if rows["head"] or ledger.output != last:
        steps["head"] = ledger.output
    return tuple(
        Part(step, output, trainable(rows[step]), macs(rows[step]))
        for step, output in steps.items()
    )


def _step(path: str) -> str:
    """`encoder.stages.0.1.conv1` is of `stage 0`, `decoder.blocks.2.conv1` of `block 2`."""
    match path.split("."):
        case ["encoder", "stages", stage, *_]:
            return f"stage {stage}"
        case ["encoder", *_]:
            return "stem"
        case ["decoder", "gates" | "ups" | "blocks", i, *_]:
            return f"block {i}"
        case ["vit", *_]:
            return "tokens"
        case ["mask_decoder", *_]:
            return "maps"
        case ["decoder", "conv", *_]:
            return "block 0"
    return "head"
