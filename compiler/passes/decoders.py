"""The decoder's part of `specialize`: its blocks, with norm and activation written into them."""

from __future__ import annotations

import math
from dataclasses import replace

from ..blocks import (
    ATTENTION_GATE,
    DECODER_BLOCK,
    LEAN_DECODER_BLOCK,
    MASKED_CROSS_ATTENTION,
    MLP,
    UP,
    VIT_BLOCK,
)
from ..ir import Block, Conv, Fragment, Layer, Norm
from ..model import AttentionUNet, Dialect, Head, Segmentor, TransUNet, UNet, UNetPlusPlus

# Part of the function that medicai's weights were trained with; the encoders have 1e-5.
DECODER_EPS = 1e-3
# Of batch norm in the decoder, by what the network is to match. With medicai's, moving statistics
# need hundreds of steps, and until then evaluation looks far worse than training.
MOMENTUM = {"": 0.1, "medicai": 0.01}


MOST_GROUPS = 8  # of a decoder's group norm


def decoder_constants(head: Head) -> tuple[tuple[str, float], ...]:
    """The decoder's named constants. The number of groups divides the filters of every stage."""
    if isinstance(head, TransUNet):
        return (
            ("VIT_DEPTH", head.vit_layers),
            ("EMBED", head.embed_dim),
            ("HEADS", head.heads),
            ("MLP", head.mlp_dim),
            ("DROPOUT", head.dropout),
            ("QUERIES", head.queries),
        )
    if not isinstance(head, UNet) or head.decoder_normalization in ("instance", "none"):
        return ()
    groups = ("NORM_GROUPS", math.gcd(MOST_GROUPS, *head.stage_filters))
    return (*[groups] * (head.decoder_normalization == "group"), ("DECODER_EPS", DECODER_EPS))


def decoder_blocks(head: Head, dialect: Dialect, compat: str = "") -> tuple[Block, ...]:
    """The classes of a decoder, in the order of definition."""
    if isinstance(head, TransUNet):
        return (MLP, VIT_BLOCK, MASKED_CROSS_ATTENTION)
    if not isinstance(head, UNet):
        return ()
    gates = (gate_of(dialect),) if isinstance(head, AttentionUNet) else ()
    learned = head.decoder_block == "transpose"
    blocks = (UP, LEAN_DECODER_BLOCK) if learned else (DECODER_BLOCK,)
    if isinstance(head, UNetPlusPlus):
        last = blocks[-1]
        node = replace(last, doc=f"One node of the grid: {last.doc[0].lower()}{last.doc[1:]}")
        blocks = (*blocks[:-1], node)
    momentum = MOMENTUM[compat]
    return (*gates, *(with_norm(with_activation(b, head), head, momentum) for b in blocks))


def gate_of(dialect: Dialect) -> Block:
    """The attention gate. A pool that rounds down leaves x a voxel smaller than half the skip."""
    if not dialect.ceil_pool:
        return ATTENTION_GATE
    body = tuple(
        line.replace("theta(skip)", "crop(theta(skip), x)") for line in ATTENTION_GATE.body
    )
    return replace(ATTENTION_GATE, body=body)


def with_activation(block: Block, head: UNet) -> Block:
    """The block with the decoder's activation for ReLU."""
    body = tuple(line.replace("relu(", f"{head.decoder_activation}(") for line in block.body)
    return replace(block, body=body)


def with_norm(block: Block, head: UNet, momentum: float) -> Block:
    """The block with the decoder's norm for batch norm; without one, convolutions have a bias."""
    kind = head.decoder_normalization
    layers, body = block.layers, block.body
    for layer in block.layers:
        if isinstance(layer, Norm):
            name = layer.name if kind == "batch" else layer.name.replace("bn", "norm")
            call = "(" if kind == "none" else f"{name}("
            body = tuple(line.replace(f"{layer.name}(", call) for line in body)
            groups = "NORM_GROUPS" if kind == "group" else 1
            eps = 1e-5 if kind == "instance" else layer.eps
            changed = replace(
                layer, name=name, kind=kind, groups=groups, eps=eps, momentum=momentum
            )
            layers = tuple(changed if other is layer else other for other in layers)
    if kind == "none":
        layers = tuple(_with_bias(layer) for layer in layers if not isinstance(layer, Norm))
    return replace(block, layers=layers, body=body)


def _with_bias(layer: Layer) -> Layer:
    return replace(layer, bias=True) if isinstance(layer, Conv) else layer


def segmentor_head(head: Segmentor) -> Fragment:
    """The 1x1 convolution to the classes, and what follows it; `x` is the decoder's output.

    UNet++ ends at half the image's size. Nearest upsampling and a 1x1 convolution commute, so the
    head comes first where nothing learned stands between the two.
    """
    layer = Conv("head", "last_channels", "num_classes", 1, bias=True, output=True)
    body = [
        "x = head(x)" if head.activation == "none" else f"x = output_{head.activation}(head(x))"
    ]
    if isinstance(head, UNetPlusPlus) and head.decoder_block == "upsampling":
        body.append("x = upsample(x, image)  # equivalent to upsampling first, but cheaper")
    return Fragment((layer,), tuple(body))
