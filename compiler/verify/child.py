"""The process in which `verify` runs two files, so that they cannot end or forge the verdict."""

from __future__ import annotations

import builtins
import json
import math
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

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
from .serving import serve
from .settings import Settings


def main() -> None:
    """Compare the two files of the request, send the verdict, and end the process."""
    serve("report", lambda request, send: as_dict(_judge(request, send)))


def _judge(request: dict[str, Any], send: Callable[..., None]) -> Report:
    failures: list[str] = []
    threading.excepthook = lambda args: failures.append(
        f"a thread of the files raised {args.exc_type.__name__}: {args.exc_value}"
    )
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
