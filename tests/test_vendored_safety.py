"""Nothing that a user wrote is lost: random edits, killed processes, two runs at once."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import compiler
from compiler.passes.validate import resolve
from compiler.provenance import footer, read, sign
from compiler.vendoring import merging
from compiler.vendoring.bases import keep
from compiler.vendoring.state import provenance_of, state_of
from compiler.vendoring.updating import apply, merged_into

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


@EXAMPLES
@given(edits=CHANGES, changes=CHANGES, git=st.booleans(), windows=st.booleans())
def test_every_line_is_in_the_result_or_in_the_saved_original(
    tmp_path, monkeypatch, edits, changes, git, windows
):
    base = read(emission()).text
    path = tmp_path / "net.py"
    for other in tmp_path.glob("net.py.orig*"):
        other.unlink()
    text = changed(base, edits) + footer(emission())
    before = text.replace("\n", "\r\n" if windows else "\n").encode()
    path.write_bytes(before)
    keep(path, emission())
    with monkeypatch.context() as patch:
        if not git:
            patch.setattr(merging, "merge_by_git", lambda *_: None)
        try:
            provenance = provenance_of(text)
            fresh = signed(changed(base, changes))
            update = merged_into(state_of(path, text, provenance), before, fresh)
            apply(update, path)
        except compiler.CompileError:
            assert path.read_bytes() == before
            return
    originals = [saved.read_bytes() for saved in tmp_path.glob("net.py.orig*")]
    if before in originals or path.read_bytes() == before:
        return
    result = path.read_bytes().decode().splitlines()
    added = merging.Counter(changed(base, edits).splitlines())
    added -= merging.Counter(base.splitlines())
    for line, count in added.items():
        assert not line.strip() or result.count(line) >= count, line


# --- killed processes ---------------------------------------------------------------------------

HAMMER = """
import functools, os, random, shutil, signal, sys, time
from pathlib import Path
from compiler import emitter
from compiler.commands.cli import main
from compiler.vendoring.known import TEMPLATES

rounds, code, prepared, folder = int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:5])
words = sys.argv[6:]
TEMPLATES.insert(0, Path(sys.argv[5]))
emitter.source = functools.cache(emitter.source)  # the children remember what this process emits
emitter.compiled = functools.cache(emitter.compiled)
out, quiet = os.dup(1), os.open(os.devnull, os.O_WRONLY)


def contents(where):
    return {str(p.relative_to(where)): p.read_bytes() for p in where.rglob("*.py")}


def reset():
    shutil.rmtree(folder)
    shutil.copytree(prepared, folder)
    os.chdir(folder)


def start():
    pid = os.fork()
    if not pid:
        os.dup2(quiet, 2)
        os._exit(main(words))
    return pid


def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


os.dup2(quiet, 1)
reset()
assert main(words) == code
old, new = contents(prepared), contents(folder)
reset()
began = time.monotonic()
assert end(start()) == code
lasts = time.monotonic() - began
dice, killed = random.Random(0), 0
for turn in range(rounds):
    reset()
    pid = start()
    time.sleep(dice.uniform(0, lasts))
    os.kill(pid, signal.SIGKILL)
    killed += end(pid) == -signal.SIGKILL
    for name, content in contents(folder).items():
        assert content in (old.get(name), new[name]), name
        if name in old and b"<<<<<<< " in content:
            assert (folder / f"{name}.orig").read_bytes() == old[name]
    if turn % 4 == 0:  # the next run completes it, and two at once do not mix
        pids = [start(), start()]
        assert {end(pid) for pid in pids} <= {0, code}
        assert contents(folder) == new
        left = [str(p) for p in folder.rglob(".plainnet-*")]
        assert not left, left
os.write(out, f"{killed}".encode())
"""
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
    rounds = 100 * TIMES or {"emit": 4}.get(command, 12)
    arguments = [rounds, COMMANDS[command], prepared, folder, VERSIONS / "second", *words]
    done = subprocess.run(
        [sys.executable, "-c", HAMMER, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PLAINNET_CACHE_DIR": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= rounds / 3, done.stdout
