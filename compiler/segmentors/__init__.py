"""The registry of segmentors: one module and one row each."""

from __future__ import annotations

from ..errors import CompileError, Problem, suggest
from .attention_unet import ATTENTION_UNET
from .base import Definition, SharedOptions
from .fpn import FEATURE_PYRAMID, FPNOptions
from .linknet import LINKNET
from .nnunet import NNUNET, NNUNetOptions
from .trans_head import TransUNetOptions
from .trans_unet import TRANS_UNET
from .unet import UNET, UNetOptions
from .unet_plus_plus import UNET_PLUS_PLUS

SEGMENTORS = {
    row.name: row
    for row in (UNET, UNET_PLUS_PLUS, ATTENTION_UNET, TRANS_UNET, FEATURE_PYRAMID, LINKNET, NNUNET)
}


class SegmentorOptions(
    SharedOptions, UNetOptions, TransUNetOptions, FPNOptions, NNUNetOptions, total=False
):
    """The options of all segmentors, as keywords."""


def segmentor_named(name: str) -> Definition:
    """The segmentor of that name. Raises `CompileError` where there is none."""
    if name not in SEGMENTORS:
        raise CompileError(Problem(f"unknown segmentor {name!r}.{suggest(name, SEGMENTORS)}"))
    return SEGMENTORS[name]
