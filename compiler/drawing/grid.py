"""Graph -> Grid: the column and the row of each box, and the way of each arrow between them.

A column is as far right as the longest way to its boxes, so that every arrow runs to the right. A
row holds the maps of one size, the largest on top; tokens have the lowest one. Boxes that meet in
one place of the grid get lanes of their own in the row.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..ir import Shape
from .graph import Graph, Link, Node, consumers_of

# The ways of an arrow: along its lane; down or up with one turn; with a turn in the gap in front of
# its target, or behind its source; or above all boxes of its row.
Way: TypeAlias = Literal["straight", "drop", "rise", "late", "early", "over"]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A place: rows and their lanes count from the top, columns from the left."""

    row: int
    lane: int
    column: int

    @property
    def line(self) -> tuple[int, int]:
        return self.row, self.lane


@dataclass(frozen=True, slots=True)
class Route:
    """An arrow with its way."""

    link: Link
    target: int
    way: Way

    @property
    def source(self) -> int:
        return self.link.source


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its level or another name, the sizes of its maps, and how many lanes it has."""

    name: str
    sizes: Shape
    lanes: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Where everything stands. A `chain` is a single row of boxes, one after the other."""

    graph: Graph
    cells: dict[int, Cell]
    rows: tuple[Row, ...]
    routes: tuple[Route, ...]
    chain: bool

    @property
    def columns(self) -> int:
        return 1 + max(cell.column for cell in self.cells.values())


def grid_of(graph: Graph) -> Grid:
    """The places of a graph's boxes and the ways of its arrows."""
    columns = _columns(graph)
    consumers = consumers_of(graph.nodes)
    if all(len(found) < 2 for found in consumers.values()) and not _ups(graph):
        cells = {key: Cell(0, 0, column) for key, column in columns.items()}
        routes = tuple(Route(link, key, "straight") for link, key in graph.links)
        return Grid(graph, cells, (Row("", (), 1),), routes, True)
    sizes, names = _rows(graph)
    cells = _cells(graph, columns, sizes)
    lanes = [0] * len(sizes)
    for cell in cells.values():
        lanes[cell.row] = max(lanes[cell.row], cell.lane + 1)
    rows = tuple(map(Row, names, sizes, lanes))
    return Grid(graph, cells, rows, tuple(_routes(graph, cells)), False)


def _ups(graph: Graph) -> bool:
    return any(link.grown or graph.nodes[key].kind == "up" for link, key in graph.links)


def _columns(graph: Graph) -> dict[int, int]:
    """The longest way to each box. A table stands in front of the first box that it feeds."""
    found: dict[int, int] = {}
    for key, node in graph.nodes.items():
        found[key] = max((found[link.source] + 1 for link in node.inputs), default=0)
    first: dict[int, int] = {}
    for link, key in graph.links:
        first[link.source] = min(first.get(link.source, found[key]), found[key])
    return {
        key: column if node.inputs or node.kind == "image" else first.get(key, 1) - 1
        for (key, node), column in zip(graph.nodes.items(), found.values())
    }


def _rows(graph: Graph) -> tuple[list[Shape], list[str]]:
    """The sizes of each row, the largest first, and its name: levels, or the image's."""
    names: dict[Shape, list[str]] = defaultdict(list)
    for node in graph.nodes.values():
        if node.kind == "image" or node.level:
            names[node.sizes].append(node.level or node.name)
    sizes = sorted(names, key=lambda size: -math.prod(size))
    texts = [_range(names[size]) for size in sizes]
    if any(len(node.shape) == 2 for node in graph.nodes.values()):
        return [*sizes, ()], [*texts, "tokens"]
    return sizes, texts


def _range(names: list[str]) -> str:
    """`P1`, `image, P1`, `P3 to P5`."""
    return ", ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"


def _cells(graph: Graph, columns: Mapping[int, int], sizes: list[Shape]) -> dict[int, Cell]:
    """The place of each box: its column, the row of its size, and a lane that is free there."""

    def row(node: Node) -> int:
        if len(node.shape) == 2:
            return len(sizes) - 1
        volume = math.log(math.prod(node.sizes))
        return min(
            (i for i, size in enumerate(sizes) if size or not i),
            key=lambda i: abs(math.log(math.prod(sizes[i])) - volume),
        )

    rows = {key: row(node) for key, node in graph.nodes.items()}
    found: dict[int, Cell] = {}
    taken: set[Cell] = set()

    def beside(key: int) -> list[Cell]:
        """The places of those that feed it, in its own row."""
        places = (found[link.source] for link in graph.nodes[key].inputs if link.source in found)
        return [cell for cell in places if cell.row == rows[key]]

    def order(key: int) -> tuple[int, bool, list[Cell]]:
        inputs = sorted(found[x.source] for x in graph.nodes[key].inputs if x.source in found)
        return columns[key], not beside(key), inputs

    for column in range(1 + max(columns.values())):
        for key in sorted((k for k in columns if columns[k] == column), key=order):
            lane = min((cell.lane for cell in beside(key)), default=0)
            while Cell(rows[key], lane, column) in taken:
                lane += 1
            found[key] = Cell(rows[key], lane, column)
            taken.add(found[key])
    return found


def _routes(graph: Graph, cells: Mapping[int, Cell]) -> list[Route]:
    """The way of each arrow: the first that no box obstructs."""
    used: dict[tuple[int, int], list[int]] = defaultdict(list)
    for cell in sorted(cells.values()):
        used[cell.line].append(cell.column)
    lanes: dict[int, int] = defaultdict(int)
    for row, lane in used:
        lanes[row] = max(lanes[row], lane + 1)
    lines = [(row, lane) for row in sorted(lanes) for lane in range(lanes[row])]

    def clear(line: tuple[int, int], after: int, before: int) -> bool:
        """Whether no box stands in the lane between two columns."""
        columns = used[line]
        return bisect_right(columns, after) >= bisect_left(columns, before)

    def empty(column: int, above: tuple[int, int], below: tuple[int, int]) -> bool:
        """Whether no box stands in the column between two lanes."""
        between = lines[lines.index(above) + 1 : lines.index(below)]
        return not any(column in used[line] for line in between)

    def way(link: Link, target: int) -> Way:
        start, end = cells[link.source], cells[target]
        source, column = start.column, end.column
        if start.line == end.line:
            return "straight" if clear(start.line, source, column) else "over"
        down = end.line > start.line
        if down and clear(end.line, source - 1, column) and empty(source, start.line, end.line):
            return "drop"
        up = not down and clear(start.line, source, column + 1)
        if up and empty(column, end.line, start.line):
            return "rise"
        if clear(start.line, source, column):
            return "late"
        return "early" if clear(end.line, source, column) else "over"

    return [Route(link, key, way(link, key)) for link, key in graph.links]
