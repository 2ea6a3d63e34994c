"""Layouts: which networks a library publishes, and what it calls our layers.

Below a layer's name, weights have PyTorch's names, except in Keras files, where they are numbered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..axes import spread
from ..dialects import publishers
from ..errors import Problem
from ..model import Model, Segmentor
from ..passes.rows import Row
from ..segmentors.trans_head import TransUNet
from ..segmentors.unet import UNet
from . import nnunet, patterns
from .patterns import Table, names_by_role


@dataclass(frozen=True)
class Layout:
    """The names that a library gives to layers.

    `gated` lists the dialects of its networks with SE, `plain` of those without, and `v2` tells
    whether it has pre-activation networks. Tensors whose names begin with one of `others` belong to
    other networks, unless the model has these names itself. If `linear`, SE gates are dense layers.
    Layers of the kinds in `bare` have no weights. `names` are all names under which the library
    saves the tensor of a name, and `whole` is the model with all that its checkpoints hold.
    """

    name: str
    table: Callable[[Model], Table]
    gated: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    v2: bool = False
    framework: str = "torch"
    others: tuple[str, ...] = ()
    linear: bool = False
    bare: tuple[str, ...] = ()
    names: Callable[[Model, str], tuple[str, ...]] = lambda model, name: (name,)
    whole: Callable[[Model], Model] = lambda model: model


# Without SE, these dialects are the same network: equal stem, strides and shortcuts.
_ALIKE = ("torchvision", "timm", "medicai")
_OTHER_HEADS = ("decoder.", "segmentation_head.", "classification_head.")
_CADENE_ONLY = ("cadene",)
LAYOUTS = (
    Layout("timm", patterns.timm, ("timm",), _ALIKE),
    Layout("torchvision", patterns.torchvision, (), _ALIKE),
    Layout("cadene", patterns.cadene, _CADENE_ONLY),
    Layout("smp", patterns.smp(patterns.cadene), _CADENE_ONLY, others=_OTHER_HEADS),
    Layout("smp", patterns.smp(patterns.torchvision), (), _ALIKE, others=_OTHER_HEADS),
    Layout(
        "smp",
        patterns.smp(patterns.timm, "encoder.model."),
        ("timm",),
        _ALIKE,
        others=_OTHER_HEADS,
    ),
    Layout(
        "nnunet",
        nnunet.table,
        ("nnunet",),
        ("nnunet",),
        others=("decoder.",),
        names=nnunet.names_of,
        whole=nnunet.whole,
    ),
    Layout("monai", lambda model: patterns.MONAI, _CADENE_ONLY, linear=True),
    Layout(
        "medicai",
        patterns.medicai,
        ("medicai",),
        _ALIKE,
        v2=True,
        framework="keras",
        bare=("instance_norm",),
    ),
)
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def validate_layout(name: str | None, model: Model) -> list[Problem]:
    """Problems of using a layout with this model: the library's networks must compute the same.

    A checkpoint with matching shapes but different semantics is rejected.
    """
    if name is None:
        return []
    at = f"--layout {name}"
    variants = [layout for layout in LAYOUTS if layout.name == name]
    encoder = model.encoder
    if not encoder.published:
        what = f"{encoder.norm} norm and {encoder.activation} in its encoder"
        hint = f"{encoder.name} has {what} here"
        return [Problem(f"{name} publishes networks with batch norm and ReLU", at, hint)]
    if encoder.pre_activation and not any(layout.v2 for layout in variants):
        return [Problem(f"{name} has no pre-activation networks", at, f"{encoder.name} is one")]
    held = dict.fromkeys(d for layout in variants for d in _dialects(layout, model))
    if not held:
        kind = "with" if encoder.se else "without"
        return [Problem(f"{name} has no networks {kind} SE", at, f"{encoder.name} is one")]
    proven = publishers(encoder, name)
    published = [dialect for dialect in held if dialect in proven]
    if not published:
        message = f"{encoder.name} has {encoder.kind} blocks, which were not proven against {name}"
        return [Problem(message, at)]
    if one_network({published[0], dialect_of(model)}, model) or dialect_of(model) in published:
        if name == "nnunet":
            return nnunet.problems(model, at)
        return _of_other_numbers(model, at) if name == "medicai" else []
    return [
        Problem(
            f"{name} checkpoints have the dialect {' or '.join(published)}, but the model has the"
            f" dialect {dialect_of(model)}: its outputs would be different",
            at,
            hint=f"--dialect {published[0]}",
        )
    ]


def _of_other_numbers(model: Model, at: str) -> list[Problem]:
    """Problems of decoders that match medicai's shapes, but not its semantics."""
    head = model.head
    if isinstance(head, TransUNet) and model.compat != "medicai":
        return [
            Problem("medicai's TransUNet masks its attention differently", at, "--compat medicai")
        ]
    problems = []
    if isinstance(head, UNet) and head.decoder_normalization == "group":
        problems.append(
            Problem("medicai's group norms have 32 groups, but the model's have fewer", at)
        )
    if isinstance(head, UNet) and head.decoder_activation == "leaky_relu":
        problems.append(
            Problem("medicai's leaky_relu has a slope of 0.3, but the model's has 0.01", at)
        )
    return problems


def dialect_of(model: Model) -> str:
    """The dialect of a model's encoder."""
    return str(getattr(model.encoder, "dialect", "") or "medicai")


def one_network(dialects: set[str], model: Model) -> bool:
    """Whether a model computes the same function in all of these dialects."""
    return len(dialects) == 1 or (not model.encoder.se and dialects <= set(_ALIKE))


def _dialects(layout: Layout, model: Model) -> tuple[str, ...]:
    return layout.gated if model.encoder.se else layout.plain


def dialect_in(layout: Layout | None, model: Model) -> str:
    """The dialect that a model needs for a layout; "" if its own dialect will do."""
    dialects = _dialects(layout, model) if layout else ()
    return "" if dialect_of(model) in dialects else next(iter(dialects), "")


def variants(name: str, model: Model) -> list[Layout]:
    """The variants of a layout that can describe this model."""
    return [
        layout
        for layout in LAYOUTS
        if layout.name == name and dialect_of(model) in _dialects(layout, model)
    ]


def name_there(layout: Layout, model: Model, row: Row) -> str | None:
    """The layout's name for one of our layers; None if it has no such layer."""
    template = names_by_role(layout.table(model)).get(row.role)
    return template and template.format(**_numbers(model, row.turn))


def _strides(model: Model, stage: int) -> bool:
    """Whether an encoder's stage strides along an axis."""
    strides = model.encoder.strides
    return stage < len(strides) and max(spread(strides[stage], model.dims)) > 1


def _numbers(model: Model, turn: tuple[int, ...]) -> dict[str, int]:
    """The numbers in names there: of a stage and a block, or of a decoder's row and node."""
    depth = model.head.depth if isinstance(model.head, Segmentor) else 0
    first, second = (*turn, 0, 0)[:2]
    return {
        "s": first,
        "s1": first + 1,
        "b": second,
        "row": first,
        "node": second,
        "depth": depth,
        "paths": depth - 2,
        "stage": depth - first,
        "above": depth - 1 - first,
        "level": depth - 2 - first,
        "next": first + 1,
        "column": second + 1,
        "turn": first - second,
        "coarser": depth - 3 - first,
        "pooled": int(_strides(model, first)),
    }
