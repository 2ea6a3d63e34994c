"""What a checkpoint is to the rest of the house: names, shapes, and values when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compiler.errors import CompileError, Problem
from compiler.ir import Shape

SUFFIXES = {
    "torch": (".safetensors", ".pt", ".pth"),
    "keras": (".weights.h5", ".keras"),
}
FLOATS = ("float32", "float16", "bfloat16", "float64")
COUNTER = "num_batches_tracked"


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
    `<layer>/<attribute>/<index>` for a layer that another holds. `notes` is what was taken off.
    """

    path: Path
    framework: str
    tensors: Mapping[str, Tensor]
    notes: list[str] = field(default_factory=list)


def framework_of(path: Path, at: str) -> str:
    """`torch` or `keras`, by the file's name. Raises `CompileError`."""
    for framework, suffixes in SUFFIXES.items():
        if path.name.endswith(suffixes):
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
