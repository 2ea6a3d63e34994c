"""The settings of a comparison: all of `verify` that the public API names."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 1e-4  # in float32


@dataclass(frozen=True)
class Settings:
    """How a comparison is made. `size` is that of the image; None stands for a suitable one."""

    size: tuple[int, ...] | None = None
    seed: int = 0
    tolerance: float = TOLERANCE
    backend: str = "torch"
