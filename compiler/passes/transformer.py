"""How TransUNet is wired: the rows of its ViT, its mask decoder and its decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Conv, Fragment, Linear, Shape
from ..model import TransUNet
from .interpret import Row, Tracer, below, product


def patch_of(image: Sequence[int], deepest: Sequence[int]) -> tuple[int, ...]:
    """Voxels of the deepest level that make one token, per axis: 1 at the usual sizes."""
    return tuple(
        max(1, size // 2 ** round(math.log2(whole / size))) for whole, size in zip(image, deepest)
    )


def trans_unet(
    head: TransUNet, tracer: Tracer, pyramid: Sequence[Shape], compat: str
) -> tuple[list[Row], list[tuple[str, Shape]]]:
    """Rows in PyTorch's order (a module's own tables first), and the outputs of the parts."""
    deepest = pyramid[-1]
    image = tuple(tracer.image[1:])
    patch = patch_of(image, deepest[1:])
    grid = tuple(size // p for size, p in zip(deepest[1:], patch))
    width, count = head.embed_dim, product(grid)
    tokens: Shape = (width, count)
    vit = [
        _table("positions", (1, count, width), tokens),
        _patch_row(deepest, patch, grid, width),
    ]
    for i in range(head.vit_layers):
        rows, _ = tracer.call("VitBlock", (), (tokens,))
        vit += below(f"blocks.{i}", rows)
    queries: Shape = (width, head.queries)
    masks = [_table("queries", (1, head.queries, width), queries)]
    for i, level in enumerate(pyramid[-2::-1]):
        rows, _ = tracer.call("MaskedCrossAttention", (level[0],), (queries, level, queries))
        masks += below(f"levels.{i}", rows)
    masks += _dense(tracer, "classes", queries, "num_classes", head.num_classes)
    if compat and grid != deepest[1:]:
        voxels = product(deepest[1:])
        masks += _dense(tracer, "resize", (count, head.queries), voxels, head.num_classes)
    maps: Shape = (head.num_classes, *deepest[1:])
    parts = [("tokens", tokens), ("maps", maps)]
    rows, x = _conv(tracer, "conv", maps, head.stage_filters[0])
    decoder = rows
    for i, (level, filters) in enumerate(zip(pyramid[-2::-1], head.stage_filters[1:])):
        joined = (x[0] + level[0], *level[1:])
        rows, x = _conv(tracer, f"blocks.{i}", joined, filters)
        decoder += rows
        parts.append((f"block {i}", x))
    return [*below("vit", vit), *below("mask_decoder", masks), *below("decoder", decoder)], parts


def _table(name: str, shape: Shape, output: Shape) -> Row:
    """Learned rows that are no layer's weights: a parameter of its own."""
    return Row(name, "table", (("table", shape),), output, 0)


def _patch_row(deepest: Shape, patch: Shape, grid: Shape, width: int) -> Row:
    shape = (width, deepest[0], *patch)
    weights = (("weight", shape), ("bias", (width,)))
    return Row("patch", "conv", weights, (width, *grid), product(shape) * product(grid))


def _conv(tracer: Tracer, name: str, x: Shape, filters: int) -> tuple[list[Row], Shape]:
    layer = Conv("conv", x[0], filters, 3, bias=True)
    rows, output = tracer.run(Fragment((layer,), ("x = conv(x)",)), {}, {"x": x})
    return [Row(name, r.kind, r.weights, r.output, r.macs) for r in rows], output


def _dense(tracer: Tracer, name: str, x: Shape, cout: int | str, classes: int) -> list[Row]:
    code = Fragment((Linear(name, x[0], cout),), (f"x = {name}(x)",))
    rows, _ = tracer.run(code, {"num_classes": classes}, {"x": x})
    return rows
