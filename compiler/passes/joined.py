"""Calls of a decoder's blocks on a map that is upsampled and joined with others.

A block that is recomputed can do both itself, under `--training-memory lean` and `--checkpointing`:
it then keeps the map as it was and the maps beside it, most of which are kept elsewhere too,
instead of a copy of all of them at the larger size.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir import Block, Each, Layer, Module
from ..program import Apply, Expression, calls

CONCAT = "concat"
UPSAMPLINGS = {"upsample": "[C /2]", "upsample_by": "[C /s]"}  # nearest, and of which map


@dataclass(frozen=True)
class Join:
    """What a block is called on: `concat(x, *others)`, or x alone if there are no others.

    `maps` are x and, with an `upsampling`, the map to whose size that brings it; `scale` is what
    the upsampling is told besides.
    """

    maps: tuple[Expression, ...]
    others: tuple[Expression, ...]
    upsampling: str = ""
    scale: tuple[Expression, ...] = ()


def join_of(args: Sequence[Expression], upsamplings: Container[str] = UPSAMPLINGS) -> Join:
    """What the first operand in a call of a block is joined of, taken apart as far as that."""
    match args[0]:
        case Apply(function, (first, *others)) if function == CONCAT:
            pass
        case first:
            others = []
    match first:
        case Apply(function, (x, like, *scale)) if function in upsamplings:
            return Join((x, like), tuple(others), function, tuple(scale))
        case _:
            return Join((first,), tuple(others))


def joining(module: Module) -> Module:
    """The module whose recomputed blocks do themselves what all calls of them do to their input."""
    return replace(module, blocks=tuple(_joining(block, module) for block in module.blocks))


def _joining(block: Block, module: Module) -> Block:
    joins = joins_of(block, module)
    alone = not any(join.others for join in joins)
    if not block.recomputed or alone or len(block.inputs) > 1:
        return block
    upsamplings = {join.upsampling for join in joins}
    upsampling = upsamplings.pop() if len(upsamplings) == 1 else ""
    shape = UPSAMPLINGS.get(upsampling, "[C]")
    return replace(
        block,
        joins=upsampling or CONCAT,
        doc=f"{block.doc} of {'the upsampled ' * bool(upsampling)}x and the skips",
        shapes=f"x {shape}, skips [S] -> [F]",
    )


def joins_of(block: Block, module: Module) -> list[Join]:
    """What the calls of a block in a module are joined of."""
    names = {each.name for each in module.layers if each.of == block.name}
    return [join_of(call.args) for call in calls(module.body) if call.function in names]


def own_join(
    layer: Layer | Each, args: Sequence[Expression], blocks: Mapping[str, Block]
) -> Join | None:
    """What a block joins itself, in a call with these operands; None for all other layers."""
    block = blocks[layer.of] if isinstance(layer, Each) and isinstance(layer.of, str) else None
    return join_of(args, (block.joins,)) if block and block.joins else None


def inputs_of(block: Block) -> tuple[str, ...]:
    """What a block that joins is called with, before the list of skips."""
    return ("x",) if block.joins == CONCAT else ("x", "like")
