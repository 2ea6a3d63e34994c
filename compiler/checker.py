"""`check`: emit a file again from its provenance, and compare."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .api import custom_encoder
from .errors import CompileError, Problem
from .files import read_source
from .model import Model
from .passes.validate import resolve
from .passes.values import find_target
from .provenance import Provenance, parse_command, read, version_key


@dataclass(frozen=True)
class Verdict:
    """What a file is: `clean`, `differs` (with the difference), `not ours` (with the problems)."""

    path: Path
    state: str
    note: str = ""
    diff: str = ""
    problems: tuple[Problem, ...] = ()


def find_files(paths: Iterable[str]) -> list[Path]:
    """The files, and the Python files in the folders. Raises `CompileError`."""
    files: list[Path] = []
    problems = []
    for name in paths:
        path = Path(name)
        found = [path]
        if os.path.isdir(name):
            found = sorted(file for file in path.rglob("*.py") if not file.is_dir())
        if not os.path.exists(name):
            problems.append(Problem(f"there is no file or folder {name!r}"))
        elif not found:
            problems.append(Problem(f"there is no Python file in {name!r}"))
        files += found
    if problems:
        raise CompileError(*problems)
    return list(dict.fromkeys(files))


def check_file(path: Path) -> Verdict:
    """The verdict on one file. Nothing in it is run."""
    try:
        text = read_source(path)
        provenance = read(text)
        if provenance is None:
            problem = Problem(
                "it has no provenance of ours at its end", hint="`emit` writes files that have"
            )
            raise CompileError(problem)
        fresh = _emit_again(provenance)
    except CompileError as error:
        problems = tuple(Problem(p.message, str(path), p.hint) for p in error.problems)
        return Verdict(path, "not ours", problems[0].message, problems=problems)
    if _unversioned(text, provenance.version) == fresh:
        return Verdict(path, "clean")
    lines = difflib.unified_diff(
        fresh.splitlines(keepends=True),
        _unversioned(text, provenance.version).splitlines(keepends=True),
        f"{path} (emitted)",
        str(path),
    )
    by = f"since plainnet {provenance.version} wrote it"
    note = f"untouched {by}" if provenance.untouched else f"edited {by}"
    return Verdict(path, "differs", note, "".join(lines))


def _emit_again(provenance: Provenance) -> str:
    """What today's compiler writes for the provenance. Raises `CompileError`."""
    from .emitter import source

    return source(*model_of(provenance))


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
        return resolve(encoder, request.options, problems), target
    except CompileError as error:
        raise CompileError(
            *(
                Problem(f"its provenance is garbled: {p.message}", p.at, p.hint)
                for p in error.problems
            )
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise CompileError(Problem(f"its provenance is garbled: {error}")) from None


def _unversioned(text: str, version: str) -> str:
    """The text as if this version had written it: an older one's is clean where nothing changed."""
    from . import __version__

    head, mark, tail = text.rpartition(f"# Written by plainnet {version},")
    return f"{head}# Written by plainnet {__version__},{tail}" if mark else text
