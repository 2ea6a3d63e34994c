"""Emitted text -> model -> numbers, in both frameworks."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import keras
import numpy as np
import torch

import compiler
from compiler import emitter
from compiler.api import traced
from compiler.model import Encoder
from compiler.passes.trace import Ledger
from compiler.passes.validate import resolve
from compiler.verify import parity
from compiler.verify.divergence import row_differs
from compiler.verify.loading import load
from compiler.verify.measure import run_keras, run_torch
from compiler.verify.parity import image as noise
from compiler.verify.parity import (
    keras_shapes,
    ledger_shapes,
    randomize,
    torch_shapes,
)
from compiler.verify.runtimes import KerasRuntime, TorchRuntime

from .forks import forks
from .undrawn import undrawn

__all__ = [
    "build_pair",
    "channels_first",
    "compare",
    "constructor",
    "copy_to_keras",
    "difference",
    "emit_pair",
    "image",
    "keras_shapes",
    "ledger_of",
    "ledger_shapes",
    "load",
    "randomize",
    "tiny",
    "torch_shapes",
    "without_layout",
]


def copy_to_keras(torch_model, keras_model, ledger: Ledger) -> None:
    """Copy every weight by its name; both have a place for each."""
    ours, theirs = TorchRuntime(), KerasRuntime()
    both = (ours, torch_model), (theirs, keras_model)
    assert not (problems := parity.mismatches(both, ledger)), problems
    theirs.assign(keras_model, ledger, ours.values(torch_model, ledger))


def constructor(text: str):
    """The one public constructor of an emitted text."""
    module = load(text)
    (name,) = module.__all__
    return getattr(module, name)


@cache
def tiny(**changes) -> Encoder:
    """An encoder of one's own that is small enough for any test, with `changes`."""
    usual = {
        "blocks": (1, 2, 1, 1),
        "filters": (8, 8, 16, 16),
        "stem_filters": (8,),
        "stem_kernels": (3,),
        "se_ratio": 4,
    }
    return compiler.custom_encoder("tiny", **{**usual, **changes})


@cache
def ledger_of(encoder, **options) -> Ledger:
    return traced(resolve(encoder, options))[1]


def channels_first(x) -> np.ndarray:
    """A Keras tensor with its channels first."""
    return parity.channels_first(keras.ops.convert_to_numpy(x))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest value; infinite where a number is none."""
    found = parity.difference(a, b)
    return found if np.isfinite(found) else float("inf")


def compare(torch_model, keras_model, ledger: Ledger, x: np.ndarray, tolerance: float = 1e-4):
    """None where both agree in every row, level and output; else what diverges first."""
    ours = run_torch(torch_model, ledger.rows, x)
    theirs = run_keras(keras_model, ledger.rows, x)
    tables = {row.path for row in ledger.rows if row.kind == "table"}  # no layer in PyTorch
    assert ours.rows.keys() - tables == theirs.rows.keys() - tables
    for path, calls in ours.rows.items():
        if row_differs(calls, theirs.rows[path], tolerance):
            return path
    assert list(theirs.levels) == list(ours.levels)
    for level, value in ours.levels.items():
        if not difference(theirs.levels[level], value) <= tolerance:  # NaN is no agreement
            return level
    return None if difference(theirs.output, ours.output) <= tolerance else "output"


def image(shape: tuple[int, ...], batch: int = 2, seed: int = 1) -> np.ndarray:
    """Noise, channels last, in float32."""
    return noise(shape, batch, seed).astype("float32")


@contextmanager
def without_layout() -> Iterator[None]:
    """Files are not formatted by black, which is most of what an emission costs."""
    with patch.object(emitter, "_laid_out", lambda text: text):
        yield


def emit_pair(encoder, **options) -> tuple[str, str]:
    """Both files, for their numbers: without layout."""
    with without_layout():
        return tuple(compiler.emit(encoder, target=name, **options) for name in ("torch", "keras"))


def build_pair(texts, ledger, input_shape, dtype=torch.float32, **arguments):
    """Both models with the same random weights, in evaluation mode."""
    with undrawn():
        torch_model = constructor(texts[0])(in_channels=input_shape[-1], **arguments)
        keras_model = constructor(texts[1])(input_shape=input_shape, **arguments)
    torch_model.eval().to(dtype)
    randomize(torch_model)
    copy_to_keras(torch_model, keras_model, ledger)
    return torch_model, keras_model


def in_onnxruntime(model, x, dynamic_shapes):
    """The model, exported on x with these dynamic sizes, as onnxruntime runs it."""
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, dynamic_shapes=dynamic_shapes, verbose=False)
    session = onnxruntime.InferenceSession(file.getvalue())
    (entry,) = [entry.name for entry in session.get_inputs()]
    return lambda other: torch.from_numpy(session.run(None, {entry: other.numpy()})[0])


# For small images, compiling takes longer than running: JAX compiles each operation by itself.
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def run(code: str, backend: str, folder) -> str:
    """Run a program that sees neither the compiler nor the tests, on a Keras backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name in ("PYTHONPATH", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    if backend != "torch":
        environment["XLA_FLAGS"] = QUICKLY_COMPILED
    server = forks(("keras", "numpy", backend), environment)
    result = server.run(textwrap.dedent(code), (), folder)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout
