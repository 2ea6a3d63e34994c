"""The command line: arguments, tables and exit codes. The work is done by the modules below."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..catalog import FAMILIES
from ..errors import CompileError, CompileWarning, Problem, escaped, raise_all, suggest
from ..targets import TARGETS
from .convert import convert_command
from .new import new_command, schema_command
from .options import model_options
from .verify import verify_command


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns 0, 1 where `check` finds a difference, 2 for bad input."""
    try:
        with _warnings_in_a_line():
            code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except OSError as error:  # of stdout or stderr; the modules below report those of files
        with contextlib.suppress(OSError):
            print(Problem(f"cannot write: {error.strerror}", at="stdout"), file=sys.stderr)
        with contextlib.suppress(OSError):
            sys.stdout.close()  # or Python tries again at exit
        return 2


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Where our own warnings are printed as errors are, without a place in this code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CompileWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, CompileWarning):
                print(f"warning: {escaped(message)}", file=sys.stderr)
            else:
                usual(message, category, *rest, **more)

        warnings.showwarning = show
        yield


def _run(arguments: list[str] | None) -> int:
    try:
        result = cli.main(arguments, prog_name="plainnet", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except CompileError as error:
        print(error, file=sys.stderr)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help() if error.ctx else error, file=sys.stderr)
    except click.UsageError as error:
        hint = f"`{error.ctx.command_path} --help` shows what there is" if error.ctx else ""
        message = error.format_message().rstrip(".")
        print(Problem(message[:1].lower() + message[1:], hint=hint), file=sys.stderr)
    except click.Abort:
        print("stopped", file=sys.stderr)
        return 130
    return 2


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise CompileError(
                Problem(
                    f"unknown command {args[0]!r}.{suggest(args[0], self.commands)}",
                    hint=f"one of {', '.join(self.commands)}",
                )
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plainnet", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a network's name into one readable source file, in PyTorch or Keras 3, 2D or 3D."""


@cli.command("emit")
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
    "--force", is_flag=True, help="Overwrite files that were edited or hold something else."
)
def emit_command(
    model: str | None,
    target: str | None,
    output: str | None,
    everything: bool,
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
    _warn(resolved)
    from ..provenance import subject
    from ..showcase import file_name

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
    print(escaped(_summary(resolved, ledger, framework, path)))


def _warn(model: Any) -> None:
    from ..passes.advice import advice

    for message in advice(model):
        print(f"warning: {escaped(message)}", file=sys.stderr)


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


@cli.command("list")
@click.option("--family", metavar="|".join(FAMILIES), help="List only this family.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def list_command(family: str | None, as_json: bool) -> None:
    """List the encoders, with their parameter counts in 2D and 3D."""
    from ..passes.values import choice
    from ..tables import catalog_rows, print_catalog

    if family is not None:
        family = choice("--family", family, FAMILIES)
    rows = catalog_rows(family)
    _print_json(rows) if as_json else print_catalog(rows)


@cli.command("show")
@click.argument("model")
@click.option(
    "--target",
    metavar="|".join(TARGETS),
    help="Has no effect: the result is the same for every target.",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def show_command(model: str, target: str | None, as_json: bool, **options: Any) -> None:
    """Show each step of MODEL: output shape, parameters and MACs."""
    from ..api import description
    from ..lower import lower
    from ..passes.specialize import specialize
    from ..passes.trace import trace
    from ..passes.validate import resolve
    from ..passes.values import find_target

    problems: list[Problem] = []
    if target is not None:
        find_target(target, problems)
    resolved = resolve(model, options, problems)
    _warn(resolved)
    network = specialize(resolved)
    ledger = trace(network)
    if as_json:
        return _print_json(description(resolved, ledger))
    from ..tables import print_description

    print_description(resolved, ledger, lower(network, ledger).table)


@cli.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--diff", is_flag=True, help="Show how each file differs.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Skip files and folders that match; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check_command(
    paths: tuple[str, ...], diff: bool, exclude: tuple[str, ...], as_json: bool
) -> int:
    """Check whether emitted files have changed since they were written.

    Emits each file again from the command at its end, and compares. In a folder, reads every file
    with the suffix of a target's files, such as .py; those without provenance are skipped and
    counted. Nothing in a file is run. A file that only a formatter has changed passes as
    `reformatted`. The exit code is 0 if all files pass, 1 if one differs, and 2 if one cannot be
    compared or a folder holds no emitted file.
    """
    from ..checker import as_dict, check_file, empty_folders, exit_code, find_files
    from ..tables import print_verdicts, progress

    verdicts = [check_file(found) for found in progress(find_files(paths, exclude), "checking")]
    problems = [problem for verdict in verdicts for problem in verdict.problems]
    problems += empty_folders(verdicts)
    if as_json:
        _print_json(as_dict(verdicts, problems, diff))
    else:
        print_verdicts(verdicts)
        if diff:
            for line in "".join(verdict.diff() for verdict in verdicts).split("\n")[:-1]:
                print(escaped(line, kept="\t"))
    if problems:
        print(CompileError(*problems), file=sys.stderr)
    return exit_code(verdicts, problems)


cli.add_command(verify_command)
cli.add_command(convert_command)
cli.add_command(new_command)
cli.add_command(schema_command)


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))
