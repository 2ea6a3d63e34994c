"""The report of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..model import Model
from .settings import Settings

TOLERANCE_64 = 1e-6
FLOOR = 1e-6  # smaller gradients are compared relative to this share of the largest one
ROUNDINGS = 4.0  # two frameworks round in two ways, each by chance
BATCH = 2  # the smallest; see `conditioning`


@dataclass
class Quantity:
    """One line of the report: the largest difference relative to the largest value.

    `rounding` is how far float32 is from float64 in one framework, the smaller of the two.
    """

    name: str
    shape: tuple[int, ...] | None = None  # channels last, without the batch axis
    float32: float | None = None
    float64: float | None = None
    rounding: float = 0.0
    note: str = ""
    failed: bool = False  # for a reason that no number shows


@dataclass
class Report:
    """What `verify` found: `first` is the row that diverges first, and `why` says how.

    With `amplifies`, `exact` holds the values of both frameworks in float64, by their quantities.
    `notify` is called with each step of the work as it begins.
    """

    model: Model
    settings: Settings
    quantities: list[Quantity] = field(default_factory=list)
    gradients: dict[str, float] = field(default_factory=dict)
    step: dict[str, float] = field(default_factory=dict)
    first: str = ""
    why: str = ""
    error: str = ""
    batch: int = BATCH
    amplifies: bool = False
    exact: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    doing: str = ""
    notify: Callable[[str], None] | None = None

    def begin(self, doing: str) -> None:
        """Note the step of the work that begins."""
        self.doing = doing
        if self.notify:
            self.notify(doing)

    def ok(self, quantity: Quantity) -> bool:
        """Whether a quantity is within its tolerance. NaN is not.

        In float32 nothing can agree better than each framework agrees with itself.
        """
        single = max(self.settings.tolerance, ROUNDINGS * quantity.rounding)
        pairs = ((quantity.float32, single), (quantity.float64, TOLERANCE_64))
        return not quantity.failed and all(
            value is None or value <= tolerance for value, tolerance in pairs
        )

    @property
    def passed(self) -> bool:
        """Whether there is a verdict, and everything in it agrees."""
        found = self.error or self.first or self.why or not self.quantities
        return not found and all(map(self.ok, self.quantities))

    def blame(self, row: str, why: str) -> None:
        """Name the first diverging row, unless one has been named before."""
        if not self.why:
            self.first, self.why = row, why


def as_dict(report: Report, weights: bool = True) -> dict[str, object]:
    """Return the report as `--json` prints it. NaN and infinity, which JSON lacks, are strings.

    `weights` adds the difference of each weight's gradient and training step.
    """
    settings = report.settings
    result: dict[str, object] = {
        "model": report.model.name,
        "dims": report.model.dims,
        "input_shape": list(report.model.input_shape),
        "compat": report.model.compat or None,
        "backend": settings.backend,
        "seed": settings.seed,
        "batch": report.batch,
        "tolerance": {"float32": settings.tolerance, "float64": TOLERANCE_64},
        "passed": report.passed,
        "first": report.first or None,
        "why": report.why or None,
        "error": report.error or None,
        "quantities": [
            {
                "name": quantity.name,
                "shape": list(quantity.shape) if quantity.shape else None,
                "float32": _number(quantity.float32),
                "float64": _number(quantity.float64),
                "note": quantity.note or None,
                "passed": report.ok(quantity),
                **({"rounding": _number(quantity.rounding)} if report.amplifies else {}),
            }
            for quantity in report.quantities
        ],
    }
    if weights:
        result["gradients"] = {name: _number(value) for name, value in report.gradients.items()}
        result["step"] = {name: _number(value) for name, value in report.step.items()}
    return result


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def from_dict(value: dict[str, Any], model: Model, settings: Settings) -> Report:
    """The report that `as_dict` wrote. Raises `ValueError`, `TypeError` or `KeyError`."""
    report = Report(model, settings, batch=value["batch"])
    for entry in value["quantities"]:
        found = Quantity(
            name=entry["name"],
            shape=tuple(entry["shape"]) if entry["shape"] else None,
            float32=_read(entry["float32"]),
            float64=_read(entry["float64"]),
            rounding=_required(entry.get("rounding", 0.0)),
            note=entry["note"] or "",
            failed=entry["passed"] is False,
        )
        if not (isinstance(found.name, str) and isinstance(found.note, str)):
            raise TypeError("a name is text")
        report.quantities.append(found)
    report.first, report.why = value["first"] or "", value["why"] or ""
    report.error = value["error"] or ""
    for name, differences in (("gradients", report.gradients), ("step", report.step)):
        for weight, number in value.get(name, {}).items():
            differences[weight] = _required(number)
    return report


def _read(value: object) -> float | None:
    return None if value is None else _required(value)


def _required(value: object) -> float:
    if value in ("nan", "inf") or (isinstance(value, float) and value >= 0):
        return float(value)
    raise ValueError(f"{value!r} is not a difference")


def shown(text: str, most: int = 60) -> str:
    """The text as an error quotes it: escaped, and shortened in the middle."""
    half = (most - 3) // 2
    return repr(text if len(text) <= most else f"{text[:half]}...{text[-half:]}")
