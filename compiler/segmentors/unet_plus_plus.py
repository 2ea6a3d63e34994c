"""UNet++: a triangle of nodes, each with all that stand on its left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..errors import Problem
from ..ir import Each, Module
from ..model import Encoder, Model, Segmentor
from ..operations import PYRAMID
from ..parsing import parse
from ..passes.steps import Step
from ..program import Apply, Assign, Body, Item, Name, Return, Statement, replaced
from .base import Definition, Doc, TableRow, Wiring, Words, divisor_of
from .supervision import problems as stage_problems
from .supervision import supervised
from .unet import (
    BLOCKS,
    UNet,
    class_head,
    constants,
    convolutions,
    filter_problems,
    head_of,
    is_learned,
    title,
    with_blocks,
    with_supervision,
)


@dataclass(frozen=True)
class UNetPlusPlus(UNet):
    """Nested skips: a triangle of nodes, row by row (UNet++, Fig. 1a)."""

    name: ClassVar[str] = "unet_plus_plus"
    title: ClassVar[str] = "UNet++"

    @property
    def stage_filters(self) -> tuple[int, ...]:
        """Filters of each row of nodes, deepest first. The full resolution has no node."""
        rows = self.decoder_filters[: self.depth - 1]
        return rows if self.by_level else rows[::-1]


DECODER = Module(
    name="Decoder",
    path="decoder",
    blocks=(),
    layers=(BLOCKS,),
    body=parse(
        """
        below = [deepest(pyramid)]
        skips = skips(pyramid)
        for skip, filters in zip(skips, DECODER_FILTERS):
            row = [skip]
            for x in below:
                row.append(blocks(concat(upsample(x, skip), *row), filters))
            below = row
        return below[-1]
        """,
        "UNet++'s decoder",
    ),
)
LAST_UP = Each("last_up", "Up")


def with_last_up(module: Module) -> Module:
    """The module with a learned upsampling to the image at its end."""

    def change(statement: Statement) -> Body:
        if not isinstance(statement, Return):
            return (statement,)
        up = Apply(LAST_UP.name, (statement.value, Item(Name("DECODER_FILTERS"), -1)))
        return (replace(statement, value=Apply("crop", (up, Name("image")))),)

    body = replaced(module.body, change)
    return replace(module, layers=(*module.layers, LAST_UP), body=body)


def wiring(model: Model) -> Wiring:
    """UNet++ with its options.

    It ends at half the image's size. Nearest upsampling and a 1x1 convolution commute, so the head
    comes first where nothing learned stands between the two.
    """
    head = head_of(model, UNetPlusPlus)
    decoder = with_blocks(DECODER, model)
    *others, block = decoder.blocks
    node = replace(block, doc=f"One node of the grid: {block.doc[0].lower()}{block.doc[1:]}")
    decoder = replace(decoder, blocks=(*others, node))
    after: tuple[Statement, ...] = ()
    if is_learned(head):
        decoder = with_last_up(decoder)
    else:
        up = Apply("upsample", (Name("x"), Name("image")))
        after = (Assign("x", up, "equivalent to upsampling first, but cheaper"),)
    fragment = class_head(head.activation, *after)
    whole = Wiring((decoder,), fragment, constants(model, head))
    if head.deep_supervision and is_learned(head):  # the last upsampling is a stage of its own
        return supervised(whole, head.stage_filters[:0:-1], "DECODER_FILTERS[:0:-1]")
    return with_supervision(whole, head)


# -- words -----------------------------------------------------------------------------------------


def rows(model: Model, steps: Sequence[Step]) -> list[TableRow]:
    head = head_of(model, UNetPlusPlus)
    skips = PYRAMID["skips"](model.trunk.levels)
    found = []
    for i, (skip, step) in enumerate(zip(skips, steps)):
        nodes = f"1 node ({convolutions(head)})" if i == 0 else f"{i + 1} nodes"
        found.append(TableRow(f"row {i}", step.output, "", f"{skip} and {nodes}"))
    last = [TableRow("last up", step.output, "", "transposed conv") for step in steps[len(skips) :]]
    return [*found, *last]


def doc(model: Model) -> Doc:
    head = head_of(model, UNetPlusPlus)
    levels, filters = model.trunk.levels, head.stage_filters[-1]
    shapes = f"P1..{levels[-1]} -> [{filters} /{divisor_of(model, 0)}]."
    if is_learned(head):
        shapes = f"P1..{levels[-1]}, image [C] -> [{filters}]."
    if head.deep_supervision:
        before, _, output = shapes.partition("-> ")
        shapes = f"{before}-> the output of each row, the last one {output}"
    first = "Nested skips (UNet++, Fig. 1a)."
    own = (shapes,) if head.deep_supervision else ()
    return Doc(
        first if own else f"{first} {shapes}",
        paragraphs=(
            *own,
            "Each node concatenates the upsampled node below it and all nodes to its left. Rows are"
            " built from the deepest upwards, since each needs only the row below it.",
        ),
        drawing=tuple(drawing(PYRAMID["skips"](levels), levels[-1])),
    )


def drawing(skips: Sequence[str], deepest: str) -> list[str]:
    """The triangle of nodes, as its paper draws it but the deepest row last."""
    lines = []
    for row in reversed(range(len(skips))):
        nodes = " - ".join(f"{row}.{i}" for i in range(row + 1))
        lines.append(f"{skips[row]} - {nodes}")
        lines.append("    " + "     ".join("/" * (row + 1)))
    return [*lines, deepest]


def notes(model: Model) -> tuple[str, ...]:
    reference = "UNet++: arXiv 1807.10165, Fig. 1."
    if head_of(model, UNetPlusPlus).by_level:
        return (reference,)
    return (reference, "As in medicai, the top row is the widest.")


def output(model: Model) -> str:
    after = "" if is_learned(head_of(model, UNetPlusPlus)) else ", upsample"
    return "{1} convolution" + after


def problems(head: Segmentor, sizes: tuple[int, ...], encoder: Encoder | None) -> list[Problem]:
    assert isinstance(head, UNetPlusPlus)
    first = "deepest" if head.by_level else "the top row"
    found = filter_problems(head, head.depth - 1, first)
    if not head.deep_supervision:
        return found
    return [*found, *stage_problems(head, head.depth - (0 if is_learned(head) else 1))]


def adapted(head: Segmentor, compat: str) -> Segmentor:
    """medicai counts the widths from the top row down."""
    assert isinstance(head, UNetPlusPlus)
    return replace(head, by_level=compat != "medicai")


UNET_PLUS_PLUS = Definition(
    UNetPlusPlus,
    wiring,
    Words(
        title,
        "works on images of any size",
        notes,
        lambda m: {"Decoder": doc(m)},
        rows,
        output,
    ),
    problems,
    ("medicai",),
    adapted,
)
