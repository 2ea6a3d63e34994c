"""Network -> Network: nearest upsampling fused with the 3x3 convolution after it.

A convolution of [upsampled x, skip] is the sum of two. That of the upsampled x reads each value of
x two or three times in a row: along an axis, one transposed convolution of x itself with kernel 4,
stride 2 and padding 1 does the same. Neither the upsampled tensor nor the concatenation is made,
and of 27 multiplications on the channels of x 8 are left (of 9 in 2D, 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..deployment import Fuse
from ..dialect import DIALECTS
from ..ir import Block, Conv, Each, Module, UpConv
from ..network import Network
from ..program import (
    Apply,
    Expression,
    Name,
    Star,
    calls,
    names,
    rewritten,
    values_of,
    walk,
)
from .joined import Join, join_of

UP, LAST, STRIDE = "up", "last", "stride"


def fused(network: Network) -> Network:
    """The network with fused upsamplings, and with the steps that make their weights.

    Where a skip may be larger than the upsampled map (`Dialect.ceil_pool`), nothing is fused.
    """
    if DIALECTS[network.model.encoder.dialect].ceil_pool:
        return network
    made = [_module(module) for module in network.modules]
    steps = [step for _, found in made for step in found]
    modules = tuple(module for module, _ in made)
    return replace(network, modules=modules, steps=(*network.steps, *steps))


def _read(node: Apply) -> Join | None:
    """What a block is called on, if that is an upsampled map, joined with others or on its own."""
    join = join_of(node.args)
    return join if join.upsampling else None


def _module(module: Module) -> tuple[Module, list[Fuse]]:
    blocks = {block.name: block for block in module.blocks}
    steps: list[Fuse] = []
    for each in module.layers:
        found = [call for call in calls(module.body) if call.function == each.name]
        read = [_read(call) for call in found]
        conv = _first_conv(each, blocks)
        if conv is None or None in read or not read:
            continue
        asked = [call for call in read if call]
        alone = [not call.others for call in asked]
        if sum(alone) > 1 or (any(alone) and any(x.name == LAST for x in module.layers)):
            continue
        module, own = _with_up(module, each, blocks[str(each.of)], conv, asked)
        steps += own
    return module, steps


def _first_conv(each: Each, blocks: Mapping[str, Block]) -> Conv | None:
    """The 3x3 convolution that reads the one input of a block, if nothing else does."""
    block = blocks.get(each.of) if isinstance(each.of, str) else None
    if block is None or [tensor for tensor, _ in block.inputs] != ["x"]:
        return None
    layers = {layer.name: layer for layer in block.layers}
    first, *rest = block.body
    nodes = [node for value in values_of(first) for node in walk(value)]
    overwritten = getattr(first, "target", "") == "x" or "x" not in names(tuple(rest))
    if nodes.count(Name("x")) != 1 or not overwritten:
        return None
    reader = next((n for n in nodes if isinstance(n, Apply) and n.args == (Name("x"),)), None)
    match layers.get(reader.function) if reader else None:
        case Conv(kernel=3, stride=1, groups=1, padded=True, when="") as conv:
            return conv
        case _:
            return None


def _with_up(
    module: Module, each: Each, block: Block, conv: Conv, found: list[Join]
) -> tuple[Module, list[Fuse]]:
    """The module whose calls of a layer take the map that was upsampled, and what to join."""
    scaled = any(call.scale for call in found)
    made: list[Block] = []
    layers: list[Each] = []
    steps: list[Fuse] = []
    if any(call.others for call in found):
        made.append(_with_skip(block, conv, scaled))
        layers.append(each)
        steps.append(Fuse(block.name, conv.name, UP, True, module.path, each.name))
    alone = next((call for call in found if not call.others), None)
    if alone:
        _, like_map = alone.maps
        like = like_map.id if isinstance(like_map, Name) else "like"
        made.append(_without_skip(block, conv, scaled, like))
        layers.append(Each(LAST, made[-1].name))
        steps.append(Fuse(block.name, conv.name, UP, False, module.path, each.name, True, LAST))

    def change(node: Expression) -> Expression:
        call = _read(node) if isinstance(node, Apply) and node.function == each.name else None
        if not isinstance(node, Apply) or call is None:
            return node
        (x, like), sizes = call.maps, node.args[1:]
        if not call.others:
            return Apply(LAST, (x, like, *sizes, *call.scale))
        single = len(call.others) == 1 and not isinstance(call.others[0], Star)
        joined = call.others[0] if single else Apply("concat", call.others)
        return replace(node, args=(x, joined, *sizes, *call.scale))

    return (
        replace(
            module,
            blocks=tuple(b for x in module.blocks for b in (made if x is block else [x])),
            layers=tuple(e for x in module.layers for e in (layers if x is each else [x])),
            body=rewritten(module.body, change),
        ),
        steps,
    )


def _with_skip(block: Block, conv: Conv, scaled: bool) -> Block:
    """The block of a map and a skip, the first convolution split between the two."""
    up = Apply(UP, (Name("x"), Name("skip")))
    both = Apply("add", (up, Apply(conv.name, (Name("skip"),))))
    return _split(
        block,
        conv,
        scaled,
        layers=(UpConv(UP, conv.cin, conv.cout), replace(conv, cin="skip_channels")),
        call=both,
        doc=f"{block.doc}, the first of [upsampled x, skip]",
        shapes=f"x [C /{_by(scaled)}], skip [S] -> [F]",
        args=(block.args[0], "skip_channels", *block.args[1:]),
        inputs=(*block.inputs, ("skip", "skip_channels")),
    )


def _without_skip(block: Block, conv: Conv, scaled: bool, like: str) -> Block:
    """The block of a map alone, upsampled to the size of another."""
    return _split(
        block,
        conv,
        scaled,
        layers=(UpConv(UP, conv.cin, conv.cout, bias=conv.bias),),
        call=Apply(UP, (Name("x"), Name(like))),
        name=f"Last{block.name}",
        doc=f"{block.doc}, the first of the upsampled x",
        shapes=f"[C /{_by(scaled)}] -> [F]",
        inputs=(*block.inputs, (like, "")),
    )


def _split(
    block: Block,
    conv: Conv,
    scaled: bool,
    layers: tuple[UpConv | Conv, ...],
    call: Apply,
    **changes: object,
) -> Block:
    """The block with these layers and this call for its first convolution."""
    up, *others = layers
    if scaled:
        up = replace(up, stride=STRIDE)
    own = Apply(conv.name, (Name("x"),))
    first = rewritten(block.body[:1], lambda node: call if node == own else node)
    made = replace(
        block,
        layers=tuple(x for y in block.layers for x in ((up, *others) if y == conv else (y,))),
        body=(*first, *block.body[1:]),
        **changes,  # type: ignore[arg-type]
    )
    if not scaled:
        return made
    return replace(made, args=(*made.args, STRIDE), per_axis=(STRIDE,))


def _by(scaled: bool) -> str:
    """How many times smaller the map is, in shapes."""
    return "s" if scaled else "2"
