"""Run two files in a process of their own and take nothing but an explicit verdict from it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from ..errors import CompileError, Problem, raise_all
from ..model import Model
from .conditioning import check_size, sized
from .pairs import read_pair
from .report import Report, from_dict
from .settings import Settings, no_checkpoint, of_deployed
from .sweep import sizes

# Loads this package from its folder: the working folder may hold a `compiler.py` of its own.
_START = """
import sys
folder, module, sys.path[:] = sys.argv[1], sys.argv[2], sys.argv[3:]
from importlib import import_module, util
spec = util.spec_from_file_location(
    "_plainnet", folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules["_plainnet"] = util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["_plainnet"])
import_module("_plainnet.verify." + module).main()
"""
_FOLDER = Path(__file__).resolve().parents[1]
_LONGEST = 2**26  # characters of all messages


def verify_files(names: Sequence[str], settings: Settings) -> Report:
    """Compare a PyTorch file and a Keras file of one network, or a training file and an inference
    file. Only for files that you trust.

    Their code is run, in a process of its own: whatever they do to it, only a verdict that the
    comparison sends itself counts. Raises `CompileError` if they cannot be compared.
    """
    model, files = read_pair(names)
    size = sizes(settings.size, model.dims)
    model = sized(model, size, fixed=True)
    if files[0].target == files[1].target:  # a training file and its inference file, at some sizes
        settings = of_deployed(replace(settings, size=size))
    else:
        check_size(model)
        raise_all(no_checkpoint(settings))
        settings = replace(settings, size=model.input_shape[:-1])
    request = {
        "files": list(names),
        "settings": asdict(settings),
        "size": model.input_shape[:-1],
    }
    code, found = ask(request, "child")
    return _verdict(model, settings, code, found)


def ask(request: dict[str, Any], module: str) -> tuple[int, dict[str, Any]]:
    """Run a module of this package in a process of its own. None of its children remains.

    Returns its exit code, and what it sent with a token that only this request has. Raises
    `CompileError` if it sent problems.
    """
    token = secrets.token_hex(16)
    code, lines = _run(json.dumps({**request, "token": token}), module)
    found: dict[str, Any] = {}
    for line in lines:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and message.pop("token", None) == token:
                found |= message
    if "problems" in found:
        raise CompileError(*(Problem(*parts) for parts in found["problems"]))
    return code, found


def _run(request: str, module: str) -> tuple[int, list[str]]:
    """The exit code of the process, and the lines that it sent."""
    process = _started([str(_FOLDER), module, *sys.path])
    assert process.stdin and process.stdout
    received: list[bytes] = []
    reader = threading.Thread(target=_read, args=(process.stdout, received), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
        code = process.wait()
    finally:
        _kill(process)
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        reader.join(timeout=10)
    return code, b"".join(received).decode("utf-8", "replace").splitlines()


def _started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=_stderr(),
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends all of them
    )


def _read(pipe: IO[bytes], received: list[bytes]) -> None:
    """Read to the end, keeping no more than a verdict can need."""
    length = 0
    while part := os.read(pipe.fileno(), 2**16):
        length += len(part)
        if length <= _LONGEST:
            received.append(part)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _stderr() -> int | None:
    """Where warnings and the output of files go; None stands for this process' own stderr."""
    try:
        sys.stderr.flush()
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _verdict(model: Model, settings: Settings, code: int, found: dict[str, Any]) -> Report:
    if "report" in found and code == 0:
        return from_dict(found["report"], model, settings)
    error = found.get("error") or (
        f"the process that ran the files {ended(code)}, without a verdict"
    )
    return Report(model, settings, error=f"{found.get('doing', 'starting')}: {error}")


def ended(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exited with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
