"""Calls of a decoder's blocks on a map that is upsampled and joined with others.

A block that is recomputed can do both itself, under `--training-memory lean` and `--checkpointing`:
it then keeps the map as it was and the maps beside it, most of which are kept elsewhere too,
instead of a copy of all of them at the larger size.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir import Block, Each, Joining, Layer, Module
from ..program import Apply, Expression, Star, calls

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
    """What the first operand in a call of a block is joined of, these upsamplings included."""
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
    names = {each.name for each in module.layers if each.of == block.name}
    joins = [join_of(call.args) for call in calls(module.body) if call.function in names]
    alone = not any(join.others for join in joins)
    if not block.recomputed or alone or len(block.inputs) > 1:
        return block
    upsamplings = {join.upsampling for join in joins}
    upsampling = upsamplings.pop() if len(upsamplings) == 1 else ""
    how = Joining(upsampling, any(map(_several, joins)), all(join.others for join in joins))
    skips = "skips" if how.several else "skip"
    resized = ", upsampled to like's size," if upsampling else ""
    return replace(
        block,
        joins=how,
        doc=f"{block.doc} of x{resized} and the {skips}",
        shapes=f"x {UPSAMPLINGS.get(upsampling, '[C]')}, {skips} [S] -> [F]",
    )


def maps_of(joins: Joining) -> tuple[str, ...]:
    """What a block calls the maps before the skips, of which it makes its input."""
    return ("x", "like") if joins.upsampling else ("x",)


def _several(join: Join) -> bool:
    return len(join.others) > 1 or any(isinstance(other, Star) for other in join.others)


def own_join(
    layer: Layer | Each, args: Sequence[Expression], blocks: Mapping[str, Block]
) -> tuple[Joining, Join] | None:
    """How a block joins its input itself, and what in a call of it; None for all other layers."""
    of = layer.of if isinstance(layer, Each) else None
    joins = blocks[of].joins if isinstance(of, str) else None
    return (joins, join_of(args, (joins.upsampling,))) if joins else None
