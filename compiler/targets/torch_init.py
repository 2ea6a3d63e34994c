"""Initial weights in PyTorch: a loop in the model's constructor, where its default will not do."""

from __future__ import annotations

from collections.abc import Sequence

from ..initialization import Init, init_of
from ..ir import Conv, ConvTranspose, Layer, Linear

NNUNET = "a=0.01"  # over fan-in, before a leaky ReLU of this slope


def init_lines(layers: Sequence[Layer], head: Sequence[Layer], rank: int) -> list[str]:
    """Lines that set weights where no norm follows, and biases, which PyTorch draws.

    They stand after the head, which keeps PyTorch's default, as convolutions without a bias do.
    """
    convs = [layer for layer in layers if isinstance(layer, Conv | ConvTranspose)]
    if any(init_of(layer) == Init.NNUNET for layer in convs):
        return _nnunet_lines(layers, convs, rank)
    outputs = [layer for layer in head if isinstance(layer, Conv | Linear) and layer.output]
    if any(isinstance(layer, Conv) and init_of(layer) == Init.FAN_OUT for layer in layers):
        return _he_lines(layers, outputs, rank)
    lines: list[str] = []
    waiting = list(outputs)  # for a line that sets their bias
    dense = any(isinstance(layer, Linear) and init_of(layer) == Init.XAVIER for layer in layers)
    if any(isinstance(layer, Conv) and init_of(layer) == Init.HE for layer in layers):
        kinds = f"nn.Conv{rank}d{' | nn.Linear' * dense}"
        lines = [
            f"if isinstance(module, {kinds}) and module.bias is not None:",
            "    nn.init.zeros_(module.bias)",
        ]
        choices = [("isinstance(module, nn.Linear)", "xavier")] * dense
        for layer in outputs:
            if isinstance(layer, Conv):
                choices.append((f"module is not self.{layer.name}", "kaiming"))
                waiting.remove(layer)
        for word, (test, init) in zip(("if", "elif"), choices):
            lines += [f"    {word} {test}:", f"        nn.init.{init}_uniform_(module.weight)"]
        if not choices:
            lines.append("    nn.init.kaiming_uniform_(module.weight)")
    lines += _up_lines(layers, rank)
    loop = "for module in self.modules():  # where no norm follows, PyTorch's default is small"
    return [
        *map(_zero_bias, waiting),
        *([loop, *(f"    {line}" for line in lines)] if lines else []),
    ]


def _he_lines(layers: Sequence[Layer], outputs: Sequence[Conv | Linear], rank: int) -> list[str]:
    """He over fan-out, the head small."""
    options = 'mode="fan_out", nonlinearity="relu"'
    lines = _normal_lines(f"nn.Conv{rank}d", options, layers) + _up_lines(layers, rank)
    return [
        "for module in self.modules():  # over fan-out (arXiv 1502.01852); the head small",
        *(f"    {line}" for line in lines),
        *(f"nn.init.normal_(self.{layer.name}.weight, std=0.01)" for layer in outputs),
        *(_zero_bias(layer) for layer in outputs if isinstance(layer, Linear)),
    ]


def _nnunet_lines(
    layers: Sequence[Layer], convs: Sequence[Conv | ConvTranspose], rank: int
) -> list[str]:
    """He over fan-in for every convolution, the head too."""
    kinds = [f"nn.Conv{rank}d"]
    kinds += [f"nn.ConvTranspose{rank}d"] * any(isinstance(x, ConvTranspose) for x in convs)
    return [
        "for module in self.modules():  # He over fan-in (arXiv 1502.01852), as in nnU-Net",
        *(f"    {line}" for line in _normal_lines(" | ".join(kinds), NNUNET, layers)),
    ]


def _normal_lines(kinds: str, options: str, layers: Sequence[Layer]) -> list[str]:
    """He's normal distribution for convolutions of these kinds, and Glorot's for dense layers."""
    lines = [
        f"if isinstance(module, {kinds}):",
        f"    nn.init.kaiming_normal_(module.weight, {options})",
        "    if module.bias is not None:",
        "        nn.init.zeros_(module.bias)",
    ]
    if any(isinstance(layer, Linear) and init_of(layer) == Init.XAVIER for layer in layers):
        lines += [
            "if isinstance(module, nn.Linear):",
            "    nn.init.xavier_uniform_(module.weight)",
            "    nn.init.zeros_(module.bias)",
        ]
    return lines


def _up_lines(layers: Sequence[Layer], rank: int) -> list[str]:
    lines: list[str] = []
    ups = [layer for layer in layers if isinstance(layer, ConvTranspose)]
    if ups:
        transposed = f"nn.ConvTranspose{rank}d"
        lines.append(f"if isinstance(module, {transposed}) and module.bias is not None:")
        lines.append("    nn.init.zeros_(module.bias)")
        if init_of(ups[0]) == Init.HE:
            fan = [f"fan = module.in_channels * 2**{rank}  # two of four taps per axis"]
            if ups[0].stride != 2:
                taps = "taps = math.prod(module.stride)  # that meet in one output"
                fan = [taps, "fan = module.in_channels * taps"]
            lines += [
                *(f"    {line}" for line in fan),
                "    nn.init.uniform_(module.weight, -((6 / fan) ** 0.5), (6 / fan) ** 0.5)",
            ]
    return lines


def aux_start(layer: Layer) -> list[str]:
    """Lines that start an auxiliary head as the head."""
    lines = ['    nn.init.zeros_(aux_head.get_parameter("bias"))']
    if isinstance(layer, Conv) and init_of(layer) == Init.NNUNET:
        lines.insert(0, f"    nn.init.kaiming_normal_(aux_head.weight, {NNUNET})")
    if isinstance(layer, Conv) and init_of(layer) == Init.HEAD:
        lines.insert(0, "    nn.init.normal_(aux_head.weight, std=0.01)")
    return lines


def _zero_bias(layer: Conv | Linear) -> str:
    # For mypy, a convolution may have no bias.
    bias = "bias" if isinstance(layer, Linear) else 'get_parameter("bias")'
    return f"nn.init.zeros_(self.{layer.name}.{bias})"
