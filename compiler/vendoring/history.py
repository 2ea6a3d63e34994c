"""A base that was not kept, from the history of the repository: somebody may have committed it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from ..errors import CompileError
from ..limits import SOURCE_BYTES
from ..provenance import Provenance
from ..reading import decoded
from .bases import as_base

_COMMITS = 300  # that changed the file, the newest first
_PATIENCE = 20  # seconds


def from_history(path: Path, digest: str) -> Provenance | None:
    """The emission of that digest among the committed versions of the file; None without git.

    Renames are followed. Git reads its own objects and runs nothing of the repository's.
    """
    try:
        folder = path.resolve().parent
        log = ["log", "--follow", f"-{_COMMITS}", "--format=%x00%H", "--name-only", "-z", "--"]
        commits = _git(folder, [*log, path.resolve().name], b"")
        asked = [f"{commit}:{name}" for commit, name in _records(commits)]
        if not asked or any("\n" in each for each in asked):
            return None
        answer = _git(folder, ["cat-file", "--batch"], "\n".join(asked).encode() + b"\n")
        for content in _contents(answer):
            if found := _as_base(content, digest):
                return found
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError):
        pass
    return None


def _git(folder: Path, words: Sequence[str], given: bytes) -> bytes:
    return subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false", *words],
        cwd=folder,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_PATIENCE,
        check=True,
    ).stdout


def _records(log: bytes) -> Iterator[tuple[str, str]]:
    """The commits of a log, each with the name that the file had."""
    text = log.decode("utf-8", "surrogateescape")
    parts = [part.strip() for part in text.split("\0") if part.strip()]
    for commit, name in pairwise(parts):
        if _is_commit(commit) and not _is_commit(name):
            yield commit, name


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and set(text) <= set("0123456789abcdef")


def _contents(answer: bytes) -> Iterator[bytes]:
    """The objects in an answer of `git cat-file --batch`; those that are missing are left out."""
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        header = answer[at:end].split(b" ")
        at = end + 1
        if header[-1] != b"missing" and len(header) == 3 and header[2].isdigit():
            size = int(header[2])
            if size <= SOURCE_BYTES.largest:
                yield answer[at : at + size]
            at += size + 1


def _as_base(content: bytes, digest: str) -> Provenance | None:
    try:
        return as_base(decoded(content, ""), digest)
    except CompileError:
        return None
