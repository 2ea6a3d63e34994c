"""TransUNet's options, what they may not be, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypedDict

from .. import limits
from ..axes import product, spread
from ..dialect import DIALECTS
from ..errors import Problem
from ..model import UNITS, Encoder, Model, Segmentor
from ..operations import PYRAMID
from ..option import option
from ..passes.steps import Step
from .base import Doc, TableRow, Words, dropout
from .unet import head_of


@dataclass(frozen=True)
class TransUNet(Segmentor):
    """A ViT on the deepest level, and queries that look for the classes on the others.

    The learned positions fix the size of the image (3D TransUNet, Fig. 1).
    """

    vit_layers: int = option(12, "count", "Transformer blocks.", limit=limits.VIT_LAYERS)
    heads: int = option(8, "count", "Attention heads.", limit=limits.HEADS)
    queries: int = option(100, "count", "Learned queries.", limit=limits.QUERIES)
    embed_dim: int = option(512, "count", "Width of tokens and queries.", limit=limits.EMBED_DIM)
    mlp_dim: int = option(1024, "count", "Width inside the MLPs.", limit=limits.CHANNELS)
    dropout: float = dropout(0.1)
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16)

    name: ClassVar[str] = "trans_unet"
    title: ClassVar[str] = "TransUNet"

    @property
    def stage_filters(self) -> tuple[int, ...]:
        """Filters of the decoder: of the class maps, then of each level up to P1."""
        return self.decoder_filters[: self.depth]


class TransUNetOptions(TypedDict, total=False):
    """TransUNet's own options, as keywords."""

    vit_layers: int | str | None
    heads: int | str | None
    queries: int | str | None
    embed_dim: int | str | None
    mlp_dim: int | str | None


def patch_of(model: Model) -> tuple[int, ...]:
    """Pixels or voxels of the deepest level that make one token, per axis: 1 at usual sizes."""
    depth = head_of(model, TransUNet).depth
    return tuple(max(1, size // 2**depth) for size in deepest_sizes(model))


def deepest_sizes(model: Model) -> tuple[int, ...]:
    """The sizes of the deepest level: divided by each level's stride, rounded up."""
    sizes = zip(model.input_shape[:-1], model.divisors[-1])
    return tuple(-(-size // divisor) for size, divisor in sizes)


def is_patched(model: Model) -> bool:
    """Whether a token is more than one pixel or voxel of the deepest level."""
    return any(p > 1 for p in patch_of(model))


def problems(head: Segmentor, sizes: tuple[int, ...], encoder: Encoder | None) -> list[Problem]:
    """Heads that do not divide, images that are too small for the depth, or odd for a pool."""
    assert isinstance(head, TransUNet)
    problems = _odd_pool_problems(sizes, encoder) if encoder else []
    if head.embed_dim % head.heads:
        near = [h for h in range(1, limits.HEADS.largest + 1) if head.embed_dim % h == 0]
        best = min(near, key=lambda h: abs(h - head.heads))
        problems.append(
            Problem(
                f"--heads {head.heads} does not divide --embed-dim {head.embed_dim}",
                hint=f"use {best} heads",
            )
        )
    if not sizes:  # they are wrong already
        return problems
    rank = len(sizes)
    steps = encoder.steps(rank)[: head.depth] if encoder else ((2,) * rank,) * head.depth
    small = [(n, least) for n, least in zip(sizes, product(steps, rank)) if n < least]
    if small:
        size, least = min(small)
        divided = f"halved {head.depth} times"
        if least != 2**head.depth:
            divided = f"divided by {least} on that axis"
        problems.append(
            Problem(
                f"--input-shape has the size {size}, but P{head.depth} is the image {divided}",
                hint=f"at least {least}, or a smaller --encoder-depth",
            )
        )
    return problems


def _odd_pool_problems(sizes: tuple[int, ...], encoder: Encoder) -> list[Problem]:
    """Cadene's pool rounds down: a token grid that doubles does not reach the edge of an odd P1."""
    if not DIALECTS[encoder.dialect].ceil_pool:
        return []
    rank, stem = len(sizes), encoder.stem
    return [
        Problem(
            f"--input-shape has the size {size}, which gives P1 an odd size: the pool of the"
            " dialect cadene rounds it down",
            hint=f"use {-(-size // (2 * step)) * 2 * step}",
        )
        for size, step, pool in zip(sizes, spread(stem.stride, rank), spread(stem.pool, rank))
        if pool == 2 and -(-size // step) % 2
    ]


def title(model: Model) -> str:
    return f"TransUNet on {model.encoder.title}, {model.dims}D segmentation"


def notes(model: Model) -> tuple[str, ...]:
    medicai = "As in medicai, queries attend outside their masks, and one class gets a softmax."
    return (
        "3D TransUNet: arXiv 2310.07781, Fig. 1.",
        *([medicai] if model.compat == "medicai" else []),
        "ViT: arXiv 2010.11929, Fig. 1. Masked attention: Mask2Former, arXiv 2112.01527, Eq. 2.",
    )


def docs(model: Model) -> dict[str, Doc]:
    skips = PYRAMID["skips"](model.trunk.levels)
    levels = f"{skips[0]}..{skips[-1]}"
    filters = head_of(model, TransUNet).stage_filters[-1]
    return {
        "Vit": Doc(
            f"ViT on {model.trunk.levels[-1]}, with learned positions. [C] -> (N, T, EMBED)."
        ),
        "MaskDecoder": Doc(
            f"Coarse class maps from queries refined on {levels}.",
            "tokens (N, T, EMBED) -> [K ...].",
        ),
        "Decoder": Doc(
            f"Class maps upsampled with the skips {levels}.", f"[K ...] -> [{filters}]."
        ),
    }


def rows(model: Model, steps: Sequence[Step]) -> list[TableRow]:
    head = head_of(model, TransUNet)
    tokens, maps, *blocks = steps
    width, count = tokens.output
    unit = UNITS[model.dims]
    covered = "x".join(map(str, patch_of(model))) + f" {unit}s" if is_patched(model) else unit
    skips = PYRAMID["skips"](model.trunk.levels)
    vit = f"{head.vit_layers} x {{VitBlock}}, one token per {covered} of {model.trunk.levels[-1]}"
    return [
        TableRow("tokens", f"(N, {count}, {width})", "", vit),
        TableRow(
            "queries",
            f"(N, {head.queries}, {width})",
            "",
            f"masked cross-attention to {', '.join(skips)}",
        ),
        TableRow("maps", maps.output, "", "each query's mask times its class probabilities"),
        TableRow(
            "decoder",
            blocks[-1].output,
            "",
            f"upsample, concat, {{3}} convolution for {', '.join(skips)}",
        ),
    ]


WORDS = Words(
    title,
    "works on images of one size",
    notes,
    docs,
    rows,
    lambda model: "upsample, {1} convolution",
    model="The position table fixes the image size.",
)
