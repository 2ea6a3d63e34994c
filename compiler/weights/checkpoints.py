"""Checkpoints: names and shapes of tensors, with values that are read on demand."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..ir import Shape
from ..targets import TARGETS

LIGHTNING = ".ckpt"  # of Lightning's trainer: read, but not written
FLOATS = ("float32", "float16", "bfloat16", "float64")
DIALECT = "plainnet_dialect"  # in the metadata, since shapes do not tell dialects apart


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file. `load()` reads its values as a NumPy array of that shape."""

    name: str
    shape: Shape
    dtype: str
    load: Callable[[], Any]


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file by name, in the order of the file.

    Names in PyTorch files are those of the state dict. In Keras files they are `<layer>/<index>`,
    or `<layer>/<attribute>/<index>` for a layer inside another. `notes` reports what was stripped
    or omitted, and `dialect` is the one that the file declares, if any. `beside` names tensors that
    were omitted because they are outside the network in its training module.
    """

    path: Path
    framework: str
    tensors: Mapping[str, Tensor]
    notes: list[str] = field(default_factory=list)
    dialect: str = ""
    beside: Sequence[str] = ()


def framework_of(path: Path, at: str, written: bool = False) -> str:
    """Return the target whose weights a file holds, judging by its name. Raises `CompileError`.

    The error lists the suffixes that can be read, or those that can be `written`.
    """
    for row in TARGETS.values():
        if path.name.endswith(endings := (*row.weights, *row.foreign)) and path.name not in endings:
            return row.name
    known = ", ".join(suffixes(written))
    hint = f"use one of the suffixes {known}"
    if path.suffix == ".h5":
        hint = "Keras weights end in .weights.h5"
    raise CompileError(Problem(f"{path.name!r} is not the name of a checkpoint", at, hint))


def suffixes(written: bool = False) -> tuple[str, ...]:
    """How the names of files with weights end, in every target; or of those that are `written`."""
    rows = TARGETS.values()
    return tuple(s for row in rows for s in (*row.weights, *(() if written else row.foreign)))


def need(library: str, extra: str) -> None:
    """Raise `CompileError` if a library is missing."""
    if find_spec(library) is None:
        hint = f'pip install {library}, or "plainnet[{extra}]"'
        raise CompileError(Problem(f"this needs the library {library!r}", hint=hint))


def shown(name: str) -> str:
    """Quote a name from a file for printing, shortened to fit a line."""
    return repr(name if len(name) <= 100 else name[:97] + "...")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn whatever exception a library raises about a file into a `CompileError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CompileError:
        raise
    except OSError as error:
        reason = error.strerror or _first_line(error)
        raise CompileError(Problem(f"cannot read it: {reason}", str(path))) from None
    except Exception as error:
        reason = _first_line(error)
        problem = Problem(f"it is not a readable {path.suffix} file: {reason}", str(path))
        raise CompileError(problem) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0].split(". ")[0]
    return (text or type(error).__name__)[:200]
