"""The command `sync`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..errors import escaped
from .options import each_on_its_own, progress
from .update import carry_out


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

    def run(listed: Any) -> int:
        return _check(listed) if check_only else _sync(listed, dry_run)

    networks = progress(find_project(Path()), "syncing")
    return each_on_its_own(networks, lambda listed: str(_name(listed)), run)


def _name(listed: Any) -> Path:
    """The file as it is called from the working folder."""
    return Path(os.path.relpath(listed.path))


def _check(listed: Any) -> int:
    from ..vendoring.syncing import plan_sync, verdict

    name = _name(listed)
    word, passes = verdict(listed, plan_sync(listed, name))
    print(escaped(f"{word:<9}  {name}"))
    return int(not passes)


def _sync(listed: Any, dry_run: bool) -> int:
    from ..files import make_folder
    from ..vendoring.bases import alone
    from ..vendoring.syncing import plan_sync

    if not dry_run:
        make_folder(listed.path, str(listed.path.parent))
    with alone(listed.path):
        return carry_out(plan_sync(listed, _name(listed)), listed.path, dry_run)
