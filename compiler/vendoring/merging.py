"""Three texts to one: edits and a newer emission, joined over what both began as."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

OURS, BASE, THEIRS = "yours", "as it was emitted", "as it is emitted now"
_PATIENCE = 60  # seconds that git may take for files of a few thousand lines


@dataclass(frozen=True)
class Merged:
    """A text, and how many conflicts are marked in it."""

    text: str
    conflicts: int


def merge(base: str, edited: str, fresh: str) -> Merged:
    """Join what `edited` and `fresh` change in `base`; where both change the same lines, mark it.

    Uses `git merge-file` if git is installed. `merge_lines` is used without it: the same idea with
    another search for equal lines, so that conflicts may be larger.
    """
    if edited in (base, fresh):
        return Merged(fresh, 0)
    if fresh == base:
        return Merged(edited, 0)
    found = merge_by_git(base, edited, fresh)
    return merge_lines(base, edited, fresh) if found is None else found


def merge_by_git(base: str, edited: str, fresh: str) -> Merged | None:
    """Merge by `git merge-file`, with the base in each conflict; None if git cannot do it."""
    words = ["git", "merge-file", "-p", "--diff3", "--marker-size=7"]
    names = ("edited", "base", "fresh")
    labels = [word for label in (OURS, BASE, THEIRS) for word in ("-L", label)]
    try:
        with tempfile.TemporaryDirectory(prefix="plainnet-") as folder:
            for name, text in zip(names, (edited, base, fresh)):
                (Path(folder) / name).write_text(text, encoding="utf-8", newline="\n")
            done = subprocess.run(
                [*words, *labels, *names],
                cwd=folder,
                env={**os.environ, "GIT_CEILING_DIRECTORIES": str(Path(folder).parent)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
            )
        if not 0 <= done.returncode <= 127:  # git's way to report an error
            return None
        text = done.stdout.decode()
        return Merged(text, sum(line == f"<<<<<<< {OURS}" for line in text.split("\n")))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def merge_lines(base: str, edited: str, fresh: str) -> Merged:
    """Merge line by line: between lines that all three share, at most one side may have changed."""
    texts = [text.splitlines(keepends=True) for text in (base, edited, fresh)]
    merged: list[str] = []
    conflicts = 0
    for shared, old, mine, new in _chunks(*texts):
        if mine == new or new == old:
            merged += mine
        elif mine == old:
            merged += new
        else:
            conflicts += 1
            merged += [
                *[f"<<<<<<< {OURS}\n", *_ended(mine)],
                *[f"||||||| {BASE}\n", *_ended(old), "=======\n"],
                *[*_ended(new), f">>>>>>> {THEIRS}\n"],
            ]
        merged += shared
    return Merged("".join(merged), conflicts)


def _ended(lines: Sequence[str]) -> list[str]:
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]


def _chunks(
    base: list[str], edited: list[str], fresh: list[str]
) -> Iterator[tuple[list[str], list[str], list[str], list[str]]]:
    """Lines that all three share, each time with what the three have in front of them."""
    at = [0, 0, 0]
    for start, mine, new, length in _shared(base, edited, fresh):
        parts = base[at[0] : start], edited[at[1] : mine], fresh[at[2] : new]
        yield base[start : start + length], *parts
        at = [start + length, mine + length, new + length]
    yield [], base[at[0] :], edited[at[1] :], fresh[at[2] :]


def _shared(
    base: list[str], edited: list[str], fresh: list[str]
) -> Iterator[tuple[int, int, int, int]]:
    """Where lines of the base are in both others: their places in the three, and how many."""
    mine = SequenceMatcher(None, base, edited, autojunk=False).get_matching_blocks()
    new = SequenceMatcher(None, base, fresh, autojunk=False).get_matching_blocks()
    i = j = 0
    while i < len(mine) and j < len(new):
        start = max(mine[i].a, new[j].a)
        end = min(mine[i].a + mine[i].size, new[j].a + new[j].size)
        if start < end:
            yield (
                start,
                mine[i].b + start - mine[i].a,
                new[j].b + start - new[j].a,
                end - start,
            )
        if mine[i].a + mine[i].size < new[j].a + new[j].size:
            i += 1
        else:
            j += 1


def lost_lines(base: str, edited: str, result: str) -> list[str]:
    """The lines that somebody added to the base and the result does not have, without blank ones.

    Lines are compared without the space around them.
    """
    counts = [Counter(map(str.strip, text.splitlines())) for text in (edited, base, result)]
    added = counts[0] - counts[1]
    return [line for line in added if line and counts[2][line] < added[line]]
