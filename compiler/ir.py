"""The only vocabulary of the compiler: frozen descriptions of layers, blocks, encoders and models.

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
    """Convolution, padded by kernel // 2 on both sides. Without `when`, it is always there."""

    name: str
    cin: Dim
    cout: Dim
    kernel: Axes = 3
    stride: Axes = 1
    groups: Dim = 1
    bias: bool = False
    when: str = ""


@dataclass(frozen=True)
class Norm:
    """Normalization. `momentum` is the weight of the new batch, as in PyTorch."""

    name: str
    channels: Dim
    kind: str = "batch"
    eps: float = 1e-5
    momentum: float = 0.1
    when: str = ""


@dataclass(frozen=True)
class Linear:
    """Dense layer over the channels, with bias."""

    name: str
    cin: Dim
    cout: Dim
    when: str = ""


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


Layer: TypeAlias = Conv | Norm | Linear | AvgPool | Call


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


@dataclass(frozen=True)
class SqueezeExcite:
    """Channel gate: squeezed to max(1, channels // ratio)."""

    ratio: int = 16
    activation: str = "relu"


@dataclass(frozen=True)
class Stem:
    """Convolutions in front of the stages, the first with stride 2."""

    filters: tuple[int, ...] = (64,)
    kernels: tuple[int, ...] = (7,)


@dataclass(frozen=True)
class Stage:
    """`depth` blocks; the first has the stride. `width` is that of the 3x3 convolutions."""

    depth: int
    width: int
    channels: int
    stride: Axes


@dataclass(frozen=True)
class Encoder:
    """A residual encoder as its paper's table gives it.

    `block` is `basic`, `bottleneck` or `bottleneck_vd`. Level P1 is the stem's output, P(i + 2)
    that of stage i. `custom` encoders are not in the catalog.
    """

    name: str
    class_name: str
    title: str
    family: str
    block: str
    depths: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    stem: Stem = Stem()
    pre_activation: bool = False
    groups: int = 1
    width_per_group: int = 64
    se: SqueezeExcite | None = None
    custom: bool = False

    @property
    def expansion(self) -> int:
        """Output channels of a block over its filters (ResNet, Table 1)."""
        return 1 if self.block == "basic" else 4

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stage table, widths as in ResNeXt, Table 1."""
        rows = zip(self.depths, self.filters, self.strides, strict=True)
        return tuple(
            Stage(
                depth=depth,
                width=int(filters * self.width_per_group / 64) * self.groups,
                channels=filters * self.expansion,
                stride=stride,
            )
            for depth, filters, stride in rows
        )

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the pyramid levels: P1, P2, ..."""
        return tuple(f"P{i + 1}" for i in range(len(self.depths) + 1))


@dataclass(frozen=True)
class Classifier:
    """Global average pool and a dense layer. `activation` is `none`, `sigmoid` or `softmax`."""

    num_classes: int
    activation: str = "none"


@dataclass(frozen=True)
class Features:
    """The last level, as it is or pooled over space. `pooling` is `none`, `avg` or `max`."""

    pooling: str = "none"


@dataclass(frozen=True)
class Model:
    """A network, wholly resolved. `input_shape` is channels last, without the batch axis."""

    encoder: Encoder
    head: Classifier | Features
    dims: int
    input_shape: tuple[int, ...]
    include_rescaling: bool = False

    @property
    def in_channels(self) -> int:
        return self.input_shape[-1]

    @property
    def image(self) -> Shape:
        """The input as the passes see it: channels, then sizes."""
        return (self.in_channels, *self.input_shape[:-1])

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def class_name(self) -> str:
        return self.encoder.class_name


@dataclass(frozen=True)
class Network:
    """A model with every choice written into its blocks: what the later passes read.

    `blocks` stand in the order of definition, each after those it calls; the last is the residual
    block of the stages. `constants` are the file's named numbers.
    """

    model: Model
    constants: tuple[tuple[str, int], ...]
    blocks: tuple[Block, ...]
    stem: Fragment
    pool: str
    head: Fragment

    @property
    def residual(self) -> Block:
        return self.blocks[-1]
