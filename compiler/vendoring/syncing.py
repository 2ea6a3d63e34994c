"""`sync`: each file of a project as the project says."""

from __future__ import annotations

from pathlib import Path

from ..errors import CompileError, Problem
from ..files import obstacle
from ..provenance import command_of, parse_command
from ..reading import decoded, read_content
from .known import is_known
from .project import Listed
from .state import emission_of, provenance_of, state_of
from .updating import CURRENT, EMITTED, Update, merged_into


def plan_sync(listed: Listed, name: Path) -> Update:
    """What `sync` does to one file; `name` is what the report calls it. Raises `CompileError`."""
    path = listed.path
    if not path.exists():
        if problem := obstacle(path, str(name), new_folder=True):
            raise CompileError(problem)
        emission = emission_of(listed.model, listed.target)
        return Update(name, EMITTED, None, b"", emission.encode(), emission)
    before = read_content(path)
    text = decoded(before, str(name))
    provenance = provenance_of(text)
    if provenance is None:
        hint = "move it away, or list another file"
        raise CompileError(Problem("it was not written by plainnet", str(name), hint))
    target = parse_command(provenance.command).target
    if target != listed.target:
        message = f"it holds a network for {target}, but the project wants {listed.target}"
        hint = "list another file: edits cannot carry over to another framework"
        raise CompileError(Problem(message, str(name), hint))
    state = state_of(name, text, provenance, history=True)
    same_command = provenance.command == command_of(listed.model, listed.target)
    if same_command and provenance.untouched and is_known(provenance.text_digest):
        return Update(name, CURRENT, state, before)
    return merged_into(state, before, emission_of(listed.model, listed.target))


def verdict(listed: Listed, update: Update) -> tuple[str, bool]:
    """The word for a file in `sync --check`, and whether it passes."""
    state = update.state
    if state is None:
        return "missing", False
    if state.conflicted:
        return "conflicts", False
    if update.outcome != CURRENT:
        return ("stale" if state.stale else "other options"), False
    return ("edited", listed.allow_edits) if state.edited else ("current", True)
