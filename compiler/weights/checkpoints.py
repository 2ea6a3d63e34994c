"""A checkpoint: names, shapes, and values that are read on demand."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..ir import Shape

SUFFIXES = {
    "torch": (".safetensors", ".pt", ".pth", ".ckpt"),
    "keras": (".weights.h5", ".keras"),
}
FLOATS = ("float32", "float16", "bfloat16", "float64")
COUNTER = "num_batches_tracked"
DIALECT = "plainnet_dialect"  # in a file's metadata: networks of one shape can differ in it


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file, its values not read yet. `load()` gives a NumPy array of that shape."""

    name: str
    shape: Shape
    dtype: str
    load: Callable[[], Any]


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file by name, in its order.

    In PyTorch's files names are those of the state dict. In Keras' they are `<layer>/<index>`, or
    `<layer>/<attribute>/<index>` for a layer that another holds. `notes` reports what was stripped,
    `dialect` what the file says to be of, if anything.
    """

    path: Path
    framework: str
    tensors: Mapping[str, Tensor]
    notes: list[str] = field(default_factory=list)
    dialect: str = ""


def framework_of(path: Path, at: str) -> str:
    """`torch` or `keras`, by the file's name. Raises `CompileError`."""
    for framework, suffixes in SUFFIXES.items():
        if path.name.endswith(suffixes) and path.name not in suffixes:
            return framework
    known = ", ".join((*SUFFIXES["torch"], *SUFFIXES["keras"]))
    hint = "Keras' own weights end in .weights.h5" if path.suffix == ".h5" else f"one of {known}"
    raise CompileError(Problem(f"{path.name!r} is no checkpoint's name", at, hint))


def need(library: str, extra: str) -> None:
    """Raise `CompileError` where a library is missing."""
    if find_spec(library) is None:
        hint = f'pip install {library}, or "plainnet[{extra}]"'
        raise CompileError(Problem(f"this needs the library {library!r}", hint=hint))


def shown(name: str) -> str:
    """A name from a file as it can be printed: quoted, and not longer than a line."""
    return repr(name if len(name) <= 100 else name[:97] + "...")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """A library's refusal of a file as our error: they raise whatever a parser happens to."""
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
        problem = Problem(f"it is no readable {path.suffix} file: {reason}", str(path))
        raise CompileError(problem) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0].split(". ")[0]
    return (text or type(error).__name__)[:200]
