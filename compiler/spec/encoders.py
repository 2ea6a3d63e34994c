"""Turns the encoder's keys of a spec into an `Encoder`, the catalog's if it is the same network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import UNSET

from ..blocks import UNIT_BLOCKS
from ..catalog import ENCODERS, in_options_only
from ..dialect import DIALECTS, Dialect
from ..errors import Problem
from ..ir import Axes
from ..model import Encoder
from ..parts import OF_UNITS, SqueezeExcite
from ..passes.axes import axes_options, with_axes
from ..passes.custom import make_encoder
from ..passes.custom_units import FIELDS
from .checks import Wrong
from .positions import KeyPath

# Argument of `make_encoder` -> key of a stage.
COLUMNS = {
    "blocks": "depth",
    "filters": "channels",
    "channels": "channels",
    "widths": "width",
    "strides": "stride",
    "kernels": "kernel",
}
STEM = {f"stem_{key}": key for key in ("filters", "kernels", "stride", "pool")}


@dataclass(frozen=True)
class _Table:
    """The stages with every value resolved. `widths` holds None where none is given."""

    depths: list[int]
    channels: list[int]
    strides: list[Axes]
    kernels: list[Axes]
    widths: list[int | None]


def encoder_of(
    spec: Mapping[str, Any], wrong: list[Wrong]
) -> tuple[Encoder | None, dict[str, object], list[Problem]]:
    """The encoder of a spec's values, or None; and problems that name arguments of its maker.

    Between them stand the options that give an encoder of the catalog strides and kernels.

    `wrong` has the values that were left out as wrong, which are not missed again here: a value
    that raises no other problem takes their place.
    """
    bad = {each.path for each in wrong}
    base = ENCODERS.get(spec.get("extends", ""))
    given = {"name", "stages"} & spec.keys()
    if not base and ("extends",) not in bad:
        wrong += _missing(given, bad)
    if not base and "stages" not in given:
        return None, {}, []
    name = spec.get("name", base.name if base else "my_net")
    block = spec.get("block", base.block if base else "bottleneck")
    groups = spec.get("groups", base.groups if base else 1)
    usual = spec.get("width_per_group", base.width_per_group if base else 64)
    stages = _stages(spec.get("stages"), base, bad, wrong)
    columns = _columns(spec, stages, block, groups, usual, wrong)
    usual_dialect = OF_UNITS["dialect"] if block in UNIT_BLOCKS else "medicai"
    dialect = spec.get("dialect", base.dialect if base else usual_dialect)
    se = _squeeze_excite(spec.get("se"), base, DIALECTS[dialect])
    arguments = {
        "block": block,
        "blocks": stages.depths,
        "strides": stages.strides,
        "kernels": stages.kernels,
        **_stem(spec.get("stem", {}), base),
        "pre_activation": spec.get("pre_activation", base is not None and base.pre_activation),
        "groups": groups,
        "width_per_group": usual,
        "se_ratio": se.ratio if se else None,
        "se_activation": se.activation if se else "relu",
        "se_position": (se and se.position) or None,
        "se_divisor": (se and se.divisor) or None,
        **columns,
        **_unit(spec.get("unit", {}), base),
    }
    made, problems = make_encoder(name=name, **arguments)
    if made is None or problems:
        return made, {}, problems
    if twin := _twin(made):
        return *twin, []
    if base and "name" not in spec:
        made, problems = make_encoder(name=f"{base.name}_custom", **arguments)
    if made and base and not made.units:
        made = replace(made, dialect=base.dialect)
    return made, {}, problems


def _missing(given: set[str], bad: set[KeyPath]) -> list[Wrong]:
    hints = {
        "name": 'add name = "my_net"',
        "stages": 'list them, or start from a network of the catalog: extends = "seresnext50"',
    }
    return [
        Wrong((key,), f"{key} is missing", hint)
        for key, hint in hints.items()
        if key not in given and (key,) not in bad
    ]


def _stages(
    rows: Sequence[Any] | None, base: Encoder | None, bad: set[KeyPath], wrong: list[Wrong]
) -> _Table:
    """The stages, each completed by the one in its place of the encoder that is extended."""
    known = base.stages if base else ()
    table = _Table([], [], [], [], [])
    for i, row in enumerate([{}] * len(known) if rows is None else rows):
        stage = {} if row is UNSET else {key: row[key] for key in row if _is_whole(row[key])}
        usual = known[i] if i < len(known) else None
        for key in ("depth", "channels"):
            path = ("stages", i, key)
            if key not in stage and not usual and not {path, path[:2]} & bad:
                wrong.append(Wrong(path, f"stage {i} has no {key}", f"add {key} = ..."))
        table.depths.append(stage.get("depth", usual.depth if usual else 1))
        table.channels.append(stage.get("channels", usual.channels if usual else 256))
        table.strides.append(stage.get("stride", usual.stride if usual else 1 if i == 0 else 2))
        table.kernels.append(stage.get("kernel", usual.kernel if usual else 3))
        table.widths.append(stage.get("width"))
    return table


def _columns(
    spec: Mapping[str, Any],
    stages: _Table,
    block: str,
    groups: int,
    usual: int,
    wrong: list[Wrong],
) -> dict[str, object]:
    """Filters, widths and channels, the last two only where filters and groups do not say them."""
    if block.startswith(("basic", "plain")):
        other = "bottleneck_d" if block == "plain" else block.replace("basic", "bottleneck")
        wrong += [
            Wrong(
                ("stages", i, "width"),
                f"the blocks of a {block} encoder have one width, but width={width} and"
                f" channels={channels}",
                f'leave the width out, or use block = "{other}"',
            )
            for i, (width, channels) in enumerate(zip(stages.widths, stages.channels))
            if width not in (None, channels)
        ]
        return {"filters": stages.channels}
    if block in UNIT_BLOCKS:
        whole_widths = [width or c for width, c in zip(stages.widths, stages.channels)]
        told = {"widths": whole_widths} if any(stages.widths) else {}
        return {"filters": stages.channels, **told}
    whole = all(channels % 4 == 0 for channels in stages.channels)
    filters = [max(1, channels // 4) for channels in stages.channels]
    columns: dict[str, object] = {"filters": filters}
    if not whole:
        columns["channels"] = stages.channels
    widths = stages.widths
    if "width_per_group" in spec:
        usual_widths = _widths(filters, groups, usual)
        wrong += [
            Wrong(
                ("stages", i, "width"),
                f"width={width}, but groups={groups} and width_per_group={usual} make {made}",
                "give width or width_per_group, not both",
            )
            for i, (width, made) in enumerate(zip(widths, usual_widths))
            if width not in (None, made)
        ]
        return columns
    if widths and widths[0] and None not in widths:
        usual = width_per_group(widths[0], filters[0], groups)
        columns["width_per_group"] = usual
    made = _widths(filters, groups, usual)
    if any(width not in (None, each) for width, each in zip(widths, made)):
        columns["widths"] = [width or each for width, each in zip(widths, made)]
        columns["width_per_group"] = 64  # of no effect
    return columns


def width_per_group(width: int, filters: int, groups: int) -> int:
    """The width of a group that makes this width, as a spec is read that does not say it."""
    return max(1, width * 64 // (groups * filters))


def _widths(filters: Sequence[int], groups: int, width_per_group: int) -> list[int]:
    """As `Encoder.stage_widths` computes them."""
    return list(
        replace(
            next(iter(ENCODERS.values())),
            filters=tuple(filters),
            groups=groups,
            width_per_group=width_per_group,
        ).stage_widths
    )


def _stem(stem: Mapping[str, Any], base: Encoder | None) -> dict[str, object]:
    """The stem's arguments; a list with a wrong entry is as good as none."""
    found: dict[str, object] = {}
    for argument, key in STEM.items():
        fits = key in stem and _is_whole(stem[key])
        found[argument] = stem[key] if fits else getattr(base.stem, key) if base else None
    return found


def _unit(unit: Mapping[str, Any], base: Encoder | None) -> dict[str, object]:
    """The arguments of what stands around each convolution."""
    usual = base.units if base else None
    found: dict[str, object] = {}
    for argument, key in FIELDS.items():
        fits = key in unit and _is_whole(unit[key])
        found[argument] = unit[key] if fits else getattr(usual, key) if usual else None
    return found


def _is_whole(value: Any) -> bool:
    """Whether no part of a value was left out as wrong."""
    return all(map(_is_whole, value)) if isinstance(value, list) else value is not UNSET


def _squeeze_excite(se: Any, base: Encoder | None, dialect: Dialect) -> SqueezeExcite | None:
    """The gate, without what its dialect says already."""
    usual = (base.se if base else None) or SqueezeExcite()
    if se is None:
        return base.se if base else None
    if se is False:
        return None
    if not isinstance(se, dict):
        return usual
    made = replace(usual, **se)
    if made.position == ("after_norm" if dialect.gate_after_norm else "before_norm"):
        made = replace(made, position="")
    return replace(made, divisor=0) if made.divisor == dialect.divisor else made


def _twin(made: Encoder) -> tuple[Encoder, dict[str, object]] | None:
    """The encoder of the catalog that is this one but for options, and its strides and kernels."""
    known = ENCODERS.get(made.name)
    if not known or (bool(known.se) != bool(made.se) and not known.units):
        return None
    own = ("class_name", "title", "family", "custom", "dialect")
    twin = replace(made, **{field: getattr(known, field) for field in own})
    usual = replace(twin, strides=known.strides, kernels=known.kernels, stem=known.stem)
    if len(made.depths) != len(known.depths) or not in_options_only(known, usual):
        return None
    options: dict[str, object] = dict(axes_options(twin))
    values = (made.stem.stride, made.stem.pool, *made.strides, *made.kernels, *made.stem.kernels)
    dims = next((len(value) for value in values if isinstance(value, tuple)), 0)
    return (usual, options) if with_axes(usual, options, dims, []) == twin else None
