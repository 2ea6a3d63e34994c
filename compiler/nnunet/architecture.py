"""One network of nnU-Net, whoever describes it: a plans file, a checkpoint, or the planner's rules.

Readers make an `Architecture`; the compiler builds its network from it. Nothing else passes between
the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..axes import product
from ..errors import Problem, counted, raise_all, shown
from ..limits import ALL_BLOCKS, AXIS, BLOCKS, CHANNELS, KERNEL, STAGES, STRIDE, Limit
from ..operations import ACTIVATIONS
from ..parts import EPS, SLOPE

NETWORKS = ("plain", "resenc")  # PlainConvUNet and ResidualEncoderUNet
NORMS = ("instance", "batch")
BLOCK_KINDS = ("basic", "bottleneck")  # BasicBlockD and BottleneckD
RANKS = (2, 3)
LEAST_STAGES = 2  # a decoder starts from the skip above the bottleneck
SLOPED = "leaky_relu"


@dataclass(frozen=True)
class Architecture:
    """A PlainConvUNet (`plain`) or a ResidualEncoderUNet (`resenc`), everything resolved.

    `num_classes` is the number of channels of the logits: regions have no background, and the label
    `ignore` has no channel. Stage 0 comes first in `features`, `kernels`, `strides`, `blocks` and
    `bottleneck_channels`, and axes are in the order of the network's input. `blocks` counts the
    residual blocks of a `resenc` stage, or the convolutions of a `plain` one. `decoder_convs` has
    one entry less and runs from the bottleneck up. A stage strides at its entrance.

    `dropout` drops whole channels after convolutions; None if there is no layer of it. A layer of
    rate 0 changes no number, but the names that a checkpoint has for the norm after it. `slope` is
    the negative slope of `leaky_relu`, and 0 of any other activation. With `nonlin_first`, the
    activation of a `plain` network precedes the norm. `stem_channels` is None in a `plain` network,
    which has no stem, and `bottleneck_channels` is empty with `basic` blocks. `se_ratio` is the
    number of channels to one of the squeezed ones, 0 without squeeze-and-excitation; no plans file
    has it.

    `deep_supervision` says that there is a head at each level of the decoder, not only at the last.
    Raises `CompileError` with every problem of its fields.
    """

    network: str
    dims: int
    in_channels: int
    num_classes: int
    features: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    blocks: tuple[int, ...]
    decoder_convs: tuple[int, ...]
    conv_bias: bool = True
    norm: str = "instance"
    norm_eps: float = EPS
    norm_affine: bool = True
    dropout: float | None = None
    activation: str = SLOPED
    slope: float = SLOPE
    nonlin_first: bool = False
    stem_channels: int | None = None
    block: str = "basic"
    bottleneck_channels: tuple[int, ...] = ()
    se_ratio: int = 0
    deep_supervision: bool = False

    def __post_init__(self) -> None:
        raise_all(_problems(self))

    @property
    def stages(self) -> int:
        """Number of encoder stages, with the bottleneck."""
        return len(self.features)

    @property
    def divisors(self) -> tuple[int, ...]:
        """What each axis of the input must be a multiple of."""
        return product(self.strides, self.dims)


def _problems(a: Architecture) -> list[Problem]:
    """Everything that is wrong; `field` of each problem is the field of the architecture."""
    found = [
        *_choice("network", a.network, NETWORKS),
        *_choice("dims", a.dims, RANKS),
        *_whole("in_channels", a.in_channels, CHANNELS),
        *_whole("num_classes", a.num_classes, CHANNELS),
        *_flags(a),
        *_units(a),
    ]
    if not isinstance(a.features, tuple) or not LEAST_STAGES <= len(a.features) <= STAGES.largest:
        count = len(a.features) if isinstance(a.features, tuple) else 0
        message = f"there are {counted(count, 'stage')}"
        hint = f"a network has {LEAST_STAGES} to {STAGES.largest} stages"
        return [*found, Problem(message, hint=hint, field="features")]
    stages = len(a.features)
    found += _row("features", a.features, stages, CHANNELS)
    found += _row("blocks", a.blocks, stages, BLOCKS)
    found += _row("decoder_convs", a.decoder_convs, stages - 1, BLOCKS)
    found += _grid("kernels", a.kernels, stages, a.dims, KERNEL)
    found += _grid("strides", a.strides, stages, a.dims, STRIDE)
    found += _residual(a, stages)
    return found or [*_kernels(a), *_strides(a), *_work(a)]


def _flags(a: Architecture) -> list[Problem]:
    names = ("conv_bias", "norm_affine", "nonlin_first", "deep_supervision")
    return [
        _wrong(name, getattr(a, name), "it is true or false")
        for name in names
        if not isinstance(getattr(a, name), bool)
    ]


def _units(a: Architecture) -> list[Problem]:
    """What follows a convolution: dropout, norm and activation."""
    found = [*_choice("norm", a.norm, NORMS), *_choice("activation", a.activation, ACTIVATIONS)]
    if not (_is_number(a.norm_eps) and 0 < a.norm_eps < 1):
        found.append(_wrong("norm_eps", a.norm_eps, "a number above 0 and below 1"))
    if a.dropout is not None and not (_is_number(a.dropout) and 0 <= a.dropout < 1):
        found.append(_wrong("dropout", a.dropout, "a number from 0 up to, but below, 1"))
    if not (_is_number(a.slope) and 0 <= a.slope < 1):
        found.append(_wrong("slope", a.slope, "a number from 0 up to, but below, 1"))
    elif a.slope and a.activation != SLOPED:
        found.append(_wrong("slope", a.slope, f"only {SLOPED} has a slope"))
    if a.norm_affine is False:  # an instance norm's default
        found.append(_wrong("norm_affine", False, "true: norms have a scale and a shift"))
    return found


def _residual(a: Architecture, stages: int) -> list[Problem]:
    """The fields that only one of the two networks has."""
    found = _choice("block", a.block, BLOCK_KINDS)
    if a.network not in NETWORKS:
        return found
    if a.network == "plain":
        absent = {
            "stem_channels": None,
            "block": BLOCK_KINDS[0],
            "bottleneck_channels": (),
            "se_ratio": 0,
        }
        hint = "a plain network has no residual blocks"
        return [
            *found,
            *(
                _wrong(n, getattr(a, n), hint)
                for n, usual in absent.items()
                if getattr(a, n) != usual
            ),
        ]
    if a.nonlin_first:
        found.append(_wrong("nonlin_first", a.nonlin_first, "only a plain network has it"))
    found += _whole("stem_channels", a.stem_channels, CHANNELS)
    if a.se_ratio != 0:
        found += _whole("se_ratio", a.se_ratio, CHANNELS)
    if a.block == "bottleneck":
        found += _row("bottleneck_channels", a.bottleneck_channels, stages, CHANNELS)
    elif a.bottleneck_channels != ():
        hint = "basic blocks have no bottleneck"
        found.append(_wrong("bottleneck_channels", a.bottleneck_channels, hint))
    return found


def _kernels(a: Architecture) -> list[Problem]:
    hint = "use odd kernels: padded by (kernel - 1) // 2, an even one shrinks the map"
    return [
        _wrong(f"kernels[{stage}]", kernel, hint)
        for stage, kernel in enumerate(a.kernels)
        if not all(size % 2 for size in kernel)
    ]


def _strides(a: Architecture) -> list[Problem]:
    if set(a.strides[0]) != {1}:
        hint = "use 1: the decoder does not undo it, so the logits would be smaller than the image"
        return [_wrong("strides[0]", a.strides[0], hint)]
    largest = max(a.divisors)
    found = AXIS.problems("the product of the strides along an axis", largest)
    return [Problem(p.message, hint=p.hint, field="strides") for p in found]


def _work(a: Architecture) -> list[Problem]:
    found = ALL_BLOCKS.problems("the number of blocks", sum(a.blocks) + sum(a.decoder_convs))
    return [Problem(p.message, hint=p.hint, field="blocks") for p in found]


def _row(field: str, values: object, length: int, limit: Limit) -> list[Problem]:
    """A tuple with one whole number per stage."""
    if not isinstance(values, tuple) or len(values) != length:
        return [_length(field, values, length)]
    return [p for i, value in enumerate(values) for p in _whole(f"{field}[{i}]", value, limit)]


def _grid(field: str, values: object, length: int, dims: object, limit: Limit) -> list[Problem]:
    """A tuple with one tuple per stage, which has one whole number per axis."""
    if not isinstance(values, tuple) or len(values) != length:
        return [_length(field, values, length)]
    if dims not in RANKS:
        return []
    found = []
    for stage, value in enumerate(values):
        name = f"{field}[{stage}]"
        if isinstance(value, tuple) and len(value) == dims:
            found += [p for axis in value for p in _whole(name, axis, limit)]
        else:
            found.append(_wrong(name, value, f"one number for each of the {dims} axes"))
    return found


def _length(field: str, values: object, length: int) -> Problem:
    hint = f"it takes {counted(length, 'entry', 'entries')} here"
    if not isinstance(values, tuple):
        return _wrong(field, values, hint)
    message = f"{field} has {counted(len(values), 'entry', 'entries')}"
    return Problem(message, hint=hint, field=field)


def _whole(field: str, value: object, limit: Limit) -> list[Problem]:
    if not isinstance(value, int) or isinstance(value, bool):
        return [_wrong(field, value, "a whole number")]
    if value < 1:
        return [_wrong(field, value, "a number from 1 on")]
    if value > limit.largest:
        return [_wrong(field, value, limit.of)]
    return []


def _choice(field: str, value: object, choices: Sequence[object]) -> list[Problem]:
    if isinstance(value, (str, int)) and not isinstance(value, bool) and value in choices:
        return []
    return [_wrong(field, value, f"one of {', '.join(map(str, choices))}")]


def _wrong(field: str, value: object, hint: str) -> Problem:
    return Problem(f"{field} is {shown(value)}", hint=hint, field=field)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
