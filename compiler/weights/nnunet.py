"""nnU-Net's names: one table, and the up to four names under which it saves each tensor.

A unit registers its convolution and its norm twice, by name and in a list of all its modules; and
the decoder holds the encoder, so that everything of that is saved again.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..errors import Problem
from ..model import Model
from ..segmentors.nnunet import NNUNet
from .patterns import Table

_PLAIN: Table = (
    ("encoder.stages.conv", "encoder.stages.{s}.0.convs.{b}.conv"),
    ("encoder.stages.{norm}", "encoder.stages.{s}.0.convs.{b}.norm"),
)
_BLOCK = "encoder.stages.{s}.blocks.{b}."
_RESIDUAL: Table = (
    ("encoder.conv1", "encoder.stem.convs.0.conv"),
    ("encoder.{norm}1", "encoder.stem.convs.0.norm"),
    ("encoder.stages.conv{n}", _BLOCK + "conv{n}.conv"),
    ("encoder.stages.{norm}{n}", _BLOCK + "conv{n}.norm"),
    ("encoder.stages.shortcut.conv", _BLOCK + "skip.{pooled}.conv"),
    ("encoder.stages.shortcut.{norm}", _BLOCK + "skip.{pooled}.norm"),
    ("encoder.stages.se.conv{n}", _BLOCK + "squeeze_excitation.fc{n}"),
)
_DECODER: Table = (
    ("decoder.ups", "decoder.transpconvs.{row}"),
    ("decoder.blocks.conv", "decoder.stages.{row}.convs.{node}.conv"),
    ("decoder.blocks.{norm}", "decoder.stages.{row}.convs.{node}.norm"),
    ("head", "decoder.seg_layers.{paths}"),
    ("aux_heads", "decoder.seg_layers.{coarser}"),
)
_UNIT = re.compile(r"(?P<unit>.+)\.(?P<layer>conv|norm)\.(?P<weight>[a-z_]+)")
# What has dropout behind its convolution, which moves the norm in a unit's list of modules.
_DROPPED = {
    "plain": r"\.convs\.\d+",
    "basic_d": r"\.convs\.\d+|\.conv1",
    "bottleneck_d": r"\.convs\.\d+|\.conv2",
}


def table(model: Model) -> Table:
    """Names in nnU-Net's state dicts, the first of each tensor."""
    encoder = _RESIDUAL if model.encoder.residual else _PLAIN
    return (*encoder, *_DECODER) if isinstance(model.head, NNUNet) else encoder


def whole(model: Model) -> Model:
    """The model with the heads that nnU-Net's state dicts have, even if it has the last alone."""
    head = model.head
    if not isinstance(head, NNUNet) or head.depth < 3 or head.deep_supervision:
        return model
    return replace(model, head=replace(head, lower_heads=True))


def problems(model: Model, at: str) -> list[Problem]:
    """What keeps a model's weights from being those of a network of nnU-Net."""
    if model.encoder.se and model.dims == 3:
        message = "nnU-Net's gates average over two axes of three, but the model's over all of them"
        return [Problem(message, at)]
    return []


def names_of(model: Model, name: str) -> tuple[str, ...]:
    """All names of a tensor, which nnU-Net's state dict has in this order."""
    names = [name]
    match = _UNIT.fullmatch(name)
    if match and ".seg_layers." not in name:
        index = 0 if match["layer"] == "conv" else _norm_index(model, match["unit"])
        names.append(f"{match['unit']}.all_modules.{index}.{match['weight']}")
    if name.startswith("encoder."):
        names += [f"decoder.{each}" for each in names]
    return tuple(names)


def _norm_index(model: Model, unit: str) -> int:
    """Where a unit's list of modules has its norm."""
    units = model.encoder.units
    if units is None:
        return 1
    has_dropout = re.search(f"({_DROPPED[model.encoder.block]})$", unit)
    return 1 + bool(units.dropout is not None and has_dropout) + units.activation_first
