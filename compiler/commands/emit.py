"""The command `emit`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from ..errors import CompileError, Problem, escaped, raise_all
from ..targets import TARGETS
from .options import model_options, warn_about


@click.command("emit")
@click.argument("model", required=False)
@click.option("--target", metavar="|".join(TARGETS), help="Framework of the emitted file.")
@model_options
@click.option(
    "-o", "output", metavar="PATH", help="Write to this file or FOLDER/; - prints the source."
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Emit the whole showcase, as in generated/, into the folder -o.",
)
@click.option(
    "--no-base", is_flag=True, help="Do not keep a copy in .plainnet/ for `update` to merge with."
)
@click.option(
    "--force", is_flag=True, help="Overwrite files that were edited or hold something else."
)
def emit_command(
    model: str | None,
    target: str | None,
    output: str | None,
    everything: bool,
    no_base: bool,
    force: bool,
    **options: Any,
) -> None:
    """Write MODEL as one source file."""
    from ..files import STDOUT, destination, make_folder, may_write, print_source, write
    from ..passes.validate import resolve
    from ..passes.values import find_target

    if everything:
        given = [name for name, value in {"target": target, **options}.items() if value]
        return _emit_showcase(model, given, output, force)
    problems: list[Problem] = []
    framework = find_target(target, problems)
    if model is None:
        hint = "`plainnet emit MODEL --target torch`, or `plainnet emit --all`"
        raise CompileError(Problem("no model given", hint=hint), *problems)
    resolved = resolve(model, options, problems)
    warn_about(resolved)
    from ..provenance import subject
    from ..showcase import file_name
    from ..vendoring.bases import keep

    to_stdout = output in STDOUT
    path = (
        Path("-") if to_stdout else destination(output, file_name(resolved, framework), framework)
    )
    new_folder = output is not None and path != Path(output)
    if not to_stdout:
        raise_all(may_write(path, subject(resolved, framework), force, new_folder))
    from ..emitter import compiled

    text, ledger = compiled(resolved, framework)
    if to_stdout:
        return print_source(text)
    if new_folder:
        make_folder(path, str(output))
    write(path, text)
    if not no_base:
        keep(path, text)
    print(escaped(_summary(resolved, ledger, framework, path)))


def _summary(model: Any, ledger: Any, target: str, path: Path) -> str:
    from ..passes.count import trainable

    image = "x".join(map(str, model.input_shape))
    output = "x".join(map(str, (*ledger.output[1:], ledger.output[0])))
    count = f"{trainable(ledger.rows):,} parameters"
    return f"{model.title} {model.dims}D {target}, {image} -> {output}, {count}: {path}"


def _emit_showcase(model: str | None, given: list[str], output: str | None, force: bool) -> None:
    from ..emitter import source
    from ..files import STDOUT, make_folder, may_write, write
    from ..provenance import subject
    from ..showcase import showcase
    from ..tables import progress

    problems = []
    if model is not None or given:
        extra = [] if model is None else [shlex.quote(model)]
        extra += [f"--{name.replace('_', '-')}" for name in given]
        problems.append(Problem(f"--all emits the whole showcase: leave out {', '.join(extra)}"))
    if not output or output in STDOUT:
        problems.append(Problem("--all writes into a folder", hint="add -o generated/"))
    raise_all(problems)
    folder = Path(str(output))
    pieces = showcase()
    raise_all(
        problem
        for piece in pieces
        if os.path.lexists(path := folder / piece.path)
        for problem in may_write(path, subject(piece.model, piece.target), force)
    )
    for piece in progress(pieces, "emitting"):
        make_folder(folder / piece.path, str(output))
        write(folder / piece.path, source(piece.model, piece.target))
    print(f"{len(pieces)} files in {escaped(folder)}")
