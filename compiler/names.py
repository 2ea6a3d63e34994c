"""How people spell the names of encoders, segmentors and targets.

Every name, title and class name that we print is accepted as input; case, separators and
parentheses do not matter.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TypeAlias

from .catalog import ENCODERS
from .errors import CompileError, Problem, shown, suggest
from .limits import TEXT
from .model import Encoder
from .segmentors import SEGMENTORS
from .targets import TARGETS

SPEC = ".toml"  # the suffix of a spec
PLANS = (".json", ".pth", ".pt")  # those of nnU-Net's plans and checkpoints
IN_PLANS_FOLDER = "plans.json"  # of nnU-Net's results, in a folder of folds
IN_FOLD = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")
FilePath: TypeAlias = str | os.PathLike[str]


def spec_path(model: object) -> str | None:
    """The path of the spec that a model is given as, or None if it is something else."""
    if isinstance(model, str | os.PathLike):
        path = os.fspath(model)
        if isinstance(path, str) and path.lower().endswith(SPEC):
            return str.__str__(path)
    return None


def plans_path(model: object) -> str | None:
    """The path of nnU-Net's plans, checkpoint or folder that a model is given as, or None.

    A folder is one with plans in it or beside it, or with a checkpoint, so that none of another
    kind hides a name.
    """
    if not isinstance(model, str | os.PathLike):
        return None
    path = os.fspath(model)
    if not isinstance(path, str):
        return None
    path = str.__str__(path)
    beside = os.path.join(os.pardir, IN_PLANS_FOLDER)
    places = [os.path.join(path, name) for name in (IN_PLANS_FOLDER, beside, *IN_FOLD)]
    is_folder = os.path.isdir(path) and (os.sep in path or any(map(os.path.isfile, places)))
    return path if is_folder or path.lower().endswith(PLANS) else None


def plain(name: str) -> str:
    """A name without case, separators and signs: `SE-ResNeXt-50 (32x4d)` -> `seresnext5032x4d`."""
    return re.sub(r"[\s_()-]", "", name.lower()).replace("+", "plus")


@cache
def _encoders() -> dict[str, str]:
    spellings = {
        plain(spelling): encoder.name
        for encoder in ENCODERS.values()
        for spelling in (encoder.title, encoder.class_name, encoder.name)
    }
    for se in ("", "se"):  # as timm and the papers write them
        spellings |= {f"{se}resnext5032x4d": f"{se}resnext50"}
        spellings |= {f"{se}resnext10132x8d": f"{se}resnext101"}
    return spellings


@cache
def _segmentors() -> dict[str, str]:
    """Spellings of segmentors, the longest first: `attentionunet` ends with `unet` too."""
    spellings = {
        plain(spelling): head.name
        for head in (row.head for row in SEGMENTORS.values())
        for spelling in (head.name, head.title)
    }
    return dict(sorted(spellings.items(), key=lambda item: -len(item[0])))


def find_model(name: str) -> tuple[Encoder, str | None]:
    """The encoder and the segmentor, if any, of a model's name. Raises `CompileError`.

    `seresnext50` -> (SE-ResNeXt-50, None); `SE-ResNeXt-50 (32x4d) UNet++` -> (SE-ResNeXt-50,
    "unet_plus_plus").
    """
    known = _encoders()
    wanted = plain(name[: TEXT.largest + 1])
    if wanted in known:
        return ENCODERS[known[wanted]], None
    for ending, segmentor in _segmentors().items():
        if wanted.endswith(ending) and (rest := wanted.removesuffix(ending)) in known:
            return ENCODERS[known[rest]], segmentor
    raise CompileError(
        Problem(
            f"unknown encoder {shown(name)}.{suggest(name, ENCODERS)}",
            hint="`plainnet list` shows all encoders",
        )
    )


def target_of(name: str) -> str | None:
    """The target that a name spells (`PyTorch` -> `torch`), or None."""
    wanted = plain(name[: TEXT.largest])
    known = (row.name for row in TARGETS.values() if wanted in (row.name, *row.spellings))
    return next(known, None)
