"""The report of `verify` as a table."""

from __future__ import annotations

from ..errors import escaped
from ..tables import console, print_table, sizes
from .report import TOLERANCE_64, Report


def print_report(report: Report) -> None:
    """Print what `verify` found for each quantity, and where the two first diverge."""
    model, settings = report.model, report.settings
    title = (
        f"{model.title}, {model.dims}D, image {sizes(model.input_shape)}: PyTorch, and Keras on"
        f" {settings.backend}"
    )
    if model.deploy:
        title = f"{model.title}, {model.dims}D: the training file and the inference file"
    print_table(
        title,
        ("quantity", "shape", ">float32", ">float64", "", "~note"),
        (
            (
                quantity.name,
                sizes(quantity.shape or ()),
                _relative(quantity.float32),
                _relative(quantity.float64),
                "same" if report.ok(quantity) else "DIFFERS",
                quantity.note,
            )
            for quantity in report.quantities
        ),
    )
    out = console()
    if report.error:
        out.print(escaped(f"failed: {report.error}", kept="\n"), markup=False, soft_wrap=True)
    if report.why:
        first = f"first to diverge: {report.first}: " if report.first else "they diverge: "
        out.print(escaped(f"{first}{report.why}", kept="\n"), markup=False, soft_wrap=True)
    if report.passed:
        out.print(
            "The same network. Differences are relative to the largest value. Tolerance:"
            f" {settings.tolerance:g} in float32, {TOLERANCE_64:g} in float64. Batch size"
            f" {report.batch}, seed {settings.seed}.",
            markup=False,
        )


def _relative(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
