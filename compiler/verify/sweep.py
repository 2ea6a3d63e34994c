"""`verify --all`: the catalog, in parts, kept in a file as it goes, and told as a table."""

from __future__ import annotations

import contextlib
import ctypes
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..catalog import ENCODERS
from ..errors import CompileError, Problem
from ..model import Model
from ..options import DEPTHS, RANKS, SEGMENTORS
from ..passes.validate import resolve
from .compare import sized, verify
from .report import Settings, as_dict

# One of each kind (basic, bottleneck, pre-activation, pooled shortcut, grouped), SE or not.
KINDS = ("seresnet18", "resnet50", "seresnet50v2", "seresnet50vd", "seresnext50")


ENTRY = '{"case": "'  # as a line of the state file begins


@dataclass(frozen=True)
class Case:
    """One network of the catalog."""

    encoder: str
    options: tuple[tuple[str, object], ...]

    @property
    def name(self) -> str:
        """As it is typed: `seresnext50 --dims 3 --segmentor unet --encoder-depth 4`."""
        words = [f"--{name.replace('_', '-')} {value}" for name, value in self.options]
        return " ".join([self.encoder, *words])

    def model(self, settings: Settings) -> Model:
        """The network at the size of the comparison."""
        model = resolve(self.encoder, dict(self.options))
        return sized(model, sizes(settings.size, model.dims))


def sizes(size: tuple[int, ...] | None, dims: int) -> tuple[int, ...] | None:
    """The size of each axis: one number is that of all. Raises `CompileError`."""
    if size is None or len(size) == dims:
        return size
    if len(size) == 1:
        return size * dims
    typed = ",".join(map(str, size))
    raise CompileError(
        Problem(
            f"--size {typed} has {len(size)} sizes, but a {dims}D network takes {dims}",
            hint="one number is the size of every axis",
        )
    )


def catalog() -> list[Case]:
    """Every encoder as a classifier; every segmentor on five kinds, at every depth. 2D and 3D."""
    classifiers = [Case(name, (("dims", dims),)) for dims in RANKS for name in ENCODERS]
    return classifiers + [
        Case(name, (("dims", dims), ("segmentor", segmentor), ("encoder_depth", depth)))
        for dims in RANKS
        for segmentor in SEGMENTORS
        for name in KINDS
        for depth in DEPTHS
    ]


def shard(cases: Sequence[Case], part: str | None) -> list[Case]:
    """Every n-th case: `1/4` to `4/4` are the whole, each case once. Raises `CompileError`."""
    if part is None:
        return list(cases)
    index, _, count = part.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise CompileError(
            Problem(f"--shard is {part!r}", hint="1/4 is the first of four parts, 4/4 the last")
        )
    return list(cases[int(index) - 1 :: int(count)])


def key(settings: Settings) -> dict[str, object]:
    """What a result in the state file holds for."""
    return {
        "version": __version__,
        "backend": settings.backend,
        "seed": settings.seed,
        "size": list(settings.size) if settings.size else None,
        "tolerance": settings.tolerance,
    }


def read_state(path: Path | None, settings: Settings) -> dict[str, dict[str, Any]]:
    """Results by case, the last of each, made with the same settings. Raises `CompileError`.

    The file is JSON lines; a last line that was cut off counts as not there. Any other file is none
    of ours, and is left alone.
    """
    if path is None or not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CompileError(Problem(f"cannot read it: {error}", at=f"--resume {path}")) from None
    done = {}
    for number, entered in enumerate(text.splitlines(keepends=True), start=1):
        try:
            entry = json.loads(entered)
            line(str(entry["case"]), entry["report"])  # it is whole
            if entry["settings"] == key(settings):
                done[str(entry["case"])] = dict(entry["report"])
        except (ValueError, TypeError, KeyError):
            if entered.endswith("\n") or not entered.startswith(ENTRY[: len(entered)]):
                raise CompileError(
                    Problem(
                        "it is no state file of `verify --all`",
                        at=f"--resume {path}:{number}",
                        hint="name a new file, or delete the line",
                    )
                ) from None
    return done


def run(case: Case, settings: Settings, state: Path | None) -> dict[str, Any]:
    """Verify one case, and note the result in the state file. Raises `CompileError`."""
    report = verify(case.model(settings), settings)
    result = as_dict(report, weights=False)
    _release_memory()
    if state is not None:
        entry = {"case": case.name, "settings": key(settings), "report": result}
        try:
            _append(state, json.dumps(entry) + "\n")
        except OSError as error:
            raise CompileError(
                Problem(f"cannot write: {error.strerror}", at=f"--resume {state}")
            ) from None
    return result


def _release_memory() -> None:
    """Give freed memory back to the system: glibc keeps it, and a catalog would grow to its sum."""
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)


def _append(path: Path, text: str) -> None:
    """Add a line; one that was cut off before gives way to it."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(text.encode())


COLUMNS = ("network", "image", ">output, float32", ">outputs", ">gradients", ">step", "verdict")


def line(name: str, result: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table: the largest differences of one result."""
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
    """`same`, or what is wrong in a few words."""
    if result["passed"]:
        return "same"
    return " ".join(filter(None, (result["error"], result["first"], result["why"]))) or "differs"


def markdown(rows: Iterable[tuple[str, ...]], command: str, missing: int) -> str:
    """The table as a page."""
    rows = list(rows)
    failed = sum(row[-1] != "same" for row in rows)
    lines = [
        "# The same network in both frameworks",
        "",
        f"    {command}",
        "",
        f"{len(rows)} networks compared, {failed} of them different"
        + (f"; {missing} more of the catalog not run." if missing else "."),
        "",
        "Each is compiled to both targets, given random weights and statistics, and compared:",
        "largest difference over largest value. *output, float32*: levels, decoder stages and",
        "output as people run them. The rest is in float64: *outputs*, the same; *gradients*, of",
        "the image and of every weight; *step*, weights and moving statistics after one step of",
        "SGD.",
        "",
        "| " + " | ".join(column.lstrip(">") for column in COLUMNS) + " |",
        "|" + "|".join("--:" if column.startswith(">") else "---" for column in COLUMNS) + "|",
    ]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
