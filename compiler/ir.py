"""The vocabulary of blocks: frozen descriptions of layers, and of the lines that run them.

A block is straight-line code. Its layers say what has weights; its body is Python that a pass reads
with `ast`: names, calls, `+`, `*`, and `layer(x) if layer else y` for a layer that is not always
there. Sizes are `Dim`s: integers, or expressions over the block's arguments and the constants of
the file, as in `channels // SE_RATIO`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Dim: TypeAlias = int | str
Axes: TypeAlias = int | str | tuple[int, ...]  # one for all spatial axes, or one for each
Shape: TypeAlias = tuple[int, ...]  # channels, then the spatial sizes: no batch axis


@dataclass(frozen=True)
class Conv:
    """Convolution, padded by kernel // 2 on both sides. Without `when`, it is always there.

    `output` marks the network's head, which is computed in float32 under mixed precision.
    """

    name: str
    cin: Dim
    cout: Dim
    kernel: Axes = 3
    stride: Axes = 1
    groups: Dim = 1
    bias: bool = False
    when: str = ""
    output: bool = False


@dataclass(frozen=True)
class Norm:
    """Normalization: `kind` is `batch`, `instance`, `group`, `layer` or `token`.

    The last two are over the channels, of maps and of tokens.

    `eps` is a number or the name of a constant; `momentum` is the weight of the new batch, as in
    PyTorch; `groups` are those of `group`. With `zero_init` its scale starts at 0.
    """

    name: str
    channels: Dim
    kind: str = "batch"
    eps: float | str = 1e-5
    momentum: float = 0.1
    groups: Dim = 1
    zero_init: bool = False
    when: str = ""


@dataclass(frozen=True)
class Linear:
    """Dense layer over the channels, with bias; `output` as in `Conv`."""

    name: str
    cin: Dim
    cout: Dim
    when: str = ""
    output: bool = False


@dataclass(frozen=True)
class AvgPool:
    """Average over windows of 2, the last one cut where a size is odd; padding is not counted."""

    name: str
    stride: Axes
    when: str = ""


@dataclass(frozen=True)
class Call:
    """Another block as a layer of this one."""

    name: str
    block: str
    args: tuple[Dim, ...]
    when: str = ""


@dataclass(frozen=True)
class ConvTranspose:
    """Transposed convolution that doubles each size: kernel 4, stride 2, padding 1, with bias."""

    name: str
    cin: Dim
    cout: Dim
    when: str = ""


@dataclass(frozen=True)
class Dropout:
    """Zeroes a share `rate` of its input in training."""

    name: str
    rate: str
    when: str = ""


@dataclass(frozen=True)
class Attention:
    """Multi-head attention of tokens: queries, context and an optional mask.

    Dense layers `query`, `key`, `value` and `attention_output`, all of `channels` width; `dropout`
    is that of the attention weights.
    """

    name: str
    channels: Dim
    dropout: str = "0.0"
    when: str = ""


Layer: TypeAlias = Conv | ConvTranspose | Norm | Linear | AvgPool | Dropout | Attention | Call


@dataclass(frozen=True)
class Fragment:
    """Layers, and the lines that run them from `x` on."""

    layers: tuple[Layer, ...]
    body: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A class of the emitted file.

    `doc` says what it is, `source` the paper's figure, `additions` what was written into
    it. In `shapes`, `[C /s]` stands for a tensor of C channels whose spatial sizes are divided by
    s. `inputs` pairs each tensor that the body starts from with the argument that holds its
    channels.
    """

    name: str
    doc: str
    source: str
    shapes: str
    args: tuple[str, ...]
    layers: tuple[Layer, ...]
    body: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...] = (("x", "in_channels"),)
    additions: tuple[str, ...] = ()
