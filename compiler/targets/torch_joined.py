"""Blocks in PyTorch that upsample and join their inputs themselves, and calls of them."""

from __future__ import annotations

import ast
from dataclasses import replace

from ..ir import Joining
from ..passes.joined import CONCAT, Join, maps_of
from ..program import Apply, Assign, Expression, Name, Star
from .text import BlockText
from .torch_nodes import several
from .writer import Scope, Writer


def joining_text(text: BlockText, joins: Joining, writer: Writer) -> BlockText:
    """The class of a block, with the lines that make one input of several.

    A concatenation of one map would copy it.
    """
    x, *like = map(Name, maps_of(joins))
    skips: Expression = Star(Name("skips")) if joins.several else Name("skip")
    steps = [Apply(joins.upsampling, (x, *like))] if like else []
    steps.append(Apply(CONCAT, (x, skips)))
    *lines, last = (line for step in steps for line in writer.statement(Assign("x", step), Scope()))
    absent = "len(skips) > 0" if joins.several else "skip is not None"
    lines += [last] if joins.always else [f"if {absent}:", f"    {last}"]
    one = "skip: Tensor" if joins.always else "skip: Tensor | None = None"
    inputs = [f"{name}: Tensor" for name in maps_of(joins)]
    return replace(
        text,
        inputs=", ".join([*inputs, "skips: list[Tensor]" if joins.several else one]),
        body=(*lines, *text.body),
        decorators=("@recomputed_with_skips",) if joins.several else text.decorators,
    )


def joined_values(joins: Joining, join: Join, writer: Writer, scope: Scope) -> list[ast.expr]:
    """What such a block is called with: its maps, and what it joins with x."""
    maps, others = ([writer.value(x, scope) for x in xs] for xs in (join.maps, join.others))
    return [*maps, several(others, ast.List)] if joins.several else [*maps, *others]
