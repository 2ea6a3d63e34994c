"""PyTorch code of blocks: layers are declared once and called."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from ..expressions import parse_line, target_of
from ..ir import (
    Attention,
    AvgPool,
    Axes,
    Block,
    Call,
    Conv,
    ConvTranspose,
    Dropout,
    Fragment,
    Layer,
    Linear,
    Norm,
)
from ..lower import Plan
from .base import Writer, spell, spell_eps


class TorchWriter(Writer):
    def parameters(self, block: Block) -> str:
        return ", ".join(["self", *(f"{arg}: int" for arg in block.args)])

    def construct(self, block: Block, plan: Plan, *, first: bool) -> str:
        args = plan.stage_args if first else _without_stride(plan.stage_args)
        before = "channels_before" if first else "channels"
        return f"{block.name}({', '.join((before, *args))})"

    def declarations(self, code: Block | Fragment) -> list[str]:
        lines = []
        for layer in code.layers:
            declared = f"self.{layer.name} = {self.declare(layer)}"
            if layer.when:
                absent = "None" if self._tested(layer, code) else "nn.Identity()"
                kind = "" if absent == "None" else ": nn.Module"
                lines.append(f"self.{layer.name}{kind} = {absent}")
                lines.append(f"if {layer.when}:")
                if isinstance(layer, AvgPool):
                    lines.append("    # as ceil_mode does, but this exports with dynamic sizes")
                lines.append(f"    {declared}")
            else:
                lines.append(declared)
            if isinstance(layer, Norm) and layer.zero_init:
                start = f"nn.init.zeros_(self.{layer.name}.weight)"
                lines.append(f"{start}  # the block starts as its shortcut")
        return lines

    def _tested(self, layer: Layer, code: Block | Fragment) -> bool:
        """Whether the body asks if the layer is there."""
        return any(f" if {layer.name} else " in line for line in code.body)

    def declare(self, layer: Layer) -> str:
        match layer:
            case Conv():
                options = [_args(layer.cin, layer.cout, layer.kernel)]
                if layer.stride != 1:
                    options.append(f"stride={layer.stride}")
                if _padding(layer.kernel):
                    options.append(f"padding={_padding(layer.kernel)}")
                if layer.groups != 1:
                    options.append(f"groups={layer.groups}")
                if not layer.bias:
                    options.append("bias=False")
                return f"nn.Conv{self.rank}d({', '.join(options)})"
            case Norm(kind=kind, channels=channels):
                eps, momentum = f"eps={spell_eps(layer)}", f"momentum={layer.momentum}"
                return {
                    "batch": f"nn.BatchNorm{self.rank}d({channels}, {eps}, {momentum})",
                    "instance": f"nn.InstanceNorm{self.rank}d({channels}, {eps}, affine=True)",
                    "group": f"nn.GroupNorm({layer.groups}, {channels}, {eps})",
                    "layer": f"LayerNorm({channels}, {eps})",
                    "token": f"nn.LayerNorm({channels}, {eps})",
                }[kind]
            case ConvTranspose():
                channels = _args(layer.cin, layer.cout)
                return f"nn.ConvTranspose{self.rank}d({channels}, 4, stride=2, padding=1)"
            case Linear():
                return f"nn.Linear({_args(layer.cin, layer.cout)})"
            case AvgPool():
                pad = f"nn.ReplicationPad{self.rank}d((0, 1) * {self.rank})"
                return f"nn.Sequential({pad}, nn.AvgPool{self.rank}d(2, {layer.stride}))"
            case Dropout():
                return f"nn.Dropout({layer.rate})"
            case Attention():
                return f"Attention(dropout={layer.dropout})"
            case Call():
                return f"{layer.block}({_args(*layer.args)})"

    def lines(self, line: str, layers: Mapping[str, Layer]) -> list[str]:
        statement, comment = parse_line(line)
        assert statement.value is not None
        value = spell(self._value(statement.value, layers))
        target = target_of(statement)
        if not target and (value.startswith("self.") or " + self." in value):
            name = "queries" if value.startswith("queries") else "x"  # an input, so a Tensor:
            return [f"{name} = {value}", f"return {name}"]  # what modules return has no type
        code = f"{target} = {value}" if target else f"return {value}"
        return [f"{code}  # {comment}" if comment else code]

    def _value(self, node: ast.expr, layers: Mapping[str, Layer]) -> ast.expr:
        match node:
            case ast.Call(func=ast.Name(id=name), args=args):
                values = [self._value(arg, layers) for arg in args]
                if name in layers:
                    return ast.Call(ast.Name(f"self.{name}"), values, [])
                return self.op(name, *values)
            case ast.BinOp(left=left, op=op, right=right):
                name = "add" if isinstance(op, ast.Add) else "multiply"
                return self.op(name, self._value(left, layers), self._value(right, layers))
            case ast.IfExp(test=ast.Name(id=name), body=body, orelse=orelse):
                test = ast.parse(f"self.{name} is None", mode="eval").body
                return ast.IfExp(test, self._value(orelse, layers), self._value(body, layers))
        return node


def _args(*values: object) -> str:
    return ", ".join(map(str, values))


def _without_stride(args: Sequence[str]) -> tuple[str, ...]:
    return tuple("1" if arg == "stride" else arg for arg in args)


def _padding(kernel: Axes) -> Axes:
    if isinstance(kernel, tuple):
        return tuple(k // 2 for k in kernel) if any(k > 1 for k in kernel) else 0
    return kernel // 2 if isinstance(kernel, int) else f"{kernel} // 2"
