"""TransUNet: a ViT on the deepest level, queries that look for the classes, and a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..axes import product
from ..blocks import MASKED_CROSS_ATTENTION, MLP, VIT_BLOCK
from ..ir import Constant, Conv, Each, Linear, Module, Table
from ..model import Model
from ..parsing import parse
from ..passes.variants import reassigned, with_numbers, without_source
from ..program import Apply, Expression, Name, renamed, rewritten
from .base import Definition, Wiring
from .trans_head import WORDS, TransUNet, is_patched, patch_of, problems
from .unet import class_head, head_of, level_channels

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
        return blocks(x + positions(x, length(x)))
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
            queries = levels(queries, level, attention_mask(logits, scale, level))
        masks = sigmoid(similarity(queries, tokens))
        classes = class_softmax(classes(queries, num_classes))
        return as_map(mix(classes, masks), num_classes, grid)
        """,
        "TransUNet's mask decoder",
    ),
)
MASKS = ("attention_mask", "patch_attention_mask")
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


# -- variants --------------------------------------------------------------------------------------


def in_patches(vit: Module) -> Module:
    """The ViT with tokens of several pixels or voxels."""
    patch = Each("patch", replace(PATCH, kernel="PATCH", stride="PATCH", padded=False))
    return replace(vit, layers=(patch, *vit.layers[1:]))


def on_patches(module: Module) -> Module:
    """The mask decoder with masks on the grid of such tokens, until they are made maps."""
    body = renamed(module.body, {"attention_mask": "patch_attention_mask"})
    body = reassigned(
        body,
        "grid",
        """
        size = sizes(deepest(pyramid))
        grid = token_grid(size, PATCH)
        """,
    )
    body = reassigned(
        body,
        "masks",
        """
        masks = as_map(sigmoid(similarity(queries, tokens)), QUERIES, grid)
        masks = as_tokens(stretch(masks, size, grid))
        """,
    )
    *before, last = body
    sized = rewritten((last,), lambda node: Name("size") if node == Name("grid") else node)
    return replace(module, body=(*before, *sized))


def of_one_class(module: Module) -> Module:
    """The mask decoder for one class: its softmax would always be 1."""
    return replace(module, body=renamed(module.body, {"class_softmax": "sigmoid"}))


def as_medicai(module: Module, dropout: float) -> Module:
    """The mask decoder with medicai's masks, resized along the tokens and the wrong way round.

    A query may see no token at all. Then Keras' attention is zero, but without dropout, where it
    takes another way, it is the mean of the values. PyTorch's fused attention has a wrong gradient
    of that mean, which `advice` warns of: our file has it, as Keras on PyTorch has.
    """
    mask = "flat_attention_mask" if dropout else "flat_attention_bias"
    body = reassigned(module.body, "logits", "logits = scores(queries, tokens)")

    def flat(node: Expression) -> Expression:
        if isinstance(node, Apply) and node.function in MASKS:
            logits, _, level = node.args
            return Apply(mask, (logits, level))
        return node

    body = rewritten(body, flat)
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


def mask_scales(model: Model) -> Sequence[int] | Sequence[tuple[int, ...]]:
    """How many times larger than the tokens' grid each level is, deepest first."""
    if model.halves:
        return tuple(2**i for i in range(1, len(model.steps)))
    steps = model.steps[:0:-1]
    return tuple(product(steps[:i], model.dims) for i in range(1, len(steps) + 1))


def wiring(model: Model) -> Wiring:
    """TransUNet with its options, at its image's size."""
    head = head_of(model, TransUNet)
    medicai, patched = model.compat == "medicai", is_patched(model)
    vit, masks = VIT, MASK_DECODER
    if patched:
        vit = in_patches(vit)
        masks = with_dense_resize(masks) if medicai else on_patches(masks)
    if medicai:
        masks = as_medicai(masks, head.dropout)
    elif head.num_classes == 1:
        masks = of_one_class(masks)
    return Wiring(
        (vit, with_numbers(masks, {"SCALES": mask_scales(model)}), DECODER),
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


TRANS_UNET = Definition(TransUNet, wiring, WORDS, problems, ("medicai",))
