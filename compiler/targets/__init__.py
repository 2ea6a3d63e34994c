"""The registry of targets: one row each, known before anything of a target is imported.

The command line, the names that people type, default file names, footers and `check` read it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class TargetRow:
    """What is known of a target without its module.

    `name` is also that of its folder of templates. `target` says where its `base.Target` stands, as
    `package.module:Class`; one that begins with a dot is in this package. `runtime` says in the
    same way how its files run (`runtime.Runtime`), and `files` which files hold their weights
    (`runtime.WeightFiles`); both are "" for a target whose files are only read. `spellings` are
    what else people call it, and `suffix` is how the names of its files end. Those of files with
    its weights end with one of `weights`, or of `foreign`, which are read but not written. `fuse`
    says whether inference files fuse upsampling with the convolution after it.
    """

    name: str
    title: str
    target: str
    runtime: str = ""
    files: str = ""
    spellings: tuple[str, ...] = ()
    suffix: str = ".py"
    weights: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    fuse: str = "yes"


TARGETS: dict[str, TargetRow] = {}


def register(row: TargetRow) -> None:
    """Add a target. Raises `ValueError` where its name, or another of its words, is taken."""
    taken = {word: known.name for known in TARGETS.values() for word in words(known)}
    for word in words(row):
        if word in taken:
            raise ValueError(f"{word!r} is the target {taken[word]} already")
    TARGETS[row.name] = row


def words(row: TargetRow) -> tuple[str, ...]:
    """What names the target, or a file of its weights."""
    return (row.name, *row.spellings, *row.weights, *row.foreign)


def target_row(name: str) -> TargetRow:
    """The row of that name. Raises `KeyError`."""
    if name not in TARGETS:
        raise KeyError(f"there is no target {name!r}: it is one of {', '.join(TARGETS)}")
    return TARGETS[name]


def target_named(name: str) -> Any:
    """The `base.Target` of that name, imported now. Raises `KeyError`."""
    return made(target_row(name).target)


def suffixes() -> tuple[str, ...]:
    """How the names of emitted files end."""
    return tuple(dict.fromkeys(row.suffix for row in TARGETS.values()))


@cache
def made(place: str) -> Any:
    """What stands at `package.module:Class`, made once."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module, __name__), name)()


register(
    TargetRow(
        "torch",
        "PyTorch",
        ".torch:Torch",
        "..verify.runtimes:TorchRuntime",
        "..weights.files:TorchFiles",
        spellings=("pytorch",),
        weights=(".safetensors", ".pt", ".pth"),
        foreign=(".ckpt",),
    )
)
register(
    TargetRow(
        "keras",
        "Keras",
        ".keras:Keras",
        "..verify.runtimes:KerasRuntime",
        "..weights.files:KerasFiles",
        spellings=("keras3",),
        weights=(".weights.h5", ".keras"),
        fuse="no",  # transposed convolutions gain nothing on CPUs: docs/deploy.md
    )
)
