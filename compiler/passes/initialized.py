"""Network -> Network: which initial weights its layers have, where they are not our choice."""

from __future__ import annotations

from dataclasses import replace

from ..ir import Conv, ConvTranspose, Layer, Linear, Module
from ..network import Network
from .variants import Part


def initialized(network: Network, init: str) -> Network:
    """The network with every layer that has weights of its own told what they start from."""
    return replace(
        network,
        blocks=tuple(_part(block, init) for block in network.blocks),
        stem=_part(network.stem, init),
        head=_part(network.head, init),
        modules=tuple(_module(module, init) for module in network.modules),
        aux_head=(
            replace(network.aux_head, fragment=_part(network.aux_head.fragment, init))
            if network.aux_head
            else None
        ),
    )


def _module(module: Module, init: str) -> Module:
    layers = (
        each if isinstance(each.of, str) else replace(each, of=_layer(each.of, init))
        for each in module.layers
    )
    blocks = tuple(_part(block, init) for block in module.blocks)
    return replace(module, layers=tuple(layers), blocks=blocks)


def _part(part: Part, init: str) -> Part:
    return replace(part, layers=tuple(_layer(layer, init) for layer in part.layers))


def _layer(layer: Layer, init: str) -> Layer:
    return replace(layer, init=init) if isinstance(layer, Conv | ConvTranspose | Linear) else layer
