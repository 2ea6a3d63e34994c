"""FPN: one pyramid of maps going down, and of each level a path of its own, merged at P2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypedDict

from .. import limits
from ..errors import Problem
from ..ir import Block, Constant, Conv, Dropout, Each, Fragment, Module, Norm
from ..model import Encoder, Model, Segmentor
from ..operations import PYRAMID
from ..option import option
from ..parsing import parse
from ..passes.steps import Step
from ..program import Apply, Assign, Name, activated, chain
from .base import Definition, Doc, TableRow, Wiring, Words, divisor_of, dropout
from .unet import head_of, level_channels, title

GROUPS = 32  # of the group norms


@dataclass(frozen=True)
class FPN(Segmentor):
    """Feature pyramid with a segmentation branch (Panoptic FPN, Fig. 3)."""

    pyramid_channels: int = option(
        256, "count", "Channels of FPN's pyramid levels.", limit=limits.CHANNELS
    )
    segmentation_channels: int = option(
        128, "count", "Channels of FPN's segmentation branches.", limit=limits.CHANNELS
    )
    dropout: float = dropout(0.2)

    name: ClassVar[str] = "fpn"
    title: ClassVar[str] = "FPN"


class FPNOptions(TypedDict, total=False):
    """FPN's own options, as keywords."""

    pyramid_channels: int | str | None
    segmentation_channels: int | str | None


BLOCK = Block(
    name="SegmentationBlock",
    doc="A {3} convolution with group norm",
    source="",
    shapes="[C] -> [F]",
    args=("in_channels", "filters"),
    layers=(
        Conv("conv", "in_channels", "filters", 3),
        Norm("norm", "filters", kind="group", groups="NORM_GROUPS"),
    ),
    body=parse("""
        return relu(norm(conv(x)))
        """),
)

DECODER = Module(
    name="Decoder",
    path="decoder",
    blocks=(BLOCK,),
    layers=(
        Each("top", Conv("top", "", "", 1, bias=True)),
        Each("laterals", Conv("lateral", "", "", 1, bias=True), one="lateral"),
        Each("blocks", BLOCK.name, one="block"),
        Each("last", BLOCK.name),
        Each("dropout", Dropout("dropout", "DROPOUT", channels=True)),
    ),
    body=parse(
        """
        x = top(deepest(pyramid), PYRAMID_CHANNELS)
        skips = skips(pyramid)
        below = []
        for skip in skips[:-1]:
            below.append(x)
            row = []
            for path in below:
                row.append(corner_stretch(blocks(path, SEGMENTATION_CHANNELS), skip))
            below = row
            x = upsample(x, skip) + laterals(skip, PYRAMID_CHANNELS)
        x = last(x, SEGMENTATION_CHANNELS)
        return dropout(total(x, *below))
        """,
        "FPN's decoder",
    ),
    inputs=(("pyramid", ""),),
)


def wiring(model: Model) -> Wiring:
    """FPN with its options. The logits reach the image's size before their activation."""
    head = head_of(model, FPN)
    layer = Conv("head", "SEGMENTATION_CHANNELS", "num_classes", 1, bias=True, output=True)
    stretched = Apply("corner_stretch", (Name("x"), Name("image")))
    body = [Assign("x", chain("head")), Assign("x", stretched)]
    if head.activation != "none":
        body.append(Assign("x", activated(head.activation)))
    constants = (
        *level_channels(model),
        Constant("PYRAMID_CHANNELS", head.pyramid_channels),
        Constant("SEGMENTATION_CHANNELS", head.segmentation_channels),
        Constant("NORM_GROUPS", GROUPS),
        Constant("DROPOUT", head.dropout),
    )
    return Wiring((DECODER,), Fragment((layer,), tuple(body)), constants)


# -- words -----------------------------------------------------------------------------------------


def rows(model: Model, steps: Sequence[Step]) -> list[TableRow]:
    """The table's lines: the pyramid, level by level, and what its paths are merged to."""
    skips = PYRAMID["skips"](model.trunk.levels)
    *pyramid, merged = steps
    source = f"upsample {model.trunk.levels[-1]}"
    found = []
    for i, (skip, step) in enumerate(zip(skips, pyramid)):
        text = f"{source if i == 0 else 'upsample'}, add {skip}"
        found.append(TableRow(step.name, step.output, "", text))
    text = "{3} convolutions of every level, added"
    return [*found, TableRow("merged", merged.output, "", text)]


def doc(model: Model) -> Doc:
    head = head_of(model, FPN)
    last = model.trunk.levels[-1]
    return Doc(
        "Feature pyramid, its levels merged at P2 (Panoptic FPN, Fig. 3).",
        paragraphs=(
            f"P1..{last} -> [{head.segmentation_channels} /{divisor_of(model, 1)}].",
            "Each level is the one below it, upsampled, and its own skip. Each level then follows"
            " a path of its own to P2: a convolution and a linear upsampling for each level in"
            f" between, with corners aligned. `below` holds these paths, that of {last} first.",
        ),
    )


def problems(head: Segmentor, sizes: tuple[int, ...], encoder: Encoder | None) -> list[Problem]:
    assert isinstance(head, FPN)
    channels = head.segmentation_channels
    if channels % GROUPS == 0:
        return []
    return [
        Problem(
            f"--segmentation-channels {channels} is not a multiple of {GROUPS}, the number of"
            " groups of its group norms",
            hint=f"use {-(-channels // GROUPS) * GROUPS}",
        )
    ]


FEATURE_PYRAMID = Definition(
    FPN,
    wiring,
    Words(
        title=title,
        fits="works on images of any size",
        notes=lambda model: (
            "FPN: arXiv 1612.03144, Fig. 3; its segmentation branch: arXiv 1901.02446, Fig. 3.",
        ),
        docs=lambda model: {"Decoder": doc(model)},
        rows=rows,
        output=lambda model: "{1} convolution, linear upsampling",
    ),
    problems,
)
