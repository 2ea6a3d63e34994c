"""What an inference file does with the weights of the training file, as descriptions.

The passes that change a network for inference leave one `Step` for each change, and
`weights.deployed` carries them out. A step is about the layers of its `owner`: a block, in every
place where the network has it, or what stands outside of blocks, `STEM` and `HEAD`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

STEM, HEAD = "the stem", "the head"  # owners that are not blocks


@dataclass(frozen=True)
class Fold:
    """The scale of a batch norm goes into the convolution before it, its shift into the bias."""

    owner: str
    conv: str
    norm: str
    eps: float
    transposed: bool = False  # whether the output channels are the second axis of the weight


@dataclass(frozen=True)
class Settle:
    """A batch norm becomes the scale and the shift that it is in inference, at the path `to`."""

    owner: str
    norm: str
    eps: float
    to: str


@dataclass(frozen=True)
class Rescale:
    """A factor of the image goes into the convolution that reads it."""

    owner: str
    conv: str
    factor: float


@dataclass(frozen=True)
class Fuse:
    """A 3x3 convolution of an upsampled map becomes one of the map itself, `up`.

    With a `skip`, the convolution keeps the channels behind those of the map, and its bias. In
    module `path`, it is about the block of the `last` turn or about all others; where a layer `to`
    of its own holds this block, its weights move there.
    """

    owner: str
    conv: str
    up: str
    skip: bool
    path: str
    each: str
    last: bool = False
    to: str = ""


Step: TypeAlias = Fold | Settle | Rescale | Fuse
