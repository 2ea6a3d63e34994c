"""Where a network of nnU-Net is described: a plans file, a checkpoint, or a folder of results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CompileError, Problem, shown
from ..names import IN_FOLD, IN_PLANS_FOLDER
from .architecture import Architecture
from .asked import Asked
from .checkpoint import Trained, read_checkpoint
from .dataset import channels, labels
from .documents import Table, read_json
from .plans import Configuration, architecture, configuration
from .trainers import doubt

DATASET = "dataset.json"
LABELS = "LabelManager"


@dataclass(frozen=True)
class Described:
    """A network, the patch that it was planned for, and warnings about it."""

    architecture: Architecture
    patch_size: tuple[int, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Channels:
    """Channels of input and logits that a person gave, None where the dataset is asked."""

    entering: int | None = None
    classes: int | None = None


def describe(path: Path, asked: Asked, given: Channels) -> Described:
    """The network that a file or folder describes. Raises `CompileError`."""
    if path.is_dir():
        return _folder(path, asked, given)
    if path.suffix.lower() == ".json":
        return _plans(path, asked, given, "")
    return _checkpoint(path, asked, given)


def _plans(path: Path, asked: Asked, given: Channels, trainer: str) -> Described:
    plans = read_json(path)
    found = configuration(plans, asked.configuration)
    dataset = None
    beside = Path(asked.dataset) if asked.dataset else path.with_name(DATASET)
    if None in (given.entering, given.classes) or asked.dataset:
        if not asked.dataset and not beside.exists():
            hint = "add --dataset PATH, or --in-channels and --num-classes"
            message = f"there is no {DATASET} beside it, which counts channels and classes"
            raise CompileError(Problem(message, str(path), hint))
        dataset = read_json(beside)
    return _described(plans, found, dataset, given, trainer)


def _checkpoint(path: Path, asked: Asked, given: Channels) -> Described:
    trained = read_checkpoint(path)
    at = str(path)
    if asked.dataset:
        raise CompileError(Problem("--dataset: a checkpoint has its own", at, "leave it out"))
    if asked.configuration not in (None, trained.configuration):
        message = f"it is of the configuration {shown(trained.configuration)}, not"
        raise CompileError(
            Problem(f"{message} {shown(asked.configuration)}", at, "leave --configuration out")
        )
    found = configuration(trained.plans, trained.configuration)
    made = _described(trained.plans, found, trained.dataset, given, trained.trainer)
    return replace(made, architecture=_with_heads(made.architecture, trained, at))


def _with_heads(made: Architecture, trained: Trained, at: str) -> Architecture:
    """The architecture with the heads that the checkpoint has: all of them, or the last alone."""
    stages = made.stages - 1
    if trained.heads == {stages - 1}:
        return made
    if trained.heads == frozenset(range(stages)):
        return replace(made, deep_supervision=True)
    there = ", ".join(map(str, sorted(trained.heads)[:40])) or "none"
    message = f"its decoder has the heads {there}, but the plans describe {stages} decoder stages"
    raise CompileError(Problem(message, at, "its trainer changed the network of the plans"))


def _folder(path: Path, asked: Asked, given: Channels) -> Described:
    """A fold of a results folder, the folder itself, or any other with plans."""
    found = _checkpoint_in(path)
    if found is not None:
        return _checkpoint(found, asked, given)
    plans = path / IN_PLANS_FOLDER
    if not plans.is_file():
        hint = f"name a plans file, a checkpoint, or a folder of results with {IN_PLANS_FOLDER}"
        raise CompileError(Problem("it has neither checkpoints nor plans", str(path), hint))
    named = path.resolve().name.split("__")  # trainer, plans, configuration
    if len(named) == 3:
        asked = replace(asked, configuration=asked.configuration or named[2])
    return _plans(plans, asked, given, named[0] if len(named) == 3 else "")


def _checkpoint_in(path: Path) -> Path | None:
    """The checkpoint of a fold, or of the first fold that has one."""
    for folder in (path, *sorted(path.glob("fold_*"))):
        for name in IN_FOLD:
            if (folder / name).is_file():
                return folder / name
    return None


def _described(
    plans: Table, found: Configuration, dataset: Table | None, given: Channels, trainer: str
) -> Described:
    entering, classes = given.entering, given.classes
    if dataset is not None:
        manager = plans.values.get("label_manager", LABELS)
        if classes is None and manager != LABELS:
            hint = "say the channels of the logits: --num-classes"
            plans.refuse("label_manager", f"label_manager is {shown(manager)}", hint)
        if classes is None or (entering is None and found.is_cascade):
            count, foreground = labels(dataset)
            classes = classes or count
        if entering is None:
            entering = channels(dataset) + (foreground if found.is_cascade else 0)
    assert entering is not None and classes is not None
    made = architecture(found, entering, classes, trainer)
    warning = doubt(trainer)
    return Described(made, found.patch_size, (warning,) if warning else ())
