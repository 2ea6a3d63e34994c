"""The last line of a drawing: by it, one that nobody has edited may be replaced."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import CompileError, Problem
from ..files import obstacle
from ..reading import read_source

_LINE = re.compile(r"<!-- plainnet draw, sha256 (?P<digest>[0-9a-f]{32}) -->\n\Z")


def signed(text: str) -> str:
    """The drawing with its last line."""
    return f"{text}<!-- plainnet draw, sha256 {_digest(text)} -->\n"


def is_drawing(text: str) -> bool:
    """Whether the text is a drawing as it was written."""
    line = _LINE.search(text)
    return line is not None and line["digest"] == _digest(text[: line.start()])


def may_write(path: Path, force: bool, new_folder: bool = False) -> list[Problem]:
    """Why the path must not or cannot be written, before anything is."""
    at = f"-o {path}"
    if problem := obstacle(path, at, new_folder):
        return [problem]
    if force or not path.exists():
        return []
    try:
        if is_drawing(read_source(path)):
            return []
    except CompileError:  # it is none that we wrote
        pass
    hint = "--force replaces it, -o FILE.svg writes another file"
    return [Problem(f"{str(path)!r} is not an unedited drawing by plainnet", at, hint)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
