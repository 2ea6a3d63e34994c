"""The catalog as small drawings: boxes and arrows without names, below a title."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from ..catalog import ENCODERS, SEGMENTED
from ..lower import lower
from ..model import Classifier, Features, Model, Segmentor
from ..passes.specialize import specialize
from ..passes.trace import trace
from ..passes.validate import resolve
from ..segmentors import SEGMENTORS
from .bars import totals_of
from .fonts import shortened
from .graph import graph_of
from .grid import grid_of
from .labels import Labels
from .layout import scene_of
from .scale import scale_of
from .scene import Scene, Text
from .signed import signed
from .svg import svg_of

WIDTH = 300.0
ASPECT = 1.5  # of what is below the title
TITLE = 1 / 18  # the size of the title, as a share of the width


def gallery(dims: object = 2) -> list[Model]:
    """Every encoder of the catalog, and every segmentor on one of them. Raises `CompileError`."""
    return [
        *(resolve(name, {"dims": dims}) for name in ENCODERS),
        *(
            resolve(SEGMENTED, {"dims": dims, "segmentor": name})
            for name, row in SEGMENTORS.items()
            if not row.head.exact
        ),
    ]


def thumbnail(model: Model, theme: str = "auto") -> str:
    """A small drawing of a model, as the text of an SVG file."""
    return signed(svg_of(small_scene(model), theme))


def small_scene(model: Model) -> Scene:
    """What `thumbnail` writes: all of them have one size, whatever the size of the network."""
    network = specialize(model)
    ledger = trace(network)
    graph = graph_of(network, ledger)
    grid = grid_of(graph)
    body = scene_of(grid, scale_of([graph]), Labels(grid, hidden=True))
    side = max(body.width, body.height * ASPECT)
    size = side * TITLE
    name = shortened(model.encoder.title, size, side, bold=True)
    words = shortened(", ".join(_words(model)), size, side)
    count, cost = totals_of(ledger).written
    texts = (
        Text(0, size, name, size, "start", "title", bold=True),
        Text(0, 2.3 * size, words, 0.8 * size, "start", "muted"),
        Text(0, 3.5 * size, count, 0.8 * size, "start", "muted"),
    )
    head = 4.5 * size
    below = side / ASPECT
    placed = body.moved((side - body.width) / 2, head + (below - body.height) / 2)
    width = side + 2 * size
    return replace(
        Scene(side, head + below, texts=texts).with_(placed).moved(size, size),
        width=width,
        height=head + below + 2 * size,
        title=f"Drawing of {lower(network, ledger).title}",
        description=f"{count}, {cost}.",
        zoom=WIDTH / width,
    )


def _words(model: Model) -> Iterator[str]:
    """What stands on the encoder, and the dimensions."""
    match model.head:
        case Segmentor(title=title):
            yield title
        case Classifier(name=name):
            yield name
        case Features():
            yield "features"
        case _:
            assert_never(model.head)
    yield f"{model.dims}D"
