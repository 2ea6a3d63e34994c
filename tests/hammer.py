"""Kills a command at many moments, in processes of its own: `test_vendored_safety` starts it."""

import functools
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from compiler import emitter
from compiler.commands.cli import main
from compiler.vendoring.known import TEMPLATES

TOUCHING = frozenset(
    ["open", "write", "close", "replace", "rename", "fsync", "chmod", "mkdir", "rmdir", "unlink"]
)  # calls that change what is on the disk
OURS = os.sep + "compiler" + os.sep
rounds, code, prepared, folder = int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:5])
words = sys.argv[6:]
TEMPLATES.insert(0, Path(sys.argv[5]))
emitter.source = functools.cache(emitter.source)  # the children remember what this process emits
emitter.compiled = functools.cache(emitter.compiled)
out, quiet = os.dup(1), os.open(os.devnull, os.O_WRONLY)


def contents(where):
    return {str(p.relative_to(where)): p.read_bytes() for p in where.rglob("*.py*") if p.is_file()}


def reset():
    shutil.rmtree(folder)
    shutil.copytree(prepared, folder)
    os.chdir(folder)


def callers(frame):
    """The files of the functions that made a call, up to the fourth."""
    for _ in range(4):
        if frame is not None:
            yield frame.f_code.co_filename
            frame = frame.f_back


def start(last=None, report=None):
    """A process; it kills itself at that call that touches a file, or reports how many it made."""
    pid = os.fork()
    if pid:
        return pid
    os.dup2(quiet, 2)
    made = 0

    def watch(frame, event, function):
        nonlocal made
        touches = event in ("c_call", "c_return") and function.__name__ in TOUCHING
        if touches and any(OURS in name for name in callers(frame)):
            made += 1
            if made == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    code = main(words)
    sys.setprofile(None)
    if report is not None:
        os.write(report, str(made).encode())
    os._exit(code)


def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


os.dup2(quiet, 1)
reset()
assert main(words) == code
old, new = contents(prepared), contents(folder)
for name, content in new.items():
    assert b"<<<<<<< " not in content or new.get(f"{name}.orig") == old[name], name
reset()
reads, writes = os.pipe()
began = time.monotonic()
assert end(start(report=writes)) == code
lasts = time.monotonic() - began
calls = int(os.read(reads, 100))
dice, killed, moments = random.Random(0), 0, []
for turn in range(rounds):
    reset()
    if turn % 3:  # after or before each of the calls, in no order
        moments = moments or dice.sample(range(1, calls + 1), calls)
        pid = start(moments.pop())
    else:
        pid = start()
        time.sleep(dice.uniform(0, lasts))
        os.kill(pid, signal.SIGKILL)
    killed += end(pid) == -signal.SIGKILL
    found = contents(folder)
    for name, content in found.items():
        assert content in (old.get(name), new[name]), name
        if b"<<<<<<< " in content:
            assert found.get(f"{name}.orig") == old[name], name
    if turn % 4 == 0:  # the next run completes it, and two at once do not mix
        pids = [start(), start()]
        assert {end(pid) for pid in pids} <= {0, code}
        assert contents(folder) == new
        left = [str(p) for p in folder.rglob(".plainnet-*")]
        assert not left, left
os.write(out, f"{killed} {calls}".encode())
