"""nnU-Net's blocks. `passes.units` writes into them what stands around each convolution."""

from __future__ import annotations

from .ir import AvgPool, Block, Call, Conv, Norm
from .parsing import parse

CONV_BLOCK = Block(
    name="ConvBlock",
    doc="{3} convolution",
    source="",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "channels", "stride"),
    layers=(
        Conv("conv", "in_channels", "channels", 3, stride="stride"),
        Norm("bn", "channels"),
    ),
    body=parse("""
        return relu(bn(conv(x)))
        """),
)

RESIZED_PROJECTION = Block(
    name="Projection",
    doc="Projection shortcut where the channels change",
    source="",
    shapes="[Cin] -> [C]",
    args=("in_channels", "channels"),
    layers=(
        Conv("conv", "in_channels", "channels", 1),
        Norm("bn", "channels"),
    ),
    body=parse("""
        return bn(conv(x))
        """),
)
_POOL = AvgPool("pool", "stride", exact=True, when="stride != 1")
_PROJECT = Call(
    "shortcut", "Projection", ("in_channels", "channels"), when="in_channels != channels"
)

BASIC_D = Block(
    name="BasicBlock",
    doc="Basic block with a pooled shortcut",
    source="ResNet-D, Fig. 2c",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "channels", "stride"),
    layers=(
        _POOL,
        _PROJECT,
        Conv("conv1", "in_channels", "channels", 3, stride="stride"),
        Norm("bn1", "channels"),
        Conv("conv2", "channels", "channels", 3),
        Norm("bn2", "channels"),
    ),
    body=parse("""
        residual = pool(x)
        residual = shortcut(residual)
        x = relu(bn1(conv1(x)))
        x = bn2(conv2(x))
        return relu(x + residual)
        """),
)

BOTTLENECK_D = Block(
    name="Bottleneck",
    doc="Bottleneck with a pooled shortcut",
    source="ResNet-D, Fig. 2c",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "width", "channels", "stride"),
    layers=(
        _POOL,
        _PROJECT,
        Conv("conv1", "in_channels", "width", 1),
        Norm("bn1", "width"),
        Conv("conv2", "width", "width", 3, stride="stride"),
        Norm("bn2", "width"),
        Conv("conv3", "width", "channels", 1),
        Norm("bn3", "channels"),
    ),
    body=parse("""
        residual = pool(x)
        residual = shortcut(residual)
        x = relu(bn1(conv1(x)))
        x = relu(bn2(conv2(x)))
        x = bn3(conv3(x))
        return relu(x + residual)
        """),
)
