"""`check`: compare files with what they began as, and with what this compiler emits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from .errors import CompileError, Problem, raise_all, shown
from .files import is_temporary
from .limits import SOURCE_BYTES
from .provenance import Provenance
from .reading import read_source
from .targets import suffixes
from .tidying import split_header
from .vendoring.bases import FOLDER, HINT, find
from .vendoring.state import State, examine, provenance_of, same, state_of, unified

CLEAN, REFORMATTED, EDITED, STALE, BOTH, NOT_OURS, SKIPPED = (
    "clean",
    "reformatted",
    "edited",
    "stale",
    "edited and stale",
    "not ours",
    "skipped",
)
STATES = (CLEAN, REFORMATTED, EDITED, STALE, BOTH, NOT_OURS, SKIPPED)


@dataclass(frozen=True)
class Found:
    """A file to check. `folder` is the argument that it was found in, "" if it was named itself.

    `lenient` says that it may be somebody else's even though it was named.
    """

    path: Path
    folder: str = ""
    lenient: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a file is, and why.

    `clean`: as it was written, and as this compiler emits it. `reformatted`: the same, but for
    its layout, the order of its imports, or comments above it. `edited`: somebody changed it.
    `stale`: this compiler emits something else now. `edited and stale`: both. `not ours`: it could
    not be compared; `problems` say why. `skipped`: it has no provenance, and need not have one.
    """

    found: Found
    state: str
    note: str = ""
    problems: tuple[Problem, ...] = ()
    details: State | None = field(default=None, repr=False)

    def passes(self, allow_edits: bool = False) -> bool:
        """Whether a gate lets the file through. Conflicts that nobody resolved never pass."""
        if self.details and self.details.conflicted:
            return False
        allowed = (CLEAN, REFORMATTED, SKIPPED)
        return self.state in ((*allowed, EDITED) if allow_edits else allowed)

    def edits(self) -> str:
        """The diff of what somebody changed in the file; "" without a base to tell that from."""
        details = self.details
        if details is None or not details.edited or details.base is None:
            return ""
        return _edits(self.found.path, details.base, details.provenance)

    def changes(self) -> str:
        """The diff of what this compiler emits otherwise than the one that wrote the file.

        Without a base, it is that of the file and what this compiler emits.
        """
        details = self.details
        if details is None or details.fresh is None or not details.stale:
            return ""
        now = f"{self.found.path} (as emitted now)"
        if details.base is None:
            written = in_plain_layout(details.fresh, details.provenance)
            return unified(written, _said(details.fresh), str(self.found.path), now)
        then = f"{self.found.path} (as emitted)"
        return unified(_said(details.base), _said(details.fresh), then, now)

    def diff(self) -> str:
        """Both, one after the other."""
        return self.edits() + self.changes()


def edits_of(path: Path, bases: tuple[Path, ...] = ()) -> str:
    """The diff of what somebody changed in the file. Raises `CompileError` if nobody knows.

    Bases are looked for in `bases` first, which are folders `.plainnet` or emissions.
    """
    provenance = provenance_of(read_source(path))
    if provenance is None:
        hint = "only files that `emit` wrote have a base"
        raise CompileError(Problem("it has no provenance comment of plainnet", str(path), hint))
    if provenance.unedited:
        return ""
    from .vendoring.history import from_history

    base = find(path, provenance.text_digest, bases)
    if base is None:
        base = from_history(path, provenance.text_digest)
    if base is None:  # or it is what this compiler emits
        base = state_of(path, provenance.text, provenance, bases).base
    if base is None:
        message = "nobody knows what was emitted: its base was not kept"
        raise CompileError(Problem(message, str(path), HINT))
    as_it_was = not provenance.below and provenance.command == base.command
    if as_it_was and same(provenance, base):
        return ""
    return _edits(path, base, provenance)


def _edits(path: Path, base: Provenance, provenance: Provenance) -> str:
    """The shorter of two diffs: with lines as plainnet lays them out, and joined where they fit.

    A formatter may have put trailing commas, which keep lines apart.
    """
    from .emitter import WIDTH, formatted, mode

    name, plain = f"{path} (as emitted)", in_plain_layout(base, provenance)
    first = unified(_said(base), plain, name, str(path))
    text = formatted(_text_in(base, provenance), mode(WIDTH, commas=False))
    joined = _said(base, formatted(base.text, mode(WIDTH, commas=False)))
    second = unified(joined, _said(provenance, text), name, str(path))
    return min(first, second, key=lambda diff: sum(line[:1] in "+-" for line in diff.splitlines()))


def _text_in(base: Provenance, provenance: Provenance) -> str:
    """The text of a file without what is above it, its imports as in the base."""
    from .vendoring.style import with_imports_of

    text = provenance.text if split_header(base.text)[0] else split_header(provenance.text)[1]
    return with_imports_of(text, base.text)


def in_plain_layout(base: Provenance, provenance: Provenance) -> str:
    """The text of a file in the layout of plainnet, with its command if that was edited."""
    from .emitter import formatted

    return _said(provenance, formatted(_text_in(base, provenance)))


def _said(provenance: Provenance, text: str = "") -> str:
    comment = "".join(f"#     {line}\n" for line in provenance.command.splitlines())
    return f"{text or provenance.text}\n\n{comment}{provenance.below}"


def find_files(
    paths: Iterable[str], exclude: Sequence[str] = (), lenient: bool = False
) -> list[Found]:
    """List the files, and those in the folders with a target's suffix, but not what is excluded.

    With `lenient`, files that are named need not be emissions, and there may be none at all.

    A pattern is compared with the path as given, the path below its folder, and the name alone, of
    the file and of every folder in between; `*` matches slashes too. Raises `CompileError`.
    """
    files: dict[Path, Found] = {}
    problems = []
    for name in paths:
        if not os.path.lexists(name):
            problems.append(Problem(f"there is no file or folder {shown(name)}"))
        elif not os.path.isdir(name):
            if not _is_excluded(Path(name), Path(name).parent, exclude):
                # named itself, even if it is also in a folder
                files[Path(name)] = Found(Path(name), lenient=lenient)
        else:
            found = _emitted_files(Path(name), exclude)
            for path in found:
                files.setdefault(path, Found(path, name))
            if not found:
                left = " that --exclude leaves" if exclude else ""
                message = f"there is no Python file in {shown(name)}{left}"
                if not os.stat(name).st_nlink:  # it is the working folder, or in it
                    message = f"the folder {shown(name)} was deleted"
                problems.append(Problem(message))
    if not files and not problems and not lenient:
        message = "--exclude leaves no file to check" if exclude else "no file or folder to check"
        problems.append(Problem(message))
    raise_all(problems)
    return list(files.values())


def _emitted_files(folder: Path, exclude: Sequence[str]) -> list[Path]:
    found = []
    for where, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(where)
        folders[:] = sorted(n for n in folders if not is_temporary(n) and n != FOLDER)
        found += [here / name for name in names if name.endswith(suffixes())]
    return sorted(path for path in found if not _is_excluded(path, folder, exclude))


def _refuse(error: OSError) -> NoReturn:
    # A gate that cannot look into a folder must not pass.
    message = f"cannot read the folder: {error.strerror}"
    raise CompileError(Problem(message, at=str(error.filename or "."))) from None


def _is_excluded(path: Path, folder: Path, patterns: Sequence[str]) -> bool:
    if not patterns:
        return False
    inside = path.relative_to(folder)
    parts = [inside, *inside.parents][:-1]  # without the folder itself
    names = {name for part in parts for name in (str(part), str(folder / part), part.name)}
    return any(
        fnmatchcase(name, pattern.removeprefix("./").rstrip("/"))
        for name in names
        for pattern in patterns
    )


def check_file(found: Found) -> Verdict:
    """The verdict on one file. Nothing in it is run."""
    path = found.path
    may_be_other = bool(found.folder) or found.lenient
    try:
        if may_be_other and _is_too_large(path):
            return Verdict(found, SKIPPED)
        details = examine(path)
        if details is None:
            if may_be_other:
                return Verdict(found, SKIPPED)
            hint = "only files that `emit` wrote can be checked"
            raise CompileError(
                Problem("it has no provenance comment of plainnet at its end", hint=hint)
            )
    except CompileError as error:
        problems = tuple(Problem(p.message, str(path), p.hint) for p in error.problems)
        return Verdict(found, NOT_OURS, problems[0].message, problems)
    return Verdict(found, *_named(details), details=details)


def _named(state: State) -> tuple[str, str]:
    """The word for a state, and a note."""
    from . import __version__

    writer = f"plainnet {state.provenance.version}"
    edited = f"edited since {writer} wrote it"
    if state.conflicted:
        edited = "conflicts of an update are not resolved"
    if state.edited and state.stale:
        return BOTH, f"{edited}, and plainnet {__version__} now emits something else"
    if state.stale:
        return STALE, f"{writer} wrote it, and plainnet {__version__} now emits something else"
    if state.edited:
        return EDITED, edited
    return (REFORMATTED if state.tidied else CLEAN), ""


def _is_too_large(path: Path) -> bool:
    """Whether the file is longer than any that `emit` writes."""
    try:
        return path.stat().st_size > SOURCE_BYTES.largest
    except OSError:
        return False
