"""The commands `update` and `diff`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import CompileError, Problem, escaped, placed
from ..targets import TARGETS
from .options import model_options, print_diff

base_option = click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="PATH",
    help="Where to look for the base first: a folder .plainnet, or the emission; repeatable.",
)


@click.command("update")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@base_option
@click.option(
    "--target",
    metavar="|".join(TARGETS),
    help="With another framework than that of the file: write a file beside it.",
)
@model_options
def update_command(
    files: tuple[str, ...],
    dry_run: bool,
    bases: tuple[str, ...],
    target: str | None,
    **options: Any,
) -> int:
    """Merge what this compiler emits now into edited FILEs.

    Options replace those that the file was emitted with. Edits stay where they are; where an edit
    and the compiler change the same lines, both are marked as git does, and the file as it was is
    saved as FILE.orig. The exit code is 0 if every file is up to date, 1 if there are conflicts to
    resolve, and 2 if a file cannot be updated. Nothing in a file is run, except to compare the
    weights of an edited one.
    """
    from ..passes.values import find_target
    from ..vendoring.request import given_options

    problems: list[Problem] = []
    framework = None if target is None else find_target(target, problems)
    if problems:
        raise CompileError(*problems)
    code = 0
    for name in files:
        try:
            with placed(name):
                found = _update(Path(name), given_options(options), framework, bases, dry_run)
            code = max(code, found)
        except CompileError as error:
            print(error, file=sys.stderr)
            code = 2
    return code


def _update(
    path: Path, options: dict[str, Any], target: str | None, bases: tuple[str, ...], dry_run: bool
) -> int:
    from ..vendoring.bases import alone
    from ..vendoring.updating import apply, plan

    with alone(path):
        found = plan(path, options, target, tuple(map(Path, bases)))
        report(found, dry_run)
        if not dry_run:
            apply(found, path)
    if found.problems:
        raise CompileError(*found.problems)
    return int(found.outcome == "conflicts")


def report(found: Any, dry_run: bool) -> None:
    """Print what becomes of a file; with `dry_run`, or where nobody knows, as a diff."""
    from ..vendoring.updating import UNKNOWN
    from ..vendoring.weights import report as weights_report

    for line in weights_report(found):
        print(escaped(line))
    notes = f": {'; '.join(found.notes)}" if found.notes else ""
    print(escaped(f"{found.outcome:<9}  {found.path}{notes}"))
    if dry_run or found.outcome == UNKNOWN:
        print_diff(found.diff())


@click.command("diff")
@click.argument("file", metavar="FILE")
@base_option
def diff_command(file: str, bases: tuple[str, ...]) -> int:
    """Show what somebody changed in FILE since it was emitted.

    The exit code is 0 without edits, 1 with edits, and 2 if nobody knows what was emitted. What
    tools change, such as the layout, is not an edit. Nothing in the file is run.
    """
    from ..checker import edits_of

    diff = edits_of(Path(file), tuple(map(Path, bases)))
    print_diff(diff)
    return int(bool(diff))
