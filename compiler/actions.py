"""The rest of the public API: `verify`, `convert` and `check`, which import what they need late."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from .errors import CompileError, Problem, raise_all, shown
from .keywords import ModelOptions
from .limits import AXIS
from .model import Encoder
from .names import FilePath, plans_path, spec_path
from .passes.values import RANK, choice, count, sequence, share
from .targets import suffixes
from .verify.settings import TOLERANCE, Settings

if TYPE_CHECKING:

    from .checker import Verdict
    from .verify.report import Report
    from .weights.convert import Converted


def verify(
    *models: FilePath | Encoder,
    size: int | Sequence[int] | str | None = None,
    seed: int | str = 0,
    tolerance: float | str = TOLERANCE,
    backend: str = "torch",
    checkpoint: FilePath | None = None,
    **options: Unpack[ModelOptions],
) -> Report:
    """Run a network in PyTorch and in Keras with the same weights, and compare the numbers.

    `models` is either one name, custom encoder or spec, with the options of `emit`, which is
    compiled to both targets; or the paths of two emitted files, whose code is run: only verify
    files that you trust. `size` is the size of the image, one number for all axes or one for each.
    `seed` is used for weights and image. `tolerance` is the largest relative difference allowed in
    float32. `backend` is what Keras runs on (`"tensorflow"`, `"torch"` or `"jax"`) for the rest of
    the process.

    With `deploy=True`, or for a training file and its inference file, these two are held against
    each other in each target, on even and odd sizes. `checkpoint` is a file with the weights of the
    training file, which are otherwise random; the tolerance is 1e-5 then unless one is given.

    Returns a `Report`; `report.passed` says whether the networks are the same. Raises
    `CompileError` with every problem of the arguments, or if a framework is missing.
    """
    problems: list[Problem] = []
    settings = read_settings(size, seed, tolerance, backend, problems, checkpoint)
    first = models[0] if models else None
    is_model = isinstance(first, Encoder) or _describes(first) or not _is_path(first)
    if len(models) == 1 and is_model:
        return verify_model(first, settings, options, problems)  # type: ignore[arg-type]
    if options:
        given = ", ".join(options)
        problems.append(Problem("the files say which model they hold", hint=f"leave out {given}"))
    if len(models) != 2:
        message = f"verify() takes one model or two files, not {len(models)} arguments"
        problems.append(Problem(message))
    raise_all(problems)
    return _verify_files(tuple(_path(model) for model in models), settings)


def convert(
    checkpoint: FilePath,
    output: FilePath,
    model: FilePath | Encoder,
    *,
    to: str | None = None,
    layout: str | None = None,
    inflate: str | None = None,
    axis: int | str = 0,
    force: bool = False,
    **options: Unpack[ModelOptions],
) -> Converted:
    """Write the weights of a checkpoint as those of an emitted model.

    `checkpoint` is a `.safetensors`, `.pt`, `.pth`, `.ckpt`, `.weights.h5` or `.keras` file. The
    suffix of `output` chooses the format and framework, which `to` (`"torch"`, `"keras"`) can
    confirm; with `to="nnunet"` it is a `.pth` whose `network_weights` nnU-Net loads. `model` and
    the options are those of `emit`, or `model` is the path of an emitted file. `layout` is the
    library that named the tensors (`"timm"`, `"torchvision"`, `"cadene"`, `"smp"`, `"monai"`,
    `"medicai"`, `"nnunet"`); by default the names are ours. `inflate` (`"center"`, `"mean"`,
    `"repeat"`) turns 2D kernels into 3D ones, with the new spatial axis at `axis` (0, 1 or 2). With
    `in_channels`, the stem is adapted to that many channels. `force` replaces an existing output.

    Returns a `Converted`: `path`, `target`, `tensors` (how many came from the checkpoint) and
    `notes`. Raises `CompileError` with every problem; then nothing was written.
    """
    from .weights.convert import Conversion
    from .weights.convert import convert as run

    source = model if isinstance(model, Encoder) else _path(model)
    asked = Conversion(to, layout, inflate, axis, force)
    return run(Path(_path(checkpoint)), Path(_path(output)), source, asked, options)


def check(paths: FilePath | Iterable[FilePath], *, exclude: Iterable[str] = ()) -> list[Verdict]:
    """Tell what has become of emitted files. Nothing in them is run.

    `paths` is one file or folder, or several. In a folder, every file with the suffix of a target's
    files, such as `.py`, is checked unless it matches a pattern in `exclude`. Returns a `Verdict`
    for each file. Its `state` is `"clean"`, `"reformatted"` (the same code in another layout),
    `"edited"`, `"stale"` (this compiler emits something else now), `"edited and stale"`, `"not
    ours"` (see `problems`) or `"skipped"` (found in a folder, without provenance). `edits()` and
    `changes()` are the two diffs. Raises `CompileError` if a path does not exist.
    """
    from .checker import check_file, find_files

    try:
        names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    except TypeError:
        names = [paths]  # type: ignore[list-item]
    return [
        check_file(found)
        for found in find_files([_path(name) for name in names], _patterns(exclude))
    ]


def _patterns(exclude: object) -> list[str]:
    given = (exclude,) if isinstance(exclude, str) else exclude
    try:
        patterns = list(given)  # type: ignore[call-overload]
    except TypeError:
        patterns = [given]
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise CompileError(Problem(f"exclude has {shown(pattern)}", hint="patterns are text"))
    return [str.__str__(pattern) for pattern in patterns]


def _describes(model: object) -> bool:
    """Whether it is a file that describes a network, rather than one that holds it."""
    return spec_path(model) is not None or plans_path(model) is not None


def _is_path(model: object) -> bool:
    return isinstance(model, os.PathLike) or (isinstance(model, str) and model.endswith(suffixes()))


def _path(name: object) -> str:
    try:
        path = os.fspath(name)  # type: ignore[call-overload]
    except TypeError:
        path = None
    if not isinstance(path, str) or "\0" in path:
        raise CompileError(Problem(f"{shown(name)} is not the path of a file"))
    return str.__str__(path)


def verify_model(
    model: FilePath | Encoder,
    settings: Settings,
    options: Mapping[str, object],
    problems: list[Problem],
) -> Report:
    """Compile a model to both targets and compare. Raises `CompileError`, `problems` first."""
    from dataclasses import replace

    from .passes.validate import resolve
    from .verify.compare import verify
    from .verify.conditioning import sized
    from .verify.deployed import verify as verify_deployed
    from .verify.settings import no_checkpoint
    from .verify.sweep import sizes

    found = resolve(model, options, problems)
    size = sizes(settings.size, found.dims)
    if size is None and options.get("input_shape"):
        size = found.input_shape[:-1]
    if found.deploy:
        return verify_deployed(found, replace(settings, size=size))
    raise_all(no_checkpoint(settings))
    found = sized(found, size)
    return verify(found, replace(settings, size=found.input_shape[:-1]))


def _verify_files(names: tuple[str, ...], settings: Settings) -> Report:
    from .verify.isolated import verify_files

    return verify_files(names, settings)


def read_settings(
    size: object,
    seed: object,
    tolerance: object,
    backend: object,
    problems: list[Problem],
    checkpoint: object = None,
) -> Settings:
    """Read the settings of a comparison from Python values or text, and note their problems."""
    from .verify.loading import BACKENDS

    read: dict[str, Any] = {}
    readers: dict[str, Callable[[], object]] = {
        "size": lambda: None if size is None else _sizes(size),
        "seed": lambda: count("--seed", seed, least=0),
        "tolerance": lambda: share("--tolerance", tolerance),
        "backend": lambda: choice("--backend", backend, BACKENDS),
        "checkpoint": lambda: "" if checkpoint is None else _path(checkpoint),
    }
    for name, reader in readers.items():
        try:
            read[name] = reader()
        except CompileError as error:
            problems += error.problems
    return Settings(**read)


def _sizes(size: object) -> tuple[int, ...]:
    items = size.split(",", RANK.largest) if isinstance(size, str) else sequence(size, RANK)
    return tuple(count("--size", item, AXIS) for item in items or (size,))
