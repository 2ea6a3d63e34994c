"""Scene -> SVG: text as text, classes and one small style sheet, and nothing that needs an id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from ..errors import escaped
from .scene import Arrow, Bar, Box, Point, Scene, Text
from .theme import style_sheet

TIP = 5.5  # the length of an arrow's head
ROUND = 5.0  # the radius of its turns


def svg_of(scene: Scene, theme: str) -> str:
    """The drawing as the text of an SVG file."""
    return "\n".join(_lines(scene, theme)) + "\n"


def _lines(scene: Scene, theme: str) -> Iterator[str]:
    width, height = number(scene.width), number(scene.height)
    shown = number(scene.width * scene.zoom), number(scene.height * scene.zoom)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plainnet {theme}" width="{shown[0]}"'
        f' height="{shown[1]}" viewBox="0 0 {width} {height}" role="img"'
        f" aria-label={_quoted(scene.title)}>"
    )
    yield f"<title>{_text(scene.title)}</title>"
    yield f"<desc>{_text(scene.description)}</desc>"
    yield f"<style>\n{style_sheet(theme)}\n</style>"
    yield f'<rect class="paper" width="{width}" height="{height}" rx="6"/>'
    for rule in scene.rules:
        (x, y), (u, v) = rule.start, rule.end
        yield f'<path class="rule" d="M{number(x)} {number(y)}L{number(u)} {number(v)}"/>'
    for arrow in scene.arrows:
        yield from _arrow(arrow)
    for box in scene.boxes:
        yield from _box(box)
    for bar in scene.bars:
        yield _bar(bar)
    for text in scene.texts:
        yield _label(text)
    yield "</svg>"


def number(value: float) -> str:
    """A coordinate with at most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    return escape(escaped(text, longest=len(text)))


def _quoted(text: str) -> str:
    return quoteattr(escaped(text))


def _label(text: Text) -> str:
    roles = [text.role, *["bold"] * text.bold, *[text.anchor] * (text.anchor != "start")]
    return (
        f'<text class="{" ".join(roles)}" x="{number(text.x)}" y="{number(text.y)}"'
        f' font-size="{number(text.size)}">{_text(text.text)}</text>'
    )


def _box(box: Box) -> Iterator[str]:
    size, paths = "x".join(map(str, box.shape[1:])), " ".join(box.paths)
    yield (
        f'<g class="box {box.kind}" data-name={_quoted(box.name)} data-channels="{box.shape[0]}"'
        f' data-size="{size}" data-path={_quoted(paths)}>'
    )
    yield f"<title>{_text(box.title)}</title>"
    area = box.area
    if box.kind == "join":
        x, y = area.center
        radius = number(area.width / 2)
        yield f'<circle class="shape" cx="{number(x)}" cy="{number(y)}" r="{radius}"/>'
        yield _label(Text(x, y + 4, box.sign, 12, "middle", "sign"))
    else:
        if box.depth:
            yield from _sides(box)
        yield (
            f'<rect class="shape" x="{number(area.x)}" y="{number(area.y)}"'
            f' width="{number(area.width)}" height="{number(area.height)}" rx="1.5"/>'
        )
        if box.slices > 1:
            step = area.width / box.slices
            lines = (
                f"M{number(area.x + step * i)} {number(area.y)}v{number(area.height)}"
                for i in range(1, box.slices)
            )
            yield f'<path class="slice" d="{"".join(lines)}"/>'
    for label in box.labels:
        yield _label(label)
    yield "</g>"


def _sides(box: Box) -> Iterator[str]:
    """The top and the right side of a box with a third axis."""
    x, y, right, bottom, by = box.area.x, box.area.y, box.area.right, box.area.bottom, box.depth
    top = ((x, y), (x + by, y - by), (right + by, y - by), (right, y))
    side = ((right, y), (right + by, y - by), (right + by, bottom - by), (right, bottom))
    for points in (top, side):
        yield f'<path class="shape side" d="{_path(points)}Z"/>'


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def _arrow(arrow: Arrow) -> Iterator[str]:
    path = f" data-path={_quoted(' '.join(arrow.paths))}" if arrow.paths else ""
    title = f"<title>{_text(arrow.title)}</title>" if arrow.title else ""
    (a, b), (x, y) = arrow.points[-2:]
    length = abs(x - a) + abs(y - b)
    u, v = ((x - a) / length, (y - b) / length) if length else (1.0, 0.0)
    base = (x - TIP * u, y - TIP * v)
    tip = (
        (x, y),
        (base[0] - 2.8 * v, base[1] + 2.8 * u),
        (base[0] + 2.8 * v, base[1] - 2.8 * u),
    )
    points = (*arrow.points[:-1], base) if arrow.tip else arrow.points
    head = f'<path class="tip" d="{_path(tip)}Z"/>' if arrow.tip else ""
    yield (
        f'<g class="arrow {arrow.style}"{path}>{title}'
        f'<path class="line" d="{_rounded(points)}"/>{head}</g>'
    )


def _rounded(points: Sequence[Point]) -> str:
    """A path with round turns."""
    parts = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for before, turn, after in zip(points, points[1:], points[2:]):
        first, second = _towards(turn, before), _towards(turn, after)
        parts.append(
            f"L{number(first[0])} {number(first[1])}"
            f"Q{number(turn[0])} {number(turn[1])} {number(second[0])} {number(second[1])}"
        )
    parts.append(f"L{number(points[-1][0])} {number(points[-1][1])}")
    return "".join(parts)


def _towards(start: Point, end: Point) -> Point:
    """A point a little on the way, at most half of it."""
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(ROUND, length / 2) / length if length else 0.0
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _bar(bar: Bar) -> str:
    area = bar.area
    return (
        f'<rect class="bar {bar.kind} {bar.measure}" x="{number(area.x)}" y="{number(area.y)}"'
        f' width="{number(area.width)}" height="{number(area.height)}">'
        f"<title>{_text(bar.title)}</title></rect>"
    )
