"""What `check` reports: its exit code, its JSON, and annotations on GitHub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..checker import EDITED, SKIPPED, Verdict
from ..errors import Problem, counted


def exit_code(
    verdicts: Iterable[Verdict], problems: Sequence[Problem], allow_edits: bool = False
) -> int:
    """2 if something could not be compared, 1 if a file does not pass, else 0."""
    return 2 if problems else int(any(not verdict.passes(allow_edits) for verdict in verdicts))


def empty_folders(verdicts: Iterable[Verdict]) -> list[Problem]:
    """The folders in which every file was skipped. A gate that looks at nothing must not pass."""
    folders: dict[str, bool] = {}
    for verdict in verdicts:
        if folder := verdict.found.folder:
            folders[folder] = folders.get(folder, False) or verdict.state != SKIPPED
    hint = "`plainnet emit MODEL --target torch -o FOLDER/` writes one; is it another folder?"
    return [
        Problem(f"no file in {folder!r} was written by plainnet", hint=hint)
        for folder, holds_one in folders.items()
        if not holds_one
    ]


def as_dict(
    verdicts: Sequence[Verdict],
    problems: Sequence[Problem],
    diff: bool = False,
    allow_edits: bool = False,
) -> dict[str, Any]:
    """The report of `check --json`."""
    checked = [verdict for verdict in verdicts if verdict.state != SKIPPED]
    return {
        "passed": exit_code(verdicts, problems, allow_edits) == 0,
        "files": [
            {
                "path": str(verdict.found.path),
                "state": verdict.state,
                "passed": verdict.passes(allow_edits),
                "note": verdict.note,
                **({"edits": verdict.edits(), "changes": verdict.changes()} if diff else {}),
            }
            for verdict in checked
        ],
        "skipped": [str(v.found.path) for v in verdicts if v.state == SKIPPED],
        "problems": [
            {"message": problem.message, "at": problem.at, "hint": problem.hint}
            for problem in problems
        ],
    }


def lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A line for each file checked, and one that counts the skipped files."""
    width = max([len(SKIPPED) + 1, *(len(verdict.state) for verdict in verdicts)])
    for verdict in verdicts:
        if verdict.state != SKIPPED:
            note = f": {verdict.note}" if verdict.note else ""
            yield f"{verdict.state:<{width}}  {verdict.found.path}{note}"
    if skipped := sum(verdict.state == SKIPPED for verdict in verdicts):
        yield f"{SKIPPED:<{width}}  {counted(skipped, 'file')} without provenance"


def annotate(
    verdicts: Iterable[Verdict], problems: Iterable[Problem], allow_edits: bool = False
) -> Iterator[str]:
    """Workflow commands of GitHub: an error for what does not pass, a notice for allowed edits."""
    for verdict in verdicts:
        if verdict.problems:
            continue  # they come last
        passes = verdict.passes(allow_edits)
        if passes and verdict.state != EDITED:
            continue
        level = "notice" if passes else "error"
        yield _annotation(level, str(verdict.found.path), _line(verdict), verdict.note)
    for problem in problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        yield _annotation("error", problem.at, 1, problem.message + hint)


def _line(verdict: Verdict) -> int:
    """The line of the file at which the first edit begins."""
    details = verdict.details
    if details is None or details.base is None or not details.edited:
        return 1
    edited = details.text.splitlines()
    for number, (line, before) in enumerate(zip(edited, details.base.text.splitlines()), 1):
        if line != before:
            return number
    return 1


def _annotation(level: str, path: str, line: int, message: str) -> str:
    place = f" file={_property(path)},line={line}," if path else " "
    return f"::{level}{place}title=plainnet::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
