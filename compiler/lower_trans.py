"""The TransUNet's part of `lower`: the words and numbers of its tokens, queries and maps."""

from __future__ import annotations

from dataclasses import dataclass

from .ir import Shape
from .model import Model, TransUNet
from .passes.trace import Ledger
from .passes.transformer import patch_of

UNITS = {2: "pixel", 3: "voxel"}  # what an image of so many dimensions is made of


@dataclass(frozen=True)
class TableRow:
    """A line of the docstring's table. `shape` is that of a map, or a text as it stands."""

    label: str
    shape: Shape | str
    level: str = ""
    text: str = ""


@dataclass(frozen=True)
class TransPlan:
    """What the templates of a TransUNet print."""

    head: TransUNet
    skips: tuple[str, ...]
    skip_channels: tuple[int, ...]
    deepest_channels: int
    deepest_level: str
    scales: tuple[int, ...]
    patch: tuple[int, ...]
    compat: bool

    @property
    def patched(self) -> bool:
        """Whether a token is more than one voxel of the deepest level."""
        return any(p > 1 for p in self.patch)


def trans_plan(model: Model, head: TransUNet) -> TransPlan:
    """Levels, scales and patches of the network at its image's size."""
    encoder = model.trunk
    channels = [encoder.stem.filters[-1], *(stage.channels for stage in encoder.stages)]
    deepest = tuple(-(-size // 2**head.depth) for size in model.input_shape[:-1])
    return TransPlan(
        head=head,
        skips=encoder.levels[-2::-1],
        skip_channels=tuple(channels[-2::-1]),
        deepest_channels=channels[-1],
        deepest_level=encoder.levels[-1],
        scales=tuple(2 ** (i + 1) for i in range(head.depth - 1)),
        patch=patch_of(model.input_shape[:-1], deepest),
        compat=model.compat == "medicai",
    )


def trans_notes(model: Model, parameters: int) -> tuple[str, ...]:
    """The size, what is the reference's behaviour, and the papers."""
    compat = "As in medicai, queries attend outside their masks, and one class gets a softmax."
    size = f"{parameters:,} parameters; works on images of one size."
    return (
        f"{size} 3D TransUNet: arXiv 2310.07781, Fig. 1.",
        *([compat] if model.compat == "medicai" else []),
        "ViT: arXiv 2010.11929, Fig. 1. Masked attention: Mask2Former, arXiv 2112.01527, Eq. 2.",
    )


def trans_rows(model: Model, head: TransUNet, ledger: Ledger) -> list[TableRow]:
    """The table's lines between the encoder and the logits."""
    plan = trans_plan(model, head)
    shapes = dict(ledger.decoder)
    width, count = shapes["tokens"]
    unit = UNITS[model.dims]
    covered = "x".join(map(str, plan.patch)) + f" {unit}s" if plan.patched else unit
    levels = ", ".join(plan.skips)
    rows = [
        TableRow(
            "tokens",
            f"(N, {count}, {width})",
            "",
            f"{head.vit_layers} x {{VitBlock}}, one token per {covered} of {plan.deepest_level}",
        ),
        TableRow(
            "queries",
            f"(N, {head.queries}, {width})",
            "",
            f"masked cross-attention to {levels}",
        ),
        TableRow("maps", shapes["maps"], "", "each query's mask times its class probabilities"),
    ]
    for i, skip in enumerate(plan.skips):
        label = "decoder" if i == 0 else ""
        rows.append(
            TableRow(label, shapes[f"block {i}"], "", f"upsample, concat {skip}, {{3}} convolution")
        )
    return rows
