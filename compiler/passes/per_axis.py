"""Strides that differ between axes or stages, written into decoders.

Networks that halve all sizes at each level pass through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from ..dialect import DIALECTS
from ..ir import Block, Constant, Conv, ConvTranspose, Layer, Module
from ..model import Model
from ..program import Apply, Body, Expression, For, Item, Name, rewritten
from ..segmentors.base import Wiring
from .kernels import SCALES


def with_scales(wiring: Wiring, model: Model) -> Wiring:
    """The decoder whose upsamplings and gates take the scale that undoes each level's stride."""
    past = DIALECTS[model.encoder.dialect].ceil_pool
    comment = f"{model.trunk.levels[-1]} up to the image"
    scales = Constant(SCALES, model.steps[::-1], comment)
    image = Item(Name(SCALES), -1)
    head = replace(wiring.head, body=rewritten(wiring.head.body, _scaled((), image, past)))
    modules = tuple(_scaled_module(module, past) for module in wiring.modules)
    return replace(wiring, modules=modules, head=head, constants=(*wiring.constants, scales))


def _scaled_module(module: Module, past: bool) -> Module:
    blocks = tuple(_scaled_block(block, past) for block in module.blocks)
    strided = {block.name for block in blocks if "stride" in block.per_axis}
    layers = {each.name for each in module.layers if each.of in strided}
    in_loop = _scaled(layers, Name("scale"), past)
    after = _scaled(layers, Item(Name(SCALES), -1), past)
    body: Body = ()
    for statement in module.body:
        if isinstance(statement, For):
            inner = rewritten(statement.body, in_loop)
            if inner != statement.body:
                targets = (*statement.targets, "scale")
                sources = (*statement.sources, Name(SCALES))
                statement = replace(statement, targets=targets, sources=sources, body=inner)
            body = (*body, statement)
        else:
            body = (*body, *rewritten((statement,), after))
    return replace(module, blocks=blocks, body=body)


def _scaled_block(block: Block, past: bool) -> Block:
    """The block with one stride per axis where it halves or doubles its input."""
    layers = tuple(_with_stride(layer) for layer in block.layers)
    if layers == block.layers:
        return block
    return replace(
        block,
        doc=block.doc.replace("x2 ", ""),
        shapes=block.shapes.replace("/2", "/s").replace("*2", "*s"),
        args=(*block.args, "stride"),
        per_axis=("stride",),
        layers=layers,
        body=rewritten(block.body, _scaled((), Name("stride"), past)),
    )


def _with_stride(layer: Layer) -> Layer:
    match layer:
        case Conv(stride=2) | ConvTranspose():
            return replace(layer, stride="stride")
        case _:
            return layer


def _scaled(
    layers: Collection[str], scale: Expression, past: bool
) -> Callable[[Expression], Expression]:
    """A change that passes the scale to upsamplings and to these layers."""
    names = {
        "upsample": "upsample_past" if past else "upsample_by",
        "linear_upsample": "linear_upsample_by",
        **{layer: layer for layer in layers},
    }

    def change(node: Expression) -> Expression:
        if isinstance(node, Apply) and node.function in names:
            return replace(node, function=names[node.function], args=(*node.args, scale))
        return node

    return change
