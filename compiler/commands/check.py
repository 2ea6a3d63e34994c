"""The command `check`."""

from __future__ import annotations

import sys

import click

from ..errors import CompileError, escaped
from .options import print_json


@click.command("check")
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
        print_json(as_dict(verdicts, problems, diff))
    else:
        print_verdicts(verdicts)
        if diff:
            for line in "".join(verdict.diff() for verdict in verdicts).split("\n")[:-1]:
                print(escaped(line, kept="\t"))
    if problems:
        print(CompileError(*problems), file=sys.stderr)
    return exit_code(verdicts, problems)
