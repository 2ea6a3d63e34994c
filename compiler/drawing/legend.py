"""What bars and arrows mean, in a line or more."""

from __future__ import annotations

from collections.abc import Iterable

from .fonts import width_of
from .scene import Area, Arrow, Bar, Scene, Text

SIZE = 10.0
SAMPLE = 26.0  # the length of an arrow
BETWEEN = 20.0
LINE = 17.0
MEANINGS = {  # of the styles of arrows, in this order
    "skip": "skip",
    "down": "stride or pool",
    "up": "upsampling",
    "learned": "learned upsampling",
}


def legend_of(styles: Iterable[str], totals: tuple[str, str], width: float) -> Scene:
    """The two measures of the bars with their totals, then the arrows that there are."""
    used = {*styles}
    entries = [*zip(("parameters", "macs"), totals)]
    entries += [(style, text) for style, text in MEANINGS.items() if style in used]
    bars: list[Bar] = []
    arrows: list[Arrow] = []
    texts: list[Text] = []
    x, y = 0.0, 0.0
    for style, text in entries:
        sample = 9.0 if style in ("parameters", "macs") else SAMPLE
        wide = sample + 5 + width_of(text, SIZE)
        if x and x + wide > width:
            x, y = 0.0, y + LINE
        if style in ("parameters", "macs"):
            bars.append(Bar(Area(x, y, 9, 9), "image", style, text))
        else:
            arrows.append(Arrow(((x, y + 4.5), (x + SAMPLE, y + 4.5)), style))
        texts.append(Text(x + sample + 5, y + 8.2, text, SIZE, "start", "muted"))
        x += wide + BETWEEN
    return Scene(width, y + LINE, arrows=tuple(arrows), bars=tuple(bars), texts=tuple(texts))
