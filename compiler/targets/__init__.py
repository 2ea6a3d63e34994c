"""One small module per target: how each operation is spelled, and a few overrides."""

from __future__ import annotations

from functools import cache

from .base import Target


@cache
def target_named(name: str) -> Target:
    """The target of that name, one of `compiler.options.TARGETS`. Raises `KeyError`."""
    if name == "torch":
        from .torch import Torch

        return Torch()
    if name == "keras":
        from .keras import Keras

        return Keras()
    raise KeyError(f"there is no target {name!r}")
