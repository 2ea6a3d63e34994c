"""nnU-Net's decoder: learned upsampling, concatenation, convolutions, and a head for each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypedDict

from .. import limits
from ..axes import entry, plain, spread
from ..blocks import LEAN_DECODER_BLOCK
from ..errors import Problem, counted
from ..ir import Constant, Conv, ConvTranspose, Each, Fragment, Module
from ..model import Encoder, Model, Segmentor
from ..operations import PYRAMID
from ..option import option
from ..parsing import parse
from ..passes.channels import CHANNELS
from ..passes.kernels import SCALES, with_kernels
from ..passes.steps import Step
from ..passes.units import dressed
from ..passes.variants import without_argument
from ..program import Assign, activated
from .base import Definition, Doc, TableRow, Wiring, Words
from .supervision import supervised, with_heads
from .unet import BLOCKS, head_of, level_channels, title

UP = ConvTranspose("up", "", "", stride="", exact=True)
KERNELS, FILTERS = "DECODER_KERNELS", "DECODER_FILTERS"


@dataclass(frozen=True)
class NNUNet(Segmentor):
    """nnU-Net's decoder on all levels of one of its encoders.

    `decoder_convs` are the convolutions of each stage, deepest first; a single number is that of
    every stage. `lower_heads` are there for their weights only.
    """

    depth: int = 5
    decoder_convs: tuple[int, ...] = option(
        (2,),
        "counts",
        "Convolutions of nnU-Net's decoder stages, deepest first, or one number for all.",
        limit=limits.BLOCKS,
        follows="decoder_convs",
    )
    deep_supervision: bool = option(
        False, "flag", "In training, return logits of the coarser decoder stages too."
    )
    lower_heads: bool = option(
        False,
        "flag",
        "Keep the heads of the coarser decoder stages, which nnU-Net's checkpoints hold.",
    )

    name: ClassVar[str] = "nnunet"
    title: ClassVar[str] = "nnU-Net"
    exact: ClassVar[bool] = True

    @property
    def convs(self) -> tuple[int, ...]:
        """Convolutions of each decoder stage, deepest first."""
        stages = self.depth - 1
        return self.decoder_convs * stages if len(self.decoder_convs) == 1 else self.decoder_convs


class NNUNetOptions(TypedDict, total=False):
    """nnU-Net's own options, as keywords."""

    decoder_convs: Sequence[int] | str | None
    lower_heads: bool | None


DECODER = Module(
    name="Decoder",
    path="decoder",
    blocks=(),
    layers=(
        Each("ups", UP, one="up"),
        BLOCKS,
    ),
    body=parse(
        """
        x = deepest(pyramid)
        skips = skips(pyramid)
        for skip, scale, kernel, widths in zip(skips, SCALES, DECODER_KERNELS, DECODER_FILTERS):
            x = ups(x, channels(skip), scale)
            x = concat(x, skip)
            for filters in widths:
                x = blocks(x, filters, kernel)
        return x
        """,
        "nnU-Net's decoder",
    ),
    inputs=(("pyramid", ""),),
)


def wiring(model: Model) -> Wiring:
    """nnU-Net's decoder. What is the same in every stage is written out, not looped over."""
    head, encoder = head_of(model, NNUNet), model.trunk
    assert encoder.units
    strides = model.steps[:0:-1]
    kernels = tuple(stage.kernel for stage in encoder.stages[-2::-1])
    widths = PYRAMID["skips"](model.level_channels)
    filters = tuple((width,) * convs for width, convs in zip(widths, head.convs, strict=True))
    constants = [*level_channels(model), Constant(FILTERS, filters, "of each convolution")]
    block = dressed(replace(LEAN_DECODER_BLOCK, doc="{3} convolution"), encoder)
    block = with_kernels(block, kernels)
    module = replace(DECODER, blocks=(block,))
    up = replace(UP, bias=encoder.units.bias)
    if len(set(strides)) == 1:
        up = replace(up, stride=plain(strides[0]))
        module = without_argument(module, "ups", SCALES)
    else:
        constants.append(Constant(SCALES, strides, "strides of the stages below the skips"))
    if "kernel" in block.args:
        values = tuple(spread(kernel, model.dims) for kernel in kernels)
        constants.append(
            Constant(KERNELS, values if block.per_axis else tuple(k[0] for k in values))
        )
    else:
        module = without_argument(module, "blocks", KERNELS)
    layers = tuple(replace(x, of=up) if x.name == "ups" else x for x in module.layers)
    made = Wiring((replace(module, layers=layers),), class_head(head), tuple(constants))
    coarser, text = model.level_channels[1:-1], f"{CHANNELS}[1:-1]"
    if head.deep_supervision:
        return supervised(made, coarser, text, lowest=0)
    if head.lower_heads:
        return with_heads(made, coarser, text, "of the coarser stages", lowest=0, used=False)
    return made


def with_called_heads(model: Model) -> Model:
    """The model that calls in training the heads which it has for their weights only."""
    if isinstance(model.head, NNUNet) and model.head.lower_heads:
        return replace(model, head=replace(model.head, lower_heads=False, deep_supervision=True))
    return model


def class_head(head: NNUNet) -> Fragment:
    """The 1x1 convolution to the classes."""
    layer = Conv("head", f"{CHANNELS}[0]", "num_classes", 1, bias=True, output=True)
    return Fragment((layer,), (Assign("x", activated(head.activation, "head")),))


# -- words -----------------------------------------------------------------------------------------


def rows(model: Model, steps: Sequence[Step]) -> list[TableRow]:
    head = head_of(model, NNUNet)
    levels = model.trunk.levels
    found = []
    for i, (step, skip, convs) in enumerate(zip(steps, PYRAMID["skips"](levels), head.convs)):
        up = f"transposed conv of {levels[-1]}" if i == 0 else "transposed conv"
        text = f"{up}, concat {skip}, {counted(convs, 'convolution')}"
        found.append(TableRow(step.name, step.output, "", text))
    return found


def doc(model: Model) -> Doc:
    head = head_of(model, NNUNet)
    output = f"[{model.level_channels[0]}]"
    if head.deep_supervision:
        output = f"the output of each stage, the last one {output}"
    return Doc(
        "Transposed convolution, concatenate the skip behind it, convolve.",
        paragraphs=(f"P1..{model.trunk.levels[-1]} -> {output}.",),
    )


def problems(head: Segmentor, sizes: tuple[int, ...], encoder: Encoder | None) -> list[Problem]:
    assert isinstance(head, NNUNet)
    if encoder is None:
        return []
    if encoder.units is None:
        hint = "use nnunet_plain or nnunet_resenc, or an encoder with blocks of theirs"
        return [
            Problem(f"nnU-Net's decoder is for its own encoders, not {encoder.name}", hint=hint)
        ]
    if max(spread(encoder.strides[0], 3)) > 1:
        return [
            Problem(
                f"stage 0 of {encoder.name} strides by {entry(encoder.strides[0])}, which nnU-Net's"
                " decoder does not undo: the logits would be smaller than the image",
                hint="use 1 in stage 0",
                field="strides[0]",
            )
        ]
    stages, given = head.depth - 1, len(head.decoder_convs)
    if given not in (1, stages):
        return [
            Problem(
                f"--decoder-convs has {counted(given, 'entry', 'entries')}, but the decoder of"
                f" {encoder.name} has {counted(stages, 'stage')}",
                hint="one for each stage, deepest first, or one number for all",
            )
        ]
    if stages < 2 and (head.deep_supervision or head.lower_heads):
        flag = "--deep-supervision" if head.deep_supervision else "--lower-heads"
        message = f"{flag} adds nothing to {encoder.name}: its decoder has a single stage"
        return [Problem(message, hint="leave it out")]
    return []


NNUNET = Definition(
    NNUNet,
    wiring,
    Words(
        title=title,
        fits="",
        notes=lambda model: ("Logits of the classes or regions, without an activation.",),
        docs=lambda model: {"Decoder": doc(model)},
        rows=rows,
        output=lambda model: "{1} convolution",
    ),
    problems,
)
