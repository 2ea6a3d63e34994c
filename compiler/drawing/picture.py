"""Models -> SVG: one drawing, or two side by side on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import counted
from ..lower import lower
from ..model import Model
from ..network import Network
from ..passes.specialize import specialize
from ..passes.trace import Ledger, trace
from .bars import Measures, bars_of, measures_of, totals_of
from .fonts import shortened
from .graph import Graph, graph_of
from .grid import grid_of
from .labels import Labels, times
from .layout import scene_of
from .legend import legend_of
from .scale import Scale, scale_of
from .scene import Scene, Text
from .signed import signed
from .svg import svg_of

MARGIN = 20.0
HEADER = 44.0
BETWEEN = 36.0
GAP = 6.0
TITLE = 15.0
LONGEST_TITLE = 900.0


def picture(models: Sequence[Model], theme: str = "auto") -> str:
    """The drawing of one model, or of several beside each other, as the text of an SVG file."""
    return signed(svg_of(scene(models), theme))


def usual_name(models: Sequence[Model]) -> str:
    """`resnet50_unet_2d.svg`: the name of a drawing's file where nobody says another."""
    return f"{'_and_'.join(model.name for model in models)}_{models[0].dims}d.svg"


def scene(models: Sequence[Model]) -> Scene:
    """What `picture` writes."""
    return scene_of_networks([specialize(model) for model in models])


def scene_of_networks(networks: Sequence[Network]) -> Scene:
    """The panels of some networks, from left to right."""
    ledgers = [trace(network) for network in networks]
    graphs = [graph_of(*both) for both in zip(networks, ledgers)]
    scale, measures = scale_of(graphs), measures_of(ledgers)
    bodies = [_body(graph, scale) for graph in graphs]
    height = max(body.height for body in bodies)
    whole = Scene(MARGIN, 0)
    for network, ledger, graph, body in zip(networks, ledgers, graphs, bodies):
        panel = _panel(network, ledger, graph, body, height, measures)
        whole = replace(
            whole.with_(panel.moved(whole.width, MARGIN)),
            width=whole.width + panel.width + BETWEEN,
            height=max(whole.height, panel.height + 2 * MARGIN),
            title=" beside ".join(filter(None, [whole.title, panel.title])),
            description=" ".join(filter(None, [whole.description, panel.description])),
        )
    return replace(whole, width=whole.width - BETWEEN + MARGIN, title=f"Drawing of {whole.title}")


def _body(graph: Graph, scale: Scale) -> Scene:
    grid = grid_of(graph)
    return scene_of(grid, scale, Labels(grid))


def _panel(
    network: Network,
    ledger: Ledger,
    graph: Graph,
    body: Scene,
    height: float,
    measures: Measures,
) -> Scene:
    """A network, `height` high, with its title above and its bars and a legend below."""
    model = network.model
    title = shortened(lower(network, ledger).title, TITLE, LONGEST_TITLE, bold=True)
    sizes = f"image {times(model.image[1:])}, {counted(model.in_channels, 'channel')}"
    texts = (
        Text(0, 14, title, TITLE, "start", "title", bold=True),
        Text(0, 31, sizes, 11, "start", "muted"),
    )
    wide = max(body.width, *(text.area.width for text in texts))
    bars = bars_of(graph, ledger, wide, measures)
    styles = {arrow.style for arrow in body.arrows}
    legend = legend_of(styles, totals_of(ledger).written, bars.width)
    below = HEADER + height + GAP
    whole = Scene(bars.width, below + bars.height + legend.height, texts=texts)
    return replace(
        whole.with_(body.moved((bars.width - body.width) / 2, HEADER))
        .with_(bars.moved(0, below))
        .with_(legend.moved(0, below + bars.height + 8)),
        title=title,
        description=" ".join(
            [f"{title}.", *(f"{box.title}." for box in body.boxes if box.kind != "join")]
        ),
    )
