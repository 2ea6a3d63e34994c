"""Checkpoints of nnU-Net's trainer: the plans, the dataset and the configuration inside of them.

Nothing in the pickle is run, and no weights are read.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem, shown
from ..weights.archives import check_directory, read_records
from ..weights.checkpoints import told
from ..weights.contents import mistaken
from ..weights.stored import Values, entries
from .documents import Table

WEIGHTS, ARGUMENTS, TRAINER = "network_weights", "init_args", "trainer_name"
PREFIXES = re.compile(r"(?:module\.|_orig_mod\.)*")
HEADS = re.compile(r"decoder\.seg_layers\.(\d{1,4})\.weight")


@dataclass(frozen=True)
class Trained:
    """What a checkpoint says of its network: `heads` are the decoder stages with one."""

    plans: Table
    dataset: Table
    configuration: str
    trainer: str
    heads: frozenset[int]


def read_checkpoint(path: Path) -> Trained:
    """Read all but the weights of a `checkpoint_final.pth`. Raises `CompileError`."""
    at = str(path)
    with told(path):
        if problem := mistaken(path):
            raise CompileError(problem)
        if not path.is_file():
            path.stat()  # raises where there is none
            raise CompileError(Problem("it is not a regular file", at))
        if not zipfile.is_zipfile(path):
            raise CompileError(Problem("it is not a checkpoint of nnU-Net", at))
        check_directory(path)
        content = entries(read_records(path).content, at)
        arguments = entries(content.get(ARGUMENTS), at)
        if WEIGHTS not in content or not arguments:
            there = ", ".join(shown(key) for key in [*content][:8]) or "no table"
            hint = "a checkpoint that nnU-Net's trainer saved has both"
            message = f"it has no {WEIGHTS!r} and {ARGUMENTS!r}, but {there}"
            raise CompileError(Problem(message, at, hint))
        values = Values(at)
        keys = ("plans", "dataset_json", "configuration")
        said = {key: values.of(arguments.get(key)) for key in keys}
        trainer = values.of(content.get(TRAINER))
        names = entries(content[WEIGHTS], at)
    whole = Table(said, at, ARGUMENTS)
    return Trained(
        whole.table("plans"),
        whole.table("dataset_json"),
        _text(said["configuration"], whole.at("configuration")),
        _text(trainer, f"{at}, {TRAINER}"),
        frozenset(_heads(names)),
    )


def _heads(names: dict[Any, Any]) -> list[int]:
    found = []
    for name in names:
        if isinstance(name, str):
            match = HEADS.fullmatch(PREFIXES.sub("", name, count=1))
            found += [int(match[1])] if match else []
    return found


def _text(value: object, at: str) -> str:
    if not isinstance(value, str):
        raise CompileError(Problem(f"{at.rpartition('.')[2]} is {shown(value)}", at, "a name"))
    return value
