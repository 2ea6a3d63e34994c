"""Nothing that a user wrote is lost: random edits, killed processes, two runs at once."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import compiler
from compiler.emitter import formatted, mode
from compiler.passes.validate import resolve
from compiler.provenance import footer, read, sign
from compiler.vendoring import merging
from compiler.vendoring.bases import keep
from compiler.vendoring.state import provenance_of, state_of
from compiler.vendoring.updating import CONFLICTS, UPDATED, apply, merged_into

from .vendored import ROOT, VERSIONS, compiler_with

TIMES = int(os.environ.get("PLAINNET_FUZZ", "0"))
EXAMPLES = settings(
    max_examples=60 * max(1, TIMES),
    deadline=None,
    derandomize=not TIMES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@functools.cache
def emission() -> str:
    return compiler.emit("seresnet18", target="torch")


@functools.cache
def signed(text: str) -> str:
    """A text as if the compiler had emitted it."""
    return sign(text, resolve("seresnet18", {}), "torch", "black 1.0")


# Lines that are there already, that look like marks of conflicts, and ones without a meaning.
LINES = st.one_of(
    st.sampled_from(["", "    return x", "<<<<<<< ", "=======", "# mine", '"""', "x = (", "\tx"]),
    st.text("ab #\"'\\()[]:=\t", max_size=12),
    st.integers(0, 999).map(lambda n: f"mine_{n} = {n}"),
)
PLACES = st.integers(0, 200)
CHANGES = st.lists(st.tuples(PLACES, st.integers(0, 4), st.lists(LINES, max_size=3)), max_size=6)


def changed(text: str, changes) -> str:
    """The text with lines removed and put in, from each place on."""
    lines = text.splitlines()
    for place, removed, added in changes:
        start = place % (len(lines) + 1)
        lines[start : start + removed] = added
    return "\n".join(lines) + "\n"


seen: Counter[str] = Counter()


@EXAMPLES
@given(
    edits=CHANGES,
    changes=CHANGES,
    git=st.booleans(),
    windows=st.booleans(),
    width=st.sampled_from([0, 0, 0, 60]),
)
def test_every_line_is_in_the_result_or_in_the_saved_original(
    tmp_path, monkeypatch, edits, changes, git, windows, width
):
    base = read(emission()).text
    path = tmp_path / "net.py"
    for other in tmp_path.glob("net.py.orig*"):
        other.unlink()
    edited = changed(base, edits)
    if width:
        edited = formatted(edited, mode(width, True))
    text = edited + footer(emission())
    before = text.replace("\n", "\r\n" if windows else "\n").encode()
    path.write_bytes(before)
    keep(path, emission())
    with monkeypatch.context() as patch:
        if not git:
            patch.setattr(merging, "merge_by_git", lambda *_: None)
        try:
            provenance = provenance_of(text)
            fresh = signed(changed(base, changes))
            state = replace(state_of(path, text, provenance), stale=True)
            update = merged_into(state, before, fresh)
            assert update.outcome in (UPDATED, CONFLICTS)
            apply(update, path)
        except compiler.CompileError:
            assert path.read_bytes() == before
            return
    seen.update({update.outcome: 1, "saved": update.original is not None})
    originals = [saved.read_bytes() for saved in tmp_path.glob("net.py.orig*")]
    if before in originals:
        return
    result = path.read_bytes().decode().splitlines()
    added = Counter(edited.splitlines())
    added -= Counter(base.splitlines())
    for line, count in added.items():
        assert not line.strip() or result.count(line) >= count, line


def test_the_examples_were_of_every_kind():
    """Merges with and without conflicts, and originals that were saved."""
    if seen:  # in the process that ran them
        assert min(seen[kind] for kind in (UPDATED, CONFLICTS, "saved")) >= 10, seen


# --- killed processes ---------------------------------------------------------------------------

PROJECT = """
[tool.plainnet]
networks = [
    {file = "nets/a.py", model = "seresnet18", target = "torch"},
    {file = "nets/b.py", model = "seresnet18", target = "torch", segmentor = "unet"},
    {file = "nets/c.py", model = "resnet18", target = "torch"},
]
"""
COMMANDS = {"update": 1, "sync": 1, "emit": 0}


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_moment(tmp_path, command):
    """Every file is whole, old or new; a second run completes; two at once do not mix."""
    prepared, folder = tmp_path / "prepared", tmp_path / "folder"
    (prepared / "nets").mkdir(parents=True)
    folder.mkdir()
    with compiler_with("first"):
        first = compiler.emit("seresnet18", target="torch")
        second = compiler.emit("seresnet18", target="torch", segmentor="unet")
    (prepared / "pyproject.toml").write_text(PROJECT)
    words = ["sync"]
    if command == "emit":
        words = ["emit", "--all", "-o", "nets/"]
        (prepared / "nets" / "torch").mkdir()
        (prepared / "nets" / "torch" / "seresnet18_2d.py").write_text(first)
    else:
        path = prepared / "nets" / "a.py"
        path.write_text(first.replace("STEM_CHANNELS = 64", "STEM_CHANNELS = 48"))
        keep(path, first)
        path = prepared / "nets" / "b.py"
        path.write_text(second.replace("to the size of", "to the very size of"))
        keep(path, second)
        if command == "update":
            words = ["update", "nets/a.py", "nets/b.py"]
    rounds = 100 * TIMES or {"emit": 5}.get(command, 9)
    arguments = [rounds, COMMANDS[command], prepared, folder, VERSIONS / "second", *words]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "hammer.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PLAINNET_CACHE_DIR": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    killed, calls = map(int, done.stdout.split())
    assert killed >= rounds / 2 and calls > 20, done.stdout
