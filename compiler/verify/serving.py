"""What a process sends that runs somebody's files, so that they cannot end or forge its answer.

The request arrives on stdin. Messages go back as JSON lines, each with the request's token, to what
was stdout before the files were run; a file's own output goes to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..errors import CompileError


def serve(kind: str, answer: Callable[[dict[str, Any], Callable[..., None]], object]) -> None:
    """Send the answer to the request, or why there is none, and end the process.

    `answer` is given the request and a function that sends a message.
    """
    request = json.loads(sys.stdin.buffer.readline())
    send = sender(request["token"])
    end_with_parent()
    try:
        send(kind, answer(request, send))
    except CompileError as error:
        send("problems", [[p.message, p.at, p.hint] for p in error.problems])
    except BaseException as error:  # a file may raise a KeyboardInterrupt
        send("error", f"{type(error).__name__}: {error}")
    os._exit(0)  # whatever the files left running or registered for the end


def sender(token: str) -> Callable[[str, object], None]:
    """A function that sends a message, from this process alone: a file may fork."""
    sys.stdout.flush()
    channel, process = os.dup(1), os.getpid()
    os.dup2(2, 1)
    dumps, write, getpid = json.dumps, os.write, os.getpid

    def send(kind: str, value: object) -> None:
        if getpid() == process:
            left = (dumps({"token": token, kind: value}) + "\n").encode()
            while left:
                left = left[write(channel, left) :]

    return send


def end_with_parent() -> None:
    """Leave no orphan: the parent's end closes stdin, and ends this process and its children."""
    stdin = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(stdin, 1):
            pass
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
