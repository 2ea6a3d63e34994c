"""Breaks long lines as black does, because black formats a text twice if it changes anything."""

from __future__ import annotations

from collections.abc import Iterator

WIDTH = 100


def broken(text: str) -> str:
    """The text with its long definitions and calls over several lines; docstrings stay."""
    lines: list[str] = []
    inside = False  # of a docstring
    for line in text.split("\n"):
        lines += [line] if inside else _broken(line)
        inside ^= line.count('"""') % 2 == 1
    return "\n".join(lines)


def _broken(line: str) -> list[str]:
    if len(line) <= WIDTH or "#" in line or '"""' in line:
        return [line]
    pairs = list(_pairs(line))
    if line.lstrip().startswith("def "):
        pairs = pairs[:1]
    fitting = [(start, end) for start, end in pairs if start < WIDTH]
    if not fitting:
        return [line]
    start, end = fitting[-1]
    indent = " " * (len(line) - len(line.lstrip()))
    inside = line[start + 1 : end]
    inner = [f"{indent}    {inside}"]
    if len(inner[0]) > WIDTH:
        inner = [f"{indent}    {part}" for part in _parts(inside)]
    return [line[: start + 1], *inner, f"{indent}{line[end:]}"]


def _pairs(line: str) -> Iterator[tuple[int, int]]:
    """Where the outermost brackets of a line open and close."""
    opened: list[int] = []
    for place, bracket in _brackets(line):
        if bracket in "([{":
            opened.append(place)
        else:
            start = opened.pop()
            if not opened:
                yield start, place


def _parts(inside: str) -> list[str]:
    """The items between the outermost commas, each with its comma; the parts of a comprehension."""
    commas: list[int] = []
    clauses: list[int] = []
    depth = 0
    for place, mark in _brackets(inside, ", "):
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif depth == 0 and mark == ",":
            commas.append(place)
        elif depth == 0 and inside.startswith((" for ", " if "), place):
            clauses.append(place)
    # A target such as `a, b` has commas too. Without a comma, one at the end would make a tuple.
    ends = clauses if any(inside.startswith(" for ", place) for place in clauses) else commas
    starts = [0, *(place + 1 for place in ends)]
    parts = [
        inside[start:end].strip() for start, end in zip(starts, [*ends, len(inside)], strict=True)
    ]
    return [f"{part}," for part in parts] if ends is commas and commas else parts


def _brackets(line: str, more: str = "") -> Iterator[tuple[int, str]]:
    """The brackets outside of strings, with their places."""
    quote = ""
    for place, mark in enumerate(line):
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        elif mark in "([{)]}" + more:
            yield place, mark
