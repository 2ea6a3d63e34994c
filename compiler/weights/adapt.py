"""Adapt weights to another kind of input: inflate 2D kernels to 3D, change the channel count."""

from __future__ import annotations

from typing import Any

from ..errors import CompileError, Problem, counted
from ..ir import Shape

INFLATIONS = ("center", "mean", "repeat")
AXES = (0, 1, 2)


def inflated_shape(shape: Shape, target: Shape, axis: int) -> Shape:
    """The shape of a 2D kernel (out, in, h, w) after inflation along `axis` to match `target`."""
    return (*shape[: 2 + axis], target[2 + axis], *shape[2 + axis :])


def inflate(value: Any, how: str, kind: str, axis: int, depth: int) -> Any:
    """Give a 2D kernel, (out, in, h, w), a new spatial axis of size `depth`.

    `center` puts the kernel into the middle slice, so that each plane is convolved on its own.
    `mean` copies it into every slice and divides, so that a volume that is constant along the axis
    gives the 2D result. `repeat` copies it unchanged. In a transposed convolution of stride 2, only
    half of the slices reach any one plane: its middle is two slices, and its mean is over half.
    Along an axis that it does not upsample, it has a single slice.
    """
    import numpy as np

    reached = max(1, depth // 2) if kind == "conv_transpose" else depth
    shape = (*value.shape[: 2 + axis], depth, *value.shape[2 + axis :])
    if how != "center":
        slices = np.repeat(np.expand_dims(value, 2 + axis), depth, 2 + axis)
        return slices if how == "repeat" else _in_its_type(slices, 1 / reached)
    result = np.zeros(shape, value.dtype)
    middle = slice((depth - 1) // 2, depth // 2 + 1)
    result[(*(slice(None),) * (2 + axis), middle)] = np.expand_dims(value, 2 + axis)
    return result


def _in_its_type(value: Any, factor: float) -> Any:
    import numpy as np

    wide = np.float64 if value.dtype == np.float64 else np.float32
    return (value.astype(wide) * wide(factor)).astype(value.dtype)


def adapt_channels(value: Any, channels: int) -> Any:
    """Convert a stem's kernel, (out, in, *kernel), to another number of input channels.

    For fewer channels, channel c is added to c mod `channels`; for one channel, that is the sum.
    For more, the channels are cycled, each divided by the number of its copies. Either way the sum
    over the channels is preserved, so an image with equal channels keeps its response. Raises
    `CompileError` if a sum overflows a half-precision type.
    """
    import numpy as np

    wide = value.astype(np.float64)
    there = value.shape[1]
    if channels < there:
        result = np.stack([wide[:, c::channels].sum(axis=1) for c in range(channels)], axis=1)
    else:
        source = [c % there for c in range(channels)]
        times = np.array([source.count(c) for c in source], np.float64)
        result = wide[:, source] / times.reshape(1, -1, *(1,) * (value.ndim - 2))
    with np.errstate(over="ignore"):
        narrow = result.astype(value.dtype)
    if np.isfinite(result).all() and not np.isfinite(narrow).all():
        message = f"adapting the stem to {counted(channels, 'channel')} overflows {value.dtype}"
        raise CompileError(Problem(message, hint="use a checkpoint in float32"))
    return narrow
