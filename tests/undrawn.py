"""Models that get all their weights from a test: it would take time to draw others first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import keras
import torch

DRAWS = ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_")


def _as_it_is(tensor: torch.Tensor, *_, **__) -> torch.Tensor:
    return tensor


def _nan(self: object, shape: tuple[int, ...], dtype: str | None = None, **_) -> torch.Tensor:
    return keras.ops.full(shape, float("nan"), dtype)


@contextmanager
def undrawn() -> Iterator[None]:
    """Within it, models are built with what lies in memory, in Keras with no numbers at all."""
    in_torch = patch.multiple(torch.nn.init, **dict.fromkeys(DRAWS, _as_it_is))
    with in_torch, patch.object(keras.initializers.VarianceScaling, "__call__", _nan):
        yield
