"""Network -> Ledger: the parts of a network in the order in which they are wired.

Shapes, counts, weight names and MACs are folds over the rows: one definition, many answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import CompileError, Problem
from ..ir import Shape
from ..model import (
    AttentionUNet,
    Classifier,
    Features,
    Network,
    TransUNet,
    UNet,
    UNetPlusPlus,
)
from .interpret import SHAPES, Row, Tracer, below
from .transformer import trans_unet


@dataclass(frozen=True)
class Ledger:
    """Everything known of a network before any framework sees it.

    `rows` stand in the order in which PyTorch registers their weights. `pyramid` and `decoder` are
    the levels and the decoder's stages by name.
    """

    rows: tuple[Row, ...]
    pyramid: tuple[tuple[str, Shape], ...]
    decoder: tuple[tuple[str, Shape], ...]
    output: Shape


@lru_cache(maxsize=64)
def trace(network: Network) -> Ledger:
    """Run the network over the shape of its image."""
    model = network.model
    tracer = Tracer(network)
    rows, pyramid = _encoder(network, tracer)
    match model.head:
        case UNetPlusPlus():
            more, stages, x = _unet_plus_plus(model.head, tracer, pyramid, model.image)
        case UNet():
            more, stages, x = _unet(model.head, tracer, pyramid, model.image)
        case TransUNet():
            more, parts = trans_unet(model.head, tracer, pyramid, model.compat)
            stages, x = [], (parts[-1][1][0], *model.image[1:])
        case Classifier() | Features():
            more, stages, x = [], [], pyramid[-1]
    rows += more
    names = {"last_channels": x[0]}
    if not isinstance(model.head, Features):
        names["num_classes"] = model.head.num_classes
    more, output = tracer.run(network.head, names, {"x": x, "image": model.image})
    rows += more
    _check_unique(rows)
    if not isinstance(model.head, TransUNet):
        parts = [(f"block {i}", shape) for i, shape in enumerate(stages)]
    return Ledger(
        rows=tuple(rows),
        pyramid=tuple(zip(model.trunk.levels, pyramid, strict=True)),
        decoder=tuple(parts),
        output=output,
    )


def _check_unique(rows: list[Row]) -> None:
    """Keras names are paths with `_` for `.`: two paths must not meet in one name."""
    seen: dict[str, str] = {}
    for row in rows:
        name = row.path.replace(".", "_")
        if name in seen:
            both = f"{seen[name]} and {row.path}"
            raise CompileError(Problem(f"{both} would both be {name} in Keras"))
        seen[name] = row.path


def _encoder(network: Network, tracer: Tracer) -> tuple[list[Row], list[Shape]]:
    """The stem, the pool and the stages: rows, and the levels P1, P2, ..."""
    model = network.model
    rows, x = tracer.run(network.stem, {"in_channels": model.in_channels}, {"x": model.image})
    rows = below("encoder", rows)
    pyramid = [x]
    x = SHAPES[network.pool](x)
    for s, stage in enumerate(model.trunk.stages):
        for i in range(stage.depth):
            names = {
                "in_channels": x[0],
                "width": stage.width,
                "channels": stage.channels,
                "stride": stage.stride if i == 0 else 1,
            }
            args = tuple(names[arg] for arg in network.residual.args)
            more, x = tracer.call(network.residual.name, args, (x,))
            rows += below(f"encoder.stages.{s}.{i}", more)
        pyramid.append(x)
    return rows, pyramid


def _up(head: UNet, tracer: Tracer, x: Shape, filters: int, like: Shape) -> tuple[list[Row], Shape]:
    """A tensor at twice its size, cut to that of `like`."""
    if head.decoder_block == "upsampling":
        return [], (x[0], *like[1:])
    rows, x = tracer.call("Up", (x[0], filters), (x,))
    return rows, (x[0], *like[1:])


def _unet(
    head: UNet, tracer: Tracer, pyramid: Sequence[Shape], image: Shape
) -> tuple[list[Row], list[Shape], Shape]:
    """Up, join the skip, convolve; the last stage, at full resolution, has no skip."""
    x = pyramid[-1]
    skips = [*pyramid[-2::-1], None]
    gates: list[Row] = []
    ups: list[Row] = []
    blocks: list[Row] = []
    stages = []
    for i, (filters, skip) in enumerate(zip(head.stage_filters, skips, strict=True)):
        if skip and isinstance(head, AttentionUNet):
            rows, _ = tracer.call("AttentionGate", (skip[0], x[0], filters), (skip, x))
            gates += below(f"decoder.gates.{i}", rows)
        rows, x = _up(head, tracer, x, filters, skip or image)
        ups += below(f"decoder.ups.{i}", rows)
        joined = (x[0] + (skip[0] if skip else 0), *x[1:])
        rows, x = tracer.call("DecoderBlock", (joined[0], filters), (joined,))
        blocks += below(f"decoder.blocks.{i}", rows)
        stages.append(x)
    return [*gates, *ups, *blocks], stages, x


def _unet_plus_plus(
    head: UNet, tracer: Tracer, pyramid: Sequence[Shape], image: Shape
) -> tuple[list[Row], list[Shape], Shape]:
    """Row by row from the deepest: a node joins the one below it, upsampled, and all to its left.

    In each row the first is the level itself; the stage is its last node. A learned upsampling to
    the image follows, a plain one is left to the head.
    """
    under = [pyramid[-1]]
    ups: list[Row] = []
    blocks: list[Row] = []
    stages = []
    for r, (filters, skip) in enumerate(zip(head.stage_filters, pyramid[-2::-1], strict=True)):
        row = [skip]
        for i, node in enumerate(under):
            rows, x = _up(head, tracer, node, filters, skip)
            ups += below(f"decoder.ups.{r}.{i}", rows)
            joined = (x[0] + sum(shape[0] for shape in row), *skip[1:])
            rows, x = tracer.call("DecoderBlock", (joined[0], filters), (joined,))
            blocks += below(f"decoder.blocks.{r}.{i}", rows)
            row.append(x)
        under = row
        stages.append(under[-1])
    x = under[-1]
    last: list[Row] = []
    if head.decoder_block == "transpose":
        rows, x = _up(head, tracer, x, x[0], image)
        last = below("decoder.last_up", rows)
    return [*ups, *blocks, *last], stages, x
