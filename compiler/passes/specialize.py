"""Model -> Network: SE, grouping and pre-activation written into the blocks themselves.

Each step is Block -> Block (or Fragment), so that no template ever asks which variant it prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from ..blocks import RESIDUAL_BLOCKS, SQUEEZE_EXCITE
from ..dialect import Dialect
from ..ir import Axes, Block, Call, Constant, Conv, Dropout, Fragment, Linear, Module, Norm
from ..model import Classifier, Encoder, Features, Model, Segmentor
from ..network import Network
from ..operations import OPERATIONS, POSITIVE, PYRAMID
from ..parsing import check
from ..parts import SqueezeExcite
from ..program import (
    Apply,
    Assign,
    Expression,
    Name,
    activated,
    chain,
    rewritten,
    unwrapped,
    wrapped,
)
from ..segmentors import segmentor_named
from .inference import as_run, for_inference
from .initialized import initialized
from .joined import joining
from .kernels import blocks_per_axis
from .per_axis import with_scales
from .units import dressed, unit_constants
from .variants import with_activation

DROP_PATH_NOTE = "stochastic depth (arXiv 1603.09382, Fig. 2): rate of the last block"


def specialize(model: Model) -> Network:
    """Write every choice of the model into its blocks."""
    if model.deploy:
        network = for_inference(_specialized(as_run(model)))
        check_modules(network)
        return network
    network = _specialized(model)
    return initialized(network, model.init) if model.init != "pytorch" else network


def _specialized(model: Model) -> Network:
    encoder = model.trunk
    dialect = encoder.rules
    block, projection = RESIDUAL_BLOCKS[encoder.block, encoder.pre_activation]
    constants = [Constant("STEM_CHANNELS", n) for n in encoder.stem.filters[-1:]]
    blocks: list[Block] = []
    if encoder.groups > 1:
        constants.append(Constant("GROUPS", encoder.groups))
        block = group(block)
    if encoder.se:
        constants.append(Constant("SE_RATIO", encoder.se.ratio))
        channels = [stage.channels for stage in encoder.stages]
        blocks.append(squeeze_excite(encoder.se, channels, dialect.divisor))
        relu_first = dialect.relu_before_gate and encoder.basic
        block = insert_squeeze_excite(block, dialect.gate_after_norm, relu_first)
    if dialect.strided_1x1 and encoder.groups == 1:
        block = stride_first(block)
    if dialect.zero_gamma and encoder.residual:
        block = start_as_shortcut(block)
    if projection:
        if encoder.pre_activation:
            projection = without_norm(projection)
            block = shortcut_by(block, projection)
        blocks.append(dressed(projection, encoder))
    if model.drop_path:
        constants.append(Constant("DROP_PATH", model.drop_path, DROP_PATH_NOTE))
        block = drop_path(block)
    constants += unit_constants(encoder.units)
    block = dressed(block, encoder)
    for each in (*blocks, block):
        check_block(each)
    network = Network(
        model=model,
        constants=tuple(constants),
        blocks=blocks_per_axis((*blocks, block), encoder),
        stem=dressed(stem(encoder, model.include_rescaling), encoder),
        pool=pool(encoder, dialect),
        head=dressed(head(model, last_channels(block)), encoder),
    )
    if isinstance(model.head, Classifier) and model.head.dropout:
        rate = Constant("DROPOUT", model.head.dropout)
        network = replace(network, constants=(*network.constants, rate))
    if not isinstance(model.head, Segmentor):
        return network
    wiring = segmentor_named(model.head.name).wiring(model)
    if not model.halves and not model.head.exact:  # which is told its scales
        wiring = with_scales(wiring, model)
    if model.memory != "standard":
        wiring = replace(wiring, modules=tuple(map(recomputed, wiring.modules)))
    network = replace(
        network,
        head=wiring.head,
        modules=wiring.modules,
        more_constants=wiring.constants,
        aux_head=wiring.aux_head,
    )
    check_modules(network)
    return network


def check_modules(network: Network) -> None:
    """Raise `CompileError` for a module, or a block of one, whose program means nothing."""
    numbers = {constant.name for constant in network.more_constants}
    for module in network.modules:
        for each in module.blocks:
            check_block(each)
        known = numbers | {*module.arguments} | {tensor for tensor, _ in module.inputs}
        check(
            module.body,
            f"the {module.name} of {network.model.title}",
            known,
            {each.name for each in module.layers},
            {*OPERATIONS, *PYRAMID},
        )


def check_block(block: Block) -> None:
    """Raise `CompileError` for a block whose body means nothing."""
    known = {*block.args} | {tensor for tensor, _ in block.inputs}
    layers = {layer.name for layer in block.layers}
    repeated = {layer.name for layer in block.layers if isinstance(layer, Dropout)}
    check(block.body, block.name, known, layers - repeated, {*OPERATIONS, *repeated})


def group(block: Block) -> Block:
    """Grouped 3x3 convolutions (ResNeXt, Fig. 3c)."""
    layers = tuple(
        replace(layer, groups="GROUPS") if isinstance(layer, Conv) and layer.kernel != 1 else layer
        for layer in block.layers
    )
    return replace(
        block,
        layers=layers,
        doc="Grouped " + block.doc[0].lower() + block.doc[1:],
        source="ResNeXt, Fig. 3c" if block.source.startswith("ResNet, ") else block.source,
    )


def squeeze_excite(se: SqueezeExcite, channels: Sequence[int], divisor: int = 1) -> Block:
    """The gate with its activation; its width says no more than these channels need."""
    squeezed = "channels // SE_RATIO"
    if any(c < se.ratio for c in channels):
        squeezed = "max(1, channels // SE_RATIO)"
    half = divisor // 2
    if any(
        max(1, c // se.ratio) != max(divisor, (c // se.ratio + half) // divisor * divisor)
        for c in channels
    ):
        squeezed = f"max({divisor}, (channels // SE_RATIO + {half}) // {divisor} * {divisor})"
    first, second = (layer for layer in SQUEEZE_EXCITE.layers if isinstance(layer, Conv))
    layers = (replace(first, cout=squeezed), replace(second, cin=squeezed))
    return with_activation(replace(SQUEEZE_EXCITE, layers=layers), se.activation)


def insert_squeeze_excite(
    block: Block, after_norm: bool = False, relu_first: bool = False
) -> Block:
    """The gate after the last convolution: before its norm, or after it and perhaps a ReLU."""
    kinds = Norm if after_norm else Conv
    last = [layer for layer in block.layers if isinstance(layer, kinds)][-1]
    at = block.layers.index(last) + 1
    gate = Call("se", "SqueezeExcite", ("channels",))
    body = wrapped(block.body, last.name, gate.name)
    if relu_first:
        body = wrapped(body, last.name, "relu")
    return replace(
        block,
        additions=(*block.additions, "SE"),
        layers=(*block.layers[:at], gate, *block.layers[at:]),
        body=body,
    )


RATE = "rate"  # of a block, as it is called in files


def drop_path(block: Block) -> Block:
    """Stochastic depth: what is added to the shortcut is dropped for whole samples."""
    name = "drop_path"

    def change(node: Expression) -> Expression:
        match node:
            case Apply(function="add", args=(branch, Name(id="residual") as residual)):
                return replace(node, args=(Apply(name, (branch,)), residual))
            case _:
                return node

    return replace(
        block,
        layers=(*block.layers, Dropout(name, RATE, samples=True)),
        body=rewritten(block.body, change),
        rates=(RATE,),
    )


def recomputed(module: Module) -> Module:
    """The module with checkpoints: the blocks that it calls run again in the backward pass."""
    called = {each.of for each in module.layers}
    blocks = (replace(block, recomputed=block.name in called) for block in module.blocks)
    return joining(replace(module, blocks=tuple(blocks)))


def stride_first(block: Block) -> Block:
    """The stride of a bottleneck on its first 1x1 convolution, as before ResNet v1.5."""
    strides: dict[str, Axes] = {"conv1": "stride", "conv2": 1}
    layers = tuple(
        (
            replace(layer, stride=strides[layer.name])
            if isinstance(layer, Conv) and layer.name in strides and block.name == "Bottleneck"
            else layer
        )
        for layer in block.layers
    )
    return replace(block, layers=layers)


def start_as_shortcut(block: Block) -> Block:
    """The last norm scaled by zero at first: the block passes its shortcut on."""
    last = [layer for layer in block.layers if isinstance(layer, Norm)][-1]
    changed = replace(last, zero_init=True)
    return replace(block, layers=tuple(changed if x is last else x for x in block.layers))


def pool(encoder: Encoder, dialect: Dialect) -> str:
    """The stem's max-pool: zero-padded (enough after a ReLU), padded with -inf, or unpadded.

    With stride 1 on all axes, there is none: "".
    """
    if encoder.stem.pool == 1:
        return ""
    kind = "ceil_max_pool" if dialect.ceil_pool else "max_pool"
    signed = encoder.pre_activation or encoder.activation not in POSITIVE
    return f"signed_{kind}" if signed else kind


def without_norm(projection: Block) -> Block:
    """The projection of a pre-activation block: its input is already normalized."""
    norms = [layer.name for layer in projection.layers if isinstance(layer, Norm)]
    layers = tuple(layer for layer in projection.layers if layer.name not in norms)
    return replace(projection, layers=layers, body=unwrapped(projection.body, norms))


def shortcut_by(block: Block, projection: Block) -> Block:
    """The block with its shortcut convolution replaced by a block of its own."""
    layers = tuple(
        (
            Call("shortcut", projection.name, projection.args, when=layer.when)
            if layer.name == "shortcut" and isinstance(layer, Conv)
            else layer
        )
        for layer in block.layers
    )
    return replace(block, layers=layers)


def stem(encoder: Encoder, rescaling: bool) -> Fragment:
    """Convolutions with BN and ReLU, the first with the stride; in v2 the last is bare."""
    layers: list[Conv | Norm] = []
    body = [Assign("x", chain("rescale"))] if rescaling else []
    cin: int | str = "in_channels"
    last = len(encoder.stem.filters)
    for i, (filters, kernel) in enumerate(zip(encoder.stem.filters, encoder.stem.kernels), 1):
        channels: int | str = "STEM_CHANNELS" if i == last else filters
        stride = encoder.stem.stride if i == 1 else 1
        layers.append(Conv(f"conv{i}", cin, channels, kernel, stride=stride))
        cin = channels
        if encoder.pre_activation and i == last:
            body.append(Assign("x", chain(f"conv{i}")))
        else:
            layers.append(Norm(f"bn{i}", channels))
            body.append(Assign("x", chain("relu", f"bn{i}", f"conv{i}")))
    return Fragment(tuple(layers), tuple(body))


def last_channels(block: Block) -> str:
    """The channels of the last level, as the table of stages has them in these columns."""
    return f"STAGES[-1][{1 + block.args[1:].index('channels')}]"


def head(model: Model, channels: str) -> Fragment:
    """What makes the output of the last level, both of them `x`; a segmentor has its own."""
    layers: list[Norm | Linear | Dropout] = []
    body: list[Assign] = []
    if model.trunk.pre_activation:
        layers.append(Norm("post_bn", channels))
        body.append(Assign("x", chain("relu", "post_bn")))
    match model.head:
        case Classifier(activation=activation, dropout=dropout):
            layers += [Dropout("dropout", "DROPOUT")] if dropout else []
            layers.append(Linear("head", channels, "num_classes", output=True))
            body.append(Assign("x", chain("global_average")))
            body += [Assign("x", chain("dropout"))] if dropout else []
            body.append(Assign("x", activated(activation, "head")))
        case Features(pooling="avg"):
            body.append(Assign("x", chain("global_average")))
        case Features(pooling="max"):
            body.append(Assign("x", chain("global_max")))
        case Features() | Segmentor():
            pass
        case _:
            assert_never(model.head)
    return Fragment(tuple(layers), tuple(body))
