"""What a user is told when the input is wrong: every problem at once, with its place and a hint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it stands, and what would be right."""

    message: str
    at: str = ""
    hint: str = ""

    def __str__(self) -> str:
        lines = [f"error: {self.message}"]
        if self.at:
            lines.append(f"  at   {self.at}")
        if self.hint:
            lines.append(f"  hint {self.hint}")
        return "\n".join(lines)


class CompileError(Exception):
    """All the problems of one input. The command line prints it and exits with 2."""

    def __init__(self, *problems: Problem):
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise one `CompileError` of the distinct problems; nothing where there are none."""
    distinct = tuple(dict.fromkeys(problems))
    if distinct:
        raise CompileError(*distinct)


def suggest(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'a' or 'b'?"` for the names nearest to `word`; "" where none is near."""
    import difflib

    near = difflib.get_close_matches(word.lower(), list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
