"""What a drawing consists of, in pixels: boxes, arrows, lines, bars and text, all of it frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ..ir import Shape
from .fonts import width_of
from .kinds import Kind

Anchor: TypeAlias = Literal["start", "middle", "end"]
Point: TypeAlias = tuple[float, float]
ASCENT, DESCENT = 0.76, 0.24  # of a text above and below its line, as shares of its size


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def center(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    def meets(self, other: Area) -> bool:
        """Whether the two have more in common than an edge."""
        return (
            self.x < other.right
            and other.x < self.right
            and self.y < other.bottom
            and other.y < self.bottom
        )

    def holds(self, other: Area) -> bool:
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def moved(self, x: float, y: float) -> Area:
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text at a point of its base line; `role` is its class in the SVG."""

    x: float
    y: float
    text: str
    size: float = 10
    anchor: Anchor = "middle"
    role: str = "text"
    bold: bool = False

    @property
    def area(self) -> Area:
        """The room that it may take."""
        width = width_of(self.text, self.size, self.bold)
        shift = {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        top = self.y - ASCENT * self.size
        return Area(self.x - shift, top, width, (ASCENT + DESCENT) * self.size)

    def moved(self, x: float, y: float) -> Text:
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the network, with its labels, or a round sign.

    `depth` is how far its third axis leads to the upper right. It is cut into `slices`, one for
    each of its blocks.
    """

    kind: Kind
    name: str
    area: Area
    title: str
    shape: Shape
    paths: tuple[str, ...]
    labels: tuple[Text, ...] = ()
    depth: float = 0
    slices: int = 1
    sign: str = ""

    @property
    def whole(self) -> Area:
        """Its room with its third axis."""
        depth, area = self.depth, self.area
        return Area(area.x, area.y - depth, area.width + depth, area.height + depth)

    def moved(self, x: float, y: float) -> Box:
        labels = tuple(label.moved(x, y) for label in self.labels)
        return replace(self, area=self.area.moved(x, y), labels=labels)


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line of right angles; `style` is its class in the SVG.

    Without a `tip`, it ends in another line.
    """

    points: tuple[Point, ...]
    style: str
    title: str = ""
    paths: tuple[str, ...] = ()
    tip: bool = True

    def moved(self, x: float, y: float) -> Arrow:
        return replace(self, points=tuple((a + x, b + y) for a, b in self.points))


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a share: of parameters or of MACs, in the color of a kind."""

    area: Area
    kind: Kind
    measure: str
    title: str

    def moved(self, x: float, y: float) -> Bar:
        return replace(self, area=self.area.moved(x, y))


@dataclass(frozen=True, slots=True)
class Rule:
    """A thin line between two points."""

    start: Point
    end: Point

    def moved(self, x: float, y: float) -> Rule:
        (a, b), (c, d) = self.start, self.end
        return Rule((a + x, b + y), (c + x, d + y))


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawing, or a part of one. `description` is for those who do not see it.

    It is shown `zoom` times as large.
    """

    width: float
    height: float
    boxes: tuple[Box, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    rules: tuple[Rule, ...] = ()
    bars: tuple[Bar, ...] = ()
    texts: tuple[Text, ...] = ()
    title: str = ""
    description: str = ""
    zoom: float = 1.0

    @property
    def area(self) -> Area:
        return Area(0, 0, self.width, self.height)

    @property
    def all_texts(self) -> Iterator[Text]:
        """Those of the boxes too."""
        yield from self.texts
        for box in self.boxes:
            yield from box.labels

    def moved(self, x: float, y: float) -> Scene:
        """The scene with everything in another place; its size is the same."""
        return replace(
            self,
            boxes=tuple(box.moved(x, y) for box in self.boxes),
            arrows=tuple(arrow.moved(x, y) for arrow in self.arrows),
            rules=tuple(rule.moved(x, y) for rule in self.rules),
            bars=tuple(bar.moved(x, y) for bar in self.bars),
            texts=tuple(text.moved(x, y) for text in self.texts),
        )

    def with_(self, other: Scene) -> Scene:
        """Both in one, in the size, the title and the description of this one."""
        return replace(
            self,
            boxes=self.boxes + other.boxes,
            arrows=self.arrows + other.arrows,
            rules=self.rules + other.rules,
            bars=self.bars + other.bars,
            texts=self.texts + other.texts,
        )
