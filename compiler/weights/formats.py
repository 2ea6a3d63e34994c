"""Open checkpoint files: read names and shapes at once, and a tensor's values on demand.

Nothing in a file is run, no memory is allocated on a file's word, and a tensor that is not a dense
array of floating-point numbers is an error that names it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import CompileError, Problem, counted
from ..passes.rows import COUNTER
from ..targets.runtime import files_of
from .checkpoints import (
    FLOATS,
    Checkpoint,
    Tensor,
    framework_of,
    need,
    shown,
    told,
)


@contextlib.contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Open the checkpoint in a file for the duration of the block.

    Reads every suffix in `SUFFIXES`. Wrappers such as `state_dict` and prefixes such as `module.`
    are stripped and reported. Raises `CompileError` for anything else.
    """
    if path.is_dir():
        raise CompileError(Problem("it is a folder, not a checkpoint", str(path)))
    framework = framework_of(path, str(path))
    need("numpy", framework)
    with contextlib.ExitStack() as stack:
        with told(path):
            size = path.stat().st_size
            if not path.is_file():
                raise CompileError(Problem("it is not a regular file", str(path)))
            if size == 0:
                raise CompileError(Problem("the file is empty", str(path)))
            notes: list[str] = []
            tensors, dialect, beside = files_of(framework).read(path, stack, notes)
            if not tensors:
                raise CompileError(Problem("it contains no tensors", str(path)))
            _check_types(path, tensors)
        yield Checkpoint(path, framework, tensors, notes, dialect, beside)


def _check_types(path: Path, tensors: Mapping[str, Tensor]) -> None:
    wrong = [t for t in tensors.values() if t.dtype not in FLOATS and not t.name.endswith(COUNTER)]
    if wrong:
        raise CompileError(
            *(Problem(f"the tensor {shown(t.name)} is {t.dtype}", str(path)) for t in wrong[:10]),
            Problem(
                f"{counted(len(wrong), 'tensor')} cannot be weights",
                hint=f"weights are {', '.join(FLOATS)}",
            ),
        )
