"""The distributions that initialize the weights of layers, in every target."""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from .ir import Attention, Conv, ConvTranspose, Linear


class Init(Enum):
    """Distribution of a layer's initial weights, around 0; biases start at 0.

    The first are uniform: their value is the variance times the fan, which is how many values are
    summed into one output, or for `XAVIER` the mean of that and its counterpart in the gradient.
    The next two are normal, for `--init he`, and so is the last, for `--init nnunet`.
    """

    SMALL = 1 / 3  # PyTorch's default, within 1 / sqrt(fan): a norm follows, or the loss
    HE = 2.0  # no norm follows, and a ReLU halves the mean square
    XAVIER = 1.0  # dense layers of a transformer
    FAN_OUT = "variance 2 / fan_out"  # as torchvision and timm start their ResNets
    HEAD = "deviation 0.01"
    LOADED = "whatever it is: an inference file's weights are loaded"
    NNUNET = "variance 2 / fan_in"  # of every convolution of nnU-Net


def init_of(layer: Conv | ConvTranspose | Linear | Attention) -> Init:
    """The distribution of the layer's weights.

    A convolution has a bias where no norm follows. (One has both, and there the scale of the
    weights changes nothing but how fast they turn.)
    """
    match layer:
        case Conv(init="loaded") | ConvTranspose(init="loaded") | Linear(init="loaded"):
            return Init.LOADED
        case Conv(init="he") | ConvTranspose(init="he") | Linear(init="he"):
            return _he(layer)
        case Conv(init="nnunet") | ConvTranspose(init="nnunet"):
            return Init.NNUNET
        case Conv(output=output, bias=bias):
            return Init.HE if bias and not output else Init.SMALL
        case ConvTranspose(normed=normed):
            return Init.SMALL if normed else Init.HE
        case Linear(output=output):
            return Init.SMALL if output else Init.XAVIER
        case Attention():
            return Init.XAVIER
        case _:
            assert_never(layer)


def _he(layer: Conv | ConvTranspose | Linear) -> Init:
    """He over fan-out, heads small: what `--init he` asks for."""
    match layer:
        case Conv(output=output):
            return Init.HEAD if output else Init.FAN_OUT
        case ConvTranspose():
            return Init.HE
        case Linear(output=output):
            return Init.HEAD if output else Init.XAVIER
        case _:
            assert_never(layer)
