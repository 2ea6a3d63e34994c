"""Warn about networks that are allowed but train badly: norms over a single value, a gradient.

`lint` has these warnings too, beside advice that may be ignored.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..limits import AXIS
from ..model import RANK_NAMES, UNITS, Features, Model
from ..segmentors.trans_head import TransUNet
from .specialize import specialize
from .trace import Ledger, trace

WHY = {
    "batch_norm": (
        "batch norm has one value per channel there and cannot train on a batch of one",
        "a batch of one can train",
    ),
    "instance_norm": (
        "instance norm has one value per channel there: PyTorch raises an error, Keras returns a"
        " constant",
        "it sees more than one",
    ),
}


MASKED = (
    "with --compat medicai and --dropout 0, a query of TransUNet may see no token: the output is"
    " right, but the gradient of PyTorch's fused attention is wrong there on the CPU, in the"
    " PyTorch file and in Keras on PyTorch. To train, use a --dropout above 0 or no --compat."
)


def advice(model: Model) -> list[str]:
    """Warnings about a model, each a sentence or two."""
    head = model.head
    undropped = isinstance(head, TransUNet) and model.compat == "medicai" and not head.dropout
    return [*_norms(model), *[MASKED] * undropped]


def _norms(model: Model) -> list[str]:
    """Of norms that see a single value."""
    shallow = _shallow(model)
    ledger = trace(specialize(shallow))
    return [
        f"at {' x '.join(map(str, model.input_shape[:-1]))}, {_place(ledger, model.dims)}:"
        f" {problem}. {_remedy(shallow, kind, remedy)}"
        for kind, (problem, remedy) in WHY.items()
        if _starves(ledger, kind)
    ]


def _shallow(model: Model) -> Model:
    """The model with one block per stage: the same shapes at a fraction of the work."""
    encoder = model.trunk
    encoder = replace(encoder, depths=(1,) * len(encoder.depths))
    head = Features() if isinstance(model.head, TransUNet) else model.head
    return replace(model, encoder=encoder, head=head)


def _starves(ledger: Ledger, kind: str) -> bool:
    """Whether a norm of this kind sees a single position."""
    return any(row.kind == kind and math.prod(row.output[1:]) == 1 for row in ledger.rows)


def _place(ledger: Ledger, dims: int) -> str:
    """The levels of a single position, and a verb: `P5 is a single voxel`."""
    names = [name for name, shape in ledger.pyramid if math.prod(shape[1:]) == 1]
    if len(names) == 1:
        return f"{names[0]} is a single {UNITS[dims]}"
    return f"{names[0]} {'and' if len(names) == 2 else 'to'} {names[-1]} are single {UNITS[dims]}s"


def _remedy(model: Model, kind: str, remedy: str) -> str:
    """The size from which the norm sees more than one position: of one axis, whichever it is."""
    sizes = [_enough(model, kind, axis) for axis in range(model.dims)]
    if not any(sizes):
        return "Use larger batches." if kind == "batch_norm" else "Use another norm."
    if len({*sizes}) == 1:
        return f"With a size of {sizes[0]} or more on one axis, {remedy}."
    named = zip(sizes, RANK_NAMES[model.dims])
    *others, last = [f"{size} or more on {name}" for size, name in named if size]
    either = f"{', '.join(others)} or {last}" if others else last
    return f"With a size of {either}, {remedy}."


def _enough(model: Model, kind: str, axis: int) -> int:
    """The size of an axis from which the norm sees more than one position, found by bisection.

    0 where no size is enough.
    """

    step = model.multiples[axis] if model.multiples else 1

    def starves(count: int) -> bool:
        shape = list(model.input_shape)
        shape[axis] = count * step
        return _starves(trace(specialize(replace(model, input_shape=tuple(shape)))), kind)

    low, high = model.input_shape[axis] // step, AXIS.largest // step
    if starves(high):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if starves(middle) else (low, middle)
    return high * step
