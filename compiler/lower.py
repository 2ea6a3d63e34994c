"""Network and Ledger -> Plan: what a file says, in words and numbers that every target shares.

In texts, `[C /2]` stands for a tensor of C channels at half size and `{Bottleneck}` for a block's
name: how either is written is the target's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from .axes import times
from .dialects import on_other_axes
from .ir import Block, Conv
from .model import Classifier, Encoder, Features, Model, Segmentor, Stage
from .network import Network
from .passes.count import trainable
from .passes.trace import Ledger
from .segmentors import segmentor_named
from .segmentors.base import Doc, TableRow, divisor_of


@dataclass(frozen=True)
class Plan:
    """What the templates print. Nothing is left to compute but spelling.

    `docs` are those of the modules, by their names.
    """

    network: Network
    title: str
    table: tuple[TableRow, ...]
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    stages: tuple[tuple[object, ...], ...]
    stage_args: tuple[str, ...]
    encoder_doc: str
    model_doc: str
    docs: Mapping[str, Doc]

    @property
    def model(self) -> Model:
        return self.network.model

    @property
    def rank(self) -> int:
        return self.model.dims

    @property
    def inference(self) -> str:
        """What follows the title of a file for inference."""
        return ", for inference" * self.model.deploy

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels that the network has: P1, P2, ..."""
        return self.model.trunk.levels


def lower(network: Network, ledger: Ledger) -> Plan:
    """Choose the words."""
    model = network.model
    args = network.residual.args[1:]  # the first is in_channels, which the loop carries
    head = model.head
    return Plan(
        network=network,
        title=_title(model),
        table=_table(network, ledger),
        notes=_notes(model, trainable(ledger.rows)),
        columns=("depth", *args),
        stages=network.stages,
        stage_args=args,
        encoder_doc=_encoder_doc(model),
        model_doc=_model_doc(network, ledger),
        docs=segmentor_named(head.name).words.docs(model) if isinstance(head, Segmentor) else {},
    )


def _title(model: Model) -> str:
    match model.head:
        case Classifier():
            return f"{model.encoder.title}, {model.dims}D classifier"
        case Features(pooling="none"):
            return f"{model.encoder.title}, {model.dims}D feature pyramid"
        case Features():
            return f"{model.encoder.title}, {model.dims}D pooled features"
        case Segmentor():
            return segmentor_named(model.head.name).words.title(model)
        case _:
            assert_never(model.head)


def _notes(model: Model, parameters: int) -> tuple[str, ...]:
    """Size, peculiarities and papers, in paragraphs."""
    references = " ".join(_references(model.trunk))
    if not model.encoder.published:
        references += f" The encoder has {_changes(model.encoder)}."
    elif model.encoder.dialect != "medicai":
        dialect = model.encoder.dialect
        other = on_other_axes(model.trunk, dialect)
        references += f" {other or f'Matches {dialect} checkpoints.'}"
    if not isinstance(model.head, Segmentor):
        size = "; ".join(filter(None, [f"{parameters:,} parameters", _multiples(model)]))
        return (f"{size}. {references}",)
    words = segmentor_named(model.head.name).words
    reference, *more = words.notes(model)
    fits = _multiples(model) or words.fits
    return (f"{parameters:,} parameters; {fits}. {reference}", *more, references)


def _multiples(model: Model) -> str:
    """What the image's sizes must be; "" where any will do."""
    by = model.multiples
    return f"image sizes must be multiples of {times(by, model.dims)}" if by else ""


def _changes(encoder: Encoder) -> str:
    """What stands for batch norm and ReLU: `instance norm and leaky_relu`."""
    norm = f"{encoder.norm} norm" if encoder.norm != "batch" else ""
    activation = encoder.activation if encoder.activation != "relu" else ""
    return " and ".join(word for word in (norm, activation) if word)


def _table(network: Network, ledger: Ledger) -> tuple[TableRow, ...]:
    model, encoder = network.model, network.model.trunk
    levels = [(_with_divisor(model, i), shape) for i, (_, shape) in enumerate(ledger.pyramid)]
    rows = [TableRow("image", model.image)]
    if network.stem.layers:
        level = levels.pop(0)[0] if encoder.first_level == 2 else ""
        rows.append(TableRow("stem", ledger.encoder[0].output, level, _stem_text(network)))
    for s, (stage, (level, shape)) in enumerate(zip(encoder.stages, levels, strict=True)):
        text = f"{stage.depth} x {{{network.residual.name}}}{_groups(encoder, stage)}"
        rows.append(TableRow(f"stage {s}", shape, level, text))
    match model.head:
        case Classifier(activation=activation):
            rows.append(TableRow(_output_label(activation), ledger.output))
        case Features(pooling="none"):
            pass
        case Features():
            rows.append(TableRow("pooled", ledger.output))
        case Segmentor(activation=activation):
            words = segmentor_named(model.head.name).words
            rows += words.rows(model, ledger.stages)
            label = _output_label(activation)
            rows.append(TableRow(label, ledger.output, "", words.output(model)))
            when = "in training" if network.supervised else "unused"
            rows += [
                TableRow(step.name, step.output, "", f"{{1}} convolution of {stage.name}, {when}")
                for step, stage in zip(ledger.aux, ledger.stages[-2::-1])
            ]
        case _:
            assert_never(model.head)
    return tuple(rows)


def _with_divisor(model: Model, level: int) -> str:
    """`P2`; with what its sizes are divided by, where levels do not simply halve: `P2 /1x4x4`."""
    name = model.trunk.levels[level]
    return name if model.halves else f"{name} /{times(model.divisors[level], model.dims)}"


def _output_label(activation: str) -> str:
    return "logits" if activation == "none" else activation


def _stem_text(network: Network) -> str:
    kernels = [layer.kernel for layer in network.stem.layers if isinstance(layer, Conv)]
    words = [times(kernel, network.model.dims) for kernel in kernels]
    one, first = ", stride 2", ", the first with stride 2"
    if not network.model.halves:  # the level says its divisors
        one = first = ""
    if len(words) == 1:
        return f"{words[0]} convolution{one}"
    if len(set(words)) == 1:
        return f"{len(words)} x {words[0]} convolution{first}"
    return f"{', '.join(words)} convolutions{first}"


def _groups(encoder: Encoder, stage: Stage) -> str:
    if encoder.groups == 1:
        return ""
    return f", {encoder.groups} groups of {stage.width // encoder.groups}"


def _references(encoder: Encoder) -> tuple[str, ...]:
    """The papers, the file's own first."""
    references = []
    if encoder.units:
        references.append("nnU-Net: arXiv 1904.08128.")
        if encoder.residual:
            references.append(
                "Residual encoders: arXiv 2404.09556. ResNet-D: arXiv 1812.01187, Fig. 2."
            )
        return (*references, *["SE: arXiv 1709.01507, Fig. 3."] * bool(encoder.se))
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


def _encoder_doc(model: Model) -> str:
    """Shapes, and how much smaller the levels are: the table has those that do not halve."""
    doc = f'[C] -> {{"P1": ..., "{model.trunk.levels[-1]}": ...}}'
    if model.halves:
        return f"{doc}; Pi is 2**i times smaller than the image."
    last, by = model.trunk.levels[-1], times(model.divisors[-1], model.dims)
    return f"{doc}; {last} is {by} times smaller than the image."


def _model_doc(network: Network, ledger: Ledger) -> str:
    model, encoder = network.model, network.model.encoder
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
                norm = "BN" if encoder.norm == "batch" else f"{encoder.norm} norm"
                activation = "ReLU" if encoder.activation == "relu" else encoder.activation
                what += f" after a final {norm} and {activation}"
            if pooling == "none":
                return f"{image} -> [{channels} /{divisor_of(model, -1)}], {what}."
            reduced = {"avg": "mean", "max": "maximum"}[pooling]
            return f"{image} -> (N, {channels}), the spatial {reduced} of {what}."
        case Segmentor(num_classes=classes, activation=activation):
            more = segmentor_named(model.head.name).words.model
            after = " logits" if activation == "none" else f", after a {activation}"
            return f"{image} -> [{classes}]{after}. {more}".rstrip()
        case _:
            assert_never(model.head)


def doc_of(block: Block) -> tuple[str, str]:
    """A block's docstring: what it is, with its figure and additions; and its shapes."""
    figure = f" ({block.source})" if block.source else ""
    additions = f" with {' and '.join(block.additions)}" if block.additions else ""
    return f"{block.doc}{figure}{additions}.", block.shapes
