"""What a person says beside a plans file, a checkpoint or the name of one of nnU-Net's networks.

These are not options of a model: they say which network is meant, and it then says itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CompileError, Problem, raise_all, shown
from ..limits import AXIS, SPACING, TEXT
from ..passes.values import RANK, count, sequence

NUMBER = re.compile(r"\s*\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """One of them: its keyword, what stands for its value in a help text, and that text."""

    name: str
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


QUESTIONS = (
    Question("configuration", "NAME", "Configuration of an nnU-Net plans file, as 3d_fullres."),
    Question(
        "dataset",
        "PATH",
        "dataset.json of an nnU-Net plans file. Default: the one beside it.",
    ),
    Question(
        "patch_size",
        "SIZES",
        "Patch that nnunet_plain or nnunet_resenc is planned for, as 20,256,224.",
    ),
    Question(
        "spacing",
        "MM,MM,...",
        "Spacing of its voxels, as 5,1.56,1.56. Default: the same on all axes.",
    ),
)
PLANNED = {"nnunet_plain": "plain", "nnunet_resenc": "resenc"}  # encoders, and their planners
OF_PLANS, OF_NAMES = ("configuration", "dataset"), ("patch_size", "spacing")


@dataclass(frozen=True)
class Asked:
    """The values that were given; None and () stand for none."""

    configuration: str | None = None
    dataset: str | None = None
    patch_size: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()

    def unused(self, names: tuple[str, ...], why: str) -> list[Problem]:
        """A problem for each of these that was given and says nothing here."""
        return [
            Problem(f"{question.flag} {why}", hint="leave it out")
            for question in QUESTIONS
            if question.name in names and getattr(self, question.name)
        ]


def asked(options: Mapping[str, object], problems: list[Problem]) -> tuple[Asked, dict[str, Any]]:
    """What was asked, and the other options; whatever is wrong is noted."""
    others = dict(options)
    found: dict[str, Any] = {}
    readers = {
        "configuration": _text,
        "dataset": _path,
        "patch_size": read_sizes,
        "spacing": read_spacing,
    }
    for question in QUESTIONS:
        value = others.pop(question.name, None)
        if value is not None:
            try:
                found[question.name] = readers[question.name](question.flag, value)
            except CompileError as error:
                problems += error.problems
    return Asked(**found), others


def _text(flag: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise CompileError(Problem(f"{flag} is {shown(value)}", hint="a name"))
    raise_all(TEXT.problems(f"the length of {flag}", len(value)))
    return str.__str__(value)


def _path(flag: str, value: object) -> str:
    return _text(flag, os.fspath(value) if isinstance(value, os.PathLike) else value)


def _items(flag: str, value: object) -> tuple[object, ...]:
    split = value.split(",", RANK.largest) if isinstance(value, str) else None
    items = tuple(split) if split else sequence(value, RANK)
    if len(items) not in (2, 3):
        raise CompileError(Problem(f"{flag} is {shown(value)}", hint="two or three numbers"))
    return items


def read_sizes(flag: str, value: object) -> tuple[int, ...]:
    """Two or three sizes, from Python or from text. Raises `CompileError`."""
    return tuple(count(flag, item, AXIS) for item in _items(flag, value))


def read_spacing(flag: str, value: object) -> tuple[float, ...]:
    """The size of a voxel on two or three axes. Raises `CompileError`."""
    found = []
    for item in _items(flag, value):
        number = float("nan")
        if isinstance(item, str) and len(item) <= TEXT.largest and NUMBER.fullmatch(item):
            number = float(item)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            number = float(item) if abs(item) <= SPACING.largest else float("inf")
        if not 1 / SPACING.largest <= number <= SPACING.largest:
            message = f"{flag} has {shown(item)}, which is not the size of a voxel"
            raise CompileError(Problem(message, hint=SPACING.of))
        found.append(number)
    return tuple(found)
