"""PyTorch's kinds of layer: how each is declared."""

from __future__ import annotations

from typing import assert_never

from ..ir import (
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
)
from .spelling import spell_eps


def declare(layer: Layer, rank: int) -> str:
    """A layer, made."""
    match layer:
        case Conv():
            options = [_args(layer.cin, layer.cout, layer.kernel)]
            if layer.stride != 1:
                options.append(f"stride={layer.stride}")
            if layer.padded and _padding(layer.kernel):
                options.append(f"padding={_padding(layer.kernel)}")
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
            return f"nn.ConvTranspose{rank}d({channels}, 4, stride=2, padding=1)"
        case Linear():
            return f"nn.Linear({_args(layer.cin, layer.cout)})"
        case AvgPool():
            pad = f"nn.ReplicationPad{rank}d((0, 1) * {rank})"
            return f"nn.Sequential({pad}, nn.AvgPool{rank}d(2, {layer.stride}))"
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


def _args(*values: object) -> str:
    return ", ".join(map(str, values))


def _padding(kernel: Axes) -> Axes:
    if isinstance(kernel, tuple):
        return tuple(k // 2 for k in kernel) if any(k > 1 for k in kernel) else 0
    return kernel // 2 if isinstance(kernel, int) else f"{kernel} // 2"
