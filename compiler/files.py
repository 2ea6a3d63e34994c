"""Reading and writing files: atomically, and never over what is not ours."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import time
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
    return [Problem(f"{str(path)!r} is not a regular file", at, hint="-o - prints to stdout")]


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
    """Replace a file's text in one step. Raises `CompileError`."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CompileError(Problem(f"cannot write: {error.strerror}", at=str(path))) from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of an empty file that replaces `path` once the block ends without an error.

    A reader of `path` sees the old content or the new, never a mixture; several processes may
    write the same path, and the last one wins. If `path` is a symbolic link, the link stays and
    the file that it points to is replaced. The empty file is alone in a private folder beside it
    (mode 0700, random name, created exclusively): the block may create other files there, which
    are deleted at the end, and nobody else can put a link in their place. Raises `OSError`.
    """
    path = resolved(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")
    _remove_leftovers(path.parent)
    with _private_folder(path.parent) as folder:
        temporary = folder / "new"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = (path if path.exists() else temporary).stat().st_mode & 0o7777
        os.close(descriptor)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)


def resolved(path: Path) -> Path:
    """The path with every symbolic link followed. Raises `OSError` where links form a loop."""
    try:
        return path.resolve()
    except RuntimeError:  # how Python before 3.13 reports a loop
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


_TEMPORARY = re.compile(r"\.plainnet-[a-z0-9_]{8}\.tmp")
_ABANDONED = 24 * 3600  # seconds after which a folder is a leftover where a disk has no locks
_ATTEMPTS = 100
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def is_temporary(name: str) -> bool:
    """Whether a folder of this name is one in which `replacing` prepares a file."""
    return _TEMPORARY.fullmatch(name) is not None


@contextlib.contextmanager
def _private_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, locked while in use, so that others can tell it from a leftover.

    The lock belongs to the process and ends with it, however it ends. Raises `OSError`.
    """
    import shutil
    import tempfile

    with contextlib.ExitStack() as stack:
        for _ in range(_ATTEMPTS):
            folder = Path(tempfile.mkdtemp(prefix=".plainnet-", suffix=".tmp", dir=parent))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            _lock(stack.enter_context(_opened(folder)))
            if folder.exists():  # not taken for a leftover just before it was locked
                break
        yield folder


def _remove_leftovers(parent: Path) -> None:
    """Remove the private folders of processes that were killed. Those in use stay."""
    import shutil

    with os.scandir(parent) as entries:
        found = [Path(entry.path) for entry in entries if is_temporary(entry.name)]
    for folder in found:
        with _opened(folder) as descriptor:
            if descriptor is not None and _is_leftover(descriptor):
                shutil.rmtree(folder, ignore_errors=True)


def _is_leftover(descriptor: int) -> bool:
    """Whether the folder is a private one of this user that no process has locked."""
    information = os.fstat(descriptor)
    if stat.S_IMODE(information.st_mode) & 0o777 != 0o700 or information.st_uid != os.geteuid():
        return False
    locked = _lock(descriptor, wait=False)
    return time.time() - information.st_mtime > _ABANDONED if locked is None else locked


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A descriptor of the folder; None if it has gone, is a link, or cannot be opened."""
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int | None, wait: bool = True) -> bool | None:
    """Whether the folder could be locked; None where the system or the disk has no locks."""
    if descriptor is None:
        return None
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def print_source(text: str) -> None:
    """The source alone on stdout. Raises `CompileError` where there is none."""
    if sys.stdout is None:
        raise CompileError(Problem("cannot write: stdout is closed", at="-o -"))
    sys.stdout.write(text)
