"""The registry of segmentors: one module and one row each."""

from __future__ import annotations

from ..errors import CompileError, Problem, suggest
from .attention_unet import ATTENTION_UNET
from .base import Definition
from .fpn import FEATURE_PYRAMID
from .linknet import LINKNET
from .trans_unet import TRANS_UNET
from .unet import UNET
from .unet_plus_plus import UNET_PLUS_PLUS

SEGMENTORS = {
    row.name: row
    for row in (UNET, UNET_PLUS_PLUS, ATTENTION_UNET, TRANS_UNET, FEATURE_PYRAMID, LINKNET)
}


def segmentor_named(name: str) -> Definition:
    """The segmentor of that name. Raises `CompileError` where there is none."""
    if name not in SEGMENTORS:
        raise CompileError(Problem(f"unknown segmentor {name!r}.{suggest(name, SEGMENTORS)}"))
    return SEGMENTORS[name]
