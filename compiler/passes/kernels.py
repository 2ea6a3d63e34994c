"""Strides and kernels that differ between axes or stages, written into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..expressions import with_part
from ..ir import Axes, Block, Conv, Layer
from ..model import Encoder

SCALES = "SCALES"  # of the upsamplings of a decoder, deepest first; the last reaches the image


def blocks_per_axis(blocks: Sequence[Block], encoder: Encoder) -> tuple[Block, ...]:
    """An encoder's blocks, the residual block last, with the strides and kernels of its stages."""
    *others, residual = blocks
    if any(isinstance(stage.stride, tuple) for stage in encoder.stages):
        others = [_strided(block) for block in others]
        residual = _strided(residual)
    return (*others, with_kernels(residual, [stage.kernel for stage in encoder.stages]))


def with_kernels(block: Block, kernels: Sequence[Axes]) -> Block:
    """The block of several stages with their kernels, an argument where these differ."""
    several = {*kernels}
    if several == {3}:
        return block
    if len(several) == 1:
        return _with_kernel(block, several.pop())
    block = _with_kernel(replace(block, args=(*block.args, "kernel")), "kernel")
    if any(isinstance(kernel, tuple) for kernel in several):
        block = replace(block, per_axis=(*block.per_axis, "kernel"))
    return block


def _strided(block: Block) -> Block:
    """The block with one stride per axis, if it has a stride."""
    if "stride" not in block.args:
        return block

    def changed(layer: Layer) -> Layer:
        return replace(layer, when=with_part(layer.when, "stride != 1", "max(stride) > 1"))

    layers = tuple(map(changed, block.layers))
    return replace(block, layers=layers, per_axis=("stride",))


def _with_kernel(block: Block, kernel: Axes) -> Block:
    """The block with another kernel for its 3x3 convolutions."""
    layers = tuple(
        replace(layer, kernel=kernel) if isinstance(layer, Conv) and layer.kernel == 3 else layer
        for layer in block.layers
    )
    return replace(block, layers=layers)
