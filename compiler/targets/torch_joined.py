"""Blocks in PyTorch that upsample and join their inputs themselves, and calls of them."""

from __future__ import annotations

import ast
from dataclasses import replace

from ..ir import Block
from ..passes.joined import CONCAT, Join, inputs_of, joins_of
from ..program import Apply, Assign, Name, Star
from .text import BlockText
from .torch_nodes import several
from .writer import Scope, Writer


def joining_text(text: BlockText, block: Block, writer: Writer) -> BlockText:
    """The class of a block, with the lines that make one input of several.

    A concatenation of one map would copy it.
    """
    x, *like = map(Name, inputs_of(block))
    steps = [Apply(block.joins, (x, *like))] if like else []
    steps.append(Apply(CONCAT, (x, Star(Name("skips")))))
    *lines, last = (line for step in steps for line in writer.statement(Assign("x", step), Scope()))
    joins = [join for module in writer.plan.network.modules for join in joins_of(block, module)]
    always = all(join.others for join in joins)
    lines += [last] if always else ["if len(skips) > 0:", f"    {last}"]
    inputs = [*(f"{name}: Tensor" for name in inputs_of(block)), "skips: list[Tensor]"]
    return replace(
        text,
        inputs=", ".join(inputs),
        body=(*lines, *text.body),
        decorators=("@recomputed_with_skips",),
    )


def joined_values(join: Join, writer: Writer, scope: Scope) -> list[ast.expr]:
    """What such a block is called with: its maps, and a list of those beside x."""
    maps, others = ([writer.value(x, scope) for x in xs] for xs in (join.maps, join.others))
    return [*maps, several(others, ast.List)]
