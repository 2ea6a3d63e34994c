"""Emitted text -> model -> numbers, in both frameworks."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

import compiler
from compiler.api import traced
from compiler.divergence import row_differs
from compiler.measure import run_keras, run_torch
from compiler.parity import (
    channels_first,
    copy_to_keras,
    difference,
    keras_shapes,
    ledger_shapes,
    load,
    randomize,
    torch_shapes,
)
from compiler.parity import image as noise
from compiler.passes.trace import Ledger
from compiler.passes.validate import resolve

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
    "torch_shapes",
]


def constructor(text: str):
    """The one public constructor of an emitted text."""
    module = load(text)
    (name,) = module.__all__
    return getattr(module, name)


@cache
def ledger_of(encoder, **options) -> Ledger:
    return traced(resolve(encoder, options))[1]


def compare(torch_model, keras_model, ledger: Ledger, x: np.ndarray, tolerance: float = 1e-4):
    """None where both agree in every row, level and output; else what diverges first."""
    ours = run_torch(torch_model, ledger.rows, x)
    theirs = run_keras(keras_model, ledger.rows, x)
    seen = {row.path for row in ledger.rows if row.kind != "table"}
    assert ours.rows.keys() == theirs.rows.keys() == seen
    for path, calls in ours.rows.items():
        if row_differs(calls, theirs.rows[path], tolerance):
            return path
    assert list(theirs.levels) == list(ours.levels)
    for level, value in ours.levels.items():
        if difference(theirs.levels[level], value) > tolerance:
            return level
    return None if difference(theirs.output, ours.output) <= tolerance else "output"


def image(shape: tuple[int, ...], batch: int = 2, seed: int = 1) -> np.ndarray:
    """Noise, channels last, in float32."""
    return noise(shape, batch, seed).astype("float32")


def emit_pair(encoder, **options) -> tuple[str, str]:
    return tuple(compiler.emit(encoder, target=target, **options) for target in ("torch", "keras"))


def build_pair(texts, ledger, input_shape, dtype=torch.float32, **arguments):
    """Both models with the same random weights, in evaluation mode."""
    torch_model = constructor(texts[0])(in_channels=input_shape[-1], **arguments).eval().to(dtype)
    keras_model = constructor(texts[1])(input_shape=input_shape, **arguments)
    randomize(torch_model)
    copy_to_keras(torch_model, keras_model, ledger)
    return torch_model, keras_model
