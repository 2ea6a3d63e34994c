"""Reading and writing files: atomically, and never over what is not ours."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import CompileError, Problem
from .provenance import read as read_provenance


def read_source(path: Path) -> str:
    """Text of a source file, line ends as on Unix, no byte order mark. Raises `CompileError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CompileError(Problem("it is no UTF-8 text", at=str(path))) from None
    except OSError as error:
        raise CompileError(Problem(f"cannot read it: {error.strerror}", at=str(path))) from None


def destination(output: str | None, file_name: str) -> Path:
    """Where a file goes: into the folder, or to the path, that `-o` says; by default, here.

    Raises `CompileError`.
    """
    if output is None:
        return Path(file_name)
    if not output:
        raise CompileError(Problem("-o is empty", hint="a file, a FOLDER/, or - for stdout"))
    path = Path(output)
    return path / file_name if output.endswith(("/", os.sep)) or os.path.isdir(path) else path


def may_write(path: Path, force: bool) -> list[Problem]:
    """Why the path must not or cannot be written, before anything is."""
    at = f"-o {path}"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            return []
        there_is_none = f"there is no folder {str(path.parent)!r}"
        return [Problem(there_is_none, at, hint="make it first, or name another")]
    except OSError as error:
        return [Problem(f"cannot write: {error.strerror}", at)]
    if stat.S_ISDIR(mode):
        return [Problem(f"{str(path)!r} is a folder", at, hint="end it with a /")]
    if stat.S_ISREG(mode):
        return [] if force or _ours(path) else [_foreign(path)]
    return []


def _ours(path: Path) -> bool:
    """Whether the file is an emission that nobody has touched since."""
    try:
        provenance = read_provenance(read_source(path))
    except CompileError:
        return False
    return provenance is not None and provenance.untouched


def _foreign(path: Path) -> Problem:
    return Problem(
        f"{str(path)!r} exists and is not an untouched emission of ours",
        at=f"-o {path}",
        hint="--force replaces it",
    )


def write(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new.

    Raises `CompileError`.
    """
    try:
        path = path.resolve()  # a link stays a link
        if path.exists() and not path.is_file():  # a device or a pipe is not ours to replace
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path, text)
    except OSError as error:
        raise CompileError(Problem(f"cannot write: {error.strerror}", at=str(path))) from None


def _replace(path: Path, text: str) -> None:
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`, whose file takes its place once the block is left without an error."""
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask()
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}.tmp")  # a name has 255 bytes
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def print_source(text: str) -> None:
    """The source alone on stdout. Raises `CompileError` where there is none."""
    if sys.stdout is None:
        raise CompileError(Problem("cannot write: stdout is closed", at="-o -"))
    sys.stdout.write(text)
