"""Processes that begin with their imports done: a server imports modules once, and forks for each.

What a child does, prints, raises and returns is what a process of its own would.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent

SERVER = """
import importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin.buffer:
    words, code, folder, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.__stdout__.write(f"{status}\\n")
    sys.__stdout__.flush()
else:
    os._exit(0)
os.chdir(folder)
for path, standard in ((out, 1), (err, 2)):
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(opened, standard)
    os.close(opened)
nothing = os.open(os.devnull, os.O_RDONLY)
os.dup2(nothing, 0)
os.close(nothing)
sys.argv = ["-c", *words]
exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
"""


class Forks:
    """A process in an environment, with some modules imported, that runs code in its forks."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]):
        self._scratch = TemporaryDirectory()
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, *modules],
            cwd=self._scratch.name,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self.close)

    def run(
        self, code: str, words: Sequence[str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """The code with these arguments in a folder, as `python -c` would run it."""
        out, err = (Path(self._scratch.name, name) for name in ("out", "err"))
        request = [list(words), code, os.fsdecode(folder), str(out), str(err)]
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the server ended: a module could not be imported"
        texts = (path.read_text(encoding="utf-8") for path in (out, err))
        return subprocess.CompletedProcess(words, int(answer), *texts)

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        self._scratch.cleanup()
