"""`convert`: write the weights in a checkpoint for an emitted model, in either framework."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..dialects import on_other_axes
from ..errors import CompileError, Problem, raise_all
from ..files import obstacle
from ..model import Encoder, Model, Segmentor
from ..names import plans_path, spec_path, target_of
from ..passes.inference import decided
from ..passes.validate import resolve
from ..passes.values import choice, not_one_of, plain_text
from ..provenance import read as read_provenance
from ..reading import read_source
from ..targets import TARGETS, suffixes
from ..targets.runtime import files_of
from ..vendoring.request import given_options, model_of, with_options
from .adapt import AXES, INFLATIONS
from .checkpoints import LIGHTNING, Checkpoint, framework_of
from .contents import mistaken
from .deployed import check_fused, deployed, holds_deployed, training_of
from .formats import open_checkpoint
from .layouts import LAYOUT_NAMES, validate_layout
from .matching import Adapting, Match, match
from .nnunet import whole
from .writers import write_nnunet

NNUNET = "nnunet"  # of `--to`: names and file are nnU-Net's
PICKLES = (".pth", ".pt")
ARGUMENTS = ("in_channels", "input_shape", "num_classes")  # a file's constructor takes these


@dataclass(frozen=True)
class Converted:
    """The file written, how many tensors came from the checkpoint, and notes for the user."""

    path: Path
    target: str
    tensors: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """How to convert, as `compiler.convert` documents it; nothing has been checked."""

    to: str | None
    layout: str | None
    inflate: str | None
    axis: int | str
    force: bool


def convert(
    checkpoint: Path,
    output: Path,
    model: str | Encoder,
    asked: Conversion,
    options: Mapping[str, object],
) -> Converted:
    """Convert a checkpoint to the weights of an emitted model; see `compiler.convert`.

    Weights keep their dtype and exact bits unless they are adapted. Weights that the checkpoint
    does not have keep the emitted model's initial values (seed 0). Raises `CompileError` with every
    problem, and then writes nothing.
    """
    resolved, notes = _model(model, options)
    back = asked.to is not None and plain_text(asked.to) == NNUNET
    target = _target(output, None if back else asked.to)
    resolved = decided(resolved, target)
    problems: list[Problem] = []
    layout = _chosen("--layout", asked.layout, LAYOUT_NAMES, problems)
    inflate = _chosen("--inflate", asked.inflate, INFLATIONS, problems)
    place = _chosen("--axis", asked.axis, tuple(map(str, AXES)), problems)
    problems += validate_layout(layout, resolved)
    problems += _back_problems(resolved, output) if back else []
    if inflate and resolved.dims == 2:
        problems.append(Problem("--inflate is for a 3D model", hint="--dims 3"))
    problems += may_write(output, checkpoint, asked.force)
    raise_all(problems)
    adapting = Adapting(
        inflate or "",
        int(place or 0),
        options.get("in_channels") is not None or options.get("input_shape") is not None,
    )
    if problem := mistaken(checkpoint):
        raise CompileError(problem)
    if layout and (other := on_other_axes(resolved.trunk, layout)):
        notes = [*notes, other]
    with open_checkpoint(checkpoint) as opened:
        found = matched(opened, resolved, layout, adapting)
        write = write_nnunet if back else files_of(target).write
        write(output, resolved, found, str(checkpoint))
        return Converted(output, target, len(found.values), (*notes, *opened.notes, *found.notes))


def matched(opened: Checkpoint, model: Model, layout: str | None, adapting: Adapting) -> Match:
    """The weights of a model. Those of an inference file are made from those of training.

    A checkpoint may also hold what another inference file of the network was given.
    """
    if model.deploy:
        check_fused(opened, model)
    if not model.deploy or holds_deployed(opened, model):
        return match(opened, model, layout, adapting)
    return deployed(match(opened, training_of(opened, model), layout, adapting), model)


def _model(model: str | Encoder, options: Mapping[str, object]) -> tuple[Model, list[str]]:
    """The model that a name, a spec or an emitted file describes, and notes about that file."""
    is_file = isinstance(model, str) and (model.endswith(suffixes()) or os.sep in model)
    if not isinstance(model, str) or not is_file or spec_path(model) or plans_path(model):
        return resolve(model, dict(options)), []
    given = given_options(options)
    wrong = [name for name in given if name not in ARGUMENTS]
    raise_all(
        Problem(
            f"--{name.replace('_', '-')} is determined by the file: leave it out",
            at=f"--model {model}",
            hint="only --in-channels, --input-shape and --num-classes can override a file",
        )
        for name in wrong
    )
    provenance = read_provenance(read_source(Path(model)))
    if provenance is None:
        problem = Problem(
            "it was not written by plainnet: no provenance comment at its end",
            model,
            "name the model itself",
        )
        raise CompileError(problem)
    notes = (
        []
        if provenance.untouched
        else [f"{model} was edited: using the model that its provenance comment names"]
    )
    said, _ = model_of(provenance)
    return with_options(said, given), notes


def _target(path: Path, to: str | None) -> str:
    """The framework that the output's name implies. Raises `CompileError` if `to` disagrees."""
    at = f"-o {path}"
    if path.is_dir():
        example = path / "weights.safetensors"
        raise CompileError(
            Problem(f"{str(path)!r} is a folder", at, f"name a file in it: {example}")
        )
    if path.suffix == LIGHTNING:
        message = "plainnet reads Lightning's .ckpt files but does not write them"
        raise CompileError(Problem(message, at, "use the suffix .pt, .pth or .safetensors"))
    target = framework_of(path, at, written=True)
    wanted = target if to is None else target_of(plain_text(to) or "")
    written = [name for name, row in TARGETS.items() if row.weights]
    if wanted not in written:
        raise CompileError(not_one_of("--to", to, written))
    if wanted != target:
        *most, last = TARGETS[wanted].weights
        endings = f"{', '.join(most)} or {last}" if most else last
        message = f"{path.name!r} is the name of a {target} file, but --to is {wanted}"
        raise CompileError(Problem(message, at, f"use the suffix {endings}"))
    return target


def _back_problems(model: Model, output: Path) -> list[Problem]:
    """What keeps a model's weights from going back into nnU-Net."""
    at = f"--to {NNUNET}"
    problems = [replace(problem, at=at) for problem in validate_layout(NNUNET, model)]
    if model.deploy:
        hint = "name the training file, and convert its checkpoint"
        problems.append(Problem("the weights of an inference file do not go back", at, hint))
    if not isinstance(model.head, Segmentor) or model.head.name != NNUNET:
        problems.append(Problem(f"{model.name} does not have nnU-Net's decoder", at))
    elif whole(model) != model:
        message = f"{model.name} has no heads for the coarser stages, but nnU-Net's network has"
        problems.append(Problem(message, at, "--lower-heads, or --deep-supervision"))
    if output.suffix not in PICKLES:
        hint = f"use the suffix {' or '.join(PICKLES)}"
        problems.append(Problem(f"nnU-Net does not read {output.name!r}", at, hint))
    return problems


def _chosen(
    flag: str, value: object, choices: Sequence[str], problems: list[Problem]
) -> str | None:
    """The choice that a value spells, or None if it is not given or wrong, which is noted."""
    try:
        return None if value is None else choice(flag, value, choices)
    except CompileError as error:
        problems += error.problems
        return None


def may_write(path: Path, source: Path, force: bool) -> list[Problem]:
    """Why the path must not or cannot be written from that checkpoint."""
    at = f"-o {path}"
    if problem := obstacle(path, at):
        return [problem]
    if not path.exists():
        return []
    if source.exists() and os.path.samefile(path, source):
        return [Problem("the output is the checkpoint itself", at, "choose another file name")]
    return (
        []
        if force
        else [Problem(f"{str(path)!r} already exists", at, "use --force to overwrite it")]
    )
