"""`verify --all`: verify the catalog, or a part of it, and report it as a table."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalog import ENCODERS
from ..errors import CompileError, Problem
from ..model import DEPTHS, Model
from ..options import RANKS
from ..passes.validate import resolve
from ..segmentors import SEGMENTORS
from .compare import verify
from .conditioning import sized
from .report import as_dict, shown
from .settings import Settings
from .state import append

# One of each kind (basic, bottleneck, pre-activation, pooled shortcut, grouped), SE or not.
KINDS = ("seresnet18", "resnet50", "seresnet50v2", "seresnet50vd", "seresnext50")


@dataclass(frozen=True)
class Case:
    """One network of the catalog."""

    encoder: str
    options: tuple[tuple[str, object], ...]

    @property
    def name(self) -> str:
        """As on the command line: `seresnext50 --dims 3 --segmentor unet --encoder-depth 4`."""
        words = [f"--{name.replace('_', '-')} {value}" for name, value in self.options]
        return " ".join([self.encoder, *words])

    def model(self, settings: Settings) -> Model:
        """The network at the size of the comparison."""
        model = resolve(self.encoder, dict(self.options))
        return sized(model, sizes(settings.size, model.dims))


def sizes(size: tuple[int, ...] | None, dims: int) -> tuple[int, ...] | None:
    """The size of each axis; a single number is that of all axes. Raises `CompileError`."""
    if size is None or len(size) == dims:
        return size
    if len(size) == 1:
        return size * dims
    typed = ",".join(map(str, size))
    raise CompileError(
        Problem(
            f"--size {typed} has {len(size)} sizes, but a {dims}D network takes {dims}",
            hint="a single number is the size of every axis",
        )
    )


def catalog() -> list[Case]:
    """Every encoder as a classifier; every segmentor on five kinds, at every depth. 2D and 3D."""
    classifiers = [Case(name, (("dims", dims),)) for dims in RANKS for name in ENCODERS]
    return classifiers + [
        Case(name, (("dims", dims), ("segmentor", segmentor), ("encoder_depth", depth)))
        for dims in RANKS
        for segmentor, row in SEGMENTORS.items()
        if not row.head.exact  # which the encoders of its own bring
        for name in KINDS
        for depth in DEPTHS
    ]


def shard(cases: Sequence[Case], part: str | None) -> list[Case]:
    """Every n-th case: `1/4` to `4/4` together are the whole catalog. Raises `CompileError`."""
    if part is None:
        return list(cases)
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", part)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise CompileError(
            Problem(
                f"--shard is {shown(part)}",
                hint="1/4 is the first of four parts, 4/4 the last",
            )
        )
    return list(cases[index - 1 :: count])


def run(case: Case, settings: Settings, state: Path | None) -> dict[str, Any]:
    """Verify one case, and add the result to the state file. Raises `CompileError`."""
    report = verify(case.model(settings), settings)
    result = as_dict(report, weights=False)
    _release_memory()
    if state is not None:
        append(state, case.name, settings, result)
    return result


def _release_memory() -> None:
    """Return freed memory to the system: glibc keeps it, and would add up a whole catalog."""
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)


COLUMNS = ("network", "image", ">output, float32", ">outputs", ">gradients", ">step", "verdict")


def line(name: str, result: dict[str, Any]) -> tuple[str, ...]:
    """The table's row for one result: its largest differences."""
    found: dict[str, list[float]] = {"float32": [], "outputs": [], "gradients": [], "step": []}
    for quantity in result["quantities"]:
        if quantity["float32"] is not None:
            found["float32"].append(float(quantity["float32"]))
        if quantity["float64"] is not None:
            words = quantity["name"]
            group = "step" if "step" in words else "gradients" if "gradient" in words else "outputs"
            found[group].append(float(quantity["float64"]))
    largest = [f"{max(values):.1e}" if values else "-" for values in found.values()]
    return (name, " x ".join(map(str, result["input_shape"])), *largest, verdict(result))


def verdict(result: dict[str, Any]) -> str:
    """`same`, or in a few words what differs."""
    if result["passed"]:
        return "same"
    return " ".join(filter(None, (result["error"], result["first"], result["why"]))) or "differs"


def markdown(rows: Iterable[tuple[str, ...]], command: str, missing: int) -> str:
    """The table as a Markdown page."""
    rows = list(rows)
    failed = sum(row[-1] != "same" for row in rows)
    lines = [
        "# The same network in both frameworks",
        "",
        f"    {command}",
        "",
        f"{len(rows)} networks compared, {failed} of them different"
        + (f"; {missing} more networks of the catalog were not run." if missing else "."),
        "",
        "Each network is compiled to both targets, and both are given the same random weights and",
        "moving statistics. The columns show the largest difference relative to the largest value.",
        "*Output, float32* covers pyramid levels, decoder stages and the output in the precision",
        "that people use. The other columns are in float64: *outputs* covers the same, *gradients*",
        "those with respect to the image and every weight, and *step* the weights and moving",
        "statistics after one step of SGD.",
        "",
        "| " + " | ".join(column.lstrip(">") for column in COLUMNS) + " |",
        "|" + "|".join("--:" if column.startswith(">") else "---" for column in COLUMNS) + "|",
    ]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
