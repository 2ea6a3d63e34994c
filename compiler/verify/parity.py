"""One network in two frameworks: built from source, given the same weights, matched by name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..model import Features, Model
from ..passes.rows import COUNTER, Row
from ..passes.trace import Ledger
from ..segmentors.trans_head import TransUNet
from ..targets.keras_weights import keras_name, keras_value, layer_name, torch_name, weight_axes
from ..targets.runtime import Runtime

BACKENDS = ("tensorflow", "torch", "jax")
_INSTALL = {"jax": "pip install jax"}


@dataclass(frozen=True)
class Source:
    """The text of a file, its path if it is on disk, and its target; "" is the usual one."""

    text: str
    path: Path | None = None
    target: str = ""


@dataclass(frozen=True)
class Mismatch:
    """A weight that has no counterpart; `row` is its ledger row, or the weight itself."""

    row: str
    message: str


@dataclass(frozen=True, slots=True)
class Paired(Row):
    """A row whose Keras layer, or bare variable, has a name that does not follow from its path."""

    layer: str = ""
    variable: str = ""


def layer_of(row: Row) -> str:
    """The name of a row's Keras layer, with slashes as underscores."""
    return row.layer if isinstance(row, Paired) else layer_name(row.path)


def variable_of(row: Row, weight: str) -> str:
    """The path of a weight's Keras variable, with slashes as underscores."""
    if isinstance(row, Paired) and row.variable:
        return f"{row.layer}_{row.variable}"
    return keras_name(layer_of(row), row.kind, weight)


def use_backend(backend: str) -> None:
    """Import torch, and Keras on this backend. Keras chooses it once in a process.

    Raises `CompileError` if one of them is not installed, or Keras already runs on another one.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    imported(("torch", backend, "keras"), backend)
    import keras

    if keras.backend.backend() != backend:
        raise CompileError(
            Problem(
                f"Keras runs on {keras.backend.backend()} already: a process has one backend",
                at=f"--backend {backend}",
                hint="start a new process",
            )
        )
    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)


def imported(libraries: Sequence[str], backend: str) -> None:
    """Import the libraries. Raises `CompileError` if one is not installed."""
    for library in dict.fromkeys(libraries):
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise CompileError(
                Problem(
                    f"{library} cannot be imported: {error}",
                    at=f"--backend {backend}",
                    hint=_INSTALL.get(library, "pip install 'plainnet[torch,keras]'"),
                )
            ) from None


def load(text: str, name: str = "emitted", path: Path | None = None) -> types.ModuleType:
    """Run the text and return it as a module. Like a script, a file can import its neighbours.

    They are removed from `sys.modules`: another folder may hold neighbours of the same names.
    """
    module = types.ModuleType(name)
    folder = str(path.resolve().parent) if path else None
    if path:
        module.__file__ = str(path)
    if folder:
        sys.path.insert(0, folder)
    before = set(sys.modules)
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # no __pycache__ beside somebody else's files
    sys.modules[name] = module  # where dataclasses look for it
    try:
        code = compile(text, str(path or f"<{name}>"), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except ImportError as error:
        if "relative import" not in str(error):
            raise
        raise ImportError(
            "verify runs each file as a script: import neighbours without the leading dot"
        ) from None
    finally:
        sys.dont_write_bytecode = writes
        if folder in sys.path:
            sys.path.remove(str(folder))
        for new in set(sys.modules) - before:
            origin = getattr(sys.modules[new], "__file__", None)
            if folder and new != name and origin and Path(origin).is_relative_to(folder):
                del sys.modules[new]
    return module


def constructor(source: Source, class_name: str, framework: str) -> Any:
    """The constructor of that name in the file, or its only public name. Raises `NameError`."""
    module = load(source.text, f"emitted_{framework}", source.path)
    public = list(getattr(module, "__all__", []))
    name = class_name if hasattr(module, class_name) or len(public) != 1 else public[0]
    if not callable(getattr(module, name, None)):
        listed = f"`__all__` lists {', '.join(map(str, public))}" if public else "no `__all__`"
        raise NameError(f"the {framework} file defines no {name} ({listed})")
    return getattr(module, name)


def build_torch(source: Source, model: Model) -> Any:
    """The file's network in PyTorch, at the model's size and channels."""
    arguments: dict[str, Any] = {"in_channels": model.in_channels, **_classes(model)}
    if isinstance(model.head, TransUNet):
        arguments["image_size"] = model.input_shape[:-1]
    return _call(constructor(source, model.class_name, "torch"), arguments)


def build_keras(source: Source, model: Model) -> Any:
    """The file's network in Keras, at the model's size and channels."""
    arguments = {"input_shape": model.input_shape, **_classes(model)}
    return _call(constructor(source, model.class_name, "keras"), arguments)


def _call(make: Any, arguments: dict[str, Any]) -> Any:
    """Call a constructor with those arguments that it takes: an edited file may have fewer."""
    taken = inspect.signature(make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        arguments = {name: value for name, value in arguments.items() if name in taken}
    return make(**arguments)


def _classes(model: Model) -> dict[str, int]:
    return {} if isinstance(model.head, Features) else {"num_classes": model.head.num_classes}


def torch_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes in the PyTorch model's own order, without the counters of batches."""
    return {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.endswith(COUNTER)
    }


def by_path(model: Any) -> dict[str, Any]:
    """The variables of a Keras model by their paths, with slashes as underscores."""
    return {variable.path.replace("/", "_"): variable for variable in model.weights}


def ledger_shapes(ledger: Ledger) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes of a ledger."""
    return {torch_name(row.path, name): shape for row in ledger.rows for name, shape in row.weights}


def torch_shape(row: Row, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a Keras weight with its axes in PyTorch's order."""
    wanted = dict(row.weights)[name]
    if row.kind == "attention_in" and len(shape) == len(wanted) + 1:  # Keras tells the heads apart
        shape = (*shape[:-2], shape[-2] * shape[-1])
    if (row.kind, name) == ("attention_out", "weight") and len(shape) == 3:
        shape = (shape[0] * shape[1], shape[2])
    if len(shape) != len(wanted):
        return shape
    axes = weight_axes(row.kind, name, len(shape))
    return tuple(shape[axes.index(axis)] for axis in range(len(shape)))


def keras_shapes(model: Any, ledger: Ledger) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes of a Keras model in PyTorch's layout, as far as it has them."""
    variables = by_path(model)
    return {
        torch_name(row.path, name): torch_shape(row, name, tuple(variables[found].shape))
        for row in ledger.rows
        for name, _ in row.weights
        if (found := variable_of(row, name)) in variables
    }


def mismatches(networks: Sequence[tuple[Runtime, Any]], ledger: Ledger) -> list[Mismatch]:
    """Every weight without a counterpart: missing, left over, or of another shape."""
    wanted = ledger_shapes(ledger)
    rows = {torch_name(row.path, name): row.path for row in ledger.rows for name, _ in row.weights}
    found = {runtime.name: runtime.shapes(network, ledger) for runtime, network in networks}
    problems = []
    for weight, shape in wanted.items():
        for framework, shapes in found.items():
            if weight not in shapes:
                problems.append(Mismatch(rows[weight], f"{weight} is missing in {framework}"))
            elif shapes[weight] != shape:
                is_, was = (" x ".join(map(str, s)) for s in (shapes[weight], shape))
                problems.append(
                    Mismatch(
                        rows[weight], f"{weight} is {is_} in {framework}, but {was} in the ledger"
                    )
                )
    for runtime, network in networks:
        problems += [
            Mismatch(name, f"{name} of {runtime.name} is left over")
            for name in runtime.left_over(network, ledger)
        ]
    problems += [
        Mismatch("", f"two weights of {runtime.name} have the same name")
        for runtime, network in networks
        if not problems and runtime.twice(network, ledger)
    ]
    return problems


def random_values(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Iterator[tuple[str, Any]]:
    """Random weights and norm statistics, scaled so that activations stay near 1."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            array = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            array = 0.1 * rng.standard_normal(shape)
        else:
            array = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        yield name, np.asarray(array)


def randomize(model: Any, seed: int = 0) -> None:
    """Random weights for a PyTorch model."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for name, value in random_values(torch_shapes(model), seed):
            state[name].copy_(torch.from_numpy(value))


def assign_to_keras(model: Any, ledger: Ledger, values: Mapping[str, Any]) -> None:
    """Give a Keras model these weights, by PyTorch's names and in its layout."""
    variables = by_path(model)
    for row in ledger.rows:
        for name, _ in row.weights:
            variable = variables[variable_of(row, name)]
            value = values[torch_name(row.path, name)].copy()  # JAX may keep the memory
            variable.assign(keras_value(row.kind, name, value, tuple(variable.shape)))


def image(shape: tuple[int, ...], batch: int = 2, seed: int = 1) -> Any:
    """Noise, channels last, in float64."""
    import numpy as np

    return np.random.default_rng(seed).standard_normal((batch, *shape))


def channels_first(x: Any) -> Any:
    """(N, D, H, W, C) -> (N, C, D, H, W)."""
    import numpy as np

    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def difference(a: Any, b: Any, floor: float = 0.0) -> float:
    """Largest difference over the largest value of `b`, or over `floor` where that is larger.

    NaN if either holds one. Raises `ValueError` if the shapes differ.
    """
    import numpy as np

    if a.shape != b.shape:
        raise ValueError(f"shapes {b.shape} in torch and {a.shape} in keras")
    largest = float(np.abs(a - b).max(initial=0.0))
    scale = max(float(np.abs(b).max(initial=0.0)), floor)
    return largest if largest == 0.0 else largest / scale if scale else float("inf")
