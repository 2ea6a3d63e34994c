"""Keras code of blocks: layers are made where they are called."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ..expressions import names_in, parse_line, target_of
from ..ir import (
    Attention,
    AvgPool,
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
)
from ..lower import Plan
from .base import Writer, spell, spell_eps, substitute
from .prose import LINE

LAST = "data_format='channels_last'"  # whatever keras.config says
FULL = "dtype=keras.config.floatx()"  # float32 under mixed precision too


class KerasWriter(Writer):
    def kept(self, block: Block) -> tuple[str, ...]:
        """The arguments that a function needs: Keras reads input channels off the tensor."""
        used: set[str] = set()
        for layer in block.layers:
            used |= {name for value in self._values(layer) for name in names_in(value)}
            used |= names_in(self._condition(block, layer))
        return tuple(arg for arg in block.args if arg in used)

    def _values(self, layer: Layer) -> tuple[Dim, ...]:
        match layer:
            case Conv():
                return (layer.cout, _scalar(layer.stride), layer.groups)
            case Call():
                callee = self.callee(layer)
                kept = self.kept(callee)
                return tuple(v for a, v in zip(callee.args, layer.args, strict=True) if a in kept)
            case Linear() | ConvTranspose():
                return (layer.cout,)
            case AvgPool():
                return (_scalar(layer.stride),)
        return ()

    def _condition(self, block: Block, layer: Layer) -> str:
        """`when`, with the channels of an input read off the tensor."""
        if not layer.when:
            return ""
        channels = {
            arg: ast.parse(f"{tensor}.shape[-1]", mode="eval").body for tensor, arg in block.inputs
        }
        return spell(substitute(layer.when, channels))

    def parameters(self, block: Block) -> str:
        tensors = [f"{tensor}: KerasTensor" for tensor, _ in block.inputs]
        sizes = [f"{arg}: int" for arg in self.kept(block)]
        return ", ".join([*tensors, *sizes, "*", "name: str"])

    def construct(self, block: Block, plan: Plan, *, first: bool) -> str:
        args = [arg for arg in plan.stage_args if arg in self.kept(block)]
        if not first:
            args = ["1" if arg == "stride" else arg for arg in args]
        index = "0" if first else "{i}"
        name = f'name=f"{{name}}_stages_{{s}}_{index}"'
        return f"{self.target.block_name(block.name)}({', '.join(['x', *args, name])})"

    def declarations(self, code: Block | Fragment) -> list[str]:
        return []  # layers are made where they are called

    def body(self, code: Block | Fragment, prefix: str = "{name}_") -> list[str]:
        self.code, self.prefix = code, prefix
        return super().body(code)

    def lines(self, line: str, layers: Mapping[str, Layer]) -> list[str]:
        statement, comment = parse_line(line)
        assert statement.value is not None
        target = target_of(statement)
        optional = self._optional(statement.value, layers)
        if optional:
            return self._conditional(target, *optional)
        if isinstance(statement.value, ast.Call) and isinstance(statement.value.func, ast.Name):
            several = self.target.statements.get(statement.value.func.id)
            if several:
                pad = ((0, 0), *(((1, 1),) * self.rank), (0, 0))
                pad_end = ((0, 0), *(((0, 1),) * self.rank), (0, 0))
                return [text.format(rank=self.rank, pad=pad, pad_end=pad_end) for text in several]
        value, before = self._split(statement.value, layers, target or "x")
        code = f"{target} = {spell(value)}" if target else f"return {spell(value)}"
        return [*before, f"{code}  # {comment}" if comment else code]

    def _split(
        self, node: ast.expr, layers: Mapping[str, Layer], target: str
    ) -> tuple[ast.expr, list[str]]:
        """The expression with at most one named layer in it, none where that makes it too long."""
        for self.apart in (False, True):
            before: list[str] = []
            value, _ = self._value(node, layers, target, before)
            if len(f"    {target} = {ast.unparse(value)}") <= LINE - 4:
                break
        return value, before

    def _optional(
        self, node: ast.expr, layers: Mapping[str, Layer]
    ) -> tuple[Layer, ast.expr, ast.expr] | None:
        """The layer, its input and what stands in for it, where a line runs an optional layer."""
        match node:
            case ast.IfExp(body=ast.Call(func=ast.Name(id=name), args=[arg]), orelse=orelse):
                return layers[name], arg, orelse
            case ast.Call(func=ast.Name(id=name), args=[arg]):
                if name in layers and layers[name].when:
                    return layers[name], arg, arg
        return None

    def _conditional(self, target: str, layer: Layer, arg: ast.expr, other: ast.expr) -> list[str]:
        assert isinstance(self.code, Block)
        called = spell(self._call(layer, [arg]))
        otherwise = [] if spell(other) == target else [f"{target} = {spell(other)}"]
        condition = self._condition(self.code, layer)
        return [*otherwise, f"if {condition}:", f"    {target} = {called}"]

    def _value(
        self, node: ast.expr, layers: Mapping[str, Layer], target: str, before: list[str]
    ) -> tuple[ast.expr, bool]:
        """The expression with at most one named layer in it, and whether it has one.

        The layers inside of it get lines of their own, `before`: in a chain they assign the
        statement's target, side by side each a variable of its own name.
        """
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=tensor) as arg]) if (
                name in layers and layers[name].when
            ):
                before += self._conditional(tensor, layers[name], arg, arg)
                return arg, False
            case ast.Call(func=ast.Name(id=name), args=args):
                values = [self._operand(arg, layers, target, before, len(args)) for arg in args]
                if name in layers:
                    if isinstance(layers[name], Dropout):
                        return self._call(layers[name], [values[0][0]]), values[0][1]
                    values = [self._own_line(*value, target, before) for value in values]
                    return self._call(layers[name], [value for value, _ in values]), True
                if self.apart:
                    values = [self._own_line(*value, target, before) for value in values]
                named = any(has_layer for _, has_layer in values)
                return self.op(name, *(value for value, _ in values)), named
            case ast.BinOp(left=left, op=op, right=right):
                name = "add" if isinstance(op, ast.Add) else "multiply"
                values = [self._operand(arg, layers, target, before, 2) for arg in (left, right)]
                named = any(has_layer for _, has_layer in values)
                return self.op(name, *(value for value, _ in values)), named
        return node, False

    def _operand(
        self,
        node: ast.expr,
        layers: Mapping[str, Layer],
        target: str,
        before: list[str],
        siblings: int,
    ) -> tuple[ast.expr, bool]:
        if siblings == 1:
            return self._value(node, layers, target, before)
        own = next((n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in layers), "")
        if isinstance(layers.get(own), Attention | Call | Dropout):
            own = "y"  # a function has the layer's own name
        value, has_layer = self._value(node, layers, own, before)
        return self._own_line(value, has_layer, own, before)

    def _own_line(
        self, value: ast.expr, has_layer: bool, target: str, before: list[str]
    ) -> tuple[ast.expr, bool]:
        if not has_layer:
            return value, False
        before.append(f"{target} = {spell(value)}")
        return ast.Name(target), False

    def _call(self, layer: Layer, inputs: list[ast.expr]) -> ast.expr:
        """A layer made and called: `conv(x, width, 1, name=...)`."""
        name = f'{"f" * bool(self.prefix)}"{self.prefix}{layer.name}"'
        tensors = ", ".join(map(spell, inputs))
        digits: dict[str, ast.expr] = {}  # numbers as people write them
        match layer:
            case Conv(output=True):
                options = [str(layer.cout), "1", LAST, FULL, f"name={name}"]
                source = f"layers.Conv{self.rank}D({', '.join(options)})({tensors})"
            case Conv():
                options = [tensors, str(layer.cout), str(layer.kernel)]
                if layer.stride != 1:
                    options.append(f"stride={layer.stride}")
                if layer.groups != 1:
                    options.append(f"groups={layer.groups}")
                if layer.bias:
                    options.append("bias=True")
                source = f"conv({', '.join(options)}, name={name})"
            case Norm():
                source = f"{_norm_of(layer, name)}({tensors})"
                digits["_eps"] = ast.Name(spell_eps(layer))
                usual = (layer.kind, layer.eps, layer.momentum) == ("batch", 1e-5, 0.1)
                if usual and not layer.zero_init:
                    source = f"norm({tensors}, name={name})"
            case ConvTranspose():
                options = [str(layer.cout), "4, strides=2, padding='same'", LAST, f"name={name}"]
                source = f"layers.Conv{self.rank}DTranspose({', '.join(options)})({tensors})"
            case Linear():
                options = [str(layer.cout), *([FULL] if layer.output else []), f"name={name}"]
                source = f"layers.Dense({', '.join(options)})({tensors})"
            case AvgPool():
                options = [f"2, strides={layer.stride}, padding='same'", LAST]
                source = f"layers.AveragePooling{self.rank}D({', '.join(options)})({tensors})"
            case Dropout():
                source = f"layers.Dropout({layer.rate})({tensors})"
            case Attention():
                source = f"attention({tensors}, dropout={layer.dropout}, name={name})"
            case Call():
                callee = self.callee(layer)
                args = [str(value) for value in self._values(layer)]
                function = self.target.block_name(callee.name)
                source = f"{function}({', '.join([tensors, *args])}, name={name})"
        return substitute(source, digits)


def _norm_of(layer: Norm, name: str) -> str:
    eps = f"epsilon=_eps, name={name}"
    momentum = round(1 - layer.momentum, 9)
    zeros = "gamma_initializer='zeros', " * layer.zero_init
    return {
        "batch": f"layers.BatchNormalization(momentum={momentum}, {zeros}{eps})",
        "instance": f"layers.GroupNormalization(-1, {eps})",
        "group": f"layers.GroupNormalization({layer.groups}, {eps})",
        "layer": f"layers.LayerNormalization({eps})",
        "token": f"layers.LayerNormalization({eps})",
    }[layer.kind]


def _scalar(value: object) -> Dim:
    return value if isinstance(value, int | str) else 1
