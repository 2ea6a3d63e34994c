"""UNet, and what its relatives share with it: options, norms, activations, the head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypedDict, TypeVar

from .. import limits
from ..blocks import DECODER_BLOCK, LEAN_DECODER_BLOCK, UP
from ..errors import Problem
from ..ir import Block, Constant, Conv, Each, Fragment, Module
from ..model import NORMS, Encoder, Model, Segmentor
from ..operations import PYRAMID
from ..option import option
from ..parsing import parse
from ..passes.channels import CHANNELS, SKIP_CHANNELS
from ..passes.steps import Step
from ..passes.variants import learned, with_activation, with_norm
from ..program import Assign, Statement, activated
from .base import Definition, Doc, TableRow, Wiring, Words
from .supervision import problems as stage_problems
from .supervision import supervised


@dataclass(frozen=True)
class UNet(Segmentor):
    """U-shaped decoder over P1..Pd (UNet, Fig. 1).

    `decoder_filters` are those of the stages, deepest first; the model's encoder has no stage below
    `depth`. `decoder_block` is `upsampling` or `transpose`. With `by_level` false, UNet++ counts
    its widths from the top row down, as the reference library does.
    """

    decoder_block: str = option(
        "upsampling", "choice", "How a decoder stage upsamples.", ("upsampling", "transpose")
    )
    decoder_filters: tuple[int, ...] = option(
        (256, 128, 64, 32, 16),
        "counts",
        "Filters of each decoder stage, deepest first.",
        limit=limits.CHANNELS,
    )
    decoder_normalization: str = option(
        "batch",
        "choice",
        "Normalization in the decoder.",
        (*NORMS, "none"),
        follows="norm",
    )
    decoder_activation: str = option("relu", "choice", "Activation in the decoder.")
    deep_supervision: bool = option(
        False, "flag", "In training, return logits of the coarser decoder stages too."
    )
    by_level: bool = True

    name: ClassVar[str] = "unet"
    title: ClassVar[str] = "UNet"

    @property
    def stage_filters(self) -> tuple[int, ...]:
        """Filters of each decoder stage that there is, deepest first."""
        return self.decoder_filters[: self.depth]


class UNetOptions(TypedDict, total=False):
    """The options of UNet and its relatives, as keywords."""

    decoder_block: str | None
    decoder_filters: Sequence[int] | str | None
    decoder_normalization: str | None
    decoder_activation: str | None
    deep_supervision: bool | None


Head = TypeVar("Head", bound=Segmentor)
BLOCKS = Each("blocks", "DecoderBlock", one="block")
# Of batch norm in the decoder, by what the network is to match. With medicai's, moving statistics
# need hundreds of steps, and until then evaluation looks far worse than training.
MOMENTUM = {"": 0.1, "medicai": 0.01}
EPS_NOTE = "as in medicai, whose weights were trained with it; the encoder has 1e-5"
UPS = Each("ups", "Up", one="up")

DECODER = Module(
    name="Decoder",
    path="decoder",
    blocks=(),
    layers=(BLOCKS,),
    body=parse(
        """
        x = deepest(pyramid)
        skips = skips(pyramid)
        for skip, filters in zip(skips, DECODER_FILTERS):
            x = blocks(concat(upsample(x, skip), skip), filters)
        return blocks(upsample(x, image), DECODER_FILTERS[-1])
        """,
        "UNet's decoder",
    ),
)


def head_of(model: Model, kind: type[Head]) -> Head:
    """The model's head, which is of this kind."""
    assert isinstance(model.head, kind)
    return model.head


def is_learned(head: UNet) -> bool:
    """Whether sizes are doubled by transposed convolutions."""
    return head.decoder_block == "transpose"


def with_blocks(module: Module, model: Model, *before: Block) -> Module:
    """The module with the decoder's blocks, in the norm and activation of the head."""
    head, momentum = head_of(model, UNet), MOMENTUM[model.compat]
    blocks = (UP, LEAN_DECODER_BLOCK) if is_learned(head) else (DECODER_BLOCK,)
    changed = (
        with_norm(
            with_activation(block, head.decoder_activation),
            head.decoder_normalization,
            momentum,
            "NORM_GROUPS",
        )
        for block in blocks
    )
    module = replace(module, blocks=(*before, *changed))
    return learned(module, UPS, "blocks") if is_learned(head) else module


def constants(model: Model, head: UNet) -> tuple[Constant, ...]:
    """Named numbers of the decoder. Groups divide the filters of every stage."""
    filters = head.stage_filters
    return (
        *level_channels(model),
        Constant("DECODER_FILTERS", filters),
        Constant("NORM_GROUPS", math.gcd(8, *filters), text="math.gcd(8, *DECODER_FILTERS)"),
        Constant("DECODER_EPS", 1e-3, EPS_NOTE),
    )


def level_channels(model: Model) -> tuple[Constant, Constant]:
    """The channels of all levels, and of the skips as a decoder meets them."""
    skips, levels = PYRAMID["skips"], model.trunk.levels
    return (
        Constant(CHANNELS, model.level_channels, f"P1..{levels[-1]}"),
        Constant(
            SKIP_CHANNELS,
            skips(model.level_channels),
            ", ".join(skips(levels)),
            text=f"{CHANNELS}[-2::-1]",
        ),
    )


def class_head(activation: str, *after: Statement) -> Fragment:
    """The 1x1 convolution to the classes, and what follows it; `x` is the decoder's output."""
    layer = Conv("head", "DECODER_FILTERS[-1]", "num_classes", 1, bias=True, output=True)
    return Fragment((layer,), (Assign("x", activated(activation, "head")), *after))


def wiring(model: Model) -> Wiring:
    """UNet with its options."""
    head = head_of(model, UNet)
    return with_supervision(
        Wiring(
            (with_blocks(DECODER, model),),
            class_head(head.activation),
            constants(model, head),
        ),
        head,
    )


def with_supervision(wiring: Wiring, head: UNet) -> Wiring:
    """The wiring with auxiliary heads, where they are asked for."""
    if not head.deep_supervision:
        return wiring
    return supervised(wiring, head.stage_filters[-2:0:-1], "DECODER_FILTERS[-2:0:-1]")


# -- words -----------------------------------------------------------------------------------------


def stage_words(model: Model, steps: Sequence[Step], gated: str = "") -> list[TableRow]:
    """The table's lines of a decoder, stage by stage."""
    head = head_of(model, UNet)
    skips = PYRAMID["skips"](model.trunk.levels)
    up = "transposed conv" if is_learned(head) else "upsample"
    of = " of " if is_learned(head) else " "
    rows = []
    for i, step in enumerate(steps):
        source = f"{up}{of}{model.trunk.levels[-1]}" if i == 0 else up
        joined = f", concat {gated}{skips[i]}" if i < len(skips) else ""
        text = f"{source}{joined}, {convolutions(head)}"
        rows.append(TableRow(step.name, step.output, "", text))
    return rows


def convolutions(head: UNet) -> str:
    return "{3} convolution" if is_learned(head) else "two {3} convolutions"


def title(model: Model) -> str:
    return f"{model.title}, {model.dims}D"


def inputs(model: Model) -> str:
    head = head_of(model, UNet)
    output = f"[{head.stage_filters[-1]}]"
    if head.deep_supervision:
        output = f"the output of each stage, the last one {output}"
    return f"P1..{model.trunk.levels[-1]}, image [C] -> {output}."


def filter_problems(head: UNet, needed: int, first: str = "deepest") -> list[Problem]:
    """What is wrong with too few filters."""
    if len(head.decoder_filters) >= needed:
        return []
    typed = ",".join(map(str, head.decoder_filters))
    count = "1 entry" if "," not in typed else f"{len(head.decoder_filters)} entries"
    return [
        Problem(
            f"--decoder-filters {typed} has {count}, but {head.name} at depth {head.depth} has"
            f" {needed} stages",
            hint=f"one for each stage, {first} first",
        )
    ]


def problems(head: Segmentor, sizes: tuple[int, ...], encoder: Encoder | None) -> list[Problem]:
    assert isinstance(head, UNet)
    found = filter_problems(head, head.depth)
    return [*found, *stage_problems(head, head.depth)] if head.deep_supervision else found


UNET = Definition(
    UNet,
    wiring,
    Words(
        title=title,
        fits="works on images of any size",
        notes=lambda model: ("UNet: arXiv 1505.04597, Fig. 1.",),
        docs=lambda model: {
            "Decoder": Doc(
                "Upsample, concatenate the skip, convolve (UNet, Fig. 1).",
                paragraphs=(inputs(model),),
            )
        },
        rows=stage_words,
        output=lambda model: "{1} convolution",
    ),
    problems,
    ("medicai",),
)
