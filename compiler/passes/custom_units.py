"""What is wrong with the units and the stem of an encoder that somebody described by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..blocks import UNIT_BLOCKS
from ..errors import Problem, shown
from ..ir import Axes
from ..parts import OF_UNITS, Stem, Units
from .values import FLAG_HINT

# Argument of custom_encoder -> field of the units.
FIELDS = {f"unit_{field.name}": field.name for field in fields(Units)}


def usual_stem(block: str, filters: Sequence[int], kernels: Sequence[Axes]) -> Stem:
    """The stem of an encoder that is not told one."""
    if block == "plain":
        return Stem((), (), 1, 1)
    if block in UNIT_BLOCKS:
        return Stem(tuple(filters[:1]), tuple(kernels[:1]) or (3,), 1, 1)
    return Stem()


def unit_fields(block: str, given: Mapping[str, object], problems: list[Problem]) -> dict[str, Any]:
    """The fields of an encoder that its units make; every problem of these is noted."""
    told = {name: value for name, value in given.items() if value is not None}
    if block not in UNIT_BLOCKS:
        kinds = ", ".join(UNIT_BLOCKS)
        for name in told:
            message = f"{name} is for blocks of nnU-Net, but block is {block!r}"
            problems.append(Problem(message, hint=f"use one of {kinds}", field=name))
        return {}
    units: dict[str, Any] = {}
    for name, value in told.items():
        if not _fits(name, value):
            hint = FLAG_HINT
            if name in RANGES:
                hint = f"a number {RANGES[name]}"
            problems.append(Problem(f"{name} is {shown(value)}", hint=hint, field=name))
        else:
            units[FIELDS[name]] = float(value) if name in RANGES else value  # type: ignore[arg-type]
    if units.get("activation_first") and block != "plain":
        message = f"unit_activation_first is for plain blocks, but block is {block!r}"
        problems.append(Problem(message, hint="leave it out", field="unit_activation_first"))
    return {"units": Units(**units), **OF_UNITS}


RANGES = {
    "unit_eps": "above 0 and below 1",
    "unit_slope": "from 0 up to, but below, 1",
    "unit_dropout": "from 0 up to, but below, 1",
}


def _fits(name: str, value: object) -> bool:
    if name not in RANGES:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < 1 and (value > 0 or name != "unit_eps")


def unit_arguments(units: Units | None) -> dict[str, object]:
    """The keywords of `custom_encoder` that make these units, but for usual values."""
    if units is None:
        return {}
    usual = Units()
    values = {name: getattr(units, field) for name, field in FIELDS.items()}
    return {n: value for n, value in values.items() if value != getattr(usual, FIELDS[n])}
