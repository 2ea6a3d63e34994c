"""Grid -> Scene: boxes with their labels, and the arrows between them."""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import LINE, TRACK, Geometry, geometry_of
from .grid import Grid, Route
from .labels import Labels, style_of
from .scale import SIGN, Scale
from .scene import Area, Arrow, Box, Point, Rule, Scene, Text
from .tracks import Tracks, tracks_of

PORT = 6.0  # between the ends of arrows at a box, where it has room


def scene_of(grid: Grid, scale: Scale, labels: Labels) -> Scene:
    """The boxes with their labels, and the arrows."""
    tracks = tracks_of(grid)
    geometry = geometry_of(grid, tracks, scale, labels)
    boxes = {key: _box(key, grid, geometry, scale, labels) for key in grid.graph.nodes}
    styles = {route: style_of(route, grid.graph) for route in grid.routes}
    drawn = _Arrows(grid, geometry, tracks, boxes, styles)
    arrows = tuple(drawn.arrow(route) for route in grid.routes)
    width = geometry.columns[-1][1]
    rules: list[Rule] = []
    texts: list[Text] = []
    for i, row in enumerate(grid.rows):
        y = geometry.middles[i, 0]
        for j, (text, size, role, bold) in enumerate(labels.of_row(row)):
            texts.append(Text(0, y - 2 + LINE * j, text, size, "start", role, bold))
        if i and texts:
            rules.append(Rule((0, geometry.tops[i]), (width, geometry.tops[i])))
    return Scene(
        width,
        geometry.tops[-1],
        tuple(boxes.values()),
        arrows,
        tuple(rules),
        texts=tuple(text for text in texts if text.text),
    )


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


@dataclass(frozen=True, slots=True)
class _Arrows:
    """Draws the arrows between boxes that have their places."""

    grid: Grid
    geometry: Geometry
    tracks: Tracks
    boxes: dict[int, Box]
    styles: dict[Route, tuple[str, str]]

    def arrow(self, route: Route) -> Arrow:
        source, target = self.boxes[route.source], self.boxes[route.target]
        cells, geometry, tracks = self.grid.cells, self.geometry, self.tracks
        start = source.whole.right, self.port(source, tracks.leaving, route)
        end = target.area.x, self.port(target, tracks.entering, route)
        first = self.turn(tracks.first_turn.get(route), cells[route.source].column + 1)
        last = self.turn(tracks.last_turn.get(route), cells[route.target].column)
        joins = self.joins(route)
        points: tuple[Point, ...]
        match route.way:
            case "straight":
                points = (start, end)
            case "drop":
                x = source.area.center[0]
                points = ((x, source.area.bottom), (x, end[1]), end)
            case "rise":
                x = target.area.center[0]
                up = () if joins else ((x, target.area.bottom),)
                points = (start, (x, start[1]), *up)
            case "late":
                points = (start, (last, start[1]), (last, end[1]), end)
            case "early":
                points = (start, (first, start[1]), (first, end[1]), end)
            case "over":
                row = cells[route.source].row
                y = geometry.ceilings[row] - TRACK * tracks.above[route]
                shared = ((last - TRACK, y),) if joins else (start, (first, start[1]), (first, y))
                points = (*shared, (last, y), (last, end[1]), end)
        style, title = self.styles[route]
        tip = not (joins and route.way == "rise")
        return Arrow(points, style, title, route.link.paths, tip)

    def joins(self, route: Route) -> bool:
        """Whether a longer arrow of the same style has the same line, which this one then shares.

        Upwards into one box they share the end, and above a row, from one box, the beginning.
        """
        cells = self.grid.cells
        alike = [
            other
            for other in self.grid.routes
            if other.way == route.way and self.styles[other][0] == self.styles[route][0]
        ]
        if route.way == "rise":
            lines = [cells[other.source].line for other in alike if other.target == route.target]
            return max(lines) > cells[route.source].line
        if route.way == "over":
            ends = [cells[other.target].column for other in alike if other.source == route.source]
            return max(ends) > cells[route.target].column
        return False

    def port(self, box: Box, places: dict[Route, float], route: Route) -> float:
        """The height at which an arrow meets the side of a box."""
        side = [
            abs(place)
            for other, place in places.items()
            if other.source == route.source or other.target == route.target
        ]
        step = min(PORT, (box.area.height / 2 - 3) / max(1.0, *side, 1.0))
        return box.area.center[1] + step * places.get(route, 0.0)

    def turn(self, track: int | None, gap: int) -> float:
        """Where a line in the gap before a column is, if the arrow has one there."""
        return 0.0 if track is None else self.geometry.gaps[gap] + TRACK * track
