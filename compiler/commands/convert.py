"""The command `convert`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..errors import CompileError, Problem, escaped, raise_all
from ..targets import TARGETS
from .options import model_options, print_json


@click.command("convert")
@click.argument("checkpoint")
@click.option(
    "--to", metavar="|".join([*TARGETS, "nnunet"]), help="Framework of the output, or nnU-Net."
)
@click.option(
    "-o", "output", metavar="PATH", help="Write to this file; its suffix sets the format."
)
@click.option(
    "--model",
    metavar="MODEL|SPEC.toml|FILE.py",
    help="The model that the weights are for, its spec, or its emitted file.",
)
@click.option(
    "--layout",
    metavar="NAME",
    help="Library that named the tensors: timm, torchvision, cadene, smp, monai, medicai or "
    "nnunet. "
    "Default: plainnet's own names.",
)
@click.option("--inflate", metavar="center|mean|repeat", help="Inflate 2D kernels to 3D.")
@click.option(
    "--axis",
    metavar="0|1|2",
    default="0",
    help="With --inflate: position of the new spatial axis. Default: 0.",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    help="Without --model: only rename tensors, or all below a path; repeatable.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@model_options
def convert_command(
    checkpoint: str,
    output: str | None,
    model: str | None,
    rename: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Convert CHECKPOINT to the weights of an emitted model, in either framework."""
    from ..actions import convert

    if rename:
        return _rename(checkpoint, output, rename, {"model": model, **options})
    if not model or not output:
        missing = [Problem("--model is missing", hint="--model seresnext50, or --model FILE.py")]
        missing = [] if model else missing
        if not output:
            missing.append(Problem("-o is missing", hint="-o w.safetensors, or -o w.weights.h5"))
        raise CompileError(*missing)
    with _without_onednn():
        done = convert(checkpoint, output, model, **options)
    if as_json:
        return print_json({**asdict(done), "path": str(done.path)})
    for note in done.notes:
        print(escaped(note))
    print(escaped(f"{done.tensors} tensors for {done.target}: {done.path}"))


def _rename(
    checkpoint: str, output: str | None, renames: tuple[str, ...], options: dict[str, Any]
) -> None:
    from ..weights.renaming import rename_tensors

    force = options.pop("force")
    options.pop("axis")
    given = [name for name, value in options.items() if value]
    problems = [
        Problem(f"--rename changes names and nothing else: leave out --{name.replace('_', '-')}")
        for name in given
    ]
    if not output:
        problems.append(Problem("-o is missing", hint="-o w.safetensors"))
    raise_all(problems)
    done = rename_tensors(Path(checkpoint), Path(str(output)), renames, force)
    print(escaped(f"{'; '.join(done.notes)}: {done.path}"))


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Where Keras imports TensorFlow, as it does to save a model on every backend.

    TensorFlow prints a note about oneDNN then, whatever its log level. Nothing is computed here.
    """
    name = "TF_ENABLE_ONEDNN_OPTS"
    before = os.environ.get(name)
    os.environ.setdefault(name, "0")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
