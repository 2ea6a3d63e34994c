"""The vocabulary of blocks: frozen descriptions of layers, and of the lines that run them.

A block is straight-line code: its layers say what has weights, its body is a `program`. A module
is one with loops, whose layers are made anew in each turn. Sizes are `Dim`s: integers, or
expressions over the block's arguments and the constants of the file, as in `channels // SE_RATIO`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .program import Body

Dim: TypeAlias = int | str
Axes: TypeAlias = int | str | tuple[int, ...]  # one for all spatial axes, or one for each
Shape: TypeAlias = tuple[int, ...]  # channels, then the spatial sizes: no batch axis

AUX_HEADS = "aux_heads"  # the path of the heads that deep supervision adds


@dataclass(frozen=True)
class Conv:
    """Convolution. Without `when`, it is always there.

    It is padded by kernel // 2 on both sides, or not at all where it is not `padded`. `output`
    marks the network's head, which is computed in float32 under mixed precision. `init` names what
    its weights start from; "" is this project's choice (`initialization`).
    """

    name: str
    cin: Dim
    cout: Dim
    kernel: Axes = 3
    stride: Axes = 1
    groups: Dim = 1
    bias: bool = False
    padded: bool = True
    when: str = ""
    output: bool = False
    init: str = ""


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
    """Dense layer over the channels, with bias; `output` and `init` as in `Conv`."""

    name: str
    cin: Dim
    cout: Dim
    when: str = ""
    output: bool = False
    init: str = ""


@dataclass(frozen=True)
class AvgPool:
    """Average over windows of 2, the last one cut where a size is odd; padding is not counted.

    An axis of stride 1 is not averaged. An `exact` one has windows of its stride, which divides the
    sizes.
    """

    name: str
    stride: Axes
    exact: bool = False
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
    """Transposed convolution that doubles each size: kernel 4, stride 2, padding 1, with bias.

    An axis of stride 1 has kernel 1. An `exact` one has its stride for a kernel and no padding, so
    that no two taps meet in an output. In a module, a stride that is "" is an argument of the call.
    `normed` says that a norm follows; `init` is as in `Conv`.
    """

    name: str
    cin: Dim
    cout: Dim
    stride: Axes = 2
    exact: bool = False
    bias: bool = True
    normed: bool = True
    when: str = ""
    init: str = ""


@dataclass(frozen=True)
class Dropout:
    """Zeroes a share `rate` of its input in training: of values, or of what is zeroed as a whole.

    That may be its `channels`, or the `samples` of the batch. The rest is divided by 1 - rate.
    """

    name: str
    rate: str
    channels: bool = False
    samples: bool = False
    when: str = ""


@dataclass(frozen=True)
class Attention:
    """Multi-head attention of tokens: queries, context and an optional mask.

    Its dense layers `query`, `key`, `value` and `attention_output` are all `channels` wide.
    `dropout` applies to the attention weights.
    """

    name: str
    channels: Dim
    dropout: str = "0.0"
    when: str = ""


@dataclass(frozen=True)
class Table:
    """A table of learned rows that belongs to no layer: (rows, channels).

    They are the same for each item of the batch. They are repeated along the batch unless they are
    `shared`, because they are then added to a tensor that has a batch axis.
    """

    name: str
    rows: Dim
    channels: Dim
    shared: bool = False
    when: str = ""


@dataclass(frozen=True)
class Affine:
    """A scale and a shift for each channel: a batch norm in inference.

    A `gated` one takes a gate too, by which it multiplies its input.
    """

    name: str
    channels: Dim
    gated: bool = False
    when: str = ""


@dataclass(frozen=True)
class UpConv:
    """Nearest upsampling and the 3x3 convolution after it in one, computed on what is upsampled.

    It takes a second tensor, to whose size it upsamples. `weights.deployed` has the taps.
    """

    name: str
    cin: Dim
    cout: Dim
    stride: Axes = 2
    bias: bool = False
    when: str = ""


Layer: TypeAlias = (
    Conv
    | ConvTranspose
    | UpConv
    | Norm
    | Affine
    | Linear
    | AvgPool
    | Dropout
    | Attention
    | Table
    | Call
)


@dataclass(frozen=True)
class Fragment:
    """Layers, and the lines that run them on `x`."""

    layers: tuple[Layer, ...]
    body: Body


@dataclass(frozen=True)
class AuxHead:
    """The head of each decoder stage but the last, from the stage with the number `first` on.

    It runs on `x`, and `filters` are the channels of `x`. Where it is not `used`, it is there for
    its weights only.
    """

    fragment: Fragment
    first: int = 1
    used: bool = True

    @property
    def stages(self) -> str:
        """These stages, the finest first."""
        return f"[-2:{self.first - 1}:-1]" if self.first else "[-2::-1]"


@dataclass(frozen=True)
class Joining:
    """How a block makes its input x of a map, which may be upsampled, and of skips.

    `upsampling` is the operation, "" for none; it takes a second map, to whose size it upsamples.
    There may be any number of skips if there are `several`, else one, and none if not `always`.
    """

    upsampling: str
    several: bool
    always: bool


@dataclass(frozen=True)
class Block:
    """A class of the emitted file.

    `doc` describes it, `source` names the paper's figure, and `additions` list what passes added.
    In `shapes`, `[C /s]` stands for a tensor of C channels whose spatial sizes are divided by s.
    `inputs` pairs each tensor that the body starts from with the argument that holds its channels.
    `args` are sizes; those in `per_axis` hold one number for each axis. They are followed by
    `rates`, the dropout rates, on which no shape depends. A `recomputed` block keeps only its
    inputs in training and runs again in the backward pass; one that `joins` makes its input.
    """

    name: str
    doc: str
    source: str
    shapes: str
    args: tuple[str, ...]
    layers: tuple[Layer, ...]
    body: Body
    inputs: tuple[tuple[str, str], ...] = (("x", "in_channels"),)
    additions: tuple[str, ...] = ()
    per_axis: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()
    recomputed: bool = False
    joins: Joining | None = None


@dataclass(frozen=True)
class Constant:
    """A named number of the file, or a tuple of them.

    A constant that follows from others is written as `text`, so that changing those is enough.
    `comment` is the comment at the end of its line.
    """

    name: str
    value: float | tuple[int, ...] | tuple[tuple[int, ...], ...]
    comment: str = ""
    text: str = ""


@dataclass(frozen=True)
class Each:
    """A layer of a module: one for each turn of the loops around its call, or a single one.

    `of` is the name of a block, or a layer whose channels are open: the input channels are those
    of its input, and the output channels follow the tensors in the call, as a block's other
    arguments do. `one` names a single one of several layers, and `result` the variable of the
    result where a target gives it a line of its own. With `times`, it is that many blocks in a row.
    """

    name: str
    of: str | Layer
    one: str = ""
    result: str = ""
    times: str = ""


@dataclass(frozen=True)
class Module:
    """A part of a network above its encoder: blocks wired by one program.

    `inputs` pairs its tensors with the arguments that hold their channels; `pyramid` and `image`
    come from the model. `arguments` are the other arguments of its constructor. `path` is the
    prefix of its weights' names. `step` is the name of its output in tables; without one, each turn
    of its outermost loop is a step. `blocks` are the blocks that it calls.
    """

    name: str
    path: str
    blocks: tuple[Block, ...]
    layers: tuple[Each, ...]
    body: Body
    inputs: tuple[tuple[str, str], ...] = (("pyramid", ""), ("image", ""))
    arguments: tuple[str, ...] = ()
    step: str = ""
