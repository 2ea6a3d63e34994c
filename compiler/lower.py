"""Network and Ledger -> Plan: what a file says, in words and numbers that every target shares.

In texts, `[C /2]` stands for a tensor of C channels at half size and `{Bottleneck}` for a block's
name: how either is written is the target's to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir import Block, Classifier, Conv, Encoder, Features, Network, Shape, Stage
from compiler.passes.count import trainable
from compiler.passes.trace import Ledger

RANK_NAMES = {2: ("H", "W"), 3: ("D", "H", "W")}


@dataclass(frozen=True)
class TableRow:
    """A line of the docstring's table."""

    label: str
    shape: Shape
    level: str = ""
    text: str = ""


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


def lower(network: Network, ledger: Ledger) -> Plan:
    """Choose the words."""
    model, encoder = network.model, network.model.encoder
    args = network.residual.args[1:]  # the first is in_channels, which the loop carries
    last = encoder.levels[-1]
    return Plan(
        network=network,
        title=f"{encoder.title}, {model.dims}D {_role(network)}",
        table=_table(network, ledger),
        notes=(f"{trainable(ledger.rows):,} parameters.", *_references(encoder)),
        columns=("depth", *args),
        stages=tuple(
            (stage.depth, *(getattr(stage, arg) for arg in args)) for stage in encoder.stages
        ),
        stage_args=args,
        stem_channels=encoder.stem.filters[-1],
        last_level=last,
        encoder_doc=_encoder_doc(encoder, last),
        model_doc=_model_doc(network, ledger),
    )


def _role(network: Network) -> str:
    match network.model.head:
        case Classifier():
            return "classifier"
        case Features(pooling="none"):
            return "feature pyramid"
        case Features(pooling=pooling):
            return f"feature pyramid and {'average' if pooling == 'avg' else 'maximum'} features"


def _table(network: Network, ledger: Ledger) -> tuple[TableRow, ...]:
    model, encoder = network.model, network.model.encoder
    levels = ledger.pyramid
    rows = [
        TableRow("image", model.image),
        TableRow("stem", levels[0][1], levels[0][0], _stem_text(network)),
    ]
    for s, (stage, (level, shape)) in enumerate(zip(encoder.stages, levels[1:])):
        text = f"{stage.depth} x {{{network.residual.name}}}{_groups(encoder, stage)}"
        rows.append(TableRow(f"stage {s}", shape, level, text))
    if isinstance(model.head, Classifier):
        label = "logits" if model.head.activation == "none" else "classes"
        rows.append(TableRow(label, ledger.output, "", _after(model.head)))
    elif model.head.pooling != "none":
        rows.append(TableRow("pooled", ledger.output))
    return tuple(rows)


def _after(head: Classifier) -> str:
    return "" if head.activation == "none" else head.activation


def _stem_text(network: Network) -> str:
    kernels = [layer.kernel for layer in network.stem.layers if isinstance(layer, Conv)]
    words = [_times(kernel, network.model.dims) for kernel in kernels]
    if len(words) == 1:
        return f"{words[0]} convolution, stride 2"
    return f"{', '.join(words)} convolutions, stride 2 in the first"


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
    elif encoder.block != "bottleneck_vd":
        references.append("ResNet: arXiv 1512.03385, Table 1.")
    if encoder.block == "bottleneck_vd":
        references.append("ResNet-D: arXiv 1812.01187, Fig. 2.")
    if encoder.pre_activation:
        references.append("ResNet v2: arXiv 1603.05027, Fig. 4e.")
    if encoder.se:
        references.append("SE: arXiv 1709.01507, Fig. 3.")
    return tuple(references)


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
            what = model.encoder.levels[-1]
            if model.encoder.pre_activation:
                what += " after a last BN and ReLU"
            if pooling == "none":
                return f"{image} -> [{channels} /{_downsampling(model.encoder)}], {what}."
            reduced = {"avg": "mean", "max": "maximum"}[pooling]
            return f"{image} -> (N, {channels}), the {reduced} over space of {what}."


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
