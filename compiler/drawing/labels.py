"""What is written at boxes and arrows, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..passes.count import macs, trainable
from .graph import Graph, Link, Node
from .grid import Grid, Route, Row

JOINED = {
    **dict.fromkeys(("add", "total"), "sum"),
    **dict.fromkeys(("multiply", "mix", "mix_scores", "similarity", "scores"), "product"),
    "concat": "concatenation",
}
Written: TypeAlias = tuple[str, float, str, bool]  # a text with its size, its role, and boldness


@dataclass(frozen=True, slots=True)
class Labels:
    """The texts of a grid's boxes; none of them is written where they are `hidden`."""

    grid: Grid
    hidden: bool = False

    def of(self, key: int) -> tuple[Written, ...]:
        """The lines above a box: its name, its channels, and its sizes where its row has others."""
        node = self.grid.graph.nodes[key]
        if node.kind == "join" or self.hidden:
            return ()
        lines: list[Written] = [(node.name, 10, "name", True)]
        if self.grid.chain and node.level:
            lines[0] = (f"{node.level} {node.name}", 10, "name", True)
        if node.count > 1:
            lines.append((f"{node.count} × {node.detail}", 8.5, "muted", False))
        row = self.grid.rows[self.grid.cells[key].row]
        own = node.sizes if self.grid.chain or node.sizes != row.sizes else ()
        lines.append(
            (" × ".join(filter(None, [f"{node.shape[0]:,}", times(own)])), 10, "text", False)
        )
        return tuple(lines)

    def of_row(self, row: Row) -> tuple[Written, ...]:
        """A row's name, and the sizes of its maps."""
        if self.grid.chain or self.hidden:
            return ()
        return (row.name, 11, "level", True), (times(row.sizes), 9.5, "muted", False)

    def title(self, key: int) -> str:
        """A box in words: `stage 0 (P2): 256 × 56×56, 3 × Bottleneck, from stem, ...`."""
        node = self.grid.graph.nodes[key]
        level = f" ({node.level})" if node.level else ""
        parts = [" × ".join(filter(None, [f"{node.shape[0]:,}", times(node.sizes)]))]
        if node.detail:
            parts.append(f"{node.count} × {node.detail}" if node.count > 1 else node.detail)
        if node.inputs:
            parts.append(f"from {_sources(node, self.grid.graph)}")
        if count := trainable(node.rows):
            parts.append(f"{count:,} parameters")
        if cost := macs(node.rows):
            parts.append(f"{cost:,} MACs")
        return f"{node.name}{level}: {', '.join(parts)}"


def times(sizes: Sequence[int]) -> str:
    """Sizes as they are written: `56×56`."""
    return "×".join(f"{size:,}" for size in sizes)


def _sources(node: Node, graph: Graph) -> str:
    """What feeds a box: `stem`, `the sum of block 0 and stage 2`."""
    inputs = [graph.nodes[link.source] for link in node.inputs]
    names = [
        (
            f"the {JOINED[each.name]} of {_sources(each, graph)}"
            if each.kind == "join" and each.name in JOINED
            else each.name
        )
        for each in inputs
    ]
    joined = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    together = node.joins == "concat" and len(names) > 1
    return f"the {JOINED[node.joins]} of {joined}" if together else joined


def style_of(route: Route, graph: Graph) -> tuple[str, str]:
    """The style of an arrow, and its title."""
    source, target = graph.nodes[route.source], graph.nodes[route.target]
    if route.link.paths:
        return "learned", f"learned upsampling: {', '.join(route.link.paths)}"
    if route.link.grown:
        return "up", "upsampling"
    if _smaller(source, target) and not route.link.cropped:
        return "down", "stride or pool"
    if route.link != _main(target, graph):
        return "skip", f"skip of {source.level or source.name} to {target.name}"
    return "flow", "cropped" if route.link.cropped else ""


def _main(target: Node, graph: Graph) -> Link | None:
    """The input that comes from below, not along a skip: none of an encoder's, but its last."""
    levels = [key for key, node in graph.nodes.items() if node.kind == "encoder"]
    own = (link for link in target.inputs if link.source not in levels[:-1])
    return target.inputs[0] if target.kind == "encoder" else next(own, None)


def _smaller(source: Node, target: Node) -> bool:
    both = len(source.shape) == len(target.shape) > 2
    return both and math.prod(target.sizes) < math.prod(source.sizes)
