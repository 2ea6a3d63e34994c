"""How large a tensor is drawn: its height and depth by its sizes, its width by its channels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..ir import Shape
from .graph import Graph, Node

TALLEST, LOWEST = 104.0, 16.0
WIDEST, NARROWEST = 84.0, 6.0
OF_CHANNELS = 1.9  # pixels by the root of the channels, unless that is too wide
DEEPEST = 0.3  # of the third axis, as a share of what the other two would have
SIGN = 8.0  # the radius of a sign


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale for all boxes: roots of sizes and of channels, so that small ones are seen."""

    size: float
    channels: float

    def width(self, node: Node) -> float:
        factor = min(OF_CHANNELS, WIDEST / math.sqrt(self.channels))
        return max(NARROWEST, factor * math.sqrt(node.shape[0]))

    def height(self, node: Node) -> float:
        return max(LOWEST, TALLEST * math.sqrt(_extent(node.shape) / self.size))

    def depth(self, node: Node) -> float:
        """How far the first of three axes leads to the back; 0 where there are two."""
        if len(node.shape) != 4:
            return 0.0
        along = DEEPEST * TALLEST * math.sqrt(node.shape[1] / self.size)
        return max(3.0, min(along, 0.4 * self.height(node)))


def scale_of(graphs: Iterable[Graph]) -> Scale:
    """The scale on which the largest of these networks has its place."""
    shapes = [node.shape for graph in graphs for node in graph.nodes.values()]
    return Scale(max(map(_extent, shapes)), max(shape[0] for shape in shapes))


def _extent(shape: Shape) -> float:
    """The size of a map along one of its last two axes; for tokens, of a map of as many."""
    sizes = shape[-2:] if len(shape) > 2 else shape[1:]
    return math.sqrt(math.prod(sizes))
