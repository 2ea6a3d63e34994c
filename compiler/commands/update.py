"""The commands `update` and `diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import Problem, escaped, raise_all
from ..targets import TARGETS
from .options import each_on_its_own, model_options, print_diff

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
    from ..vendoring.bases import alone
    from ..vendoring.request import given_options
    from ..vendoring.updating import plan

    problems: list[Problem] = []
    framework = None if target is None else find_target(target, problems)
    raise_all(problems)
    given, folders = given_options(options), tuple(map(Path, bases))

    def run(name: str) -> int:
        with alone(path := Path(name)):
            return carry_out(plan(path, given, framework, folders), path, dry_run)

    return each_on_its_own(files, str, run)


def carry_out(found: Any, path: Path, dry_run: bool) -> int:
    """Report what was planned for the file at `path`, and write it. Returns the exit code.

    With `dry_run`, or where nobody knows, a diff is printed and nothing is written.
    """
    from ..vendoring.updating import CONFLICTS, UNKNOWN, apply
    from ..vendoring.weights import report as weights_report

    for line in weights_report(found):
        print(escaped(line))
    notes = f": {'; '.join(found.notes)}" if found.notes else ""
    print(escaped(f"{found.outcome:<9}  {found.path}{notes}"))
    if dry_run or found.outcome == UNKNOWN:
        print_diff(found.diff())
    if not dry_run:
        apply(found, path)
    raise_all(found.problems)
    return int(found.outcome == CONFLICTS)


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
