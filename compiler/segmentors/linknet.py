"""LinkNet: narrow blocks with a transposed convolution, and skips that are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir import Block, Constant, Conv, ConvTranspose, Fragment, Module, Norm
from ..model import Model, Segmentor
from ..operations import PYRAMID
from ..parsing import parse
from ..passes.steps import Step
from ..passes.variants import with_norm
from ..program import Assign, activated
from .base import Definition, Doc, TableRow, Wiring, Words
from .unet import BLOCKS, head_of, level_channels, title

LAST = 32  # channels of the last block


@dataclass(frozen=True)
class LinkNet(Segmentor):
    """Decoder blocks that are added to the skips (LinkNet, Fig. 1)."""

    name: ClassVar[str] = "linknet"
    title: ClassVar[str] = "LinkNet"


BLOCK = Block(
    name="DecoderBlock",
    doc="Narrow, x2 upsampling, wide again",
    source="LinkNet, Fig. 3",
    shapes="[C] -> [F *2]",
    args=("in_channels", "width", "filters"),
    layers=(
        Conv("conv1", "in_channels", "width", 1),
        Norm("bn1", "width"),
        ConvTranspose("up", "width", "width"),
        Norm("bn2", "width"),
        Conv("conv2", "width", "filters", 1),
        Norm("bn3", "filters"),
    ),
    body=parse("""
        x = relu(bn1(conv1(x)))
        x = relu(bn2(up(x)))
        return relu(bn3(conv2(x)))
        """),
)

DECODER = Module(
    name="Decoder",
    path="decoder",
    blocks=(BLOCK,),
    layers=(BLOCKS,),
    body=parse(
        """
        x = deepest(pyramid)
        skips = skips(pyramid)
        for skip, width, filters in zip(skips, WIDTHS, SKIP_CHANNELS):
            x = crop(blocks(x, width, filters), skip) + skip
        return crop(blocks(x, WIDTHS[-1], LAST_CHANNELS), image)
        """,
        "LinkNet's decoder",
    ),
)


def wiring(model: Model) -> Wiring:
    head = head_of(model, LinkNet)
    layer = Conv("head", "LAST_CHANNELS", "num_classes", 1, bias=True, output=True)
    body = Assign("x", activated(head.activation, "head"))
    widths = tuple(max(1, channels // 4) for channels in reversed(model.level_channels))
    text = "tuple(max(1, channels // 4) for channels in CHANNELS[::-1])"
    constants = (
        *level_channels(model),
        Constant("WIDTHS", widths, "inside of the decoder's blocks", text),
        Constant("LAST_CHANNELS", LAST),
    )
    decoder = replace(DECODER, blocks=(with_norm(BLOCK, model.encoder.norm),))
    return Wiring((decoder,), Fragment((layer,), (body,)), constants)


# -- words -----------------------------------------------------------------------------------------


def rows(model: Model, steps: Sequence[Step]) -> list[TableRow]:
    skips = PYRAMID["skips"](model.trunk.levels)
    texts = [f"transposed conv, add {skip}" for skip in skips]
    return [
        TableRow(step.name, step.output, "", text)
        for step, text in zip(steps, [*texts, "transposed conv"], strict=True)
    ]


LINKNET = Definition(
    LinkNet,
    wiring,
    Words(
        title=title,
        fits="works on images of any size",
        notes=lambda model: ("LinkNet: arXiv 1707.03718, Fig. 1.",),
        docs=lambda model: {
            "Decoder": Doc(
                "Upsample by a block and add the skip (LinkNet, Fig. 1).",
                paragraphs=(f"P1..{model.trunk.levels[-1]}, image [C] -> [{LAST}].",),
            )
        },
        rows=rows,
        output=lambda model: "{1} convolution",
    ),
    lambda head, sizes, encoder: [],
)
