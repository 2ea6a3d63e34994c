"""The settings of a comparison: all of `verify` that the public API names."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import Problem

TOLERANCE = 1e-4  # in float32
DEPLOYED = 1e-5  # of an inference file, which is of the same framework as its training file


@dataclass(frozen=True)
class Settings:
    """How a comparison is made. `size` is that of the image; None stands for a suitable one.

    `checkpoint` is the path of the weights of an inference file and its training file; "" stands
    for random ones.
    """

    size: tuple[int, ...] | None = None
    seed: int = 0
    tolerance: float = TOLERANCE
    backend: str = "torch"
    checkpoint: str = ""


def of_deployed(settings: Settings) -> Settings:
    """The settings of a comparison with an inference file, unless a tolerance was given."""
    usual = settings.tolerance == TOLERANCE
    return replace(settings, tolerance=DEPLOYED) if usual else settings


def no_checkpoint(settings: Settings) -> list[Problem]:
    """The problem of a checkpoint where random weights are compared."""
    if not settings.checkpoint:
        return []
    hint = "name an inference file beside its training file, or give --deploy"
    return [Problem("--checkpoint is for the weights of an inference file", hint=hint)]
