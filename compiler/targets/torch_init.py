"""Initial weights in PyTorch: a loop in the model's constructor, where its default will not do."""

from __future__ import annotations

from collections.abc import Sequence

from ..initialization import Init, init_of
from ..ir import Conv, ConvTranspose, Layer, Linear


def init_lines(layers: Sequence[Layer], rank: int) -> list[str]:
    """Lines that set weights where no norm follows. They stand before the head, which keeps
    PyTorch's default, like convolutions without a bias.
    """
    lines: list[str] = []
    if any(isinstance(layer, Conv) and init_of(layer) == Init.HE for layer in layers):
        lines = [
            f"if isinstance(module, nn.Conv{rank}d) and module.bias is not None:",
            "    nn.init.kaiming_uniform_(module.weight)",
            "    nn.init.zeros_(module.bias)",
        ]
    if any(isinstance(layer, Linear) and init_of(layer) == Init.XAVIER for layer in layers):
        lines += [
            "if isinstance(module, nn.Linear):",
            "    nn.init.xavier_uniform_(module.weight)",
            "    nn.init.zeros_(module.bias)",
        ]
    ups = [layer for layer in layers if isinstance(layer, ConvTranspose)]
    if ups:
        transposed = f"nn.ConvTranspose{rank}d"
        lines.append(f"if isinstance(module, {transposed}) and module.bias is not None:")
        if init_of(ups[0]) == Init.HE:
            taps = f"2**{rank}  # two of four taps per axis"
            if ups[0].stride != 2:
                taps = "math.prod(module.stride)  # the taps that meet in one output"
            lines += [
                f"    fan = module.in_channels * {taps}",
                "    nn.init.uniform_(module.weight, -((6 / fan) ** 0.5), (6 / fan) ** 0.5)",
            ]
        lines.append("    nn.init.zeros_(module.bias)")
    loop = "for module in self.modules():  # where no norm follows, PyTorch's default is small"
    return [loop, *(f"    {line}" for line in lines)] if lines else []


def head_lines(layers: Sequence[Layer]) -> list[str]:
    """Lines that stand after the head: PyTorch's biases are random."""
    lines = []
    for layer in layers:
        if isinstance(layer, Conv | Linear) and layer.output:
            # For mypy, a convolution may have no bias.
            bias = "bias" if isinstance(layer, Linear) else 'get_parameter("bias")'
            lines.append(f"nn.init.zeros_(self.{layer.name}.{bias})")
    return lines
