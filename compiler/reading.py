"""Reads text files, whatever they contain."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import CompileError, Problem, raise_all
from .limits import SOURCE_BYTES, Limit


def read_source(path: Path, limit: Limit = SOURCE_BYTES) -> str:
    """Text of a source file, line ends as on Unix, no byte order mark. Raises `CompileError`.

    Only a regular file within the limit is read: a pipe or a device is not opened.
    """
    return decoded(read_content(path, limit), str(path))


def decoded(content: bytes, at: str) -> str:
    """The text, line ends as on Unix, no byte order mark. Raises `CompileError`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CompileError(Problem("it is not valid UTF-8", at=at)) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_content(path: Path, limit: Limit = SOURCE_BYTES) -> bytes:
    """The bytes of a regular file within the limit. Raises `CompileError`."""
    at = str(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise CompileError(Problem("it is not a regular file", at=at))
        with open(path, "rb", opener=_without_waiting) as file:
            size = os.fstat(file.fileno()).st_size
            raise_all(limit.problems("its size in bytes", size, at))
            return file.read(limit.largest)
    except OSError as error:
        raise CompileError(Problem(f"cannot read it: {error.strerror}", at=at)) from None
    except ValueError as error:  # a null character in the name
        raise CompileError(Problem(f"cannot read it: {error}", at=at)) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
