"""What `verify` was asked, and what it found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..model import Model

TOLERANCE = 1e-4  # in float32
TOLERANCE_64 = 1e-6
FLOOR = 1e-6  # of the largest gradient: one below it is measured against it
BATCH = 2


@dataclass(frozen=True)
class Settings:
    """How a comparison is made. `size` is the image's; none is one that suits the model."""

    size: tuple[int, ...] | None = None
    seed: int = 0
    tolerance: float = TOLERANCE
    backend: str = "torch"


@dataclass
class Quantity:
    """One line of the report: largest difference over largest value, in either precision."""

    name: str
    shape: tuple[int, ...] | None = None  # channels last, without the batch axis
    float32: float | None = None
    float64: float | None = None
    note: str = ""
    failed: bool = False  # told by no number


@dataclass
class Report:
    """What `verify` found. `first` is the ledger row that diverges first, `why` how."""

    model: Model
    settings: Settings
    quantities: list[Quantity] = field(default_factory=list)
    gradients: dict[str, float] = field(default_factory=dict)
    step: dict[str, float] = field(default_factory=dict)
    first: str = ""
    why: str = ""
    error: str = ""
    doing: str = ""

    def ok(self, quantity: Quantity) -> bool:
        """Whether it is within its tolerance. A NaN is not."""
        pairs = ((quantity.float32, self.settings.tolerance), (quantity.float64, TOLERANCE_64))
        return not quantity.failed and all(
            value is None or value <= tolerance for value, tolerance in pairs
        )

    @property
    def passed(self) -> bool:
        told = self.error or self.first or not self.quantities
        return not told and all(map(self.ok, self.quantities))

    def blame(self, row: str, why: str) -> None:
        """Name the first diverging row; the first that is named stays."""
        if not self.why:
            self.first, self.why = row, why


def as_dict(report: Report, weights: bool = True) -> dict[str, object]:
    """The report as `--json` prints it: numbers that are none are strings, JSON has none.

    `weights` adds the difference of each weight's gradient and step.
    """
    settings = report.settings
    result: dict[str, object] = {
        "model": report.model.name,
        "dims": report.model.dims,
        "input_shape": list(report.model.input_shape),
        "compat": report.model.compat or None,
        "backend": settings.backend,
        "seed": settings.seed,
        "batch": BATCH,
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
