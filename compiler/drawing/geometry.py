"""Grid -> Geometry: pixels for columns, the gaps between them, rows and lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .fonts import width_of
from .grid import Grid
from .labels import Labels, Written
from .scale import SIGN, Scale
from .tracks import Tracks

GAP = 22.0  # between columns
TRACK = 7.0  # between lines in a gap
LINE = 12.0  # between lines of text
LANE_GAP = 18.0
AXIS_GAP = 14.0  # between the names of the rows and the first column


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where everything is: columns from left to right, the first line in the gap before each,
    the middles of lanes (by row and lane), the tops of the rows and the end of the last one, and
    under the lines above each row, the ceiling of its boxes.
    """

    columns: tuple[tuple[float, float], ...]
    gaps: tuple[float, ...]
    middles: dict[tuple[int, int], float]
    tops: tuple[float, ...]
    ceilings: tuple[float, ...]


@dataclass(slots=True)
class _Needs:
    """What the boxes of a column, or of a lane, need at most."""

    width: float = 0.0
    height: float = 0.0
    depth: float = 0.0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class _AllNeeds:
    columns: dict[int, _Needs] = field(default_factory=lambda: defaultdict(_Needs))
    lanes: dict[tuple[int, int], _Needs] = field(default_factory=lambda: defaultdict(_Needs))


def geometry_of(grid: Grid, tracks: Tracks, scale: Scale, labels: Labels) -> Geometry:
    needs = _needs(grid, scale, labels)
    x = _widest(written for row in grid.rows for written in labels.of_row(row))
    x += AXIS_GAP if x else 0.0
    columns, gaps = [], []
    for column in range(grid.columns):
        gaps.append(x + TRACK)
        x += (GAP if column else 0) + TRACK * max(0, tracks.gaps.get(column, 0) - 1)
        columns.append((x, x + needs.columns[column].width))
        x = columns[-1][1]
    y = 0.0
    middles, tops, ceilings = {}, [], []
    for i, row in enumerate(grid.rows):
        tops.append(y)
        y += TRACK * (tracks.heights.get(i, -1) + 1)
        ceilings.append(y)
        for lane in range(row.lanes):
            need = needs.lanes[i, lane]
            y += LANE_GAP / 2 + LINE * need.lines + need.depth + need.height / 2
            middles[i, lane] = y
            y += need.height / 2 + LANE_GAP / 2
    return Geometry(tuple(columns), tuple(gaps), middles, (*tops, y), tuple(ceilings))


def _needs(grid: Grid, scale: Scale, labels: Labels) -> _AllNeeds:
    found = _AllNeeds()
    for key, cell in grid.cells.items():
        node, written = grid.graph.nodes[key], labels.of(key)
        width, height, depth = 2 * SIGN, 2 * SIGN, 0.0
        if node.kind != "join":
            width, height, depth = scale.width(node), scale.height(node), scale.depth(node)
        column, lane = found.columns[cell.column], found.lanes[cell.line]
        column.width = max(column.width, width + depth, _widest(written))
        lane.height = max(lane.height, height)
        lane.depth = max(lane.depth, depth)
        lane.lines = max(lane.lines, len(written))
    return found


def _widest(texts: Iterable[Written]) -> float:
    return max((width_of(text, size, bold) for text, size, _, bold in texts), default=0.0)
