"""Finds the line of each key of a TOML text, which must have been parsed successfully.

`tomllib` returns values without positions. A test compares the paths found here with its values.
"""

from __future__ import annotations

import re
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]  # ("stages", 0, "width")

DEEPEST = 8  # parts of the longest path that is kept; that of a spec has three
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRINGS = {
    '"""': re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''.*?'{3,5}", re.DOTALL),
    '"': re.compile(r'"(?:[^\\"]|\\.)*"'),
    "'": re.compile(r"'[^']*'"),
}


def spelled(path: KeyPath) -> str:
    """A path as people write it: `stages[0].width`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_as_key(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def _as_key(part: str) -> str:
    return part if _BARE_KEY.fullmatch(part) else repr(part)


def positions(text: str) -> dict[KeyPath, int]:
    """The line of each key and of each item of an array, by its path. The text is valid TOML."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str):
        self.text = text
        self.at = 0
        self.counted, self.line = 0, 1  # the line of the character at `counted`
        self.found: dict[KeyPath, int] = {}
        self.lengths: dict[KeyPath, int] = {}  # of the arrays of tables

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self.blank():
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
        return self.found

    def blank(self) -> bool:
        """Skip space, line ends and comments. Whether anything is left."""
        return self.skip(_BLANK) < len(self.text)

    def skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"{pattern.pattern} at {self.text[self.at:self.at + 40]!r}"
        self.at = match.end()
        return self.at

    def note(self, path: KeyPath) -> None:
        """Keep the line of this path: the first one, if a table is opened again."""
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        for length in range(1, len(path) + 1):
            if length <= DEEPEST:
                self.found.setdefault(path[:length], self.line)

    def header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`: the path of the table, arrays indexed."""
        array = self.text.startswith("[[", self.at)
        start = self.at
        self.at += 2 if array else 1
        *outer, last = self.key()
        path: KeyPath = ()
        for part in outer:
            path += (part,)
            if path in self.lengths:
                path += (self.lengths[path] - 1,)
        path += (last,)
        if array:
            self.lengths[path] = self.lengths.get(path, 0) + 1
            path += (self.lengths[path] - 1,)
        end, self.at = self.at, start
        self.note(path)
        self.at = end + (2 if array else 1)
        return path

    def key(self) -> list[str]:
        """The parts of `a."b".c`, up to what follows it."""
        parts = []
        while True:
            self.blank()
            start = self.at
            quote = self.text[start]
            if quote in "\"'":
                self.skip(_STRINGS[quote])
                parts.append(_unquoted(self.text[start : self.at]))
            else:
                self.skip(_BARE_KEY)
                parts.append(self.text[start : self.at])
            self.blank()
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def pair(self, table: KeyPath) -> None:
        """`key = value`."""
        start = self.at
        path = (*table, *self.key())
        end, self.at = self.at, start
        self.note(path)
        self.at = end + 1
        self.blank()
        self.value(path)

    def value(self, path: KeyPath) -> None:
        text, start = self.text, self.at
        if text[start] == "[":
            self.inside("]", path, array=True)
        elif text[start] == "{":
            self.inside("}", path, array=False)
        else:
            for quote, string in _STRINGS.items():
                if text.startswith(quote, start):
                    self.skip(string)
                    return
            self.skip(_SCALAR)

    def inside(self, end: str, path: KeyPath, array: bool) -> None:
        """The items of an array, or the pairs of an inline table."""
        self.at += 1
        index = 0
        while self.blank() and self.text[self.at] != end:
            if array:
                self.note((*path, index))
                self.value((*path, index))
                index += 1
            else:
                self.pair(path)
            self.blank()
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1


def _unquoted(text: str) -> str:
    """The text of a quoted key."""
    import tomllib

    (key,) = tomllib.loads(f"{text} = 0")
    return key
