"""Network -> Network: the network as it runs in inference, and no more of it.

Dropout and stochastic depth go, and so do initial weights, because an inference file's are loaded.
`fold` and `fuse` do the rest. Activations are computed in place where nothing else reads what they
are given.
"""

from __future__ import annotations

from dataclasses import fields, replace

from ..ir import (
    Affine,
    Attention,
    Block,
    Conv,
    ConvTranspose,
    Dropout,
    Each,
    Layer,
    Linear,
    Module,
    Norm,
    UpConv,
)
from ..model import Model
from ..network import Network
from ..operations import IN_PLACE
from ..program import Apply, Expression, calls, rewritten, unwrapped
from ..targets import target_row
from .fold import folded
from .fuse import fused
from .initialized import initialized
from .variants import Part

FRESH = ("add", "multiply", "crop")  # operations whose result is a tensor of its own


def as_run(model: Model) -> Model:
    """The model without the options that only training has."""
    named = {field.name for field in fields(model.head)}
    unused = dict.fromkeys(named & {"deep_supervision", "lower_heads"}, False)
    head = replace(model.head, **unused)  # type: ignore[arg-type]
    return replace(model, head=head, drop_path=0.0, memory="standard")


def decided(model: Model, target: str) -> Model:
    """The model with what a target decides: whether its inference files fuse upsampling."""
    fuse = target_row(target).fuse
    return replace(model, fuse=fuse) if model.deploy and not model.fuse else model


def for_inference(network: Network) -> Network:
    """The network for inference, with the steps that its weights take from those of training."""
    network = folded(without_dropout(initialized(network, "loaded")))
    return in_place(network if network.model.fuse == "no" else fused(network))


def without_dropout(network: Network) -> Network:
    """The network without layers that do something in training only."""
    called = {c.function for module in network.modules for c in calls(module.body)}
    # Keras' attention treats a query that sees nothing in another way without its dropout.
    masks = "flat_attention_mask" in called

    def layer(layer: Layer) -> Layer:
        match layer:
            case Attention() if not masks:
                return replace(layer, dropout="0.0")
            case Norm():
                return replace(layer, zero_init=False)
            case _:
                return layer

    def part(part: Part) -> Part:
        gone = [x.name for x in part.layers if isinstance(x, Dropout)]
        layers = tuple(layer(x) for x in part.layers if x.name not in gone)
        return replace(part, layers=layers, body=unwrapped(part.body, gone))

    def block(block: Block) -> Block:
        before, _, after = block.doc.partition(" with dropout")
        return replace(part(block), rates=(), doc=before + after)

    def module(module: Module) -> Module:
        gone = [x.name for x in module.layers if isinstance(x.of, Dropout)]
        return replace(
            module,
            blocks=tuple(map(block, module.blocks)),
            layers=tuple(x for x in module.layers if x.name not in gone),
            body=unwrapped(module.body, gone),
        )

    return replace(
        network,
        blocks=tuple(map(block, network.blocks)),
        stem=part(network.stem),
        head=part(network.head),
        modules=tuple(map(module, network.modules)),
    )


def in_place(network: Network) -> Network:
    """The network with activations in place where their operand is a new tensor."""

    def module(module: Module) -> Module:
        layers = {each.name: each for each in module.layers}
        body = rewritten(module.body, lambda node: _in_place(node, layers))
        return replace(module, blocks=tuple(map(_part_in_place, module.blocks)), body=body)

    return replace(
        network,
        blocks=tuple(map(_part_in_place, network.blocks)),
        stem=_part_in_place(network.stem),
        head=_part_in_place(network.head),
        modules=tuple(map(module, network.modules)),
    )


def _part_in_place(part: Part) -> Part:
    layers = {layer.name: layer for layer in part.layers}
    return replace(part, body=rewritten(part.body, lambda node: _in_place(node, layers)))


def _in_place(node: Expression, layers: dict[str, Layer] | dict[str, Each]) -> Expression:
    match node:
        case Apply(function, (Apply() as inner,)) if function in IN_PLACE:
            fresh = inner.function in FRESH or _is_new(layers.get(inner.function))
            return replace(node, function=IN_PLACE[function]) if fresh else node
        case _:
            return node


def _is_new(layer: Layer | Each | None) -> bool:
    """Whether a layer puts out a tensor of its own, whatever it is given."""
    made = layer.of if isinstance(layer, Each) else layer
    kinds = Conv | ConvTranspose | UpConv | Norm | Affine | Linear
    return isinstance(made, kinds) and not made.when
