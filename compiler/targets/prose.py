"""Words of an emitted file as lines of text: docstrings, notes and drawings, for every target."""

from __future__ import annotations

import re
import textwrap

LINE = 100


def heading(text: str) -> str:
    """The file's first sentence, which stands behind the quotes of its docstring."""
    return textwrap.fill(text, LINE - 3)


def wrap_sentences(text: str, width: int = LINE) -> list[str]:
    """The text in lines that end with a sentence where they can, so that no reference is broken.

    A sentence begins after a full stop and a space, but for the one in `Fig. 1`.
    """
    lines = [""]
    for sentence in re.split(r"(?<=\.) (?!\d)", text):
        joined = f"{lines[-1]} {sentence}".lstrip()
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines += textwrap.wrap(sentence, width, break_on_hyphens=False)
    return [line for line in lines if line]


def docstring(first: str, rest: str = "") -> str:
    """A docstring's text: in one line where it fits, else the rest below the first sentences."""
    line = f"{first} {rest}".rstrip()
    if len(line) <= LINE - 10:  # indentation and quotes
        return line
    if len(first) > LINE - (7 if rest else 10):  # black would join a lone line with its quotes
        first, _, more = first.rpartition(". ")
        first, rest = f"{first}.", f"{more} {rest}"
    return "\n    ".join([f"{first}\n", *textwrap.wrap(rest, LINE - 4), ""])
