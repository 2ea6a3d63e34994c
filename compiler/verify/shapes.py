"""The weights of a file, by name, as its network has them.

The file is built in a process of its own, which `main` runs.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..errors import CompileError, Problem
from ..ir import Shape
from ..passes.specialize import specialize
from ..passes.trace import trace
from ..provenance import read
from ..targets import target_row
from ..targets.runtime import runtime_of
from ..vendoring.request import model_of
from .isolated import ask, ended
from .loading import Source
from .serving import serve


def shapes_of(text: str, path: Path) -> dict[str, Shape]:
    """Names and shapes of the weights of a file with that text, which is run.

    Names and axes are PyTorch's; a weight of a Keras file that this compiler does not know has the
    name of its variable, and no shape. Raises `CompileError`, also if the framework is missing.
    """
    provenance = read(text)
    target = model_of(provenance)[1] if provenance else ""
    if provenance is None or not target_row(target).runtime:
        raise CompileError(Problem("files of its kind do not run", str(path)))
    code, found = ask({"text": text, "path": str(path)}, "shapes")
    if "shapes" not in found:
        error = found.get("error") or f"its process {ended(code)}"
        raise CompileError(Problem(f"its network cannot be built: {error}", str(path)))
    return {str(name): tuple(shape) for name, shape in found["shapes"].items()}


def main() -> None:
    """Build the file of the request, send the shapes of its weights, and end the process."""
    serve("shapes", lambda request, _: _built(request["text"], Path(request["path"])))


def _built(text: str, path: Path) -> dict[str, Shape]:
    provenance = read(text)
    assert provenance is not None
    model, target = model_of(provenance)
    runtime = runtime_of(target)
    assert runtime is not None
    runtime.prepare("torch")
    ledger = trace(specialize(model))
    with _without_memory(target):
        network = runtime.build(Source(text, path, target), model, "float32")
    found = dict(runtime.shapes(network, ledger))
    return found | {name: () for name in runtime.left_over(network, ledger) if name not in found}


def _without_memory(target: str) -> contextlib.AbstractContextManager[object]:
    """Where PyTorch makes tensors without values."""
    if target != "torch":
        return contextlib.nullcontext()
    import torch

    device: contextlib.AbstractContextManager[object] = torch.device("meta")
    return device
