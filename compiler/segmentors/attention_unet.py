"""AttentionUNet: UNet with gates on its skips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from ..blocks import ATTENTION_GATE
from ..dialect import DIALECTS, Dialect
from ..ir import Block, Each
from ..model import Model
from ..passes.variants import gated
from ..program import Apply, Expression, Name, rewritten
from .base import Definition, Doc, Wiring, Words
from .unet import (
    DECODER,
    UNet,
    class_head,
    constants,
    head_of,
    inputs,
    problems,
    stage_words,
    title,
    with_blocks,
    with_supervision,
)

GATES = Each("gates", "AttentionGate", one="gate", result="gated")


@dataclass(frozen=True)
class AttentionUNet(UNet):
    """UNet with gated skips (Attention U-Net, Fig. 1)."""

    name: ClassVar[str] = "attention_unet"
    title: ClassVar[str] = "AttentionUNet"


def gate_of(dialect: Dialect) -> Block:
    """The attention gate. A pool that rounds down leaves x a voxel smaller than half the skip."""
    if not dialect.ceil_pool:
        return ATTENTION_GATE

    def change(node: Expression) -> Expression:
        if isinstance(node, Apply) and node.function == "theta":
            return Apply("crop", (node, Name("x")))
        return node

    return replace(ATTENTION_GATE, body=rewritten(ATTENTION_GATE.body, change))


def wiring(model: Model) -> Wiring:
    """AttentionUNet with its options."""
    head = head_of(model, AttentionUNet)
    decoder = gated(DECODER, GATES, "blocks")
    return with_supervision(
        Wiring(
            (with_blocks(decoder, model, gate_of(DIALECTS[model.encoder.dialect])),),
            class_head(head.activation),
            constants(model, head),
        ),
        head,
    )


ATTENTION_UNET = Definition(
    AttentionUNet,
    wiring,
    Words(
        title=title,
        fits="works on images of any size",
        notes=lambda model: ("Attention U-Net: arXiv 1804.03999, Fig. 2.",),
        docs=lambda model: {
            "Decoder": Doc(
                "Upsample, concatenate the gated skip, convolve (Attention U-Net, Fig. 1).",
                paragraphs=(inputs(model),),
            )
        },
        rows=partial(stage_words, gated="gated "),
        output=lambda model: "{1} convolution",
    ),
    problems,
    ("medicai",),
)
