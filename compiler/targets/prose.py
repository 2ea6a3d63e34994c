"""Words of an emitted file as lines of text: docstrings, notes and drawings, for every target."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

LINE = 100


def heading(text: str) -> str:
    """The file's first sentence, which stands behind the quotes of its docstring."""
    return textwrap.fill(text, LINE - 3)


def grid(skips: Sequence[str], deepest: str) -> list[str]:
    """UNet++'s triangle of nodes, as its paper draws it but the deepest row last."""
    lines = []
    for row in reversed(range(len(skips))):
        nodes = " - ".join(f"{row}.{i}" for i in range(row + 1))
        lines.append(f"{skips[row]} - {nodes}")
        lines.append("    " + "     ".join("/" * (row + 1)))
    return [*lines, deepest]


# A comment in the attention masks of both targets.
ATTEND = "# Attend where it is positive (sigmoid above 0.5), or everywhere if none is."


def in_lines(constants: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Named numbers, some to a line: `EMBED, HEADS` and `512, 8`."""
    lines = []
    for i in range(0, len(constants), 6):
        names, values = zip(*constants[i : i + 6])
        lines.append((", ".join(names), ", ".join(map(str, values))))
    return lines


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
    if len(first) > LINE - 7:
        first, _, more = first.rpartition(". ")
        first, rest = f"{first}.", f"{more} {rest}"
    return "\n    ".join([f"{first}\n", *textwrap.wrap(rest, LINE - 4), ""])


def channel_constants(columns: Sequence[str], skips: Sequence[str]) -> list[tuple[str, str]]:
    """The channels of all levels and of the skips, which follow from the table of stages."""
    channels = f"*(stage[{columns.index('channels')}] for stage in STAGES)"
    return [
        ("CHANNELS", f"(STEM_CHANNELS, {channels})  # P1..P{len(skips) + 1}"),
        ("SKIP_CHANNELS", f"CHANNELS[-2::-1]  # {', '.join(skips)}"),
    ]
