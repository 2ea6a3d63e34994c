"""Keras' kinds of layer: how each is made and called."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import assert_never

from ..initialization import Init, init_of
from ..ir import (
    Attention,
    AvgPool,
    Call,
    Conv,
    ConvTranspose,
    Dim,
    Dropout,
    Layer,
    Linear,
    Norm,
    Table,
)
from .spelling import spell, spell_eps, substitute

LAST = "data_format='channels_last'"  # whatever keras.config says
SMALL = "kernel_initializer=pytorch_uniform()"
FULL = "dtype=keras.config.floatx()"  # float32 under mixed precision too


def called(
    layer: Layer,
    inputs: Sequence[ast.expr],
    prefix: str,
    rank: int,
    function: str,
    args: Sequence[Dim],
) -> ast.expr:
    """A layer made and called: `conv(x, width, 1, name=...)`.

    Its name goes on from the prefix. A block's layer is a call of its `function` with these `args`.
    """
    name = f'f"{prefix}{layer.name}"' if prefix else f'"{layer.name}"'
    tensors = ", ".join(map(spell, inputs))
    digits: dict[str, ast.expr] = {}  # numbers as people write them
    match layer:
        case Conv(output=True):
            options = [str(layer.cout), "1", LAST, SMALL, FULL, f"name={name}"]
            source = f"layers.Conv{rank}D({', '.join(options)})({tensors})"
        case Conv(padded=False):
            options = [f"{layer.cout}, {layer.kernel}, strides={layer.stride}", LAST]
            options.append("kernel_initializer='he_uniform'" if layer.bias else SMALL)
            source = f"layers.Conv{rank}D({', '.join(options)}, name={name})({tensors})"
        case Conv():
            options = [tensors, str(layer.cout), str(layer.kernel)]
            if layer.stride != 1:
                options.append(f"stride={layer.stride}")
            if layer.groups != 1:
                options.append(f"groups={layer.groups}")
            if layer.bias:
                options.append("bias=True")
            source = f"conv({', '.join(options)}, name={name})"
        case Norm():
            source = f"{_norm_of(layer, name)}({tensors})"
            digits["_eps"] = ast.Name(spell_eps(layer))
            usual = (layer.kind, layer.eps, layer.momentum) == ("batch", 1e-5, 0.1)
            if usual and not layer.zero_init:
                source = f"norm({tensors}, name={name})"
        case ConvTranspose():
            he = init_of(layer) == Init.HE
            options = [str(layer.cout), "4, strides=2, padding='same'", LAST]
            options += ["kernel_initializer=he_transposed()" if he else SMALL, f"name={name}"]
            source = f"layers.Conv{rank}DTranspose({', '.join(options)})({tensors})"
        case Linear():
            options = [str(layer.cout), *([SMALL, FULL] if layer.output else []), f"name={name}"]
            source = f"layers.Dense({', '.join(options)})({tensors})"
        case AvgPool():
            options = [f"2, strides={layer.stride}, padding='same'", LAST]
            source = f"layers.AveragePooling{rank}D({', '.join(options)})({tensors})"
        case Dropout(channels=True):
            source = f"layers.SpatialDropout{rank}D({layer.rate}, {LAST})({tensors})"
        case Dropout():
            source = f"layers.Dropout({layer.rate})({tensors})"
        case Attention():
            given = tensors if tensors.count(",") == 2 else f"{tensors}, None"  # no mask
            source = f"attention({given}, dropout={layer.dropout}, name={name})"
        case Table():
            source = f"Table({layer.rows}, name={name})({tensors})"
        case Call():
            source = f"{function}({', '.join([tensors, *map(str, args)])}, name={name})"
        case _:
            assert_never(layer)
    return substitute(source, digits)


def _norm_of(layer: Norm, name: str) -> str:
    eps = f"epsilon=_eps, name={name}"
    momentum = round(1 - layer.momentum, 9)
    zeros = "gamma_initializer='zeros', " * layer.zero_init
    return {
        "batch": f"layers.BatchNormalization(momentum={momentum}, {zeros}{eps})",
        "instance": f"layers.GroupNormalization(-1, {eps})",
        "group": f"layers.GroupNormalization({layer.groups}, {eps})",
        "layer": f"layers.LayerNormalization({eps})",
        "token": f"layers.LayerNormalization({eps})",
    }[layer.kind]
