"""Network and Ledger -> Plan: what a file says, in words and numbers that every target shares.

In texts, `[C /2]` stands for a tensor of C channels at half size and `{Bottleneck}` for a block's
name: how either is written is the target's to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from .ir import Block, Conv
from .lower_trans import TableRow, TransPlan, trans_notes, trans_plan, trans_rows
from .model import (
    DIALECTS,
    AttentionUNet,
    Classifier,
    Encoder,
    Features,
    Model,
    Network,
    Segmentor,
    Stage,
    TransUNet,
    UNet,
    UNetPlusPlus,
)
from .passes.count import trainable
from .passes.trace import Ledger

RANK_NAMES = {2: ("H", "W"), 3: ("D", "H", "W")}


@dataclass(frozen=True)
class DecoderPlan:
    """What the decoder's template prints.

    It `extends` tensors by a voxel where the pool has rounded an odd size down.
    """

    skips: tuple[str, ...]
    skip_channels: tuple[int, ...]
    deepest_channels: int
    filters: tuple[int, ...]
    doc: str
    shapes: str
    gated: bool
    learned: bool
    ends_at_half: bool
    extends: bool


@dataclass(frozen=True)
class Plan:
    """What the templates print. Nothing is left to compute but spelling."""

    network: Network
    title: str
    table: tuple[TableRow, ...]
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    stages: tuple[tuple[object, ...], ...]
    stage_args: tuple[str, ...]
    stem_channels: int
    last_level: str
    encoder_doc: str
    model_doc: str
    decoder: DecoderPlan | None = None
    transformer: TransPlan | None = None


def lower(network: Network, ledger: Ledger) -> Plan:
    """Choose the words."""
    model, encoder = network.model, network.model.trunk
    args = network.residual.args[1:]  # the first is in_channels, which the loop carries
    last = encoder.levels[-1]
    return Plan(
        network=network,
        title=_title(model),
        table=_table(network, ledger),
        notes=_notes(model, trainable(ledger.rows)),
        columns=("depth", *args),
        stages=tuple(
            (stage.depth, *(getattr(stage, arg) for arg in args)) for stage in encoder.stages
        ),
        stage_args=args,
        stem_channels=encoder.stem.filters[-1],
        last_level=last,
        encoder_doc=_encoder_doc(encoder, last),
        model_doc=_model_doc(network, ledger),
        decoder=_decoder(model.head, encoder) if isinstance(model.head, UNet) else None,
        transformer=trans_plan(model, model.head) if isinstance(model.head, TransUNet) else None,
    )


def _title(model: Model) -> str:
    match model.head:
        case Classifier():
            return f"{model.encoder.title}, {model.dims}D classifier"
        case Features(pooling="none"):
            return f"{model.encoder.title}, {model.dims}D feature pyramid"
        case Features():
            return f"{model.encoder.title}, {model.dims}D pooled features"
        case TransUNet():
            return f"TransUNet on {model.encoder.title}, {model.dims}D segmentation"
        case UNet():
            return f"{model.encoder.title} {model.head.title}, {model.dims}D"


@dataclass(frozen=True)
class HeadWords:
    """What a file says about its segmentor: the paper, and how the decoder works."""

    reference: str
    doc: str


HEAD_WORDS = {
    "unet": HeadWords(
        "UNet: arXiv 1505.04597, Fig. 1.",
        "Upsample, concatenate the skip, convolve (UNet, Fig. 1).",
    ),
    "attention_unet": HeadWords(
        "Attention U-Net: arXiv 1804.03999, Fig. 2.",
        "Upsample, concatenate the gated skip, convolve (Attention U-Net, Fig. 1).",
    ),
    "unet_plus_plus": HeadWords(
        "UNet++: arXiv 1807.10165, Fig. 1.",
        "Nested skips (UNet++, Fig. 1a).",
    ),
}


def _notes(model: Model, parameters: int) -> tuple[str, ...]:
    """Size, peculiarities and papers, in paragraphs."""
    references = " ".join(_references(model.trunk))
    if model.encoder.dialect != "medicai":
        references += f" Matches {model.encoder.dialect} checkpoints."
    if not isinstance(model.head, Segmentor):
        return (f"{parameters:,} parameters. {references}",)
    if isinstance(model.head, TransUNet):
        return (*trans_notes(model, parameters), references)
    size = f"{parameters:,} parameters; works on images of any size."
    widths = () if model.head.by_level else ("As in medicai, the top row is the widest.",)
    return (f"{size} {HEAD_WORDS[model.head.name].reference}", *widths, references)


def _table(network: Network, ledger: Ledger) -> tuple[TableRow, ...]:
    model, encoder = network.model, network.model.trunk
    levels = ledger.pyramid
    rows = [
        TableRow("image", model.image),
        TableRow("stem", levels[0][1], levels[0][0], _stem_text(network)),
    ]
    for s, (stage, (level, shape)) in enumerate(zip(encoder.stages, levels[1:])):
        text = f"{stage.depth} x {{{network.residual.name}}}{_groups(encoder, stage)}"
        rows.append(TableRow(f"stage {s}", shape, level, text))
    rows += decoder_rows(model, ledger)
    match model.head:
        case Classifier(activation=activation):
            rows.append(TableRow(_output_label(activation), ledger.output))
        case Features(pooling="none"):
            pass
        case Features():
            rows.append(TableRow("pooled", ledger.output))
        case TransUNet(activation=activation):
            text = "upsample, {1} convolution"
            rows.append(TableRow(_output_label(activation), ledger.output, "", text))
        case UNet(activation=activation):
            text = "{1} convolution"
            if isinstance(model.head, UNetPlusPlus) and model.head.decoder_block == "upsampling":
                text += ", upsample"
            rows.append(TableRow(_output_label(activation), ledger.output, "", text))
    return tuple(rows)


def _output_label(activation: str) -> str:
    return "logits" if activation == "none" else activation


def decoder_rows(model: Model, ledger: Ledger) -> list[TableRow]:
    """The table's lines of a decoder, stage by stage."""
    head = model.head
    if isinstance(head, TransUNet):
        return trans_rows(model, head, ledger)
    if not isinstance(head, UNet):
        return []
    skips = [*reversed(model.trunk.levels[:-1])]
    learned = head.decoder_block == "transpose"
    block = "{3} convolution" if learned else "two {3} convolutions"
    up = "transposed conv" if learned else "upsample"
    of = " of " if learned else " "
    rows = []
    for i, (label, shape) in enumerate(ledger.decoder):
        if isinstance(head, UNetPlusPlus):
            nodes = "1 node" if i == 0 else f"{i + 1} nodes"
            text = f"{skips[i]} and {nodes}" + (f" ({block})" if i == 0 else "")
            label = f"row {i}"
        else:
            gated = "gated " if isinstance(head, AttentionUNet) else ""
            source = f"{up}{of}{model.trunk.levels[-1]}" if i == 0 else up
            joined = f", concat {gated}{skips[i]}" if i < len(skips) else ""
            text = f"{source}{joined}, {block}"
        rows.append(TableRow(label, shape, "", text))
    if isinstance(head, UNetPlusPlus) and learned:
        rows.append(TableRow("last up", (ledger.decoder[-1][1][0], *model.image[1:]), "", up))
    return rows


def _stem_text(network: Network) -> str:
    kernels = [layer.kernel for layer in network.stem.layers if isinstance(layer, Conv)]
    words = [_times(kernel, network.model.dims) for kernel in kernels]
    if len(words) == 1:
        return f"{words[0]} convolution, stride 2"
    if len(set(words)) == 1:
        return f"{len(words)} x {words[0]} convolution, the first with stride 2"
    return f"{', '.join(words)} convolutions, the first with stride 2"


def _times(kernel: object, dims: int) -> str:
    axes = kernel if isinstance(kernel, tuple) else (kernel,) * dims
    return "x".join(map(str, axes))


def _groups(encoder: Encoder, stage: Stage) -> str:
    if encoder.groups == 1:
        return ""
    return f", {encoder.groups} groups of {stage.width // encoder.groups}"


def _references(encoder: Encoder) -> tuple[str, ...]:
    """The papers, the file's own first."""
    references = []
    if encoder.groups > 1:
        references.append("ResNeXt: arXiv 1611.05431, Table 1.")
    elif not encoder.pooled_shortcut:
        references.append("ResNet: arXiv 1512.03385, Table 1.")
    if encoder.pooled_shortcut:
        references.append("ResNet-D: arXiv 1812.01187, Fig. 2.")
    if encoder.pre_activation:
        references.append("ResNet v2: arXiv 1603.05027, Fig. 4e.")
    if encoder.se:
        references.append("SE: arXiv 1709.01507, Fig. 3.")
    return tuple(references)


def _decoder(head: UNet, encoder: Encoder) -> DecoderPlan:
    channels = [encoder.stem.filters[-1], *(stage.channels for stage in encoder.stages)]
    levels = encoder.levels
    learned = head.decoder_block == "transpose"
    filters = head.stage_filters
    ends_at_half = isinstance(head, UNetPlusPlus) and not learned
    inputs = f"P1..{levels[-1]}" if ends_at_half else f"P1..{levels[-1]}, image [C]"
    return DecoderPlan(
        skips=levels[-2::-1],
        skip_channels=tuple(channels[-2::-1]),
        deepest_channels=channels[-1],
        filters=filters,
        doc=HEAD_WORDS[head.name].doc,
        shapes=f"{inputs} -> [{filters[-1]}{' /2' if ends_at_half else ''}].",
        gated=isinstance(head, AttentionUNet),
        learned=learned,
        ends_at_half=ends_at_half,
        extends=DIALECTS[encoder.dialect].ceil_pool,
    )


def _encoder_doc(encoder: Encoder, last: str) -> str:
    doc = f'[C] -> {{"P1": ..., "{last}": ...}}'
    halves = encoder.strides[0] == 1 and set(encoder.strides[1:]) <= {2}
    return f"{doc}; Pi is 2**i times smaller than the image." if halves else f"{doc}."


def _model_doc(network: Network, ledger: Ledger) -> str:
    model = network.model
    image = f"[{model.in_channels}]"
    match model.head:
        case Classifier(num_classes=classes, activation="none"):
            return f"{image} -> (N, {classes}) logits."
        case Classifier(num_classes=classes, activation=activation):
            return f"{image} -> (N, {classes}), after a {activation}."
        case Features(pooling=pooling):
            channels = ledger.output[0]
            what = model.trunk.levels[-1]
            if model.trunk.pre_activation:
                what += " after a final BN and ReLU"
            if pooling == "none":
                return f"{image} -> [{channels} /{_downsampling(model.trunk)}], {what}."
            reduced = {"avg": "mean", "max": "maximum"}[pooling]
            return f"{image} -> (N, {channels}), the spatial {reduced} of {what}."
        case TransUNet(num_classes=classes, activation=activation):
            after = "logits" if activation == "none" else f"after a {activation}"
            return f"{image} -> [{classes}] {after}. The position table fixes the image size."
        case UNet(num_classes=classes, activation="none"):
            return f"{image} -> [{classes}] logits."
        case UNet(num_classes=classes, activation=activation):
            return f"{image} -> [{classes}], after a {activation}."


def _downsampling(encoder: Encoder) -> int:
    result = 4
    for stride in encoder.strides:
        result *= stride
    return result


def doc_of(block: Block) -> tuple[str, str]:
    """A block's docstring: what it is, with its figure and additions; and its shapes."""
    figure = f" ({block.source})" if block.source else ""
    additions = f" with {' and '.join(block.additions)}" if block.additions else ""
    return f"{block.doc}{figure}{additions}.", block.shapes
