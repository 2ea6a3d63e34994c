"""The layer that one call of a module's layer makes, from the tensors and numbers in the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from .errors import CompileError, Problem
from .ir import (
    Affine,
    Attention,
    AvgPool,
    Block,
    Call,
    Conv,
    ConvTranspose,
    Dim,
    Dropout,
    Each,
    Layer,
    Linear,
    Norm,
    Table,
    UpConv,
)


def bound(
    each: Each, blocks: Mapping[str, Block], channels: Sequence[Dim], args: Sequence[Dim]
) -> Layer:
    """The layer of one call: its inputs' `channels`, and what stands behind them."""
    layer = each.of
    wanted = sizes_of(each, blocks)
    if len(channels) != tensors_of(each, blocks) or len(args) != wanted:
        count = f"{tensors_of(each, blocks)} tensors and {wanted} numbers"
        raise CompileError(Problem(f"the layer {each.name!r} takes {count}"))
    match layer:
        case str():
            block = blocks[layer]
            given = dict(zip((name for _, name in block.inputs), channels, strict=True))
            rest = iter(args)
            values = tuple(given[a] if a in given else next(rest) for a in block.args)
            return Call(each.name, layer, values)
        case ConvTranspose(stride=""):
            cin, (cout, stride) = channels[0], args
            return replace(layer, name=each.name, cin=cin, cout=cout, stride=stride)
        case Conv() | ConvTranspose() | Linear():
            return replace(layer, name=each.name, cin=channels[0], cout=args[0])
        case Norm() | Attention():
            return replace(layer, name=each.name, channels=channels[0])
        case Table():
            return replace(layer, name=each.name, rows=args[0])
        case AvgPool() | Dropout() | Call() | Affine() | UpConv():
            return replace(layer, name=each.name)
        case _:
            assert_never(layer)


def tensors_of(each: Each, blocks: Mapping[str, Block]) -> int:
    """How many of a call's operands are tensors."""
    return len(blocks[each.of].inputs) if isinstance(each.of, str) else 1


def sizes_of(each: Each, blocks: Mapping[str, Block]) -> int:
    """How many of a call's operands are numbers, behind the tensors."""
    if isinstance(each.of, str):
        block = blocks[each.of]
        return len({*block.args} - {channels for _, channels in block.inputs})
    if isinstance(each.of, ConvTranspose) and each.of.stride == "":
        return 2
    return int(isinstance(each.of, Conv | ConvTranspose | Linear | Table))
