"""Which ledger row diverges first, and how."""

from __future__ import annotations

from typing import Any

from ..passes.rows import Row
from ..passes.trace import Ledger
from ..weights.keras_variables import torch_name
from .parity import difference
from .report import TOLERANCE_64, Quantity, Report


def name_first(report: Report, ledger: Ledger, ours: Any, theirs: Any) -> None:
    """The first row, in the order of torch's execution, whose output differs."""
    unseen = [
        row.path
        for row in ledger.rows
        if row.kind != "table" and not (row.path in ours.rows and row.path in theirs.rows)
    ]
    before = ""
    for path, calls in ours.rows.items():
        if path not in theirs.rows:
            continue
        why = row_differs(calls, theirs.rows[path])
        if why:
            hidden = [u for u in unseen if u.rpartition(".")[0] == path.rpartition(".")[0]]
            if hidden:
                why = f"it is not called as a layer, and at {path} {why}"
            report.blame(hidden[0] if hidden else path, why)
            return
        before = path
    for quantity in report.quantities:
        if not report.ok(quantity):
            order = [row.path for row in ledger.rows]
            hidden = [path for path in unseen if order.index(path) > order.index(before)]
            why = f"{quantity.name} differs ({spell(quantity)})"
            if hidden:
                report.blame(hidden[0], f"it is not called as a layer, and {why}")
            else:
                report.blame(_row_before(ledger, quantity.name, before), f"after it, {why}")
            return


def _row_before(ledger: Ledger, quantity: str, last: str) -> str:
    """The row that a level or the output comes after."""
    levels = [name for name, _ in ledger.pyramid]
    if quantity not in levels:
        return last
    there = {row.path for row in ledger.rows}  # an edited file may lack some
    step = ledger.level_steps[quantity]
    inside = [row.path for row in step.rows if row.path in there]
    return inside[-1] if inside else last


def row_differs(ours: list[Any], theirs: list[Any], tolerance: float = TOLERANCE_64) -> str:
    """How a row's calls differ; "" where they agree."""
    if len(ours) != len(theirs):
        return f"it is called {len(ours)} times in torch, {len(theirs)} in keras"
    for (x, a), (y, b) in zip(ours, theirs):
        if a.shape != b.shape:
            return f"its output is {a.shape} in torch, {b.shape} in keras"
        found = difference(b, a)
        if not found <= tolerance:
            same = x.shape == y.shape and difference(y, x) <= tolerance
            which = "on the same input" if same else "its input too" if x.shape == y.shape else ""
            return f"its output differs by {found:.1e}{', ' if which else ''}{which}"
    return ""


def spell(quantity: Quantity) -> str:
    value = quantity.float64 if quantity.float64 is not None else quantity.float32
    return quantity.note or f"{value:.1e}"


def _rows_of(ledger: Ledger, differences: dict[str, float]) -> list[tuple[Row, str, float]]:
    return [
        (row, weight, value)
        for row in ledger.rows
        for weight, _ in row.weights
        if (value := differences.get(torch_name(row.path, weight), 0.0)) is not None
        and not value <= TOLERANCE_64
    ]


def name_last(report: Report, ledger: Ledger, differences: dict[str, float], what: str) -> None:
    """The diverging row nearest to the output: on the way back it is the first."""
    for row, weight, value in _rows_of(ledger, differences)[-1:]:
        report.blame(row.path, f"{what} differs by {value:.1e} ({weight})")


def name_first_weight(report: Report, ledger: Ledger, differences: dict[str, float]) -> None:
    for row, weight, value in _rows_of(ledger, differences)[:1]:
        why = f"its {weight} differs by {value:.1e} after a training step"
        report.blame(row.path, why)
