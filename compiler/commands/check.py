"""The command `check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import CompileError, Problem, escaped
from .options import print_diff, print_json, progress

FORMATS = ("text", "json", "github")


@click.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--allow-edits", is_flag=True, help="Pass files that were edited but not stale.")
@click.option("--diff", is_flag=True, help="Show the edits, and what the compiler changed.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Skip files and folders that match; repeatable.",
)
@click.option(
    "--skip-others", is_flag=True, help="Skip named files that plainnet did not write, too."
)
@click.option(
    "--format",
    "form",
    metavar="|".join(FORMATS),
    default=FORMATS[0],
    help="github prints annotations. Default: text.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="Does this checkpoint fit the emitted file? Runs edited files.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def check_command(
    paths: tuple[str, ...],
    allow_edits: bool,
    diff: bool,
    exclude: tuple[str, ...],
    skip_others: bool,
    form: str,
    weights: str | None,
    as_json: bool,
) -> int:
    """Check whether files were edited since they were emitted, or are stale.

    Emits each file again from the command at its end, unless this compiler is known to have
    emitted it just so, and compares. In a folder, reads every file with the suffix of a target's
    files, such as .py; those without provenance are skipped and counted. Nothing in a file is run.
    A file that only tools have laid out again passes as `reformatted`. The exit code is 0 if all
    files pass, 1 if one is edited or stale, and 2 if one cannot be compared or a folder holds no
    emitted file.
    """
    from ..checker import check_file, find_files
    from ..passes.values import choice
    from ..vendoring.report import annotate, as_dict, empty_folders, exit_code, lines

    form = "json" if as_json else choice("--format", form, FORMATS)
    found = find_files(paths, exclude, lenient=skip_others)
    verdicts = [check_file(each) for each in progress(found, "checking")]
    problems = [problem for verdict in verdicts for problem in verdict.problems]
    problems += empty_folders(verdicts)
    unfit = None if weights is None else _unfit(verdicts, weights, problems)
    if form == "json":
        report = as_dict(verdicts, problems, diff, allow_edits)
        if unfit is not None:
            fits = {"path": weights, "fits": not unfit, "reasons": unfit}
            report = {**report, "passed": report["passed"] and not unfit, "weights": fits}
        print_json(report)
    else:
        for line in lines(verdicts):
            print(escaped(line))
        if diff:
            print_diff("".join(verdict.diff() for verdict in verdicts))
        if unfit is not None:
            print(escaped(f"{weights} {'does not fit' if unfit else 'fits'}"))
            for reason in unfit:
                print(escaped(f"  {reason}"))
    if form == "github":
        for line in annotate(verdicts, problems, allow_edits):
            print(escaped(line))
    if problems:
        print(CompileError(*problems), file=sys.stderr)
    return exit_code(verdicts, problems, allow_edits) or int(bool(unfit))


def _unfit(verdicts: list[Any], weights: str, problems: list[Problem]) -> list[str] | None:
    """Why a checkpoint does not fit the one file that was checked; None if nobody can tell."""
    from ..vendoring.weights import unfit

    states = [verdict.details for verdict in verdicts if verdict.details]
    if len(verdicts) != 1 or len(states) != 1:
        if not problems:
            message = f"--weights is for one emitted file, not for {len(verdicts)} files"
            problems.append(Problem(message))
        return None
    try:
        return unfit(states[0], Path(weights))
    except CompileError as error:
        problems += error.problems
        return None
