"""Read the two files of a network as they are in a repository: which model they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..arguments import spell_options
from ..errors import CompileError, Problem, raise_all
from ..model import Model
from ..passes.custom import custom_arguments
from ..passes.inference import as_run, decided
from ..provenance import read
from ..reading import read_source
from ..targets import suffixes
from ..targets.runtime import runnable
from ..vendoring.request import model_of
from .loading import Source


def read_pair(names: Sequence[str]) -> tuple[Model, tuple[Source, Source]]:
    """Return the model that both files name, and the files: the PyTorch one, then the Keras one.

    Of a training file and an inference file of one target, it is the model of the second, and they
    stand in this order. Files may have been edited. Raises `CompileError` if one cannot be read or
    has no provenance, or if they were emitted from different models.
    """
    if len(names) != 2:
        raise CompileError(
            Problem(
                f"only one file, {names[0]}",
                hint="name the PyTorch file and the Keras file: `plainnet verify A.py B.py`",
            )
        )
    problems: list[Problem] = []
    found: dict[str, tuple[Model, Source]] = {}
    deployed = None
    for name in names:
        try:
            source = Source(read_source(Path(name)), Path(name))
            provenance = read(source.text)
            if provenance is None:
                raise CompileError(
                    Problem(
                        "the file has no provenance comment at its end, which names the model",
                        hint="restore its last lines from version control, or emit it again",
                    )
                )
            model, target = model_of(provenance)
            model = decided(model, target)
        except CompileError as error:
            hint = (
                ""
                if name.endswith(suffixes())
                else "name one model, or a PyTorch file and a Keras file"
            )
            problems += [Problem(p.message, p.at or name, p.hint or hint) for p in error.problems]
            continue
        if target not in runnable():
            problems.append(
                Problem(f"{name} is a {target} file: verify runs those of {_listed(runnable())}")
            )
        if target in found and found[target][0].deploy != model.deploy:
            deployed = (found[target], (model, replace(source, target=target)))
            continue
        if target in found:
            problems.append(
                Problem(
                    f"{names[0]} and {name} are both {target} files",
                    hint="verify compares a PyTorch file with a Keras file, or a training file with"
                    " its inference file",
                )
            )
        found[target] = model, replace(source, target=target)
    raise_all(problems)
    if deployed:
        return _deployed(*deployed)
    (model, first), (other, second) = (found[name] for name in runnable() if name in found)
    shape = (*model.input_shape[:-1], other.in_channels)
    # Checkpoints change no number, and not every target has them.
    if replace(other, input_shape=shape, memory=model.memory) != model:
        raise _different(model, other)
    return model, (first, second)


def _deployed(
    one: tuple[Model, Source], two: tuple[Model, Source]
) -> tuple[Model, tuple[Source, Source]]:
    """The model of the inference file, and the training file before the inference file."""
    (training, first), (model, second) = (two, one) if one[0].deploy else (one, two)
    shape = (*training.input_shape[:-1], model.in_channels)
    # What only training has leaves no trace in an inference file.
    if as_run(replace(model.training, input_shape=shape)) != as_run(training):
        raise _different(training, model.training)
    return replace(training, deploy=True, fuse=model.fuse), (first, second)


def _different(model: Model, other: Model) -> CompileError:
    one, two = _spelled(model, other), _spelled(other, model)
    return CompileError(
        Problem(
            f"the files were emitted from different models: {one}, and {two}",
            hint="emit both with the same options",
        )
    )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _spelled(model: Model, other: Model) -> str:
    """A model's name and the options in which it differs from the other."""
    there = _options(other).items()
    words = [f"{name}={value}" for name, value in _options(model).items() - there]
    return " ".join([model.encoder.name, *sorted(words)])


def _options(model: Model) -> dict[str, object]:
    options = {name: value for name, value in spell_options(model).items() if name != "input_shape"}
    return options | (custom_arguments(model.encoder) if model.encoder.custom else {})
