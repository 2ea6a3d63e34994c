"""TransUNet: a ViT on the deepest level, queries that look for the classes, and a decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..blocks import MASKED_CROSS_ATTENTION, MLP, VIT_BLOCK
from ..errors import Problem
from ..ir import Constant, Conv, Each, Linear, Module, Table
from ..limits import HEADS
from ..model import UNITS, Dialect, Model, Segmentor
from ..operations import PYRAMID
from ..parsing import parse
from ..passes.interpret import Step
from ..passes.variants import reassigned, with_numbers, without_source
from ..program import renamed
from .base import Definition, Doc, TableRow, Wiring, Words
from .unet import class_head, head_of, level_channels


@dataclass(frozen=True)
class TransUNet(Segmentor):
    """A ViT on the deepest level, and queries that look for the classes on the others.

    The learned positions fix the size of the image (3D TransUNet, Fig. 1).
    """

    vit_layers: int = 12
    heads: int = 8
    queries: int = 100
    embed_dim: int = 512
    mlp_dim: int = 1024
    dropout: float = 0.1
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16)

    name: ClassVar[str] = "trans_unet"
    title: ClassVar[str] = "TransUNet"

    @property
    def stage_filters(self) -> tuple[int, ...]:
        """Filters of the decoder: of the class maps, then of each level up to P1."""
        return self.decoder_filters[: self.depth]


PATCH = Conv("", "", "", 1, bias=True)
VIT = Module(
    name="Vit",
    path="vit",
    blocks=(MLP, VIT_BLOCK),
    layers=(
        Each("patch", PATCH),
        Each("positions", Table("", "", "EMBED", shared=True)),
        Each("blocks", "VitBlock", times="VIT_DEPTH"),
    ),
    inputs=(("pyramid", ""),),
    arguments=("num_tokens",),
    step="tokens",
    body=parse(
        """
        x = tokens(patch(deepest(pyramid), EMBED))
        x = x + positions(x, length(x))
        return blocks(x)
        """,
        "TransUNet's ViT",
    ),
)

MASK_DECODER = Module(
    name="MaskDecoder",
    path="mask_decoder",
    blocks=(MASKED_CROSS_ATTENTION,),
    layers=(
        Each("queries", Table("", "", "EMBED")),
        Each("levels", "MaskedCrossAttention", one="refine"),
        Each("classes", Linear("", "", "")),
    ),
    inputs=(("tokens", "EMBED"), ("pyramid", "")),
    arguments=("num_classes", "num_tokens", "num_voxels"),
    step="maps",
    body=parse(
        """
        grid = sizes(deepest(pyramid))
        queries = queries(tokens, QUERIES)
        levels = skips(pyramid)
        for level, scale in zip(levels, SCALES):
            logits = as_map(similarity(queries, tokens), QUERIES, grid)
            mask = attention_mask(logits, scale, level)
            queries = levels(queries, level, mask)
        masks = sigmoid(similarity(queries, tokens))
        classes = class_softmax(classes(queries, num_classes))
        return as_map(mix(classes, masks), num_classes, grid)
        """,
        "TransUNet's mask decoder",
    ),
)
CONVOLUTION = Conv("", "", "", 3, bias=True)
DECODER = Module(
    name="Decoder",
    path="decoder",
    blocks=(),
    layers=(Each("conv", CONVOLUTION), Each("blocks", CONVOLUTION, one="conv")),
    inputs=(("x", "num_classes"), ("pyramid", ""), ("image", "")),
    arguments=("num_classes",),
    body=parse(
        """
        x = conv(x, DECODER_FILTERS[0])
        skips = skips(pyramid)
        for skip, filters in zip(skips, DECODER_FILTERS[1:]):
            x = concat(linear_upsample(x, skip), skip)
            x = steep_leaky_relu(blocks(x, filters))
        return linear_upsample(x, image)
        """,
        "TransUNet's decoder",
    ),
)


def patch_of(model: Model) -> tuple[int, ...]:
    """Pixels or voxels of the deepest level that make one token, per axis: 1 at usual sizes."""
    image = model.input_shape[:-1]
    deepest = deepest_sizes(model)
    return tuple(
        max(1, size // 2 ** round(math.log2(whole / size))) for whole, size in zip(image, deepest)
    )


def deepest_sizes(model: Model) -> tuple[int, ...]:
    """The sizes of the deepest level: halved once a level, rounded up."""
    depth = head_of(model, TransUNet).depth
    return tuple(-(-size // 2**depth) for size in model.input_shape[:-1])


def is_patched(model: Model) -> bool:
    """Whether a token is more than one pixel or voxel of the deepest level."""
    return any(p > 1 for p in patch_of(model))


# -- variants --------------------------------------------------------------------------------------


def in_patches(vit: Module) -> Module:
    """The ViT with tokens of several pixels or voxels."""
    patch = Each("patch", replace(PATCH, kernel="PATCH", stride="PATCH", padded=False))
    return replace(vit, layers=(patch, *vit.layers[1:]))


def on_patches(module: Module) -> Module:
    """The mask decoder with masks on the grid of such tokens, until they are made maps."""
    body = renamed(module.body, {"attention_mask": "patch_attention_mask"})
    body = reassigned(body, "grid", "grid = token_grid(deepest(pyramid), PATCH)")
    body = reassigned(
        body,
        "masks",
        """
        masks = sigmoid(similarity(queries, tokens))
        masks = stretch(as_map(masks, QUERIES, grid), deepest(pyramid))
        masks = as_tokens(masks)
        grid = sizes(deepest(pyramid))
        """,
    )
    return replace(module, body=body)


def of_one_class(module: Module) -> Module:
    """The mask decoder for one class: its softmax would always be 1."""
    return replace(module, body=renamed(module.body, {"class_softmax": "sigmoid"}))


def as_medicai(module: Module) -> Module:
    """The mask decoder with medicai's masks, resized along the tokens and the wrong way round."""
    body = reassigned(module.body, "logits", "")
    body = reassigned(body, "mask", "mask = flat_attention_mask(scores(queries, tokens), level)")
    return replace(module, body=without_source(body, "SCALES"))


def with_dense_resize(module: Module) -> Module:
    """The mask decoder with medicai's resizing of the masks: a dense layer over the tokens."""
    body = renamed(module.body, {"mix": "mix_scores"})
    body = reassigned(
        body,
        "masks",
        """
        masks = sigmoid(scores(queries, tokens))
        masks = resize(masks, volume(grid))
        """,
    )
    *before, classes = module.layers
    layers = (*before, Each("resize", Linear("", "", "")), classes)
    return replace(module, layers=layers, body=body)


def wiring(model: Model) -> Wiring:
    """TransUNet with its options, at its image's size."""
    head = head_of(model, TransUNet)
    medicai, patched = model.compat == "medicai", is_patched(model)
    scales = tuple(2 ** (i + 1) for i in range(head.depth - 1))
    vit, masks = VIT, MASK_DECODER
    if patched:
        vit = in_patches(vit)
        masks = with_dense_resize(masks) if medicai else on_patches(masks)
    if medicai:
        masks = as_medicai(masks)
    elif head.num_classes == 1:
        masks = of_one_class(masks)
    return Wiring(
        (vit, with_numbers(masks, {"SCALES": scales}), DECODER),
        class_head(head.activation),
        (
            Constant("VIT_DEPTH", head.vit_layers),
            Constant("EMBED", head.embed_dim),
            Constant("HEADS", head.heads),
            Constant("MLP", head.mlp_dim),
            Constant("DROPOUT", head.dropout),
            Constant("QUERIES", head.queries),
            Constant("PATCH", patch_of(model)),
            *level_channels(model),
            Constant("DECODER_FILTERS", head.stage_filters),
        ),
    )


# -- words -----------------------------------------------------------------------------------------


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
        *(
            TableRow(
                "" if i else "decoder",
                step.output,
                "",
                f"upsample, concat {skip}, {{3}} convolution",
            )
            for i, (skip, step) in enumerate(zip(skips, blocks))
        ),
    ]


def problems(head: Segmentor, sizes: tuple[int, ...], dialect: Dialect) -> list[Problem]:
    """Heads that do not divide, images that are too small for the depth, or odd for a pool."""
    assert isinstance(head, TransUNet)
    problems = _odd_pool_problems(sizes) if dialect.ceil_pool else []
    if head.embed_dim % head.heads:
        near = [h for h in range(1, HEADS.largest + 1) if head.embed_dim % h == 0]
        best = min(near, key=lambda h: abs(h - head.heads))
        problems.append(
            Problem(
                f"--heads {head.heads} does not divide --embed-dim {head.embed_dim}",
                hint=f"use {best} heads",
            )
        )
    least = 2**head.depth
    if sizes and min(sizes) < least:
        problems.append(
            Problem(
                f"--input-shape has the size {min(sizes)}, but P{head.depth} is the image halved"
                f" {head.depth} times",
                hint=f"at least {least}, or a smaller --encoder-depth",
            )
        )
    return problems


def _odd_pool_problems(sizes: tuple[int, ...]) -> list[Problem]:
    """Cadene's pool rounds down: a token grid that doubles does not reach the edge of an odd P1."""
    return [
        Problem(
            f"--input-shape has the size {size}, which gives P1 an odd size: the pool of the"
            " dialect cadene rounds it down",
            hint=f"use {-(-size // 4) * 4}",
        )
        for size in sizes
        if -(-size // 2) % 2
    ]


TRANS_UNET = Definition(
    TransUNet,
    wiring,
    Words(
        title,
        "works on images of one size",
        notes,
        docs,
        rows,
        lambda model: "upsample, {1} convolution",
        model="The position table fixes the image size.",
    ),
    problems,
)
