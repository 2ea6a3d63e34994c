"""`check`: emit a file again from its provenance, and compare."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from .api import custom_encoder
from .errors import CompileError, Problem, raise_all, shown
from .files import is_temporary
from .limits import SOURCE_BYTES
from .model import Model
from .passes.validate import resolve
from .passes.values import find_target
from .provenance import Provenance, parse_command, read, version_key
from .reading import read_source
from .syntax import comparable
from .targets import suffixes

CLEAN, REFORMATTED, DIFFERS, NOT_OURS, SKIPPED = (
    "clean",
    "reformatted",
    "differs",
    "not ours",
    "skipped",
)


@dataclass(frozen=True)
class Found:
    """A file to check. `folder` is the argument that it was found in, "" if it was named itself."""

    path: Path
    folder: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a file is, and why.

    `clean`: as this compiler emits it. `reformatted`: the same code in another layout. `differs`:
    other code, or another command. `not ours`: it could not be compared; `problems` say why.
    `skipped`: it was found in a folder and has no provenance.
    """

    found: Found
    state: str
    note: str = ""
    problems: tuple[Problem, ...] = ()
    texts: tuple[str, str] = field(default=("", ""), repr=False)  # as emitted, and as it is

    def diff(self) -> str:
        """How the file differs from what this compiler emits, in the layout of this compiler."""
        if self.state != DIFFERS:
            return ""
        from .emitter import formatted

        emitted, text = self.texts
        lines = formatted(text).splitlines(keepends=True)
        path = self.found.path
        emitted_lines = emitted.splitlines(keepends=True)
        return "".join(difflib.unified_diff(emitted_lines, lines, f"{path} (emitted)", str(path)))


def find_files(paths: Iterable[str], exclude: Sequence[str] = ()) -> list[Found]:
    """List the files, and those in the folders with a target's suffix, but not what is excluded.

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
                files[Path(name)] = Found(
                    Path(name)
                )  # named itself, even if it is also in a folder
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
    if not files and not problems:
        message = "--exclude leaves no file to check" if exclude else "no file or folder to check"
        problems.append(Problem(message))
    raise_all(problems)
    return list(files.values())


def _emitted_files(folder: Path, exclude: Sequence[str]) -> list[Path]:
    found = []
    for where, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(where)
        folders[:] = sorted(name for name in folders if not is_temporary(name))
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
    try:
        if found.folder and _is_too_large(path):
            return Verdict(found, SKIPPED)
        text = read_source(path)
        provenance = read(text)
        if provenance is None:
            if found.folder:
                return Verdict(found, SKIPPED)
            hint = "only files that `emit` wrote can be checked"
            raise CompileError(
                Problem("it has no provenance comment of plainnet at its end", hint=hint)
            )
        from .emitter import source

        emitted = source(*model_of(provenance))
    except CompileError as error:
        problems = tuple(Problem(p.message, str(path), p.hint) for p in error.problems)
        return Verdict(found, NOT_OURS, problems[0].message, problems)
    fresh = read(emitted)
    assert fresh is not None
    state = _compare(provenance, fresh)
    if state != DIFFERS:
        return Verdict(found, state)
    change = "edited"
    if provenance.unedited:
        change = "untouched" if provenance.untouched else "reformatted"
    note = f"{change} since plainnet {provenance.version} wrote it"
    return Verdict(found, state, note, texts=(emitted, text))


def _is_too_large(path: Path) -> bool:
    """Whether the file is longer than any that `emit` writes."""
    try:
        return path.stat().st_size > SOURCE_BYTES.largest
    except OSError:
        return False


def _compare(provenance: Provenance, fresh: Provenance) -> str:
    if provenance.untouched and provenance.text == fresh.text:
        return CLEAN
    trusted = provenance.unedited or not provenance.code_digest
    if not trusted or comparable(provenance.text) != comparable(fresh.text):
        return DIFFERS
    # Versions of black differ in layout: the one that wrote the file may not be the one at hand.
    return CLEAN if provenance.untouched and provenance.writer != fresh.writer else REFORMATTED


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


def as_dict(verdicts: Sequence[Verdict], problems: Sequence[Problem], diff: bool) -> object:
    """The report of `check --json`."""
    checked = [verdict for verdict in verdicts if verdict.state != SKIPPED]
    return {
        "passed": exit_code(verdicts, problems) == 0,
        "files": [
            {
                "path": str(verdict.found.path),
                "state": verdict.state,
                "note": verdict.note,
                **({"diff": verdict.diff()} if diff else {}),
            }
            for verdict in checked
        ],
        "skipped": [str(v.found.path) for v in verdicts if v.state == SKIPPED],
        "problems": [
            {"message": problem.message, "at": problem.at, "hint": problem.hint}
            for problem in problems
        ],
    }


def exit_code(verdicts: Iterable[Verdict], problems: Sequence[Problem]) -> int:
    """2 if something could not be compared, 1 if a file differs, else 0."""
    return 2 if problems else int(any(verdict.state == DIFFERS for verdict in verdicts))


def model_of(provenance: Provenance) -> tuple[Model, str]:
    """The model that a file was emitted from, and its target. Raises `CompileError`."""
    from . import __version__

    if version_key(provenance.version) > version_key(__version__):
        raise CompileError(
            Problem(
                f"it was written by plainnet {provenance.version}, newer than this {__version__}",
                hint="upgrade plainnet",
            )
        )
    request = parse_command(provenance.command)
    try:
        encoder = (
            request.name
            if request.custom is None
            else custom_encoder(request.name, **request.custom)  # type: ignore[arg-type]
        )
        problems: list[Problem] = []
        target = find_target(request.target, problems)
        return resolve(encoder, _as_written(request.options), problems), target
    except CompileError as error:
        raise CompileError(
            *(
                Problem(f"its provenance is garbled: {p.message}", p.at, p.hint)
                for p in error.problems
            )
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise CompileError(Problem(f"its provenance is garbled: {error}")) from None


def _as_written(options: Mapping[str, object]) -> dict[str, object]:
    """The options of a footer, as its version of plainnet meant them.

    A footer spells a shape with its channels last, though 0.1.0 did not yet say so where a person
    could read it the other way round; and that version took `compat` where it has no effect.
    """
    written = dict(options)
    if "input_shape" in written:
        written["channels_last"] = True
    if "segmentor" not in written:
        written.pop("compat", None)
    return written
