"""Processes that begin with their imports done: a server imports modules once, and forks for each.

What such a process does, prints, raises and returns is what one of its own would.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

# Between the server and each process stands a small one that waits for its end.
SERVER = """
import importlib, json, os, socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
for name in sys.argv[2:]:
    importlib.import_module(name)
while True:
    request, descriptors, _, _ = socket.recv_fds(server, 2**20, 4)
    if not request:
        os._exit(0)
    if os.fork() == 0:
        break
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
server.close()
*standard, status = descriptors
child = os.fork()
if child:
    for descriptor in standard:
        os.close(descriptor)
    os.write(status, f"{child}\\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(status, f"{code}\\n".encode())
    os._exit(0)
os.setsid()
os.close(status)
for number, descriptor in enumerate(standard):
    os.dup2(descriptor, number)
    os.close(descriptor)
words, code, folder = json.loads(request)
os.chdir(folder)
sys.argv = ["-c", *words]
exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
"""


class Forked:
    """A process that was started, as far as `subprocess.Popen` is asked of it here."""

    def __init__(self, status: int, stdin: IO[bytes] | None, stdout: IO[bytes] | None):
        self._status = os.fdopen(status, encoding="ascii")
        self.pid = int(self._status.readline())
        self.stdin, self.stdout = stdin, stdout
        self._code: int | None = None

    def wait(self) -> int:
        if self._code is None:
            with self._status:
                self._code = int(self._status.readline())
        return self._code


class Forks:
    """A process in an environment, with some modules imported, that runs code in its forks."""

    def __init__(self, modules: Sequence[str], environment: dict[str, str]):
        self._scratch = TemporaryDirectory()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(theirs.fileno()), *modules],
                cwd=self._scratch.name,
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def _start(self, code: str, words: Sequence[str], folder: str, standard: list[int]) -> int:
        """Where the status of the process is read."""
        status, theirs = os.pipe()
        request = json.dumps([list(words), code, folder]).encode()
        socket.send_fds(self._socket, [request], [*standard, theirs])
        os.close(theirs)
        return status

    def run(
        self, code: str, words: Sequence[str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """The code with these arguments in a folder, as `python -c` would run it."""
        scratch = Path(self._scratch.name)
        with (
            open(os.devnull, "rb") as nothing,
            open(scratch / "out", "w+", encoding="utf-8", newline="") as out,
            open(scratch / "err", "w+", encoding="utf-8", newline="") as err,
        ):
            standard = [nothing.fileno(), out.fileno(), err.fileno()]
            done = Forked(self._start(code, words, os.fsdecode(folder), standard), None, None)
            code_of_exit = done.wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, code_of_exit, out.read(), err.read())

    def popen(self, code: str, words: Sequence[str], stderr: int) -> Forked:
        """The code with pipes as its stdin and stdout, in the folder of this process."""
        (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
        status = self._start(code, words, os.getcwd(), [theirs_in, theirs_out, stderr])
        os.close(theirs_in)
        os.close(theirs_out)
        return Forked(status, os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"))

    def close(self) -> None:
        self._socket.close()
        self._server.wait()
        self._scratch.cleanup()


@cache
def _forks(modules: tuple[str, ...], *environment: tuple[str, str]) -> Forks:
    return Forks(modules, dict(environment))


def forks(modules: tuple[str, ...], environment: dict[str, str]) -> Forks:
    """The process with these modules in this environment; there is one of each kind."""
    return _forks(modules, *sorted(environment.items()))
