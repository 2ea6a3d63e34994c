"""The network that nnU-Net's planners choose for a patch and its spacing.

These are the published rules for strides, kernels, features and blocks. The planners also search
for the largest patch that fits their memory target, which is left out: the patch is given. So the
presets M, L and XL of the residual encoder, which only differ in that target, are one network here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import CompileError, Problem, counted
from .architecture import LEAST_STAGES, Architecture

LEAST_SIZE = 4  # of an axis at the bottleneck
ANISOTROPIC = 2  # an axis is coarse from this multiple of the finest spacing on
FIRST_FEATURES = 32
MOST_FEATURES = {2: 512, 3: 320}
RESIDUAL_BLOCKS = (1, 3, 4)  # of the first stages, and in deeper ones
DEEP_BLOCKS = 6
CONVS = 2  # of a stage of a plain network, in its encoder and its decoder
RESIDUAL_DECODER_CONVS = 1


def planned(
    network: str,
    patch: Sequence[int],
    spacing: Sequence[float],
    in_channels: int,
    num_classes: int,
    deep_supervision: bool = False,
) -> Architecture:
    """The network (`plain` or `resenc`) for a patch. Raises `CompileError`.

    `patch` and `spacing` have one entry per axis, in the order of the network's input. No axis of
    the patch needs to be divisible by its strides here.
    """
    strides, kernels = topology(patch, spacing)
    stages, dims = len(strides), len(patch)
    if stages < LEAST_STAGES:
        message = f"a patch of {' x '.join(map(str, patch))} is too small to be strided over"
        hint = f"an axis is halved if it has {2 * LEAST_SIZE} or more, and {3 * LEAST_SIZE} alone"
        raise CompileError(Problem(message, hint=hint))
    features = [min(FIRST_FEATURES * 2**stage, MOST_FEATURES[dims]) for stage in range(stages)]
    residual = network == "resenc"
    blocks = (*RESIDUAL_BLOCKS, *(DEEP_BLOCKS,) * stages) if residual else (CONVS,) * stages
    decoder_convs = RESIDUAL_DECODER_CONVS if residual else CONVS
    return Architecture(
        network=network,
        dims=dims,
        in_channels=in_channels,
        num_classes=num_classes,
        features=tuple(features),
        kernels=kernels,
        strides=strides,
        blocks=blocks[:stages],
        decoder_convs=(decoder_convs,) * (stages - 1),
        stem_channels=features[0] if residual else None,
        deep_supervision=deep_supervision,
    )


def topology(
    patch: Sequence[int], spacing: Sequence[float]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Strides and kernels of each stage, axis by axis. Raises `CompileError`."""
    dims = len(patch)
    if len(spacing) != dims:
        message = (
            f"the spacing has {counted(len(spacing), 'number')}, but the patch has {dims} axes"
        )
        raise CompileError(Problem(message, hint="one for each axis, as in 5,1.56,1.56"))
    sizes, spacings = list(patch), list(spacing)
    kernel = [1] * dims
    strides, kernels = [(1,) * dims], []
    while halved := _halved(sizes, spacings):
        finest = min(spacings)
        kernel = [3 if spacings[i] / finest < ANISOTROPIC else kernel[i] for i in range(dims)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in range(dims)))
        for axis in halved:
            sizes[axis] = -(-sizes[axis] // 2)
            spacings[axis] *= 2
    return tuple(strides), (*kernels, (3,) * dims)


def _halved(sizes: Sequence[int], spacings: Sequence[float]) -> list[int]:
    """The axes that the next stage strides over: the fine ones of those that are long enough.

    A single axis must be longer, or the network ends.
    """
    long = [axis for axis, size in enumerate(sizes) if size >= 2 * LEAST_SIZE]
    finest = min((spacings[axis] for axis in long), default=0)
    fine = [axis for axis in long if spacings[axis] / finest < ANISOTROPIC]
    return [] if len(fine) == 1 and sizes[fine[0]] < 3 * LEAST_SIZE else fine
