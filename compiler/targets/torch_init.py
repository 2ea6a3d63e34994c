"""Initial weights in PyTorch: a loop in the model's constructor, where its default will not do."""

from __future__ import annotations

from ..ir import Conv, ConvTranspose, Init, Linear, init_of
from ..lower import Plan
from .base import declared


def init_lines(plan: Plan) -> list[str]:
    """Lines that set weights where no norm follows. They stand before the head, which keeps PyTorch's
    default, like convolutions without a bias.
    """
    rank, layers = plan.network.model.dims, declared(plan)
    lines: list[str] = []
    if any(isinstance(layer, Conv) and init_of(layer) == Init.HE for layer in layers):
        lines = [
            f"if isinstance(module, nn.Conv{rank}d) and module.bias is not None:",
            "    nn.init.kaiming_uniform_(module.weight)",
            "    nn.init.zeros_(module.bias)",
        ]
    if plan.transformer:
        lines += [
            "elif isinstance(module, nn.Linear):",
            "    nn.init.xavier_uniform_(module.weight)",
            "    nn.init.zeros_(module.bias)",
        ]
    ups = [layer for layer in layers if isinstance(layer, ConvTranspose)]
    if ups:
        lines.append(f"if isinstance(module, nn.ConvTranspose{rank}d) and module.bias is not None:")
        if init_of(ups[0]) == Init.HE:
            lines += [
                f"    fan = module.in_channels * 2**{rank}  # two of four taps per axis",
                "    nn.init.uniform_(module.weight, -((6 / fan) ** 0.5), (6 / fan) ** 0.5)",
            ]
        lines.append("    nn.init.zeros_(module.bias)")
    loop = "for module in self.modules():  # where no norm follows, PyTorch's default is small"
    return [loop, *(f"    {line}" for line in lines)] if lines else []


def head_lines(plan: Plan) -> list[str]:
    """Lines that stand after the head: PyTorch's biases are random."""
    lines = []
    for layer in plan.network.head.layers:
        if isinstance(layer, Conv | Linear) and layer.output:
            # For mypy, a convolution may have no bias.
            bias = "bias" if isinstance(layer, Linear) else 'get_parameter("bias")'
            lines.append(f"nn.init.zeros_(self.{layer.name}.{bias})")
    return lines
