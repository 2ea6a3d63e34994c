"""PyTorch's kinds of layer: how each is declared."""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

from ..ir import (
    Affine,
    Attention,
    AvgPool,
    Axes,
    Call,
    Conv,
    ConvTranspose,
    Dropout,
    Layer,
    Linear,
    Norm,
    Table,
    UpConv,
)
from .spelling import spell_eps


def declare(layer: Layer, rank: int, per_axis: Collection[str] = ()) -> str:
    """A layer, made. `per_axis` are the arguments around it that hold a number for each axis."""
    match layer:
        case Conv():
            options = [_args(layer.cin, layer.cout, layer.kernel)]
            padding: object = _padding(layer.kernel) if layer.padded else 0
            if layer.padded and layer.kernel in per_axis:
                padding = "padding"  # of the line before
            if layer.stride != 1 and (padding == "padding" or isinstance(padding, tuple)):
                options += [str(layer.stride), str(padding)]  # by position, to fit a line
            else:
                options += [f"stride={layer.stride}"] if layer.stride != 1 else []
                options += [f"padding={padding}"] if padding else []
            if layer.groups != 1:
                options.append(f"groups={layer.groups}")
            if not layer.bias:
                options.append("bias=False")
            return f"nn.Conv{rank}d({', '.join(options)})"
        case Norm(kind=kind, channels=channels):
            eps, momentum = f"eps={spell_eps(layer)}", f"momentum={layer.momentum}"
            return {
                "batch": f"nn.BatchNorm{rank}d({channels}, {eps}, {momentum})",
                "instance": f"nn.InstanceNorm{rank}d({channels}, {eps}, affine=True)",
                "group": f"nn.GroupNorm({layer.groups}, {channels}, {eps})",
                "layer": f"LayerNorm({channels}, {eps})",
                "token": f"nn.LayerNorm({channels}, {eps})",
            }[kind]
        case ConvTranspose():
            channels = _args(layer.cin, layer.cout)
            window = "4, stride=2, padding=1"
            if layer.exact:
                window = f"{layer.stride}, stride={layer.stride}{', bias=False' * (not layer.bias)}"
            elif layer.stride != 2:
                window = f"kernel, stride={layer.stride}, padding=padding"
            return f"nn.ConvTranspose{rank}d({channels}, {window})"
        case UpConv():
            stride = [str(layer.stride)] if layer.stride != 2 else []
            bias = ["bias=False"] if not layer.bias else []
            return f"UpConv({_args(layer.cin, layer.cout, *stride, *bias)})"
        case Affine():
            return f"{'Gated' * layer.gated}Affine({layer.channels})"
        case Linear():
            return f"nn.Linear({_args(layer.cin, layer.cout)})"
        case AvgPool(exact=True):
            return f"nn.AvgPool{rank}d({layer.stride})"
        case AvgPool():
            pads, window = f"(0, 1) * {rank}", "2"
            if layer.stride in per_axis:
                pads = ", ".join(f"0, window[{i}] - 1" for i in reversed(range(rank)))
                pads, window = f"({pads})", "window"
            pad = f"nn.ReplicationPad{rank}d({pads})"
            return f"nn.Sequential({pad}, nn.AvgPool{rank}d({window}, {layer.stride}))"
        case Dropout(samples=True):
            return f"DropPath({layer.rate})"
        case Dropout():
            return f"nn.Dropout{f'{rank}d' if layer.channels else ''}({layer.rate})"
        case Attention():
            return f"Attention(dropout={layer.dropout})"
        case Table():
            return f"nn.Parameter(0.02 * torch.randn(1, {layer.rows}, {layer.channels}))"
        case Call():
            return f"{layer.block}({_args(*layer.args)})"
        case _:
            assert_never(layer)


def lines_before(layer: Layer, rank: int, per_axis: Collection[str]) -> list[str]:
    """The lines that compute what a layer is made with, where it differs by axis."""

    def each(name: str, axis: str) -> str:
        return f"{name} = ({', '.join(axis.format(i) for i in range(rank))})"

    match layer:
        case Conv(kernel=str(kernel), padded=True) if kernel in per_axis:
            return [each("padding", f"{kernel}[{{0}}] // 2")]
        case ConvTranspose(stride=str(stride), exact=False):
            kernel = each("kernel", f"{stride}[{{0}}] ** 2")
            return [
                f"{kernel}  # 4 where an axis doubles, else 1",
                each("padding", f"{stride}[{{0}}] // 2"),
            ]
        case AvgPool(stride=str(stride), exact=False) if stride in per_axis:
            return [
                f"{each('window', f'min(2, {stride}[{{0}}])')}  # none along an axis of stride 1"
            ]
        case _:
            return []


def _args(*values: object) -> str:
    return ", ".join(map(str, values))


def _padding(kernel: Axes) -> Axes:
    if isinstance(kernel, tuple):
        return tuple(k // 2 for k in kernel) if any(k > 1 for k in kernel) else 0
    return kernel // 2 if isinstance(kernel, int) else f"{kernel} // 2"
