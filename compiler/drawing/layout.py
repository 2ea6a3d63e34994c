"""Grid -> Scene: pixels for columns, rows, boxes and the arrows between them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from .fonts import width_of
from .grid import Grid, Route
from .labels import Labels, style_of
from .scale import SIGN, Scale
from .scene import Area, Arrow, Box, Point, Rule, Scene, Text
from .tracks import Tracks, tracks_of

GAP = 22.0  # between columns
TRACK = 7.0  # between lines in a gap
LINE = 12.0  # between lines of text
LANE_GAP = 18.0
PORT = 6.0  # between the ends of arrows at a box, where it has room
AXIS_GAP = 14.0


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where columns, gaps, rows and lanes are."""

    columns: tuple[tuple[float, float], ...]  # from left to right
    gaps: tuple[float, ...]  # the first line in the gap before each column
    middles: dict[tuple[int, int], float]  # of the lanes: row and lane
    tops: tuple[float, ...]  # of the rows, and the end of the last one
    ceilings: tuple[float, ...]  # of the rows' boxes, under the lines above them


def scene_of(grid: Grid, scale: Scale, labels: Labels) -> Scene:
    """The boxes with their labels, and the arrows."""
    tracks = tracks_of(grid)
    geometry = _geometry(grid, tracks, scale, labels)
    boxes = {key: _box(key, grid, geometry, scale, labels) for key in grid.graph.nodes}
    arrows = tuple(_arrow(route, grid, geometry, tracks, boxes) for route in grid.routes)
    width = geometry.columns[-1][1]
    rules: list[Rule] = []
    texts: list[Text] = []
    if not grid.chain:
        for i, row in enumerate(grid.rows):
            y = geometry.middles[i, 0]
            texts.append(Text(0, y - 2, row.name, 11, "start", "level", bold=True))
            texts.append(Text(0, y + LINE - 2, labels.sizes(row.sizes), 9.5, "start", "muted"))
            if i:
                rules.append(Rule((0, geometry.tops[i]), (width, geometry.tops[i])))
    return Scene(
        width,
        geometry.tops[-1],
        tuple(boxes.values()),
        arrows,
        tuple(rules),
        texts=tuple(text for text in texts if text.text),
    )


def _geometry(grid: Grid, tracks: Tracks, scale: Scale, labels: Labels) -> Geometry:
    nodes = grid.graph.nodes
    widths: dict[int, float] = defaultdict(float)
    heights: dict[tuple[int, int], float] = defaultdict(float)
    depths: dict[tuple[int, int], float] = defaultdict(float)
    lines: dict[tuple[int, int], int] = defaultdict(int)
    for key, cell in grid.cells.items():
        node = nodes[key]
        width, height, depth = 2 * SIGN, 2 * SIGN, 0.0
        if node.kind != "join":
            width, height, depth = scale.width(node), scale.height(node), scale.depth(node)
        written = labels.of(key)
        text = max((width_of(t, size, bold) for t, size, _, bold in written), default=0.0)
        widths[cell.column] = max(widths[cell.column], width + depth, text)
        heights[cell.line] = max(heights[cell.line], height)
        depths[cell.line] = max(depths[cell.line], depth)
        lines[cell.line] = max(lines[cell.line], len(written))
    x = 0.0
    if not grid.chain:
        x = AXIS_GAP + max(
            max(width_of(row.name, 11, True), width_of(labels.sizes(row.sizes), 9.5))
            for row in grid.rows
        )
    columns, gaps = [], []
    for column in range(grid.columns):
        turns = tracks.gaps.get(column, 0)
        gaps.append(x + 7)
        x += (GAP if column else 0) + TRACK * max(0, turns - 1)
        columns.append((x, x + widths[column]))
        x += widths[column]
    y = 0.0
    middles, tops, ceilings = {}, [], []
    for i, row in enumerate(grid.rows):
        tops.append(y)
        y += TRACK * (tracks.heights.get(i, -1) + 1)
        ceilings.append(y)
        for lane in range(row.lanes):
            line = i, lane
            y += LANE_GAP / 2 + LINE * lines[line] + depths[line] + heights[line] / 2
            middles[line] = y
            y += heights[line] / 2 + LANE_GAP / 2
    return Geometry(tuple(columns), tuple(gaps), middles, (*tops, y), tuple(ceilings))


def _box(key: int, grid: Grid, geometry: Geometry, scale: Scale, labels: Labels) -> Box:
    node, cell = grid.graph.nodes[key], grid.cells[key]
    left, right = geometry.columns[cell.column]
    x, y = (left + right) / 2, geometry.middles[cell.line]
    if node.kind == "join":
        area = Area(x - SIGN, y - SIGN, 2 * SIGN, 2 * SIGN)
        return Box("join", node.name, area, labels.title(key), node.shape, (), sign=node.sign)
    width, height, depth = scale.width(node), scale.height(node), scale.depth(node)
    area = Area(x - (width + depth) / 2, y - height / 2, width, height)
    written = labels.of(key)
    base = area.y - depth - 4
    texts = tuple(
        Text(x, base - LINE * (len(written) - 1 - i), text, size, "middle", role, bold)
        for i, (text, size, role, bold) in enumerate(written)
    )
    slices = node.count if width / node.count >= 3 else 1
    title = labels.title(key)
    return Box(node.kind, node.name, area, title, node.shape, node.paths, texts, depth, slices)


def _arrow(
    route: Route, grid: Grid, geometry: Geometry, tracks: Tracks, boxes: dict[int, Box]
) -> Arrow:
    source, target = boxes[route.source], boxes[route.target]
    start = source.whole.right, _port(source, tracks.leaving, route)
    end = target.area.x, _port(target, tracks.entering, route)
    first = _turn(route, grid, geometry, tracks.first_turn, grid.cells[route.source].column + 1)
    last = _turn(route, grid, geometry, tracks.last_turn, grid.cells[route.target].column)
    points: tuple[Point, ...]
    match route.way:
        case "straight":
            points = (start, end)
        case "drop":
            x = source.area.center[0]
            points = ((x, source.area.bottom), (x, end[1]), end)
        case "rise":
            x = target.area.center[0]
            points = (start, (x, start[1]), (x, target.area.bottom))
        case "late":
            points = (start, (last, start[1]), (last, end[1]), end)
        case "early":
            points = (start, (first, start[1]), (first, end[1]), end)
        case "over":
            row = grid.cells[route.source].row
            y = geometry.ceilings[row] - TRACK * tracks.above[route]
            points = (start, (first, start[1]), (first, y), (last, y), (last, end[1]), end)
    style, title = style_of(route, grid.graph)
    return Arrow(points, style, title, route.link.paths)


def _port(box: Box, places: dict[Route, float], route: Route) -> float:
    """The height at which an arrow meets the side of a box."""
    own = [place for other, place in places.items() if _same_box(other, route, box)]
    room = box.area.height / 2 - 3
    step = min(PORT, room / max(1.0, *(abs(place) for place in own or [1.0])))
    return box.area.center[1] + step * places.get(route, 0.0)


def _same_box(other: Route, route: Route, box: Box) -> bool:
    return other.source == route.source or other.target == route.target


def _turn(route: Route, grid: Grid, geometry: Geometry, turns: dict[Route, int], gap: int) -> float:
    return geometry.gaps[gap] + TRACK * turns.get(route, 0) if gap < grid.columns else 0.0
