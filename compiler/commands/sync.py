"""The command `sync`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import CompileError, escaped, placed
from .options import progress
from .update import report


@click.command("sync")
@click.option(
    "--check",
    "check_only",
    is_flag=True,
    help="Write nothing; exit with 1 if a file is missing, stale, or edited without leave.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
def sync_command(check_only: bool, dry_run: bool) -> int:
    """Emit and update the networks that [tool.plainnet] in pyproject.toml lists.

    Emits files that are missing, merges what is new into those that are stale or have other
    options, and leaves the rest alone. The exit code is 0 if every file is as the project says, 1
    if there are conflicts to resolve, and 2 if a file cannot be synchronized.
    """
    from ..vendoring.project import find_project

    code = 0
    for listed in progress(find_project(Path()), "syncing"):
        name = Path(os.path.relpath(listed.path))
        try:
            with placed(str(name)):
                found = _check(listed, name) if check_only else _sync(listed, name, dry_run)
            code = max(code, found)
        except CompileError as error:
            print(error, file=sys.stderr)
            code = 2
    return code


def _check(listed: Any, name: Path) -> int:
    from ..vendoring.syncing import plan_sync, verdict

    word, passes = verdict(listed, plan_sync(listed, name))
    print(escaped(f"{word:<9}  {name}"))
    return int(not passes)


def _sync(listed: Any, name: Path, dry_run: bool) -> int:
    from ..files import make_folder
    from ..vendoring.bases import alone
    from ..vendoring.syncing import plan_sync
    from ..vendoring.updating import apply

    if not dry_run:
        make_folder(listed.path, str(listed.path.parent))
    with alone(listed.path):
        found = plan_sync(listed, name)
        report(found, dry_run)
        if not dry_run:
            apply(found, listed.path)
    if found.problems:
        raise CompileError(*found.problems)
    return int(found.outcome == "conflicts")
