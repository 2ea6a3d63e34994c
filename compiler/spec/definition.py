"""What a spec can say: the typed definition that reading, the JSON Schema and docs/spec.md share.

The keys of an encoder are listed here. Every other key is a row of the table of options: `PLACES`
says where it stands in a spec; a row without a place stands at the top, or in `[segmentor]` if
only segmentors take it. So a new option is a key of specs without a line here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, assert_never

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from ..blocks import BLOCK_KINDS
from ..catalog import ENCODERS
from ..limits import (
    BLOCKS,
    CHANNELS,
    DECODER_FILTERS,
    KERNEL,
    NAME,
    STAGES,
    STEM,
    STRIDE,
    TEXT,
    Limit,
)
from ..model import Classifier
from ..operations import ACTIVATIONS
from ..option import Option
from ..options import BY_NAME, OPTIONS, RANKS
from ..passes.custom import SE_POSITIONS
from .positions import KeyPath, spelled

PLACES: dict[str, KeyPath] = {
    "num_classes": ("head", "num_classes"),
    "classifier_activation": ("head", "activation"),
    "features_only": ("head", "features_only"),
    "pooling": ("head", "pooling"),
    "segmentor": ("segmentor", "name"),
    "se_ratio": ("se", "ratio"),
    "se_activation": ("se", "activation"),
}
IN_STAGES = ("strides", "kernels")  # options that stages and stem say in a spec
FIRST = ("dims", "input_shape", "channels_last", "in_channels", "include_rescaling", "dialect")


def place(option: Option, head: str = "") -> KeyPath:
    """The path of an option in a spec, of a network with a head of that name.

    What a classifier takes as well as segmentors do stands in `[head]` there.
    """
    if option.name in IN_STAGES:
        return ("stages",)
    if head == Classifier.name and head in option.of:
        return ("head", option.name)
    usual = ("segmentor", option.name) if option.of else (option.name,)
    return PLACES.get(option.name, usual)


OPTION_AT = {
    place(option, head): option.name
    for head in ("", Classifier.name)
    for option in OPTIONS
    if option.name not in IN_STAGES
}


def in_spec(text: str) -> str:
    """A text of the command line in the words of a spec: `--se-ratio` is `se.ratio`."""
    flags = {option.flag: spelled(place(option)) for option in OPTIONS}
    return re.sub(r"--[a-z][a-z0-9-]*", lambda match: flags.get(match[0], match[0]), text)


# -- types -----------------------------------------------------------------------------------------


def _whole(limit: Limit) -> Any:
    return Annotated[int, Meta(ge=1, le=limit.largest)]


def _list(item: Any, most: int, least: int = 1) -> Any:
    return Annotated[list[item], Meta(min_length=least, max_length=most)]


def _axes(limit: Limit) -> Any:
    """One number for all axes, or one for each."""
    return _whole(limit) | _list(_whole(limit), RANKS[-1], RANKS[0])


def _choice(names: tuple[str, ...]) -> Any:
    values = tuple(int(name) if name.isdecimal() else name for name in names)
    return Literal[values]


def _type(option: Option) -> Any:
    """The type of an option's value in a spec."""
    match option.kind:
        case "count":
            return _whole(option.limit)
        case "counts":
            return _list(_whole(option.limit), DECODER_FILTERS.largest)
        case "shape":
            return _list(_whole(option.limit), RANKS[-1] + 1, RANKS[0] + 1)
        case "share":
            return Annotated[float, Meta(ge=0, lt=1)]
        case "choice":
            return _choice(option.choices or ACTIVATIONS)
        case "flag":
            return bool
        case "axes":
            return Annotated[str, Meta(max_length=TEXT.largest)]
        case _:
            assert_never(option.kind)


def _table(name: str, doc: str, keys: dict[str, tuple[Any, str]]) -> type[Struct]:
    """A table of a spec: the type and the description of each key. None is required here."""
    fields = [
        (key, Annotated[kind, Meta(description=text)] | UnsetType, UNSET)
        for key, (kind, text) in keys.items()
    ]
    made: type[Struct] = defstruct(name, fields, forbid_unknown_fields=True, kw_only=True)
    made.__doc__ = doc
    return made


def _options(table: str | None) -> dict[str, tuple[Any, str]]:
    """The keys of a table that are options; of None, those at the top."""
    found = {}
    for path, name in OPTION_AT.items():
        *outer, key = path
        if outer == ([table] if table else []):
            found[str(key)] = (_type(BY_NAME[name]), in_spec(BY_NAME[name].help))
    return found


# -- tables ----------------------------------------------------------------------------------------

POOL = Limit(2, "The pool of a stem strides by 1 or 2.")
STAGE = {
    "depth": (_whole(BLOCKS), "Number of blocks."),
    "width": (
        _whole(CHANNELS),
        "Channels of the 3x3 convolutions of a bottleneck. Default: as ResNeXt's table has it, from"
        " channels, groups and width_per_group.",
    ),
    "channels": (_whole(CHANNELS), "Channels that the stage puts out."),
    "stride": (_axes(STRIDE), "Stride of the first block. Default: 1 in stage 0, then 2."),
    "kernel": (_axes(KERNEL), "Kernel of the 3x3 convolutions, odd. Default: 3."),
}
STEM_KEYS = {
    "filters": (_list(_whole(CHANNELS), STEM.largest), "Filters of each convolution."),
    "kernels": (_list(_axes(KERNEL), STEM.largest), "Kernel of each convolution, odd."),
    "stride": (_axes(STRIDE), "Stride of the first convolution. Default: 2."),
    "pool": (_axes(POOL), "Stride of the max-pool after them, 1 or 2. Default: 2."),
}
SE_KEYS = {
    "position": (_choice(SE_POSITIONS), "Where the gate stands. Default: as the dialect has it."),
    "divisor": (
        _whole(CHANNELS),
        "The width of the gate is a multiple of this number. Default: as the dialect has it.",
    ),
}
UNIT_KEYS = {
    "bias": (bool, "Whether convolutions have a bias. Default: true."),
    "eps": (Annotated[float, Meta(ge=0, lt=1)], "Epsilon of the norms. Default: 1e-5."),
    "slope": (Annotated[float, Meta(ge=0, lt=1)], "Negative slope of leaky_relu. Default: 0.01."),
    "dropout": (
        Annotated[float, Meta(ge=0, lt=1)],
        "Rate at which whole channels are dropped behind convolutions. Default: no such layer.",
    ),
    "activation_first": (bool, "Whether the activation of plain blocks precedes the norm."),
}
_TOP = _options(None)
Stage = _table("Stage", "A stage of the encoder: blocks of one width.", STAGE)
Stem = _table("Stem", "The convolutions before the stages, and the max-pool after them.", STEM_KEYS)
SqueezeExcite = _table(
    "SqueezeExcite", "The gate on the channels of each block.", _options("se") | SE_KEYS
)
Unit = _table("Unit", "What stands around each convolution of nnU-Net's blocks.", UNIT_KEYS)
Head = _table("Head", "What stands above the encoder: classes, or features.", _options("head"))
Segmentor = _table(
    "Segmentor", "The decoder that makes a map of classes, and its options.", _options("segmentor")
)
Spec = _table(
    "Spec",
    "A network.",
    {
        "name": (
            Annotated[str, Meta(min_length=1, max_length=NAME.largest)],
            "Name of the encoder: letters, digits and _. The emitted class is named after it. Give"
            " one of your own to a network that you change.",
        ),
        "extends": (
            _choice(tuple(ENCODERS)),
            "Encoder of the catalog that has every value that is not given here.",
        ),
        **{key: _TOP[key] for key in FIRST if key in _TOP},
        "block": (
            _choice(BLOCK_KINDS),
            "Kind of the blocks; vd pools its shortcuts (ResNet-D). nnU-Net has plain, basic_d and"
            " bottleneck_d.",
        ),
        "pre_activation": (bool, "Norm and activation before each convolution (ResNet v2)."),
        "groups": (_whole(CHANNELS), "Groups of a bottleneck's 3x3 convolutions. Default: 1."),
        "width_per_group": (
            _whole(CHANNELS),
            "Width of a group where 64 filters enter, for stages without a width. Default: 64.",
        ),
        **{key: row for key, row in _TOP.items() if key not in FIRST},
        "stages": (_list(Stage, STAGES.largest), "The stages of the encoder, in order."),
        "stem": (Stem, "The convolutions before the stages."),
        "se": (SqueezeExcite | bool, "Squeeze-and-excitation; false removes what is extended."),
        "unit": (Unit, "What stands around each convolution of nnU-Net's blocks."),
        "head": (Head, "Classes and activation; or features without a head."),
        "segmentor": (Segmentor, "A decoder instead of a classifier, and its options."),
    },
)
