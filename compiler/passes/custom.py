"""What is wrong with an encoder that somebody described by hand."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from dataclasses import replace

from ..blocks import BLOCK_KINDS, PROJECTION, RESIDUAL_BLOCKS, SQUEEZE_EXCITE, UNIT_BLOCKS
from ..catalog import ENCODERS
from ..errors import CompileError, Problem, shown
from ..ir import Axes
from ..limits import ALL_BLOCKS, BLOCKS, CHANNELS, KERNEL, NAME, NUMBER, STAGES, STEM, STRIDE, Limit
from ..model import Encoder
from ..operations import ACTIVATIONS
from ..parts import SqueezeExcite, Stem
from .axes import even_problems, pool_problems, rank_problems
from .custom_units import unit_arguments, unit_fields, usual_stem
from .values import FLAG_HINT, axes, choice, count, counts

SE_POSITIONS = ("before_norm", "after_norm")
# What a file defines, imports or raises beside the model, so that no model can have the name: those
# that a name can become, which have a capital first and no underscore. A test compares the files.
TAKEN = {
    *("Any", "Axes", "Callable", "F", "Iterator", "Tensor", "ValueError"),
    *("CHANNELS", "DROPOUT", "EMBED", "GROUPS", "HEADS", "MLP", "PATCH", "QUERIES", "SCALES"),
    *("STAGES", "WIDTHS"),
    *("Affine", "Attention", "DropPath", "GatedAffine", "LayerNorm", "Stage", "Table", "Upsample"),
    *("Decoder", "Encoder", "MaskDecoder", "Vit"),
    *("AttentionGate", "DecoderBlock", "MaskedCrossAttention", "Mlp", "VitBlock"),
    *("ConvBlock", "LastDecoderBlock", "SegmentationBlock", "Up", "UpConv"),
    *(PROJECTION.name, SQUEEZE_EXCITE.name),
    *(block.name for block, _ in RESIDUAL_BLOCKS.values()),
}


def make_encoder(
    name: object,
    blocks: object,
    block: object,
    filters: object,
    strides: object,
    stem_filters: object,
    stem_kernels: object,
    pre_activation: object,
    groups: object,
    width_per_group: object,
    se_ratio: object,
    se_activation: object,
    se_position: object = None,
    se_divisor: object = None,
    widths: object = None,
    channels: object = None,
    kernels: object = None,
    stem_stride: object = None,
    stem_pool: object = None,
    **units: object,
) -> tuple[Encoder | None, list[Problem]]:
    """The encoder of these arguments (`custom_encoder` documents them), and all their problems.

    Limits are checked before any work that grows with the values.
    """
    problems: list[Problem] = []
    name = _name(name, problems)
    before = len(problems)
    block = _one_of("block", block, BLOCK_KINDS, problems)
    whole = {
        "blocks": (blocks, BLOCKS),
        "filters": (filters, CHANNELS),
        **({} if widths is None else {"widths": (widths, CHANNELS)}),
        **({} if channels is None else {"channels": (channels, CHANNELS)}),
    }
    by_axis = {
        "strides": (strides, STRIDE),
        **({} if kernels is None else {"kernels": (kernels, KERNEL)}),
    }
    table, sizes = _table(whole, by_axis, STAGES, "stage", problems)
    problems += _in_field("blocks", ALL_BLOCKS.problems("the sum of blocks", sum(table["blocks"])))
    sound = len(problems) == before
    problems += even_problems("kernels", sizes.get("kernels", ()))
    given = {"filters": stem_filters, "kernels": stem_kernels}
    given |= {"stride": stem_stride, "pool": stem_pool}
    stem = _stem(given, usual_stem(block, table["filters"], sizes.get("kernels", ())), problems)
    if not isinstance(pre_activation, bool):
        problems.append(Problem(f"pre_activation is {shown(pre_activation)}", hint=FLAG_HINT))
    before = len(problems)
    groups = _one("groups", groups, CHANNELS, problems)
    width_per_group = _one("width_per_group", width_per_group, CHANNELS, problems)
    sound = sound and len(problems) == before
    ratio = None if se_ratio is None else _one("se_ratio", se_ratio, NUMBER, problems)
    activation, position, divisor = "relu", "", 0
    if ratio is not None:
        activation = _one_of("se_activation", se_activation, ACTIVATIONS, problems)
        if se_position is not None:
            position = _one_of("se_position", se_position, SE_POSITIONS, problems)
        if se_divisor is not None:
            divisor = _one("se_divisor", se_divisor, CHANNELS, problems)
    if not sound:
        return None, problems
    known = ENCODERS.get(name)
    named = known if known and known.units and block in UNIT_BLOCKS else None
    encoder = Encoder(
        name=name,
        class_name=named.class_name if named else _class_name(name),
        title=named.title if named else name,
        family="custom",
        block=block,
        depths=table["blocks"],
        filters=table["filters"],
        strides=sizes["strides"],
        kernels=sizes.get("kernels", (3,) * len(table["blocks"])),
        stem=stem,
        pre_activation=pre_activation is True,
        groups=groups,
        width_per_group=width_per_group,
        se=None if ratio is None else SqueezeExcite(ratio, activation, position, divisor),
        custom=True,
        widths=table.get("widths", ()),
        channels=table.get("channels", ()),
        **unit_fields(block, units, problems),
    )
    problems += [*rank_problems(encoder), *_width_problems(encoder), *_gate_problems(encoder)]
    return encoder, problems


def custom_arguments(encoder: Encoder) -> dict[str, object]:
    """The keywords that make an encoder of one's own with `custom_encoder`."""
    stem = encoder.stem
    usual = usual_stem(encoder.block, encoder.filters, encoder.kernels)
    more: dict[str, object] = {}
    if set(encoder.kernels) != {3}:
        more["kernels"] = encoder.kernels
    if stem.stride != usual.stride:
        more["stem_stride"] = stem.stride
    if stem.pool != usual.pool:
        more["stem_pool"] = stem.pool
    more |= unit_arguments(encoder.units)
    return {
        "blocks": encoder.depths,
        "block": encoder.block,
        "filters": encoder.filters,
        "strides": encoder.strides,
        **more,
        "stem_filters": stem.filters,
        "stem_kernels": stem.kernels,
        "pre_activation": encoder.pre_activation,
        "groups": encoder.groups,
        "width_per_group": encoder.width_per_group,
        "se_ratio": encoder.se.ratio if encoder.se else None,
        "se_activation": encoder.se.activation if encoder.se else "relu",
        **({"se_position": encoder.se.position} if encoder.se and encoder.se.position else {}),
        **({"se_divisor": encoder.se.divisor} if encoder.se and encoder.se.divisor else {}),
        **({"widths": encoder.widths} if encoder.widths else {}),
        **({"channels": encoder.channels} if encoder.channels else {}),
    }


def _stem(given: Mapping[str, object], usual: Stem, problems: list[Problem]) -> Stem:
    """The stem, in which what is None is as usual."""
    asked = {key: getattr(usual, key) if v is None else v for key, v in given.items()}
    if asked["filters"] == asked["kernels"] == () and usual.filters == ():
        return usual
    rows = {"stem_filters": (asked["filters"], CHANNELS)}
    windows = {"stem_kernels": (asked["kernels"], KERNEL)}
    table, kernels = _table(rows, windows, STEM, "convolution", problems)
    problems += even_problems("stem_kernels", kernels["stem_kernels"])
    stride = _one_axes("stem_stride", asked["stride"], problems)
    pool = _one_axes("stem_pool", asked["pool"], problems)
    problems += _in_field("stem_pool", pool_problems("stem_pool", pool))
    return Stem(table["stem_filters"], kernels["stem_kernels"], stride, pool)


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _name(name: object, problems: list[Problem]) -> str:
    text = str.__str__(name) if isinstance(name, str) else None
    if text is None:
        problems.append(Problem(f"name is {shown(name)}, which is not a string"))
        return ""
    if len(text) > NAME.largest:
        problems += _in_field("name", NAME.problems("the length of name", len(text)))
        return ""
    class_name = _class_name(text)
    if class_name in TAKEN:
        problems.append(
            Problem(
                f"name {text!r} is taken: the emitted file defines another {class_name}",
                hint="choose another, as in my_resnext",
                field="name",
            )
        )
    for word in (text, class_name):
        if not (word.isascii() and word.isidentifier()) or keyword.iskeyword(word):
            problems.append(
                Problem(
                    f"name {shown(text)} cannot name a class",
                    hint="use letters, digits and _, and no digit first, as in my_resnext",
                    field="name",
                )
            )
            break
    return text


def _one(what: str, value: object, limit: Limit, problems: list[Problem]) -> int:
    try:
        return count(what, value, limit, typed=False)
    except CompileError as error:
        problems += error.problems
        return 1


def _one_of(what: str, value: object, choices: tuple[str, ...], problems: list[Problem]) -> str:
    try:
        return choice(what, value, choices)
    except CompileError as error:
        problems += error.problems
        return choices[0]


def _one_axes(what: str, value: object, problems: list[Problem]) -> Axes:
    read = axes(what, (value,), STRIDE, problems, STEM)
    return read[0] if read else 1


Columns = dict[str, tuple[object, Limit]]


def _table(
    whole: Columns, by_axis: Columns, length: Limit, part: str, problems: list[Problem]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[Axes, ...]]]:
    """Columns of whole numbers, and of kernels or strides, of one length; problems are noted."""
    before = len(problems)
    numbers = {name: counts(name, *given, problems, length) for name, given in whole.items()}
    sizes = {name: axes(name, *given, problems, length) for name, given in by_axis.items()}
    lengths = {name: len(read) for name, read in (*numbers.items(), *sizes.items())}
    if len(problems) == before and len(set(lengths.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in lengths.items())
        problems.append(Problem(f"there are {found}: give one of each per {part}"))
    return numbers, sizes


def _gate_problems(encoder: Encoder) -> list[Problem]:
    """A gate after a norm that is not there."""
    if not encoder.pre_activation or not encoder.se or encoder.se.position != "after_norm":
        return []
    return [
        Problem(
            "pre-activation blocks end with a convolution, so that no norm comes before a gate",
            hint="leave se_position out",
            field="se_position",
        )
    ]


def _width_problems(encoder: Encoder) -> list[Problem]:
    if encoder.basic and (encoder.groups, encoder.width_per_group) != (1, 64):
        return [
            Problem(
                f"basic blocks have no groups, but groups={encoder.groups} and"
                f" width_per_group={encoder.width_per_group}",
                hint="use block='bottleneck', or leave both out",
                field="groups" if encoder.groups > 1 else "width_per_group",
            )
        ]
    if encoder.basic and (encoder.widths or encoder.channels):
        name = "widths" if encoder.widths else "channels"
        return [
            Problem(
                f"basic blocks have one width, that of their filters, but {name} is given",
                hint="use block='bottleneck', or leave it out",
                field=f"{name}[0]",
            )
        ]
    problems = _group_problems(encoder)
    for s, (filters, stage) in enumerate(zip(encoder.filters, encoder.stages)):
        if stage.width == 0:
            problems.append(
                Problem(
                    f"width_per_group={encoder.width_per_group} leaves no channel for the"
                    f" {filters} filters of stage {s}",
                    at=f"filters[{s}]",
                    hint=f"use {-(-64 // filters)} or more",
                    field="width_per_group",
                )
            )
        widest = max(stage.width, stage.channels)
        found = CHANNELS.problems(f"the width of stage {s}", widest, f"filters[{s}]")
        problems += _in_field(f"filters[{s}]", found)
    return problems


def _group_problems(encoder: Encoder) -> list[Problem]:
    """Widths that do not fall into groups of one size."""
    groups = encoder.groups
    return [
        Problem(
            f"groups={groups} does not divide the width {width}",
            at=f"widths[{s}]",
            hint=_divisible(groups, width),
            field=f"widths[{s}]",
        )
        for s, width in enumerate(encoder.widths)
        if width % groups
    ]


def _divisible(groups: int, width: int) -> str:
    """The nearest widths that the groups divide, and the most groups that divide this one."""
    below = width // groups * groups
    above = min(below + groups, CHANNELS.largest // groups * groups)
    near = " or ".join(str(near) for near in (below, above) if near)
    return f"use {near}, or groups={math.gcd(groups, width)}"


def _in_field(field: str, problems: list[Problem]) -> list[Problem]:
    return [replace(problem, field=field) for problem in problems]
