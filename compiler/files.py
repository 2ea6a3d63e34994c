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
from .provenance import parse_command
from .provenance import read as read_provenance
from .reading import read_source
from .targets import target_row
from .tidying import split_header

_EDITED = "was edited after plainnet wrote it"
_ABOVE = "has comments above it that plainnet did not write"
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def destination(output: str | None, file_name: str, target: str) -> Path:
    """Path of the emitted file: `-o FILE`, or a default name in `-o FOLDER/` or here.

    The default name is `file_name`. If the folder already holds that file for another target, it
    is `file_name` with the target at the end of its stem. Raises `CompileError`.
    """
    if output is None:
        return _default(Path(file_name), target)
    if not output:
        hint = "a file, a FOLDER/, or - for stdout"
        raise CompileError(Problem("-o is empty", hint=hint))
    path = Path(output)
    if output.endswith(("/", os.sep)) or os.path.isdir(path):
        return _default(path / file_name, target)
    if not path.suffix and not os.path.exists(path):
        hint = f"{output}{target_row(target).suffix} for a file, {output}/ for a folder"
        raise CompileError(Problem(f"-o {output} has no suffix and is not a folder", hint=hint))
    return path


def _default(path: Path, target: str) -> Path:
    with_target = path.with_stem(f"{path.stem}_{target}")
    if os.path.lexists(with_target):
        return with_target
    try:
        provenance = read_provenance(read_source(path))
        other = provenance is not None and parse_command(provenance.command).target != target
    except CompileError:
        other = False
    return with_target if other else path


def may_write(path: Path, subject: str, force: bool, new_folder: bool = False) -> list[Problem]:
    """Why the path must not or cannot be written, before anything is.

    `subject` is what will be written, in the words of `provenance.subject`. `new_folder` says that
    the folder will be created if there is none.
    """
    at = f"-o {path}"
    if problem := obstacle(path, at, new_folder):
        return [problem]
    if not path.exists():
        return []
    reason = "" if force else _reason_to_keep(path, subject)
    hint = f"--force replaces it, -o FILE{path.suffix} writes another file"
    if reason in (_EDITED, _ABOVE):
        hint = f"`plainnet update` keeps the edits, {hint}"
    return [Problem(f"{str(path)!r} {reason}", at, hint)] if reason else []


def obstacle(path: Path, at: str, new_folder: bool = False) -> Problem | None:
    """What prevents writing a regular file at the path, whatever is in a file that is there.

    A symbolic link stands for what it points to, also where there is nothing yet.
    """
    mode = None
    try:
        real = resolved(path)
        with contextlib.suppress(FileNotFoundError):
            mode = real.stat().st_mode
    except FileNotFoundError:  # the working folder has gone, as writing will report
        return None
    except OSError as error:
        return Problem(f"cannot write: {error.strerror}", at)
    if mode is not None and stat.S_ISDIR(mode):
        return Problem(f"{str(path)!r} is a folder", at, "name a file in it")
    if mode is not None and not stat.S_ISREG(mode):
        return Problem(f"{str(path)!r} is not a regular file", at)
    if not real.parent.is_dir():
        missing = f"there is no folder {str((real if path.is_symlink() else path).parent)!r}"
        return None if new_folder else Problem(missing, at, "create it first, or name another")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        return Problem(f"the folder {str(real.parent)!r} is not writable", at)
    return None


def _reason_to_keep(path: Path, subject: str) -> str:
    """Why the file must not be replaced by one of that subject; "" if it may be."""
    try:
        provenance = read_provenance(read_source(path))
        if provenance is None:
            return "was not written by plainnet"
        if not provenance.unedited:
            return _EDITED
        if split_header(provenance.text)[0].strip():
            return _ABOVE
        found = parse_command(provenance.command).subject
    except CompileError as error:
        return f"cannot be recognized as a file by plainnet: {error.problems[0].message}"
    return "" if found == subject else f"holds {found}, not {subject}"


def make_folder(path: Path, output: str) -> None:
    """Create the folder of a file, with its parents. Raises `CompileError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot create the folder: {error.strerror}"
        raise CompileError(Problem(message, at=f"-o {output}")) from None


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
    remove_leftovers(path.parent)
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
            lock(stack.enter_context(opened_folder(folder)))
            if folder.exists():  # not taken for a leftover just before it was locked
                break
        yield folder


def remove_leftovers(parent: Path) -> None:
    """Remove the private folders of processes that were killed. Those in use stay."""
    import shutil

    with os.scandir(parent) as entries:
        found = [Path(entry.path) for entry in entries if is_temporary(entry.name)]
    for folder in found:
        with opened_folder(folder) as descriptor:
            if descriptor is not None and _is_leftover(descriptor):
                shutil.rmtree(folder, ignore_errors=True)


def _is_leftover(descriptor: int) -> bool:
    """Whether the folder is a private one of this user that no process has locked."""
    information = os.fstat(descriptor)
    if stat.S_IMODE(information.st_mode) & 0o777 != 0o700 or information.st_uid != os.geteuid():
        return False
    locked = lock(descriptor, wait=False)
    return time.time() - information.st_mtime > _ABANDONED if locked is None else locked


@contextlib.contextmanager
def opened_folder(folder: Path) -> Iterator[int | None]:
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


def lock(descriptor: int | None, wait: bool = True) -> bool | None:
    """Whether a file or folder could be locked; None where the system or the disk has no locks."""
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
