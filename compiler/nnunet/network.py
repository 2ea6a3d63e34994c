"""Architecture -> Model: nnU-Net's network in the compiler's terms."""

from __future__ import annotations

from ..model import Model
from ..passes.validate import resolve
from .architecture import Architecture
from .encoders import encoder_of, options_of, smallest


def model_of(
    architecture: Architecture,
    sizes: tuple[int, ...] | None = None,
    *,
    name: str = "",
    deep_supervision: bool = False,
) -> Model:
    """The network of an architecture, for images of these sizes; by default the smallest it takes.

    With `deep_supervision`, it returns the logits of each level in training. Without it, the heads
    of the coarser levels are there if `architecture.deep_supervision` says that a checkpoint holds
    them. Raises `CompileError`.
    """
    options = options_of(architecture, sizes or smallest(architecture), deep_supervision)
    return resolve(encoder_of(architecture, name), options)
