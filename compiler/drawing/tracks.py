"""Grid -> Tracks: where arrows leave and enter boxes, and which lines they share the gaps with.

Each gap between two columns has tracks for what turns in it, each row has some above its boxes.
They are ordered so that arrows which turn together do not cross.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .grid import Cell, Grid, Route


@dataclass(frozen=True, slots=True)
class Tracks:
    """Of each route: the order of its ends among those of the box, and its lines.

    `leaving` and `entering` are positions from the middle of a box's side, the upper ones negative.
    `turns` are the tracks in gaps: behind the source, in front of the target. `above` are the
    tracks over rows, the lowest first. `gaps` and `heights` say how many of them there are.
    """

    leaving: dict[Route, float]
    entering: dict[Route, float]
    first_turn: dict[Route, int]
    last_turn: dict[Route, int]
    above: dict[Route, int]
    gaps: dict[int, int]
    heights: dict[int, int]


def tracks_of(grid: Grid) -> Tracks:
    cells = grid.cells
    above = _above(grid)
    leaving = _ends(grid.routes, lambda r: r.source, lambda r: _leaves(r, cells, above))
    entering = _ends(grid.routes, lambda r: r.target, lambda r: _enters(r, cells, above))
    first: dict[Route, int] = {}
    last: dict[Route, int] = {}
    gaps: dict[int, int] = defaultdict(int)
    runs: dict[int, list[tuple[tuple[int, ...], Route, dict[Route, int]]]] = defaultdict(list)
    for route in grid.routes:
        start, end = cells[route.source], cells[route.target]
        if route.way in ("early", "over"):
            runs[start.column + 1].append((_turn(route, cells, above, True), route, first))
        if route.way in ("late", "over"):
            runs[end.column].append((_turn(route, cells, above, False), route, last))
    for gap, found in runs.items():
        orders = sorted({order for order, _, _ in found})
        for order, route, turns in found:
            turns[route] = orders.index(order)
        gaps[gap] = len(orders)
    heights: dict[int, int] = defaultdict(int)
    for route, track in above.items():
        row = cells[route.source].row
        heights[row] = max(heights[row], track + 1)
    return Tracks(leaving, entering, first, last, above, gaps, heights)


def _above(grid: Grid) -> dict[Route, int]:
    """The tracks above each row: one for each box that needs it, those further left higher."""
    spans: dict[int, tuple[int, int, int]] = {}
    for route in grid.routes:
        if route.way == "over":
            cell, until = grid.cells[route.source], grid.cells[route.target].column
            until = max(until, spans[route.source][2] if route.source in spans else 0)
            spans[route.source] = (cell.row, cell.column, until)
    found: dict[int, int] = {}
    taken: dict[tuple[int, int], int] = {}  # where a track of a row is free again, from the right
    for source, (row, start, end) in sorted(spans.items(), key=lambda x: -x[1][1]):
        track = 0
        while taken.get((row, track), end + 1) <= end:
            track += 1
        taken[row, track] = start
        found[source] = track
    return {route: found[route.source] for route in grid.routes if route.way == "over"}


def _turn(
    route: Route, cells: dict[int, Cell], above: dict[Route, int], first: bool
) -> tuple[int, ...]:
    """The order of a line in its gap, from the left; those of one box that turn alike share one."""
    start, end = cells[route.source], cells[route.target]
    if route.way == "over":
        return (2, start.row, -start.lane) if first else (0, above[route], -start.column)
    down = end.line > start.line
    row, lane = start.line
    return (1, -row, -lane, route.source) if down else (3, row, lane, route.source)


def _leaves(
    route: Route, cells: dict[int, Cell], above: dict[Route, int]
) -> tuple[int, ...] | None:
    """The order of an arrow's start on the right side of its box; None at another side."""
    start, end = cells[route.source], cells[route.target]
    match route.way:
        case "straight":
            return (0,)
        case "drop":
            return None
        case "over":
            return (-2,)
        case _:
            up = end.line < start.line
            return (-1, end.column) if up else (1, -end.column)


def _enters(
    route: Route, cells: dict[int, Cell], above: dict[Route, int]
) -> tuple[int, ...] | None:
    """The order of an arrow's end on the left side of its box; None at another side."""
    start, end = cells[route.source], cells[route.target]
    match route.way:
        case "straight" | "drop":
            return (0,)
        case "rise":
            return None
        case "over":
            return (-2, -above[route])
        case _:
            up = end.line < start.line
            return (1, *start.line) if up else (-1, *start.line)


def _ends(
    routes: Iterable[Route],
    box: Callable[[Route], int],
    order: Callable[[Route], tuple[int, ...] | None],
) -> dict[Route, float]:
    """Positions of arrows on one side of each box, around the middle, which a straight one has."""
    sides: dict[int, dict[tuple[int, ...], list[Route]]] = defaultdict(lambda: defaultdict(list))
    for route in routes:
        if (place := order(route)) is not None:
            sides[box(route)][place].append(route)
    found: dict[Route, float] = {}
    for places in sides.values():
        orders = sorted(places)
        middle = orders.index((0,)) if (0,) in places else (len(orders) - 1) / 2
        for position, place in enumerate(orders):
            for route in places[place]:
                found[route] = position - middle
    return found
