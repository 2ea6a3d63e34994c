"""Parts of an encoder: gates, the stem, and what stands around each convolution of nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass

from .ir import Axes

SLOPE = 0.01  # of leaky_relu, PyTorch's default
EPS = 1e-5  # of norms, PyTorch's default
# What an encoder with units is otherwise, unless it says something else.
OF_UNITS = {"norm": "instance", "activation": "leaky_relu", "dialect": "nnunet"}


@dataclass(frozen=True)
class SqueezeExcite:
    """Channel gate: squeezed to max(1, channels // ratio).

    `position` says where it stands, `before_norm` or `after_norm`, and `divisor` what its width is
    rounded to a multiple of. Empty and 0 leave both to the dialect.
    """

    ratio: int = 16
    activation: str = "relu"
    position: str = ""
    divisor: int = 0

    @property
    def own(self) -> bool:
        """Whether it has a position or a divisor that is not its dialect's."""
        return bool(self.position or self.divisor)


@dataclass(frozen=True)
class Stem:
    """Convolutions in front of the stages, the first with the `stride`, and a max-pool after them.

    The window of the pool is 3 along an axis that it strides over, and 1 along the others.
    """

    filters: tuple[int, ...] = (64,)
    kernels: tuple[Axes, ...] = (7,)
    stride: Axes = 2
    pool: Axes = 2


@dataclass(frozen=True)
class Units:
    """What nnU-Net puts around each convolution: its bias, a norm, an activation, perhaps dropout.

    `slope` is that of `leaky_relu`. `dropout` is the rate at which whole channels are dropped; None
    if there is no such layer. With `activation_first`, the activation precedes the norm.
    """

    bias: bool = True
    eps: float = EPS
    slope: float = SLOPE
    dropout: float | None = None
    activation_first: bool = False
