"""The state file of `verify --all`: one JSON line per verified case, shared between processes."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .. import __version__
from ..errors import CompileError, Problem, raise_all
from ..files import lock
from ..limits import STATE_BYTES, STATE_LINE_BYTES
from ..model import Model
from .report import as_dict, from_dict
from .settings import Settings

ENTRY = '{"case": "'  # how every line begins
FIELDS = ["case", "settings", "report"]


def key(settings: Settings) -> dict[str, object]:
    """The settings that a result is valid for."""
    return {
        "version": __version__,
        "backend": settings.backend,
        "seed": settings.seed,
        "size": list(settings.size) if settings.size else None,
        "tolerance": settings.tolerance,
    }


def read_state(
    path: Path | None, settings: Settings, find: Callable[[str], Model]
) -> dict[str, dict[str, Any]]:
    """Return the last result of each case that was made with these settings.

    `find` returns the network of a case at the size of the comparison, or raises `KeyError`. A last
    line that was cut off is ignored. Raises `CompileError` if the file is not a state file.
    """
    if path is None or not os.path.lexists(path):
        return {}
    with _opened(path, "rb") as file:
        text = file.read(STATE_BYTES.largest + 1)
    raise_all(STATE_BYTES.problems("its size in bytes", len(text), _at(path)))
    done = {}
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        try:
            if len(line) > STATE_LINE_BYTES.largest:
                raise ValueError(STATE_LINE_BYTES.of)
            entry = _entry(line)
            if entry["settings"] == key(settings):
                done[entry["case"]] = _result(entry, find, settings)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            cut_off = not line.endswith(b"\n") and line.startswith(ENTRY[: len(line)].encode())
            if not cut_off:
                raise CompileError(
                    Problem(
                        "this is not a line of a state file of `plainnet verify --all`",
                        at=f"{_at(path)}:{number}",
                        hint="name a new file, or delete the line",
                    )
                ) from None
    return done


def append(path: Path, case: str, settings: Settings, result: dict[str, Any]) -> None:
    """Add a result to the file. Processes take turns. Raises `CompileError`."""
    entry = dict(zip(FIELDS, (case, key(settings), result), strict=True))
    append_line(path, json.dumps(entry, allow_nan=False) + "\n")


def append_line(path: Path, text: str) -> None:
    """Add a line under a lock, in place of one that a killed process left unfinished."""
    with _opened(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        raise_all(STATE_BYTES.problems("its size in bytes", size + len(text), _at(path)))
        file.seek(max(0, size - STATE_LINE_BYTES.largest))
        start = file.tell()
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
        file.write(text.encode())


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """The file, locked for this process. Raises `CompileError` if it is not a regular file."""

    def opener(name: str, flags: int) -> int:  # opening a FIFO must not wait for its other end
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)

    try:
        with open(path, mode, opener=opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CompileError(Problem(f"{str(path)!r} is not a regular file", at=_at(path)))
            if lock(file.fileno()) is None and "a" in mode:
                raise CompileError(
                    Problem(
                        "the file cannot be locked, so another process could overwrite results",
                        at=_at(path),
                        hint="use a file on a local disk",
                    )
                )
            yield file
    except OSError as error:
        raise CompileError(
            Problem(f"cannot use the state file: {error.strerror}", at=_at(path))
        ) from None


def _at(path: Path) -> str:
    return f"--resume {path}"


def _entry(line: bytes) -> dict[str, Any]:
    """A line as a dict of its three fields. Raises `ValueError` and its like."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    entry = json.loads(line.decode("utf-8"), parse_constant=refuse)
    if not isinstance(entry, dict) or list(entry) != FIELDS:
        raise ValueError("other fields")
    kinds = (str, dict, dict)
    if not all(isinstance(entry[name], kind) for name, kind in zip(FIELDS, kinds, strict=True)):
        raise TypeError("other types")
    if entry["settings"].keys() != key(Settings()).keys():
        raise ValueError("other settings")
    return entry


def _result(
    entry: dict[str, Any], find: Callable[[str], Model], settings: Settings
) -> dict[str, Any]:
    """The report of an entry, if it is one that `verify` could have written.

    Its verdict must follow from its numbers: an entry survives the way through a `Report` or it was
    edited. Raises `ValueError` and its like.
    """
    result: dict[str, Any] = entry["report"]
    report = from_dict(result, find(entry["case"]), settings)
    if json.dumps(as_dict(report, weights=False)) != json.dumps(result):
        raise ValueError("its verdict does not follow from its numbers")
    return result
