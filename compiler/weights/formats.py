"""Checkpoint files, read: names and shapes at once, a tensor's values when they are asked for.

Nothing in a file is run, nothing is allocated because a file claims it, and what is not a dense
array of floating-point numbers is an error with its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import CompileError, Problem
from .checkpoints import (
    COUNTER,
    FLOATS,
    Checkpoint,
    Tensor,
    framework_of,
    need,
    shown,
    told,
)
from .keras_files import read_keras
from .torch_files import read_pickle, read_safetensors, without_prefix


@contextlib.contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """The checkpoint in a file, as long as the block lasts.

    Reads `.safetensors`, `.pt`, `.pth`, `.weights.h5` and `.keras`. Wrappers such as `state_dict`
    and prefixes such as `module.` are stripped and reported. Raises `CompileError`
    for anything else.
    """
    if path.is_dir():
        raise CompileError(Problem("it is a folder, not a checkpoint", str(path)))
    framework = framework_of(path, str(path))
    need("numpy", framework)
    with contextlib.ExitStack() as stack:
        with told(path):
            size = path.stat().st_size
            if not path.is_file():
                raise CompileError(Problem("it is a device or a pipe, no file", str(path)))
            if size == 0:
                raise CompileError(Problem("the file is empty", str(path)))
            notes: list[str] = []
            dialect = ""
            if path.suffix == ".safetensors":
                tensors, dialect = read_safetensors(path, stack)
            elif framework == "torch":
                tensors = read_pickle(path, notes)
            else:
                tensors, dialect = read_keras(path, stack)
            if framework == "torch":
                tensors = without_prefix(tensors, notes)
            if not tensors:
                raise CompileError(Problem("there are no tensors in it", str(path)))
            _check_types(path, tensors)
        yield Checkpoint(path, framework, tensors, notes, dialect)


def _check_types(path: Path, tensors: Mapping[str, Tensor]) -> None:
    wrong = [t for t in tensors.values() if t.dtype not in FLOATS and not t.name.endswith(COUNTER)]
    if wrong:
        raise CompileError(
            *(
                Problem(f"the tensor {shown(t.name)} is of type {t.dtype}", str(path))
                for t in wrong[:10]
            ),
            Problem(
                f"{len(wrong)} tensors are no weights", hint=f"weights are {', '.join(FLOATS)}"
            ),
        )
