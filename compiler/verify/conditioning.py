"""At which batch and image size numbers can tell whether two networks are the same.

A norm over few values amplifies rounding. Over two values a and b it returns the sign of a - b, as
good as discontinuous, and a network of fifty such layers turns a difference of 1e-16 into one of 1.
Batch norm in training sees batch x voxels values: a larger batch cures it. Instance norm sees the
voxels alone: below `INSTANCE_VALUES` of them, or with many such norms in a row, no comparison can
judge. Where one can, float32 is still held against its own rounding (`amplifies`).
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..api import traced
from ..axes import times
from ..errors import CompileError, Problem, counted
from ..limits import AXIS
from ..model import UNITS, Model
from ..passes.trace import Ledger
from ..segmentors.trans_head import TransUNet, patch_of
from .report import BATCH

# Measured on resnet200vd at an image of one pixel: with 4 values in each norm, the sum of
# 1 / (values - 1) is 66 and weights after a step differ by 6; with 6 values, 40 and 2e-5; with 8,
# 29 and 3e-8; with 12, 18 and 1e-9; with 16, 13 and 3e-10. The tolerance is 1e-6.
BATCH_VALUES = 8
AMPLIFICATION = 10.0
# Measured on unet++: two voxels leave 3e-4 in float32, four leave 1e-5.
INSTANCE_VALUES = 4


# Of each, one axis is even at every stride, where "same" pads one side only, and one is odd.
LARGEST = 256  # no default is larger
SIZES = {2: (65, 96), 3: (33, 32, 47)}


def sized(model: Model, size: tuple[int, ...] | None, fixed: bool = False) -> Model:
    """The model at the image size of a comparison, with its own channels.

    In a file (`fixed`), TransUNet's patch is a literal: the default size is used if it means the
    same patch, and the file's own size otherwise. Where strides must divide the sizes, the default
    is the next larger one that they do. Raises `CompileError` if they do not divide `size`.
    """
    by = model.multiples or (1,) * model.dims
    if size and any(n % m for n, m in zip(size, by, strict=True)):
        message = f"--size is {times(size, model.dims)}, but the sizes of {model.name} must be"
        raise CompileError(Problem(f"{message} multiples of {times(by, model.dims)}"))
    wanted = size or tuple(-(-n // m) * m for n, m in zip(SIZES[model.dims], by, strict=True))
    small = replace(model, input_shape=(*wanted, model.in_channels))
    while size is None and not judges(traced(small)[1]) and max(wanted) < LARGEST:
        wanted = tuple(2 * n for n in wanted)
        small = replace(model, input_shape=(*wanted, model.in_channels))
    if size is None and fixed and _patch(small) != _patch(model):
        return model
    return small


def amplifies(ledger: Ledger) -> bool:
    """Whether float32 may differ by more than its tolerance from float64: deep in instance norms,
    which amplify rounding in evaluation too. (resnet152, 16 voxels: 2e-3.)"""
    return bool(_instance_voxels(ledger))


def judges(ledger: Ledger) -> bool:
    """Whether its instance norms leave a comparison in float64 that can judge."""
    voxels = _instance_voxels(ledger)
    return min(voxels, default=INSTANCE_VALUES) >= INSTANCE_VALUES and (
        sum(1 / (n - 1) for n in voxels) <= AMPLIFICATION
    )


def _patch(model: Model) -> tuple[int, ...]:
    if not isinstance(model.head, TransUNet):
        return ()
    return patch_of(model)


def batch_of(ledger: Ledger) -> int:
    """The smallest power of two at which a training step is well-conditioned."""
    voxels = [_voxels(row.output) for row in ledger.rows if row.kind == "batch_norm"]
    batch = BATCH
    while any(batch * n < BATCH_VALUES for n in voxels) or (
        sum(1 / (batch * n - 1) for n in voxels) > AMPLIFICATION
    ):
        batch *= 2
    return batch


def check_size(model: Model) -> None:
    """Raise `CompileError` if the image is too small for instance norm, with the smallest size."""
    ledger = traced(model)[1]
    if judges(ledger):
        return
    step = math.lcm(*model.multiples)
    low, high = 0, 1
    while not _large_enough(model, high * step) and high * step < AXIS.largest:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _large_enough(model, middle * step) else (middle, high)
    raise CompileError(
        _too_small(
            min(_instance_voxels(ledger)),
            model.input_shape[:-1],
            f"--size {high * step} is the smallest that works",
        )
    )


def check_voxels(few: int, shape: tuple[int, ...]) -> None:
    """Raise `CompileError` if an instance norm that both files added sees too few voxels."""
    if few < INSTANCE_VALUES:
        raise CompileError(_too_small(few, shape[:-1], "use a larger --size"))


def _too_small(few: int, size: tuple[int, ...], hint: str) -> Problem:
    positions = counted(few, UNITS[len(size)])
    return Problem(
        f"at an image of {'x'.join(map(str, size))}, an instance norm sees {positions} and"
        " amplifies rounding errors: no comparison can tell whether the networks are the same",
        at=f"--size {','.join(map(str, size))}",
        hint=hint,
    )


def _large_enough(model: Model, size: int) -> bool:
    shape = (*(size,) * model.dims, model.in_channels)
    return judges(traced(replace(model, input_shape=shape))[1])


def _instance_voxels(ledger: Ledger) -> list[int]:
    """How many voxels each instance norm sees."""
    return [_voxels(row.output) for row in ledger.rows if row.kind == "instance_norm"]


def _voxels(shape: tuple[int, ...]) -> int:
    voxels = 1
    for size in shape[1:]:
        voxels *= size
    return voxels
