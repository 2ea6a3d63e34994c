"""Model -> Network: SE, grouping and pre-activation written into the blocks themselves.

Each step is Block -> Block (or Fragment), so that no template ever asks which variant it prints.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from ..blocks import RESIDUAL_BLOCKS, SQUEEZE_EXCITE
from ..ir import Axes, Block, Call, Conv, Fragment, Linear, Norm
from ..model import (
    DIALECTS,
    Classifier,
    Dialect,
    Encoder,
    Features,
    Model,
    Network,
    Segmentor,
    SqueezeExcite,
)
from .decoders import decoder_blocks, decoder_constants, segmentor_head


def specialize(model: Model) -> Network:
    """Write every choice of the model into its blocks."""
    encoder = model.trunk
    dialect = DIALECTS[encoder.dialect]
    block, projection = RESIDUAL_BLOCKS[encoder.block, encoder.pre_activation]
    constants: list[tuple[str, int]] = [("STEM_CHANNELS", encoder.stem.filters[-1])]
    blocks: list[Block] = []
    if encoder.groups > 1:
        constants.append(("GROUPS", encoder.groups))
        block = group(block)
    if encoder.se:
        constants.append(("SE_RATIO", encoder.se.ratio))
        channels = [stage.channels for stage in encoder.stages]
        blocks.append(squeeze_excite(encoder.se, channels, dialect.squeeze_by_eight))
        relu_first = dialect.relu_before_gate and encoder.basic
        block = insert_squeeze_excite(block, dialect.gate_after_norm, relu_first)
    if dialect.strided_1x1 and encoder.groups == 1:
        block = stride_first(block)
    if dialect.zero_gamma:
        block = start_as_shortcut(block)
    if projection:
        if encoder.pre_activation:
            projection = without_norm(projection)
            block = shortcut_by(block, projection)
        blocks.append(projection)
    return Network(
        model=model,
        constants=tuple(constants),
        blocks=(*blocks, block),
        stem=stem(encoder, model.include_rescaling),
        pool=pool(encoder, dialect),
        head=head(model),
        decoder_constants=decoder_constants(model.head),
        decoder_blocks=decoder_blocks(model.head, dialect, model.compat),
    )


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


def squeeze_excite(se: SqueezeExcite, channels: Sequence[int], by_eight: bool = False) -> Block:
    """The gate with its activation; its width says no more than these channels need."""
    squeezed = "channels // SE_RATIO"
    if any(c < se.ratio for c in channels):
        squeezed = "max(1, channels // SE_RATIO)"
    if by_eight and any(c // se.ratio != max(8, (c // se.ratio + 4) // 8 * 8) for c in channels):
        squeezed = "max(8, (channels // SE_RATIO + 4) // 8 * 8)"
    first, second = (layer for layer in SQUEEZE_EXCITE.layers if isinstance(layer, Conv))
    layers = (replace(first, cout=squeezed), replace(second, cin=squeezed))
    body = tuple(line.replace("relu(", f"{se.activation}(") for line in SQUEEZE_EXCITE.body)
    return replace(SQUEEZE_EXCITE, layers=layers, body=body)


def insert_squeeze_excite(
    block: Block, after_norm: bool = False, relu_first: bool = False
) -> Block:
    """The gate after the last convolution: before its norm, or after it and perhaps a ReLU."""
    kinds = Norm if after_norm else Conv
    last = [layer for layer in block.layers if isinstance(layer, kinds)][-1]
    at = block.layers.index(last) + 1
    gate = Call("se", "SqueezeExcite", ("channels",))
    body = tuple(_wrap(line, last.name, gate.name) for line in block.body)
    if relu_first:
        body = tuple(_wrap(line, last.name, "relu") for line in body)
    return replace(
        block,
        additions=(*block.additions, "SE"),
        layers=(*block.layers[:at], gate, *block.layers[at:]),
        body=body,
    )


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
    """The stem's max-pool: zero-padded (enough after a ReLU), padded with -inf, or unpadded."""
    if encoder.pre_activation:
        return "signed_max_pool"
    return "ceil_max_pool" if dialect.ceil_pool else "max_pool"


def without_norm(projection: Block) -> Block:
    """The projection of a pre-activation block: its input is already normalized."""
    layers = tuple(layer for layer in projection.layers if not isinstance(layer, Norm))
    body = tuple(line.replace("bn(conv(pool(x)))", "conv(pool(x))") for line in projection.body)
    return replace(projection, layers=layers, body=body)


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
    """Convolutions with BN and ReLU, the first of stride 2; in v2 the last is bare."""
    layers: list[Conv | Norm] = []
    body = ["x = rescale(x)"] if rescaling else []
    cin: int | str = "in_channels"
    last = len(encoder.stem.filters)
    for i, (filters, kernel) in enumerate(zip(encoder.stem.filters, encoder.stem.kernels), 1):
        channels: int | str = "STEM_CHANNELS" if i == last else filters
        layers.append(Conv(f"conv{i}", cin, channels, kernel, stride=2 if i == 1 else 1))
        cin = channels
        if encoder.pre_activation and i == last:
            body.append(f"x = conv{i}(x)")
        else:
            layers.append(Norm(f"bn{i}", channels))
            body.append(f"x = relu(bn{i}(conv{i}(x)))")
    return Fragment(tuple(layers), tuple(body))


def head(model: Model) -> Fragment:
    """What makes the output of the last level, both of them `x`, which has `last_channels`."""
    if isinstance(model.head, Segmentor):
        return segmentor_head(model.head)
    layers: list[Norm | Linear] = []
    body: list[str] = []
    if model.trunk.pre_activation:
        layers.append(Norm("post_bn", "last_channels"))
        body.append("x = relu(post_bn(x))")
    match model.head:
        case Classifier(activation=activation):
            layers.append(Linear("head", "last_channels", "num_classes", output=True))
            body.append("x = global_average(x)")
            output = "head(x)" if activation == "none" else f"output_{activation}(head(x))"
            body.append(f"x = {output}")
        case Features(pooling="avg"):
            body.append("x = global_average(x)")
        case Features(pooling="max"):
            body.append("x = global_max(x)")
    return Fragment(tuple(layers), tuple(body))


class _Wrap(ast.NodeTransformer):
    def __init__(self, inner: str, outer: str):
        self.inner, self.outer = inner, outer

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == self.inner:
            return ast.Call(ast.Name(self.outer), [node], [])
        return node


def _wrap(line: str, inner: str, outer: str) -> str:
    if f"{inner}(" not in line:
        return line
    statement = ast.parse(line).body[0]
    return ast.unparse(ast.fix_missing_locations(_Wrap(inner, outer).visit(statement)))
