"""What users are told about wrong input: every problem at once, with its place and a hint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

LINE_END = "\n"
LONGEST_LINE = 2000  # characters of an error, a hint or a path that is printed
LONGEST = 80  # characters of a value in an error, and of a word that is compared with known ones


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it stands, and what would be right.

    `field` names the argument of `custom_encoder` that is wrong (`widths[0]`), if one is: a spec
    knows the line of it.
    """

    message: str
    at: str = ""
    hint: str = ""
    field: str = ""

    def __str__(self) -> str:
        lines = [f"error: {escaped(self.message, kept=LINE_END)}"]
        if self.at:
            lines.append(f"  at   {escaped(self.at)}")
        if self.hint:
            lines.append(f"  hint {escaped(self.hint, kept=LINE_END)}")
        return "\n".join(lines)


class CompileError(Exception):
    """All problems of one input. The command line prints them and exits with 2."""

    def __init__(self, *problems: Problem):
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class CompileWarning(UserWarning):
    """Something that is allowed but probably not wanted. The command line prints it to stderr."""


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise one `CompileError` of the distinct problems, or do nothing if there are none."""
    distinct = tuple(dict.fromkeys(problems))
    if distinct:
        raise CompileError(*distinct)


@contextmanager
def placed(at: str) -> Iterator[None]:
    """Add a place to the problems that come up in here and do not say theirs."""
    try:
        yield
    except CompileError as error:
        problems = (p if p.at else replace(p, at=at) for p in error.problems)
        raise CompileError(*problems) from None


def counted(count: int, one: str, more: str = "") -> str:
    """A number and its noun: `1 tensor`, `2,000 tensors`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def suggest(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'a' or 'b'?"` for the known names nearest to `word`, or ""."""
    import difflib

    if len(word) > LONGEST:  # the comparison takes quadratic time
        return ""
    near = difflib.get_close_matches(word.lower(), list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def escaped(text: object, kept: str = "", longest: int = LONGEST_LINE) -> str:
    """Text as a terminal can show it: shortened in the middle, and what it would obey escaped.

    That is control characters, line ends and marks of direction, except for those in `kept`.
    """
    line = str(text)
    if len(line) > longest:
        half = (longest - 3) // 2
        line = f"{line[:half]}...{line[-half:]}"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in line)


def shown(value: object) -> str:
    """A value as an error prints it: its `repr` on one line, shortened, without control characters.

    Never fails, whatever the value's own `__repr__` does.
    """
    if isinstance(value, str):
        text = repr(str.__str__(value)[: LONGEST + 1])
    elif isinstance(value, int) and not isinstance(value, bool):
        number = int.__index__(value)
        text = str(number) if abs(number) < 10**20 else "a number of more than 20 digits"
    else:
        try:
            text = str.__str__(repr(value))
        except Exception:
            return f"a value of type {type(value).__name__}"
    text = escaped(text[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
