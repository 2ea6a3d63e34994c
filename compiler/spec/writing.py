"""Writes the spec of a model, with a comment on every key."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from msgspec.structs import fields as keys_of

from ..arguments import spell_options
from ..model import Classifier, Encoder, Model, Segmentor
from ..options import BY_NAME, OPTIONS
from ..parts import Units
from .checks import description
from .definition import IN_STAGES, Head, Spec, SqueezeExcite, Stem, Unit, place
from .definition import Segmentor as SegmentorTable
from .encoders import width_per_group
from .positions import KeyPath

_WIDTH = 96
_TABLES = {
    "stem": Stem,
    "se": SqueezeExcite,
    "unit": Unit,
    "head": Head,
    "segmentor": SegmentorTable,
}


def spec_text(model: Model, file: str = "net.toml") -> str:
    """The spec of a model. Emitting it gives the text that the model's own name gives."""
    values = _values(model)
    lines = [
        f"# {model.title}, {model.dims}D. `plainnet emit {file} --target torch` writes it as one",
        "# source file. docs/spec.md describes every key; `plainnet schema` prints a JSON Schema,",
        "# with which editors complete keys and mark errors.",
    ]
    for key in keys_of(Spec):
        if key.name in _TABLES or (key.name,) not in values:
            continue
        lines += ["", *_comment(description(key.type))]
        if key.name == "stages":
            lines += _stages(values[("stages",)])
        else:
            lines.append(f"{key.name} = {_toml(values[(key.name,)])}")
    for name, table in _TABLES.items():
        rows = [key for key in keys_of(table) if (name, key.name) in values]
        if rows:
            lines += ["", f"[{name}]  # {table.__doc__}"]
        for key in rows:
            lines += [
                *_comment(description(key.type)),
                f"{key.name} = {_toml(values[name, key.name])}",
            ]
    return "\n".join(lines) + "\n"


def _values(model: Model) -> dict[KeyPath, Any]:
    """Every value of the spec by its path."""
    head = Classifier.name if isinstance(model.head, Classifier) else ""
    values: dict[KeyPath, Any] = {
        place(BY_NAME[name], head): value
        for name, value in _options(model).items()
        if name not in IN_STAGES
    }
    return _encoder(model.encoder) | values


def _encoder(encoder: Encoder) -> dict[KeyPath, Any]:
    stages = []
    for stage in encoder.stages:
        row = {"depth": stage.depth, "width": stage.width, "channels": stage.channels}
        if encoder.basic:
            del row["width"]
        stages.append(row | {"stride": stage.stride, "kernel": stage.kernel})
    values: dict[KeyPath, Any] = {
        ("name",): encoder.name,
        ("block",): encoder.block,
        ("pre_activation",): encoder.pre_activation,
        ("groups",): encoder.groups,
        ("stages",): stages,
    }
    if encoder.stem.filters:
        values |= {
            ("stem", "filters"): list(encoder.stem.filters),
            ("stem", "kernels"): list(encoder.stem.kernels),
            ("stem", "stride"): encoder.stem.stride,
            ("stem", "pool"): encoder.stem.pool,
        }
    if encoder.basic:
        del values[("groups",)]
    elif not encoder.widths and not encoder.units:
        read = width_per_group(encoder.stage_widths[0], encoder.filters[0], encoder.groups)
        if read != encoder.width_per_group:  # rounded down: the widths do not say it
            values[("width_per_group",)] = encoder.width_per_group
    if encoder.units:
        values.pop(("groups",), None)
        del values[("pre_activation",)]
        units = {field.name: getattr(encoder.units, field.name) for field in fields(Units)}
        values |= {("unit", key): value for key, value in units.items() if value is not None}
    if encoder.se:
        values[("se", "ratio")] = encoder.se.ratio
        values[("se", "activation")] = encoder.se.activation
        after = encoder.rules.gate_after_norm
        values[("se", "position")] = "after_norm" if after else "before_norm"
        values[("se", "divisor")] = encoder.rules.divisor
    return values


def _options(model: Model) -> dict[str, Any]:
    """The options of a model by name, those with usual values too."""
    holders = (model, model.encoder)  # an option of every network is a field of one of them
    options: dict[str, Any] = {
        option.name: getattr(holder, option.name)
        for option in OPTIONS
        for holder in holders
        if not option.of and getattr(holder, option.name, "") not in ("", None)
    }
    head = model.head
    if isinstance(head, Classifier | Segmentor):
        options["num_classes"] = head.num_classes
        options["classifier_activation"] = head.activation
    if isinstance(head, Segmentor):
        options["segmentor"] = head.name
        options |= {
            option.name: getattr(head, option.field)
            for option in OPTIONS
            if option.field and head.name in option.of
        }
    spelt = {name: value for name, value in spell_options(model).items() if name != "in_channels"}
    return options | spelt


def _stages(rows: list[dict[str, Any]]) -> list[str]:
    """The stages, a line each, in columns."""
    text = [[f"{key} = {_toml(value)}" for key, value in row.items()] for row in rows]
    widths = [max(map(len, column)) + 1 for column in zip(*text)]
    lines = ["stages = ["]
    for cells in text:
        padded = [f"{cell},".ljust(width + 1) for cell, width in zip(cells, widths)]
        lines.append(f"    {{ {''.join(padded).rstrip().rstrip(',')} }},")
    return [*lines, "]"]


def _toml(value: object) -> str:
    """A value as TOML spells it. Names and numbers are spelled alike in JSON."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, float) else json.dumps(value)


def _comment(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
