"""The rows of a ledger: one for each operation with weights, as its layer makes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from ..errors import CompileError, Problem
from ..expressions import evaluate_int
from ..ir import (
    Affine,
    Attention,
    Axes,
    Conv,
    ConvTranspose,
    Dim,
    Linear,
    Norm,
    Shape,
    Table,
    UpConv,
)

Weighted: TypeAlias = Conv | ConvTranspose | UpConv | Norm | Affine | Linear | Table
At: TypeAlias = tuple[str | int, ...]  # names of modules and layers, and turns of loops


@dataclass(frozen=True, slots=True)
class Row:
    """One operation with weights: its attribute path, weights by name, output and cost.

    Weight shapes are PyTorch's (out, in / groups, *kernel); `output` is channels first, without the
    batch axis; `macs` counts the multiplications of one item. `at` is the path in its parts; the
    rows that `verify` reads off a model have none.
    """

    path: str
    kind: str
    weights: tuple[tuple[str, Shape], ...]
    output: Shape
    macs: int
    at: At = field(default=(), kw_only=True)

    @property
    def role(self) -> str:
        """What the layer is, in every turn of the loops: `decoder.blocks.conv1`."""
        return ".".join(part for part in self.at if isinstance(part, str))

    @property
    def turn(self) -> tuple[int, ...]:
        """The turns of the loops around it, the outermost first."""
        return tuple(part for part in self.at if isinstance(part, int))


COUNTER = "num_batches_tracked"  # PyTorch's count of training steps, which is no weight
NOT_TRAINED = frozenset({"running_mean", "running_var"})


def path_of(at: At) -> str:
    return ".".join(map(str, at))


def below(prefix: At, rows: Sequence[Row]) -> list[Row]:
    """The rows in a place."""
    path = path_of(prefix)
    return [
        Row(f"{path}.{r.path}", r.kind, r.weights, r.output, r.macs, at=(*prefix, *r.at))
        for r in rows
    ]


def row_of(
    layer: Weighted, at: At, x: Shape, names: Mapping[str, object], rank: int, like: Shape = ()
) -> Row:
    """The row of a layer in a place, called with `x`, and with `like` if it takes two tensors."""
    path = path_of(at)

    def size(dim: Dim) -> int:
        return evaluate_int(dim, names)

    def expect(wanted: Dim) -> None:
        if x[0] != size(wanted):
            raise CompileError(
                Problem(f"the layer {path!r} takes {size(wanted)} channels and gets {x[0]}")
            )

    match layer:
        case Conv():
            expect(layer.cin)
            groups, cout = size(layer.groups), size(layer.cout)
            kernel = axes(layer.kernel, names, rank)
            pads = [k // 2 * 2 if layer.padded else 0 for k in kernel]
            sizes = zip(x[1:], kernel, pads, axes(layer.stride, names, rank))
            output = (cout, *((n + pad - k) // s + 1 for n, k, pad, s in sizes))
            shape = (cout, x[0] // groups, *kernel)
            weights = (("weight", shape), *([("bias", (cout,))] if layer.bias else []))
            macs = math.prod(shape) * math.prod(output[1:])
            return Row(path, "conv", weights, output, macs, at=at)
        case ConvTranspose():
            expect(layer.cin)
            cout = size(layer.cout)
            strides = axes(layer.stride, names, rank)
            kernel = strides if layer.exact else tuple(s * s for s in strides)  # 4 where it doubles
            shape = (x[0], cout, *kernel)
            output = (cout, *(s * n for s, n in zip(strides, x[1:])))
            macs = math.prod(shape) * math.prod(x[1:])
            weights = (("weight", shape), *([("bias", (cout,))] if layer.bias else []))
            return Row(path, "conv_transpose", weights, output, macs, at=at)
        case UpConv():
            expect(layer.cin)
            cout = size(layer.cout)
            # 4 where an axis doubles, 3 along the others.
            shape = (x[0], cout, *(s + 2 for s in axes(layer.stride, names, rank)))
            weights = (("weight", shape), *([("bias", (cout,))] if layer.bias else []))
            macs = math.prod(shape) * math.prod(x[1:])
            return Row(path, "up_conv", weights, (cout, *like[1:]), macs, at=at)
        case Affine():
            expect(layer.channels)
            weights = (("weight", (x[0],)), ("bias", (x[0],)))
            return Row(path, "affine", weights, x, 0, at=at)
        case Norm():
            expect(layer.channels)
            moving = ("running_mean", "running_var") if layer.kind == "batch" else ()
            weights = tuple((name, (x[0],)) for name in ("weight", "bias", *moving))
            return Row(path, f"{layer.kind}_norm", weights, x, 0, at=at)
        case Linear():
            expect(layer.cin)
            cout = size(layer.cout)
            weights = (("weight", (cout, x[0])), ("bias", (cout,)))
            macs = cout * math.prod(x)
            return Row(path, "dense", weights, (cout, *x[1:]), macs, at=at)
        case Table():
            rows, channels = size(layer.rows), size(layer.channels)
            weights = (("table", (1, rows, channels)),)
            return Row(path, "table", weights, (channels, rows), 0, at=at)
        case _:
            assert_never(layer)


def attention_rows(
    layer: Attention, at: At, queries: Shape, context: Shape, names: Mapping[str, object]
) -> list[Row]:
    """The dense layers of an attention: three that go in, one that comes out."""
    width = evaluate_int(layer.channels, names)
    weights = (("weight", (width, width)), ("bias", (width,)))
    sizes = {"query": queries, "key": context, "value": context, "attention_output": queries}
    return [
        Row(
            path_of((*at, part)),
            "attention_out" if part == "attention_output" else "attention_in",
            weights,
            x,
            width * math.prod(x),
            at=(*at, part),
        )
        for part, x in sizes.items()
    ]


def axes(value: Axes, names: Mapping[str, object], rank: int) -> Shape:
    """A kernel or a stride, one for each axis."""
    if isinstance(value, int):
        return (value,) * rank
    if isinstance(value, str):
        named = names[value] if value in names else evaluate_int(value, names)
        value = named if isinstance(named, tuple | int) else ()
    return value if isinstance(value, tuple) else (value,) * rank
