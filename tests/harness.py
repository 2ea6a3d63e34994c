"""Emitted text -> model -> numbers, in both frameworks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import types
from functools import cache

import keras
import numpy as np
import torch

import compiler
from compiler.api import traced
from compiler.passes.trace import Ledger
from compiler.passes.validate import resolve
from compiler.targets.keras_weights import WEIGHTS, layer_name, weight_axes


def load(text: str, name: str = "emitted") -> types.ModuleType:
    """The text as a module."""
    module = types.ModuleType(name)
    exec(compile(text, f"<{name}>", "exec"), module.__dict__)
    return module


def constructor(text: str):
    """The one public constructor of an emitted text."""
    module = load(text)
    (name,) = module.__all__
    return getattr(module, name)


@cache
def ledger_of(encoder, **options) -> Ledger:
    return traced(resolve(encoder, options))[1]


def torch_shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes in the model's own order, without the counters of batches."""
    return {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def ledger_shapes(ledger: Ledger) -> dict[str, tuple[int, ...]]:
    return {f"{row.path}.{name}": shape for row in ledger.rows for name, shape in row.weights}


def keras_variables(model: keras.Model, row) -> dict[str, keras.Variable]:
    """The Keras variables of one ledger row, by PyTorch's names, in Keras' order."""
    names = {WEIGHTS[row.kind, name][0]: name for name, _ in row.weights}
    layer = model.get_layer(layer_name(row.path))
    return {names[variable.name]: variable for variable in layer.weights}


def torch_shape(row, name: str, variable) -> tuple[int, ...]:
    """The shape of a Keras weight with its axes in PyTorch's order."""
    shape = tuple(variable.shape)
    axes = weight_axes(row.kind, name, len(shape))
    return tuple(shape[axes.index(axis)] for axis in range(len(shape)))


def keras_shapes(model: keras.Model, ledger: Ledger) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes of a Keras model, as PyTorch has them."""
    return {
        f"{row.path}.{name}": torch_shape(row, name, variable)
        for row in ledger.rows
        for name, variable in keras_variables(model, row).items()
    }


def randomize(model: torch.nn.Module, seed: int = 0) -> None:
    """Random weights and norm statistics, scaled so that activations stay near 1."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            shape = tuple(value.shape)
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                array = rng.uniform(0.5, 1.5, shape)
            elif value.ndim == 1:
                array = 0.1 * rng.standard_normal(shape)
            else:
                array = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
            value.copy_(torch.from_numpy(np.asarray(array)))


def copy_to_keras(source: torch.nn.Module, target: keras.Model, ledger: Ledger) -> None:
    """Every weight by its name; one that has no place on either side is an error."""
    state = source.state_dict()
    placed = 0
    for row in ledger.rows:
        for name, variable in keras_variables(target, row).items():
            value = state[f"{row.path}.{name}"].numpy()
            variable.assign(np.transpose(value, weight_axes(row.kind, name, value.ndim)))
            placed += 1
    assert placed == len(target.weights) == len(torch_shapes(source))


def channels_first(x) -> np.ndarray:
    return np.moveaxis(keras.ops.convert_to_numpy(x), -1, 1)


def image(shape: tuple[int, ...], batch: int = 2, seed: int = 1) -> np.ndarray:
    """Noise, channels last."""
    return np.random.default_rng(seed).standard_normal((batch, *shape)).astype("float32")


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest value."""
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a - b).max() / np.abs(b).max())


def row_outputs_torch(model: torch.nn.Module, ledger: Ledger, x: torch.Tensor):
    """Output of every ledger row, by path."""
    outputs: dict[str, np.ndarray] = {}
    hooks = []
    for row in ledger.rows:

        def keep(_module, _inputs, output, path=row.path):
            outputs[path] = output.numpy().copy()

        hooks.append(model.get_submodule(row.path).register_forward_hook(keep))
    model(x)
    for hook in hooks:
        hook.remove()
    return outputs


def compare(torch_model, keras_model, ledger: Ledger, x: np.ndarray, tolerance: float = 1e-4):
    """None where both agree in every row, level and output; else what diverges first."""
    with torch.no_grad():
        image = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
        ours = row_outputs_torch(torch_model, ledger, image)
        levels = torch_model.pyramid(image)
        result = torch_model(image)
        layers = [keras_model.get_layer(layer_name(row.path)).output for row in ledger.rows]
        theirs = keras.Model(
            keras_model.inputs[0], [layers, keras_model.pyramid_outputs, keras_model.output]
        )(x, training=False)
    for row, value in zip(ledger.rows, theirs[0], strict=True):
        if difference(channels_first(value), ours[row.path]) > tolerance:
            return row.path
    assert list(theirs[1]) == list(levels)
    for level, value in theirs[1].items():
        if difference(channels_first(value), levels[level].numpy()) > tolerance:
            return level
    same = difference(channels_first(theirs[2]), result.numpy()) <= tolerance
    return None if same else "output"


def emit_pair(encoder, **options) -> tuple[str, str]:
    return tuple(compiler.emit(encoder, target=target, **options) for target in ("torch", "keras"))


def build_pair(texts, ledger, input_shape, dtype=torch.float32, **arguments):
    """Both models with the same random weights, in evaluation mode."""
    torch_model = constructor(texts[0])(in_channels=input_shape[-1], **arguments).eval().to(dtype)
    keras_model = constructor(texts[1])(input_shape=input_shape, **arguments)
    randomize(torch_model)
    copy_to_keras(torch_model, keras_model, ledger)
    return torch_model, keras_model


def run(code: str, backend: str, folder) -> str:
    """Run a program that sees neither the compiler nor the tests, on a Keras backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout
