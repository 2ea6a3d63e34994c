"""The line ends and the layout of a file, which an update keeps."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ..tidying import imports

Layout: TypeAlias = Callable[[str], str]
_MARK = b"\xef\xbb\xbf"
_WIDTHS = (88, 120, 79, 80, 99, 110)  # of lines, where the project does not say
_WIDEST = 320  # that black takes without complaint
_PARENTS = 30


@dataclass(frozen=True)
class Envelope:
    """The byte order mark and the line ends of a file."""

    mark: bytes = b""
    newline: str = "\n"

    def around(self, text: str) -> bytes:
        """The bytes of a file with that text."""
        return self.mark + text.replace("\n", self.newline).encode("utf-8")


def envelope_of(content: bytes) -> Envelope:
    """The envelope of a file. Where line ends are mixed, the more frequent ones count."""
    mark = _MARK if content.startswith(_MARK) else b""
    windows = content.count(b"\r\n")
    return Envelope(mark, "\r\n" if windows > content.count(b"\n") - windows else "\n")


def layout_of(base: str, edited: str, path: Path) -> Layout | None:
    """The layout that somebody's formatter gave to an emission; None if it is still plainnet's.

    Formats the base as black does at several widths of lines, those of the project first, and
    takes the one that is nearest to the file.
    """
    from ..emitter import formatted

    best = _distance(base, edited)
    edits = _distance(base, formatted(with_imports_of(edited, base))) if best else 0
    if best <= edits:
        return None
    chosen = None
    for layout in _layouts(path):
        distance = _distance(with_imports_of(layout(base), edited), edited)
        if distance < best:
            best, chosen = distance, layout
        if distance <= edits:
            break
    return chosen


def _layouts(path: Path) -> Iterator[Layout]:
    from ..emitter import formatted, mode

    for width in dict.fromkeys((*_project_widths(path), *_WIDTHS)):
        for commas in (True, False):
            yield partial(formatted, mode=mode(width, commas))


def _project_widths(path: Path) -> list[int]:
    """The widths of lines that black and ruff are told in the projects around the file."""
    for folder in list(path.resolve().parents)[:_PARENTS]:
        found = [
            *_widths(folder / "pyproject.toml", ("tool", "black"), ("tool", "ruff")),
            *_widths(folder / "ruff.toml", ()),
            *_widths(folder / ".ruff.toml", ()),
        ]
        if found:
            return found
    return []


def _widths(path: Path, *tables: tuple[str, ...]) -> Iterator[int]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for keys in tables:
        table: object = values
        for key in keys:
            table = table.get(key) if isinstance(table, dict) else None
        width = table.get("line-length") if isinstance(table, dict) else None
        if type(width) is int and 0 < width <= _WIDEST:
            yield width


def _distance(one: str, other: str) -> int:
    """How many lines of the two texts are not the other's."""
    a, b = one.splitlines(), other.splitlines()
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return len(a) + len(b) - 2 * sum(block.size for block in blocks)


def with_imports_of(text: str, model: str) -> str:
    """The text with its imports written as in the model, if they are the same ones."""
    here, there = imports(text), imports(model)
    if here is None or there is None or here[2] != there[2]:
        return text
    lines, written = text.splitlines(keepends=True), model.splitlines(keepends=True)
    return "".join([*lines[: here[0]], *written[there[0] : there[1]], *lines[here[1] :]])
