"""What PyTorch keeps for the backward pass of each kind of layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from .. import ir
from ..expressions import evaluate_int
from ..ir import Layer, Shape
from .kept import BOOLEAN, FULL, Held, Outcome, Setting, Storage, made, narrowed
from .rows import Row, axes


def layer_outcome(
    layer: Layer,
    rows: Sequence[Row],
    inputs: Sequence[Held],
    shape: Shape,
    names: Mapping[str, object],
    how: Setting,
) -> Outcome:
    """What a layer with these rows puts out, in this shape, and what it keeps."""
    x = inputs[0]
    match layer:
        case ir.Conv() | ir.ConvTranspose() | ir.Linear() | ir.UpConv():
            # A dense layer copies tokens whose channels are not innermost.
            copied = isinstance(layer, ir.Linear) and len(shape) == 2 and _unordered(x, how)
            output = replace(made(shape, x, min(FULL, how.narrow)), grad=True)
            output = replace(output, swapped=x.swapped and not isinstance(layer, ir.Linear))
            return Outcome(output, (narrowed(x, how, copied), *_weights(rows, how)))
        case ir.Norm():
            return _norm(layer, x, evaluate_int(layer.groups, names), how)
        case ir.Affine():
            return Outcome(made(shape, x))
        case ir.AvgPool(exact=True):
            storage = how.wide(x, "cpu") if len(shape) > 3 else x.storage
            return Outcome(made(shape, x, storage.width), (storage,))
        case ir.AvgPool():  # of a map that its last voxels extend
            strides = axes(layer.stride, names, len(shape) - 1)
            sizes = (n + (stride > 1) for n, stride in zip(x.shape[1:], strides))
            wide = how.wide(x, "cpu")
            longer = made((x.shape[0], *sizes), x, wide.width)
            return Outcome(made(shape, x, wide.width), (wide, longer.storage))
        case ir.Dropout():
            return _dropout(layer, x, names, how)
        case ir.Attention():
            return _attention(layer, rows, inputs, shape, names, how)
        case ir.Table():
            weight = Storage(math.prod(shape), batched=False, owned=True)
            return Outcome(Held(shape, storage=weight))
        case ir.Call():
            raise AssertionError("a block is run, and keeps what its layers do")
        case _:
            assert_never(layer)


def _unordered(x: Held, how: Setting) -> bool:
    """Whether tokens are copied, so that their channels are innermost. A single item's need not."""
    return x.swapped and how.several


def _weights(rows: Sequence[Row], how: Setting) -> tuple[Storage, ...]:
    """Copies of the weights in 16 bits; without, a layer keeps its own."""
    if how.narrow == FULL:
        return ()
    sizes = [math.prod(size) for row in rows for name, size in row.weights if name == "weight"]
    return tuple(Storage(size, how.narrow, batched=False) for size in sizes)


def _norm(layer: ir.Norm, x: Held, groups: int, how: Setting) -> Outcome:
    """A norm keeps its input, and each mean and deviation."""
    channels, positions = x.shape[0], math.prod(x.shape[1:])
    output = replace(made(x.shape, x), grad=True)
    match layer.kind:
        case "batch":
            return Outcome(output, (x.storage, Storage(2 * channels, batched=False)))
        case "instance":  # which repeats its scale for each item, and puts channels first
            kept = made(x.shape, x).storage if x.swapped else x.storage
            return Outcome(replace(output, swapped=False), (kept, Storage(3 * channels)))
        case "group" | "layer" | "token":
            wide = how.wide(x, "cuda")
            pairs = groups if layer.kind == "group" else positions
            swapped = layer.kind == "layer" or (layer.kind == "group" and x.swapped)
            output = replace(made(x.shape, x, wide.width), grad=True, swapped=swapped)
            return Outcome(output, (wide, Storage(2 * pairs)))
        case kind:
            raise AssertionError(kind)


def _rate(rate: str, names: Mapping[str, object]) -> float:
    return float(str(names.get(rate, rate)))


def _dropout(layer: ir.Dropout, x: Held, names: Mapping[str, object], how: Setting) -> Outcome:
    """A product with noise, which is kept: for each value, channel or sample."""
    if layer.samples:
        noise = 1
    elif not how.training or _rate(layer.rate, names) == 0:
        return Outcome(x)
    else:
        noise = x.shape[0] if layer.channels else math.prod(x.shape)
    fused = how.device == "cuda" and not layer.channels and not layer.samples
    return Outcome(made(x.shape, x), (Storage(noise, BOOLEAN if fused else x.storage.width),))


def _attention(
    layer: ir.Attention,
    rows: Sequence[Row],
    inputs: Sequence[Held],
    shape: Shape,
    names: Mapping[str, object],
    how: Setting,
) -> Outcome:
    """Dense layers, and between them the fused attention; on a CPU with dropout, the plain one."""
    x, context, *masks = inputs
    queries, tokens = x.shape[1], context.shape[1]
    width, narrow = shape[0], min(FULL, how.narrow)
    heads = evaluate_int("HEADS", names)
    kept = [narrowed(tensor, how, _unordered(tensor, how)) for tensor in (x, context, context)]
    kept += _weights(rows, how)
    query, *rest = (Storage(width * count, narrow) for count in (queries, tokens, tokens, queries))
    if how.training and how.device == "cpu" and _rate(layer.dropout, names):
        # q, k and v, and what goes into the product with v before and after dropout, with its noise
        kept += [Storage(width * count) for count in (queries, tokens, tokens)]
        kept += [Storage(heads * queries * tokens) for _ in range(3)]
        kept.append(rest[-1])  # in order
    else:
        kept += [query, *rest, Storage(heads * queries)]
        if masks:
            mask = masks[0].storage
            fits = mask.width != BOOLEAN and mask.width <= narrow
            kept.append(mask if fits else Storage(queries * tokens, narrow))
    output = replace(made(shape, x, narrow), grad=True, swapped=False)
    return Outcome(output, tuple(kept))
