"""What the templates print: frozen texts, ready but for their places on the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

AXES_TYPE = "Axes"  # what a file calls the type of an argument with a number for each axis


def words(code: str) -> frozenset[str]:
    """The names in a text: `torch`, and `torch.` or `torch(` where that is behind it."""
    found = re.findall(r"\w+[.(]?", code)
    return frozenset(found).union(word.rstrip(".(") for word in found)


@dataclass(frozen=True)
class BlockText:
    """A class or function of a block or a module: lines without their indentation.

    `returns` is the type of what it returns.
    """

    name: str
    doc: str
    parameters: str
    inputs: str
    declarations: tuple[str, ...]
    body: tuple[str, ...]
    returns: str = ""
    base: str = "nn.Module"
    decorators: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncoderText:
    """The encoder: its stem, its pool, and how its stages' blocks are made.

    `rates` are lines that compute the blocks' rates of stochastic depth, and `stage` is what makes
    one of several blocks. `before` are the channels that enter stage 0, `first` is the number of
    its level, and `levels` are the lines that begin the pyramid. `methods` are lines that define
    what its class has besides.
    """

    doc: str
    stem: BlockText
    pool: tuple[str, ...]
    columns: str
    first_block: str
    next_block: str
    rates: tuple[str, ...]
    stage: str
    before: str
    first: int
    levels: tuple[str, ...]
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelText:
    """The model: its constructor's defaults, what it is made of, and the lines that run it.

    `sizes` are lines that compute what the modules are told of the image's size; a model that has
    them takes images of one size. `class_check` is the condition under which `num_classes` is
    refused with `class_error`; "" refuses none. `returns` is the type of its output, and
    `training_model` how Keras makes the model that has all logits, "" if there is none. The
    image's sizes must be `multiples` of these, axis by axis; of any if it is empty.
    """

    class_name: str
    name: str
    doc: str
    in_channels: int
    input_shape: tuple[int, ...]
    num_classes: int | None
    modules: tuple[str, ...]
    declarations: tuple[str, ...]
    body: tuple[str, ...]
    sizes: tuple[str, ...]
    class_check: str
    class_error: str
    returns: str
    training_model: str
    multiples: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """What the helpers of a file are written with.

    `extends` says that a skip may be larger than what is upsampled to it, where the pool has
    rounded an odd size down; `after_head` that the output is upsampled, which has its own type;
    `stretches` that maps are resized by other factors than 2.
    `scaled` says that upsamplings are told their scale, `wide` that kernels may differ by axis;
    `per_axis` are the columns of the stage table with a number for each axis.
    With `lean`, convolutions are kept where the rest is computed again; `joins` are the inputs,
    before the skips, of a block that is computed again and joins any number of them.
    `deploy` files are for inference: their weights are loaded, and most convolutions have a
    bias; `unbiased` says that some have none.
    `norm` makes the encoder's norm of a tensor `x`, and `norm_doc` says what it is, where files
    have a function for it. `he` is the scale and the fan of the normal distribution from which
    convolutions start, and `he_doc` names the fan; both are "" if they start from another one.
    """

    rank: int
    package: str
    unit: str
    extends: bool
    after_head: bool
    axes: tuple[str, ...]
    shapes: dict[str, str]
    attention_doc: str
    upsample_doc: str
    stretches: bool
    grouped: bool
    biased: bool
    he: str
    he_doc: str
    scaled: bool
    wide: bool
    per_axis: tuple[str, ...]
    zero_init: bool
    deploy: bool
    lean: bool
    joins: str
    unbiased: bool
    norm: str = ""
    norm_doc: str = ""

    @property
    def joined_inputs(self) -> str:
        """`x: Tensor, like: Tensor`."""
        return ", ".join(f"{name}: Tensor" for name in self.joins.split(", "))

    @property
    def told_scale(self) -> bool:
        """Whether the layer that resizes is told its scale: it is not always 2."""
        return self.scaled or self.stretches

    @property
    def axis_numbers(self) -> tuple[int, ...]:
        """The spatial axes where the channels are last."""
        return tuple(range(1, 1 + self.rank))

    @property
    def last_axes(self) -> tuple[int, ...]:
        """The spatial axes where the channels are first, the last one first."""
        return tuple(range(1 + self.rank, 1, -1))

    @property
    def axis_lines(self) -> str:
        """`like[0, :, 0, 0], ...`: one line of voxels along each spatial axis."""
        lines = []
        for axis in range(1, self.rank + 1):
            index = ", ".join(":" if i == axis else "0" for i in range(self.rank + 2))
            lines.append(f"like[{index}]")
        return ", ".join(lines)

    @property
    def kernel(self) -> str:
        """`3x3x3`."""
        return "x".join(["3"] * self.rank)

    @property
    def multiplications(self) -> tuple[int, int]:
        """Of one output of a 3x3 convolution on an upsampled map: fused, and as it is."""
        return 2**self.rank, 3**self.rank

    @property
    def voxels(self) -> str:
        """`D*H*W`."""
        return "*".join(self.axes).upper()


@dataclass(frozen=True)
class Section:
    """A template and what it prints."""

    template: str
    text: BlockText | EncoderText | ModelText


@dataclass(frozen=True)
class Part:
    """Sections that stand together: the helpers that they need are defined before the first."""

    sections: tuple[Section, ...]


@dataclass(frozen=True)
class ConstantText:
    """A line that names numbers, printed where one of the names is used."""

    names: tuple[str, ...]
    line: str


@dataclass(frozen=True)
class Page:
    """A whole file, before its helpers, constants and imports are known."""

    heading: str
    table: tuple[str, ...]
    notes: tuple[str, ...]
    class_name: str
    constants: tuple[ConstantText, ...]
    columns: str
    stages: tuple[tuple[object, ...], ...]
    more_constants: tuple[ConstantText, ...]
    parts: tuple[Part, ...]
    facts: Facts
