"""`convert --rename`: the tensors of a checkpoint under other names, and nothing else changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import CompileError, Problem, counted, raise_all, suggest
from .checkpoints import framework_of, shown
from .convert import Converted, may_write
from .formats import open_checkpoint
from .writers import write_state

TORCH = "torch"  # in Keras' files, layers are nested: a name is not all there is to a place


def rename_tensors(
    checkpoint: Path, output: Path, renames: Sequence[str], force: bool = False
) -> Converted:
    """Write a PyTorch checkpoint with other names of its tensors, bit by bit.

    Each rename is `OLD=NEW`, for the tensor OLD or for all tensors whose names begin with `OLD.`.
    Raises `CompileError` if one of them fits no tensor, or if two tensors would have one name.
    """
    problems = may_write(output, checkpoint, force)
    for path, at in ((checkpoint, str(checkpoint)), (output, f"-o {output}")):
        if framework_of(path, at, written=path is output) != TORCH:
            message = "--rename is for PyTorch's checkpoints"
            problems.append(
                Problem(message, at, "for Keras, rename the layers in the file instead")
            )
    pairs = []
    for rename in renames:
        old, _, new = rename.partition("=")
        pairs.append((old, new))
        if not old or not new or "=" in new:
            problems.append(Problem(f"--rename is {shown(rename)}", hint="--rename OLD=NEW"))
    raise_all(problems)
    with open_checkpoint(checkpoint) as opened:
        names = renamed_names(list(opened.tensors), pairs, str(checkpoint))
        state = {names[name]: tensor.load() for name, tensor in opened.tensors.items()}
        write_state(output, state, opened.dialect)
    count = sum(old != new for old, new in names.items())
    notes = (*opened.notes, f"{counted(count, 'tensor')} of {len(names)} renamed")
    return Converted(output, TORCH, len(names), notes)


def renamed_names(
    names: list[str], pairs: Iterable[tuple[str, str]], at: str = ""
) -> dict[str, str]:
    """The new name of each tensor; of the renames that fit it, the longest counts.

    Raises `CompileError`.
    """
    found = {name: name for name in names}
    done: set[str] = set()
    problems = []
    for old, new in sorted(pairs, key=lambda pair: -len(pair[0])):
        fitting = [n for n in names if n == old or n.startswith(f"{old}.")]
        if not fitting:
            message = f"no tensor is called {shown(old)}.{suggest(old, names)}"
            problems.append(Problem(message, at))
        found |= {name: new + name[len(old) :] for name in fitting if name not in done}
        done.update(fitting)
    taken: dict[str, str] = {}
    for name, new in found.items():
        if new in taken:
            message = f"{shown(taken[new])} and {shown(name)} would both be {shown(new)}"
            problems.append(Problem(message, at))
        taken[new] = name
    if problems:
        raise CompileError(*problems[:10])
    return found
