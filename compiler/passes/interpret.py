"""Runs the bodies of blocks over shapes, and notes one row per operation with weights."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import CompileError, Problem
from ..expressions import evaluate, evaluate_int, parse_line, target_of
from ..ir import (
    Attention,
    AvgPool,
    Axes,
    Block,
    Call,
    Conv,
    ConvTranspose,
    Dim,
    Dropout,
    Fragment,
    Layer,
    Linear,
    Norm,
    Shape,
)
from ..model import Network


@dataclass(frozen=True, slots=True)
class Row:
    """One operation with weights: its attribute path, weights by name, output and cost.

    Weight shapes are PyTorch's (out, in / groups, *kernel); `output` is channels first, without the
    batch axis; `macs` counts the multiplications of one item.
    """

    path: str
    kind: str
    weights: tuple[tuple[str, Shape], ...]
    output: Shape
    macs: int


NOT_TRAINED = frozenset({"running_mean", "running_var"})


def below(prefix: str, rows: Sequence[Row]) -> list[Row]:
    """The rows with their paths under a prefix."""
    return [Row(f"{prefix}.{r.path}", r.kind, r.weights, r.output, r.macs) for r in rows]


class Tracer:
    """Runs blocks over shapes. A block with the same arguments and inputs is run once."""

    def __init__(self, network: Network):
        self.rank = network.model.dims
        self.image = network.model.image
        self.constants: dict[str, object] = dict((*network.constants, *network.decoder_constants))
        self.blocks = {b.name: b for b in (*network.blocks, *network.decoder_blocks)}
        self.memo: dict[object, tuple[list[Row], Shape]] = {}

    def call(
        self, name: str, args: tuple[object, ...], inputs: tuple[Shape, ...]
    ) -> tuple[list[Row], Shape]:
        key = (name, args, inputs)
        if key not in self.memo:
            block = self.blocks[name]
            names = dict(zip(block.args, args, strict=True))
            tensors = dict(zip((tensor for tensor, _ in block.inputs), inputs, strict=True))
            self.memo[key] = self.run(block, names, tensors)
        return self.memo[key]

    def run(
        self, code: Block | Fragment, arguments: Mapping[str, object], tensors: dict[str, Shape]
    ) -> tuple[list[Row], Shape]:
        """Rows in the order in which the layers are declared, and the shape that is returned."""
        names = {**self.constants, **arguments}
        frame = _Frame(self, {layer.name: layer for layer in code.layers}, names, tensors)
        for line in code.body:
            statement, _ = parse_line(line)
            assert statement.value is not None
            value = frame.value(statement.value)
            if isinstance(statement, ast.Return):
                break
            tensors[target_of(statement)] = value
        else:
            value = tensors["x"]
        return [row for layer in code.layers for row in frame.rows.get(layer.name, [])], value


class _Frame:
    """One run of a body: its layers, names and tensors."""

    def __init__(
        self,
        tracer: Tracer,
        layers: dict[str, Layer],
        names: Mapping[str, object],
        tensors: dict[str, Shape],
    ):
        self.tracer, self.layers, self.names, self.tensors = tracer, layers, names, tensors
        self.rows: dict[str, list[Row]] = {}

    def value(self, node: ast.expr) -> Shape:
        match node:
            case ast.Name(id=name) if name in self.tensors:
                return self.tensors[name]
            case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
                return _broadcast(self.value(left), self.value(right), node)
            case ast.IfExp(test=ast.Name(id=name), body=body, orelse=orelse):
                return self.value(body if self.present(self.layers[name]) else orelse)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                inputs = tuple(self.value(arg) for arg in args)
                if name in self.layers:
                    return self.layer(self.layers[name], inputs)
                if name in SHAPES:
                    return SHAPES[name](*inputs)
        raise CompileError(Problem(f"a block's body cannot say {ast.unparse(node)!r}"))

    def present(self, layer: Layer) -> bool:
        return not layer.when or bool(evaluate(layer.when, self.names))

    def layer(self, layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
        x = inputs[0]
        if not self.present(layer):
            return x
        if isinstance(layer, Dropout):
            return x
        if layer.name in self.rows:
            raise CompileError(Problem(f"the layer {layer.name!r} runs twice"))
        if isinstance(layer, AvgPool):
            stride = evaluate_int(layer.stride, self.names)
            return (x[0], *(-(-size // stride) for size in x[1:]))
        if isinstance(layer, Call):
            args = tuple(evaluate(arg, self.names) for arg in layer.args)
            rows, output = self.tracer.call(layer.block, args, inputs)
            self.rows[layer.name] = below(layer.name, rows)
            return output
        if isinstance(layer, Attention):
            self.rows[layer.name] = self.attention(layer, x, inputs[1])
            return x
        row = self.row(layer, x)
        self.rows[layer.name] = [row]
        return row.output

    def attention(self, layer: Attention, queries: Shape, context: Shape) -> list[Row]:
        """The dense layers of an attention: three that go in, one that comes out."""
        width = self.size(layer.channels)
        weights = (("weight", (width, width)), ("bias", (width,)))
        sizes = {"query": queries, "key": context, "value": context, "attention_output": queries}
        return [
            Row(
                f"{layer.name}.{part}",
                "attention_out" if part == "attention_output" else "attention_in",
                weights,
                x,
                width * product(x),
            )
            for part, x in sizes.items()
        ]

    def row(self, layer: Conv | ConvTranspose | Norm | Linear, x: Shape) -> Row:
        match layer:
            case Conv():
                _expect(layer.name, x[0], self.size(layer.cin))
                groups, cout = self.size(layer.groups), self.size(layer.cout)
                kernel = self.axes(layer.kernel)
                sizes = zip(x[1:], kernel, self.axes(layer.stride))
                output = (cout, *((n + k // 2 * 2 - k) // s + 1 for n, k, s in sizes))
                shape = (cout, x[0] // groups, *kernel)
                weights = (("weight", shape), *([("bias", (cout,))] if layer.bias else []))
                macs = product(shape) * product(output[1:])
                return Row(layer.name, "conv", weights, output, macs)
            case ConvTranspose():
                _expect(layer.name, x[0], self.size(layer.cin))
                cout = self.size(layer.cout)
                shape = (x[0], cout, *(4 for _ in x[1:]))
                output = (cout, *(2 * size for size in x[1:]))
                macs = product(shape) * product(x[1:])
                weights = (("weight", shape), ("bias", (cout,)))
                return Row(layer.name, "conv_transpose", weights, output, macs)
            case Norm():
                _expect(layer.name, x[0], self.size(layer.channels))
                moving = ("running_mean", "running_var") if layer.kind == "batch" else ()
                weights = tuple((name, (x[0],)) for name in ("weight", "bias", *moving))
                return Row(layer.name, f"{layer.kind}_norm", weights, x, 0)
            case Linear():
                _expect(layer.name, x[0], self.size(layer.cin))
                cout = self.size(layer.cout)
                weights = (("weight", (cout, x[0])), ("bias", (cout,)))
                return Row(layer.name, "dense", weights, (cout, *x[1:]), cout * product(x))

    def size(self, dim: Dim) -> int:
        return evaluate_int(dim, self.names)

    def axes(self, value: Axes) -> Shape:
        if isinstance(value, tuple):
            return value
        return (evaluate_int(value, self.names),) * self.tracer.rank


def product(sizes: Shape) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def _expect(name: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise CompileError(Problem(f"the layer {name!r} takes {wanted} channels and gets {got}"))


def _broadcast(a: Shape, b: Shape, node: ast.expr) -> Shape:
    if len(a) == len(b) and all(m == n or 1 in (m, n) for m, n in zip(a, b)):
        return tuple(max(m, n) for m, n in zip(a, b))
    raise CompileError(Problem(f"{ast.unparse(node)!r} joins the shapes {a} and {b}"))


def _same(x: Shape) -> Shape:
    return x


def _half(x: Shape) -> Shape:
    return (x[0], *(-(-size // 2) for size in x[1:]))


# What each operation of a body does to a shape. The targets say how each is spelled.
SHAPES: dict[str, Callable[..., Shape]] = {
    "rescale": _same,
    "max_pool": _half,
    "signed_max_pool": _half,
    "ceil_max_pool": lambda x: (x[0], *(size // 2 for size in x[1:])),
    "mean": lambda x: (x[0], *(1 for _ in x[1:])),
    "global_average": lambda x: x[:1],
    "global_max": lambda x: x[:1],
    "output_softmax": _same,
    "output_sigmoid": _same,
    "tokens": lambda x: (x[0], product(x[1:])),
    "crop": lambda x, like: (x[0], *like[1:]),
    "upsample": lambda x, like: (x[0], *like[1:]),
    "relu": _same,
    "leaky_relu": _same,
    "elu": _same,
    "gelu": _same,
    "silu": _same,
    "mish": _same,
    "hard_swish": _same,
    "tanh": _same,
    "sigmoid": _same,
}
