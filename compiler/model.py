"""The vocabulary of networks: frozen descriptions of encoders, heads and models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias

from .axes import product, spread
from .dialect import DIALECTS, Dialect
from .ir import Axes, Shape
from .option import option
from .parts import SqueezeExcite, Stem, Units

NORMS = ("batch", "instance", "group", "layer")  # of an encoder
DEPTHS = ("3", "4", "5")  # of the pyramid that a segmentor uses
RANK_NAMES = {2: ("H", "W"), 3: ("D", "H", "W")}
UNITS = {2: "pixel", 3: "voxel"}  # what an image of so many dimensions is made of


@dataclass(frozen=True)
class Stage:
    """`depth` blocks; the first has the stride. `width` and `kernel` are its 3x3 convolutions'."""

    depth: int
    width: int
    channels: int
    stride: Axes
    kernel: Axes = 3


@dataclass(frozen=True)
class Encoder:
    """A residual encoder as its paper's table gives it.

    `block` is `basic` or `bottleneck`, with `_vd` for ResNet-D's pooled shortcut; or one of
    nnU-Net's: `plain`, a convolution, and `basic_d` or `bottleneck_d`, whose shortcuts pool and
    project apart. These have `units`. Level P1 is the stem's output, P(i + 2) that of stage i; with
    `units`, P(i + 1) is that of stage i, and there need not be a stem. `custom` encoders are not in
    the catalog. `dialect` is a name in `DIALECTS`. Where `widths` or `channels` is empty, filters
    and groups determine it. Strides and kernels are one number where all axes have the same. `norm`
    is a kind of `ir.Norm`; `activation` is that of the stem and of the blocks.
    """

    name: str
    class_name: str
    title: str
    family: str
    block: str
    depths: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[Axes, ...] = (1, 2, 2, 2)
    kernels: tuple[Axes, ...] = (3, 3, 3, 3)
    stem: Stem = field(default_factory=Stem)
    pre_activation: bool = False
    groups: int = 1
    width_per_group: int = 64
    se: SqueezeExcite | None = None
    custom: bool = False
    dialect: str = "medicai"
    widths: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    norm: str = "batch"
    activation: str = "relu"
    units: Units | None = None

    @property
    def published(self) -> bool:
        """Whether there may be checkpoints for these layers: batch norm and ReLU, or nnU-Net's."""
        return self.units is not None or (self.norm, self.activation) == ("batch", "relu")

    @property
    def other_axes(self) -> str:
        """Which of its strides and kernels no published encoder has, in words; "" if none.

        Those of nnU-Net follow from its data, and differ between checkpoints.
        """
        if self.units:
            return ""
        stem, usual = self.stem, (2, 2, 1, *(2,) * (len(self.strides) - 1))
        strides = (stem.stride, stem.pool, *self.strides) != usual
        kernels = {*self.kernels} != {3} or (stem.kernels != (7,) and {*stem.kernels} != {3})
        return " and ".join(["strides"] * strides + ["kernels"] * kernels)

    @property
    def rules(self) -> Dialect:
        """Its dialect, with the position and the divisor of a gate that has its own."""
        se, rules = self.se or SqueezeExcite(), DIALECTS[self.dialect]
        after = se.position == "after_norm" if se.position else rules.gate_after_norm
        return replace(rules, gate_after_norm=after, divisor=se.divisor or rules.divisor)

    @property
    def expansion(self) -> int:
        """Output channels of a block over its filters (ResNet, Table 1)."""
        return 1 if self.basic or self.units else 4

    @property
    def basic(self) -> bool:
        """Whether the convolutions of a block have one width."""
        return self.block.startswith(("basic", "plain"))

    @property
    def residual(self) -> bool:
        """Whether its blocks have shortcuts."""
        return self.block != "plain"

    @property
    def pooled_shortcut(self) -> bool:
        """Whether its shortcuts average before they project (ResNet-D, Fig. 2c)."""
        return self.block.endswith(("_vd", "_d"))

    @property
    def decoder_convs(self) -> tuple[int, ...]:
        """Convolutions of each stage of nnU-Net's decoder: fewer where the encoder is deeper."""
        return (1,) if self.residual else (2,)

    @property
    def first_level(self) -> int:
        """The number of stage 0's level: 1 where the stem's output is not a level."""
        return 1 if self.units else 2

    @property
    def exact(self) -> bool:
        """Whether its strides must divide the sizes: its shortcuts pool, and round down."""
        return self.units is not None and self.pooled_shortcut

    @property
    def kind(self) -> str:
        """`grouped bottleneck vd v2, SE`: the kind of its blocks."""
        grouped = "grouped " if self.groups > 1 else ""
        version = " v2" if self.pre_activation else ""
        return f"{grouped}{self.block.replace('_', ' ')}{version}{', SE' if self.se else ''}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stage table."""
        columns = (self.depths, self.stage_widths, self.stage_channels, self.strides, self.kernels)
        return tuple(Stage(*row) for row in zip(*columns, strict=True))

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Widths of the 3x3 convolutions: as in ResNeXt, Table 1, unless they are given."""
        scale = self.width_per_group / 64
        return self.widths or tuple(int(f * scale) * self.groups for f in self.filters)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return self.channels or tuple(f * self.expansion for f in self.filters)

    def steps(self, rank: int) -> tuple[tuple[int, ...], ...]:
        """How many times smaller each level is than the one before it, axis by axis.

        The first is the stem's, of the image; the second the pool's and stage 0's together. Where
        the stem is not a level, the first is that of all three.
        """
        first, *others = (spread(stride, rank) for stride in self.strides)
        pooled = product((spread(self.stem.pool, rank), first), rank)
        stem = spread(self.stem.stride, rank)
        if self.first_level == 1:
            return (product((stem, pooled), rank), *others)
        return (stem, pooled, *others)

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the pyramid levels: P1, P2, ..."""
        return tuple(f"P{i + 1}" for i in range(len(self.depths) + self.first_level - 1))


@dataclass(frozen=True)
class Classifier:
    """Global average pool and a dense layer. `activation` is `none`, `sigmoid` or `softmax`.

    `dropout` is a rate, of what enters the dense layer.
    """

    num_classes: int
    activation: str = "none"
    dropout: float = option(0.0, "share", "Dropout rate.")

    name: ClassVar[str] = "classifier"


@dataclass(frozen=True)
class Features:
    """The last level, as it is or pooled over space. `pooling` is `none`, `avg` or `max`."""

    pooling: str = "none"


@dataclass(frozen=True)
class Segmentor:
    """What stands above an encoder of `depth` levels: the base of the heads in `segmentors/`."""

    num_classes: int
    activation: str = "none"
    depth: int = option(
        5,
        "choice",
        "Number of pyramid levels used; deeper stages are omitted.",
        DEPTHS,
        name="encoder_depth",
    )

    name: ClassVar[str]
    title: ClassVar[str]
    exact: ClassVar[bool] = False  # whether the strides must divide the image's sizes


Head: TypeAlias = Classifier | Features | Segmentor


@dataclass(frozen=True)
class Model:
    """A network, wholly resolved. `input_shape` is channels last, without the batch axis.

    `compat` names the library whose behaviour it keeps where ours is another; "" for ours.
    `drop_path` is the rate of stochastic depth in the last residual block, from 0 in the first on.
    With `memory` "lean", stages run again in the backward pass and keep their inputs and what
    convolutions return; with "least", which is the option `checkpointing`, their inputs only.
    `init` is what weights start from: `pytorch` or `he`. With `deploy`, it is the network of these
    options as it runs in inference, with what training needs gone or folded into its weights, and
    upsamplings fused unless `fuse` is "no"; where it is "", a target may decide.
    """

    encoder: Encoder
    head: Head
    dims: int
    input_shape: tuple[int, ...]
    include_rescaling: bool = False
    compat: str = ""
    drop_path: float = 0.0
    memory: str = "standard"
    init: str = "pytorch"
    deploy: bool = False
    fuse: str = ""

    @property
    def training(self) -> Model:
        """The model whose weights those of an inference file are made from."""
        return replace(self, deploy=False, fuse="")

    @property
    def trunk(self) -> Encoder:
        """The encoder as far as the head uses it: what is deeper is not emitted."""
        if not isinstance(self.head, Segmentor):
            return self.encoder
        encoder = self.encoder
        used = slice(self.head.depth + 1 - encoder.first_level)
        return replace(
            encoder,
            depths=encoder.depths[used],
            filters=encoder.filters[used],
            strides=encoder.strides[used],
            widths=encoder.widths[used],
            channels=encoder.channels[used],
            kernels=encoder.kernels[used],
        )

    @property
    def steps(self) -> tuple[tuple[int, ...], ...]:
        """How many times smaller each level is than the one before it: P1 than the image, ..."""
        return self.trunk.steps(self.dims)

    @property
    def divisors(self) -> tuple[tuple[int, ...], ...]:
        """How many times smaller each level is than the image, axis by axis: P1, P2, ..."""
        steps = self.steps
        return tuple(product(steps[: i + 1], self.dims) for i in range(len(steps)))

    @property
    def multiples(self) -> tuple[int, ...]:
        """What the image's sizes must be multiples of, axis by axis; () where any will do."""
        exact = self.encoder.exact or (isinstance(self.head, Segmentor) and self.head.exact)
        return self.divisors[-1] if exact else ()

    @property
    def halves(self) -> bool:
        """Whether each level has half the sizes of the one before it, on all axes."""
        return all(step == (2,) * self.dims for step in self.steps)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of the pyramid's levels that the head uses: P1, P2, ..."""
        encoder = self.trunk
        stem = encoder.stem.filters[-1:] if encoder.first_level == 2 else ()
        return (*stem, *(stage.channels for stage in encoder.stages))

    @property
    def in_channels(self) -> int:
        return self.input_shape[-1]

    @property
    def image(self) -> Shape:
        """The input as the passes see it: channels, then sizes."""
        return (self.in_channels, *self.input_shape[:-1])

    @property
    def _above(self) -> Segmentor | None:
        """The segmentor that its name ends with. nnU-Net is named by its encoder."""
        head = self.head
        return head if isinstance(head, Segmentor) and not head.exact else None

    @property
    def name(self) -> str:
        """`seresnext50`, `seresnext50_unet`."""
        name = self.encoder.name
        return f"{name}_{self._above.name}" if self._above else name

    @property
    def title(self) -> str:
        """`SE-ResNeXt-50 (32x4d)`, `SE-ResNeXt-50 (32x4d) UNet`."""
        title = self.encoder.title
        return f"{title} {self._above.title}" if self._above else title

    @property
    def class_name(self) -> str:
        """`SEResNeXt50`, `SEResNeXt50UNet`."""
        name = self.encoder.class_name
        # A title such as UNet++ is not an identifier; the name of its class is.
        return name + type(self._above).__name__ if self._above else name
