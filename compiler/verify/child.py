"""The process in which `verify` runs two files, so that they cannot end or forge the verdict.

The request arrives on stdin. Messages go back as JSON lines, each with the request's token, to what
was stdout before the files were run; a file's own output goes to stderr.
"""

from __future__ import annotations

import builtins
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import CompileError
from ..targets.runtime import runtime_of
from . import (
    compare,
    conditioning,
    deployed,
    divergence,
    gradients,
    joint,
    loading,
    measure,
    pairs,
    parity,
    report,
    runtimes,
)
from .report import Report, as_dict
from .settings import Settings


def main() -> None:
    """Compare the two files of the request, send the verdict, and end the process."""
    request = json.loads(sys.stdin.buffer.readline())
    send = sender(request["token"])
    end_with_parent()
    failures: list[str] = []
    threading.excepthook = lambda args: failures.append(
        f"a thread of the files raised {args.exc_type.__name__}: {args.exc_value}"
    )
    try:
        send("report", as_dict(_judge(request, send, failures)))
    except CompileError as error:
        send("problems", [[p.message, p.at, p.hint] for p in error.problems])
    except BaseException as error:  # a file may raise a KeyboardInterrupt
        send("error", f"{type(error).__name__}: {error}")
    os._exit(0)  # whatever the files left running or registered for the end


def _judge(request: dict[str, Any], send: Callable[..., None], failures: list[str]) -> Report:
    size = request["settings"]["size"]
    settings = Settings(**{**request["settings"], "size": tuple(size) if size else None})
    model, files = pairs.read_pair(request["files"])
    model = conditioning.sized(model, tuple(request["size"]), fixed=True)
    for runtime in filter(None, (runtime_of(file.target) for file in files)):
        runtime.prepare(settings.backend)
    before = _functions()
    run = deployed.verify if files[0].target == files[1].target else compare.verify
    found = run(model, settings, files, lambda doing: send("doing", doing))
    if replaced := [name for name, value in _functions().items() if value is not before.get(name)]:
        failures.append(f"the files replace {', '.join(replaced[:5])}")
    if failures and not found.error:
        found.error = failures[0]
    return found


def _functions() -> dict[str, Any]:
    """What the comparison relies on and a file could replace, by name."""
    import numpy

    owners: Iterable[Any] = (builtins, json, math, numpy, *_OURS)
    return {
        f"{owner.__name__}.{name}": value
        for owner in owners
        for name, value in vars(owner).items()
        if (callable(value) or isinstance(value, property)) and not name.startswith("_")
    } | {"os._exit": os._exit}


_OURS = (
    compare,
    conditioning,
    deployed,
    divergence,
    gradients,
    joint,
    loading,
    measure,
    parity,
    report,
    runtimes,
    *(Report, runtimes.TorchRuntime, runtimes.KerasRuntime),
)


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
