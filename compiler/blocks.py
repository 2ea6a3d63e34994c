"""Every block, defined once, for every target. `specialize` writes the variants into them."""

from __future__ import annotations

from .ir import Attention, AvgPool, Block, Call, Conv, ConvTranspose, Dropout, Linear, Norm
from .parsing import parse
from .unit_blocks import BASIC_D, BOTTLENECK_D, CONV_BLOCK, RESIZED_PROJECTION

CHANGES_SHAPE = "stride != 1 or in_channels != channels"

SQUEEZE_EXCITE = Block(
    name="SqueezeExcite",
    doc="Channel gate",
    source="SE, Fig. 1",
    shapes="[C] -> same shape",
    args=("channels",),
    inputs=(("x", "channels"),),
    layers=(
        Conv("conv1", "channels", "channels // SE_RATIO", 1, bias=True),
        Conv("conv2", "channels // SE_RATIO", "channels", 1, bias=True),
    ),
    body=parse("""
        gate = relu(conv1(mean(x)))
        gate = sigmoid(conv2(gate))
        return x * gate
        """),
)

PROJECTION = Block(
    name="Projection",
    doc="Projection shortcut where the shape changes",
    source="",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "channels", "stride"),
    layers=(
        Conv("conv", "in_channels", "channels", 1, stride="stride"),
        Norm("bn", "channels"),
    ),
    body=parse("""
        return bn(conv(x))
        """),
)

POOLED_PROJECTION = Block(
    name="Projection",
    doc="Average-pooling shortcut",
    source="ResNet-D, Fig. 2c",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "channels", "stride"),
    layers=(
        AvgPool("pool", "stride", when="stride != 1"),
        Conv("conv", "in_channels", "channels", 1),
        Norm("bn", "channels"),
    ),
    body=parse("""
        return bn(conv(pool(x)))
        """),
)

BASIC = Block(
    name="BasicBlock",
    doc="Basic block",
    source="ResNet, Fig. 5 left",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "channels", "stride"),
    layers=(
        Call("shortcut", "Projection", ("in_channels", "channels", "stride"), when=CHANGES_SHAPE),
        Conv("conv1", "in_channels", "channels", 3, stride="stride"),
        Norm("bn1", "channels"),
        Conv("conv2", "channels", "channels", 3),
        Norm("bn2", "channels"),
    ),
    body=parse("""
        residual = shortcut(x)
        x = relu(bn1(conv1(x)))
        x = bn2(conv2(x))
        return relu(x + residual)
        """),
)

BOTTLENECK = Block(
    name="Bottleneck",
    doc="Bottleneck",
    source="ResNet, Fig. 5 right",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "width", "channels", "stride"),
    layers=(
        Call("shortcut", "Projection", ("in_channels", "channels", "stride"), when=CHANGES_SHAPE),
        Conv("conv1", "in_channels", "width", 1),
        Norm("bn1", "width"),
        Conv("conv2", "width", "width", 3, stride="stride"),
        Norm("bn2", "width"),
        Conv("conv3", "width", "channels", 1),
        Norm("bn3", "channels"),
    ),
    body=parse("""
        residual = shortcut(x)
        x = relu(bn1(conv1(x)))
        x = relu(bn2(conv2(x)))
        x = bn3(conv3(x))
        return relu(x + residual)
        """),
)

PRE_BASIC = Block(
    name="BasicBlock",
    doc="Pre-activation basic block",
    source="ResNet v2, Fig. 4e",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "channels", "stride"),
    layers=(
        Norm("bn1", "in_channels"),
        Conv("shortcut", "in_channels", "channels", 1, stride="stride", when=CHANGES_SHAPE),
        Conv("conv1", "in_channels", "channels", 3, stride="stride"),
        Norm("bn2", "channels"),
        Conv("conv2", "channels", "channels", 3),
    ),
    body=parse("""
        active = relu(bn1(x))
        residual = shortcut(active) if shortcut else x
        x = relu(bn2(conv1(active)))
        x = conv2(x)
        return x + residual
        """),
)

PRE_BOTTLENECK = Block(
    name="Bottleneck",
    doc="Pre-activation bottleneck",
    source="ResNet v2, Fig. 4e",
    shapes="[Cin] -> [C /s]",
    args=("in_channels", "width", "channels", "stride"),
    layers=(
        Norm("bn1", "in_channels"),
        Conv("shortcut", "in_channels", "channels", 1, stride="stride", when=CHANGES_SHAPE),
        Conv("conv1", "in_channels", "width", 1),
        Norm("bn2", "width"),
        Conv("conv2", "width", "width", 3, stride="stride"),
        Norm("bn3", "width"),
        Conv("conv3", "width", "channels", 1),
    ),
    body=parse("""
        active = relu(bn1(x))
        residual = shortcut(active) if shortcut else x
        x = relu(bn2(conv1(active)))
        x = relu(bn3(conv2(x)))
        x = conv3(x)
        return x + residual
        """),
)

DECODER_BLOCK = Block(
    name="DecoderBlock",
    doc="Two {3} convolutions",
    source="",
    shapes="[C] -> [F]",
    args=("in_channels", "filters"),
    layers=(
        Conv("conv1", "in_channels", "filters", 3),
        Norm("bn1", "filters", eps="DECODER_EPS"),
        Conv("conv2", "filters", "filters", 3),
        Norm("bn2", "filters", eps="DECODER_EPS"),
    ),
    body=parse("""
        x = relu(bn1(conv1(x)))
        return relu(bn2(conv2(x)))
        """),
)

LEAN_DECODER_BLOCK = Block(
    name="DecoderBlock",
    doc="A {3} convolution",
    source="",
    shapes="[C] -> [F]",
    args=("in_channels", "filters"),
    layers=(
        Conv("conv", "in_channels", "filters", 3),
        Norm("bn", "filters", eps="DECODER_EPS"),
    ),
    body=parse("""
        return relu(bn(conv(x)))
        """),
)

UP = Block(
    name="Up",
    doc="Learned x2 upsampling",
    source="",
    shapes="[C] -> [F *2]",
    args=("in_channels", "filters"),
    layers=(
        ConvTranspose("conv", "in_channels", "filters"),
        Norm("bn", "filters", eps="DECODER_EPS"),
    ),
    body=parse("""
        return relu(bn(conv(x)))
        """),
)

ATTENTION_GATE = Block(
    name="AttentionGate",
    doc="Gate on the skip, computed from the skip and x",
    source="Attention U-Net, Fig. 2",
    shapes="skip [S], x [C /2] -> [S]",
    args=("skip_channels", "channels", "filters"),
    inputs=(("skip", "skip_channels"), ("x", "channels")),
    layers=(
        Conv("theta", "skip_channels", "filters", 1, stride=2, bias=True),
        Conv("phi", "channels", "filters", 1, bias=True),
        Conv("psi", "filters", 1, 1, bias=True),
    ),
    body=parse("""
        gate = relu(theta(skip) + phi(x))
        gate = sigmoid(psi(gate))
        return skip * upsample(gate, skip)
        """),
)

MLP = Block(
    name="Mlp",
    doc="Two dense layers with dropout, MLP wide in between",
    source="",
    shapes="(N, T, EMBED) -> same shape",
    args=(),
    inputs=(("x", "EMBED"),),
    layers=(
        Linear("fc1", "EMBED", "MLP"),
        Linear("fc2", "MLP", "EMBED"),
        Dropout("dropout", "DROPOUT"),
    ),
    body=parse("""
        x = dropout(gelu(fc1(x)))
        return dropout(fc2(x))
        """),
)

VIT_BLOCK = Block(
    name="VitBlock",
    doc="Pre-norm self-attention and MLP",
    source="ViT, Fig. 1",
    shapes="(N, T, EMBED) -> same shape",
    args=(),
    inputs=(("x", "EMBED"),),
    layers=(
        Norm("norm1", "EMBED", kind="token", eps=1e-6),
        Attention("attention", "EMBED"),
        Dropout("dropout", "DROPOUT"),
        Norm("norm2", "EMBED", kind="token", eps=1e-6),
        Call("mlp", "Mlp", ()),
    ),
    body=parse("""
        y = norm1(x)
        x = x + dropout(attention(y, y))
        return x + mlp(norm2(x))
        """),
)

MASKED_CROSS_ATTENTION = Block(
    name="MaskedCrossAttention",
    doc="Queries attend to a level, then an MLP",
    source="Mask2Former, Eq. 2",
    shapes="(N, Q, EMBED) -> same shape",
    args=("channels",),
    inputs=(("queries", "EMBED"), ("level", "channels"), ("mask", "")),
    layers=(
        Conv("project", "channels", "EMBED", 1, bias=True),
        Norm("project_norm", "EMBED", kind="group", eps=1e-3, groups="math.gcd(32, EMBED)"),
        Norm("norm1", "EMBED", kind="token", eps=1e-6),
        Attention("attention", "EMBED", dropout="DROPOUT"),
        Norm("norm2", "EMBED", kind="token", eps=1e-6),
        Call("mlp", "Mlp", ()),
    ),
    body=parse("""
        context = tokens(project_norm(project(level)))
        queries = queries + attention(norm1(queries), context, mask)
        return queries + mlp(norm2(queries))
        """),
)

RESIDUAL_BLOCKS = {  # (block of the encoder, pre-activation) -> block, its projection
    ("basic", False): (BASIC, PROJECTION),
    ("basic", True): (PRE_BASIC, None),
    ("bottleneck", False): (BOTTLENECK, PROJECTION),
    ("bottleneck", True): (PRE_BOTTLENECK, None),
    ("basic_vd", False): (BASIC, POOLED_PROJECTION),
    ("basic_vd", True): (PRE_BASIC, POOLED_PROJECTION),
    ("bottleneck_vd", False): (BOTTLENECK, POOLED_PROJECTION),
    ("bottleneck_vd", True): (PRE_BOTTLENECK, POOLED_PROJECTION),
    ("plain", False): (CONV_BLOCK, None),
    ("basic_d", False): (BASIC_D, RESIZED_PROJECTION),
    ("bottleneck_d", False): (BOTTLENECK_D, RESIZED_PROJECTION),
}
UNIT_BLOCKS = ("plain", "basic_d", "bottleneck_d")  # those of nnU-Net, which have units
BLOCK_KINDS = tuple(dict.fromkeys(kind for kind, _ in RESIDUAL_BLOCKS))
