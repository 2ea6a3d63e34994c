"""Keras' kinds of layer: how each is made and called."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from ..errors import CompileError, Problem
from ..expressions import names_in
from ..initialization import Init, init_of
from ..ir import (
    Affine,
    Attention,
    AvgPool,
    Call,
    Conv,
    ConvTranspose,
    Dim,
    Dropout,
    Fragment,
    Layer,
    Linear,
    Norm,
    Table,
    UpConv,
)
from ..passes.variants import GROUPS, with_norm
from .spelling import expression, spell, spell_eps, substitute

LAST = "data_format='channels_last'"  # whatever keras.config says
SMALL = "kernel_initializer=pytorch_uniform()"
# What has a line before the layer that it is for.
HEAD = 'options = {{"kernel_initializer": {}, "dtype": keras.config.floatx()}}'
START = {
    Init.SMALL: "pytorch_uniform()",
    Init.HEAD: "keras.initializers.RandomNormal(stddev=0.01)",
    Init.NNUNET: "he_normal()",
}


def line_before(layer: Layer) -> str:
    """Arguments that make a layer's line too long, named on a line of their own."""
    match layer:
        case Conv() | Linear() if init_of(layer) == Init.LOADED and layer.output:
            return ""
        case Conv(output=True) | Linear(output=True):
            return HEAD.format(START[init_of(layer)])
        case ConvTranspose(exact=True) if init_of(layer) == Init.LOADED:
            return ""
        case ConvTranspose(exact=True):
            start = START[Init.NNUNET if init_of(layer) == Init.NNUNET else Init.SMALL]
            bias = ', "use_bias": False' * (not layer.bias)
            return (
                f'options = {{"data_format": "channels_last", "kernel_initializer": {start}{bias}}}'
            )
        case Conv(padded=False):
            return f'window = {layer.kernel}, {layer.stride}, "valid", "channels_last"'
        case _:
            return ""


def called(
    layer: Layer,
    inputs: Sequence[ast.expr],
    prefix: str,
    rank: int,
    function: str,
    args: Sequence[Dim],
    per_axis: bool = False,
    usual: str = "batch",
) -> ast.expr:
    """A layer made and called: `conv(x, width, 1, name=...)`.

    Its name goes on from the prefix. A block's layer is a call of its `function` with these `args`.
    `per_axis` says that a stride which is an argument is a number for each axis.
    `usual` is the kind of norm that the file has a function for.
    """
    text = f'"{prefix}{layer.name}"'
    name = ast.Name(f"f{text}" if "{" in text else text)
    if isinstance(layer, Call):
        operands = [*inputs, *map(expression, args)]
        return ast.Call(ast.Name(function), operands, [ast.keyword("name", name)])
    spelling = _spelling(layer, rank, per_axis)
    if isinstance(layer, Norm) and _is_usual(layer, usual):
        zeros = ", gamma='zeros'" * layer.zero_init
        spelling = f"norm(x{zeros}, name=name)"
    return _filled(spelling, layer, inputs, name)


def _filled(spelling: str, layer: Layer, inputs: Sequence[ast.expr], name: ast.Name) -> ast.expr:
    """The spelling with the layer's fields and inputs."""
    used = [field for field in names_in(spelling) - {"name"} if hasattr(layer, field)]
    given = {field: expression(getattr(layer, field)) for field in used}
    if isinstance(layer, Norm):
        given["eps"] = ast.Name(spell_eps(layer))
        given["momentum"] = ast.Constant(round(1 - layer.momentum, 9))
    given |= dict(zip("xyz", [*inputs, ast.Constant(None)]))  # perhaps no mask
    return substitute(spelling, {**given, "name": name})


def _spelling(layer: Layer, rank: int, per_axis: bool) -> str:
    """The layer over its fields, by their names, and its inputs `x`, `y`, `z`."""
    match layer:
        case Conv() | ConvTranspose() | Linear() if init_of(layer) == Init.LOADED:
            return _loaded_spelling(layer, rank)
        case Conv(output=True):
            return f"layers.Conv{rank}D(cout, 1, {LAST}, **options, name=name)(x)"
        case Conv(padded=False):
            start = "kernel_initializer='he_uniform'" if layer.bias else SMALL
            if init_of(layer) in (Init.FAN_OUT, Init.NNUNET):
                start = "kernel_initializer=he_normal()"
            return f"layers.Conv{rank}D(cout, *window, {start}, name=name)(x)"
        case Conv():
            options = ", stride=stride" * (layer.stride != 1)
            options += ", groups=groups" * (layer.groups != 1)
            options += ", bias=True" * layer.bias
            return f"conv(x, cout, kernel{options}, name=name)"
        case ConvTranspose(exact=True):
            return f"layers.Conv{rank}DTranspose(cout, stride, stride, **options, name=name)(x)"
        case ConvTranspose():
            window, init = ("4", "he_transposed()")
            if layer.stride != 2:
                window, init = "[s * s for s in stride]", "he_transposed(stride)"
            start = f"kernel_initializer={init}" if init_of(layer) == Init.HE else SMALL
            options = f"{window}, strides=stride, padding='same', {LAST}, {start}"
            return f"layers.Conv{rank}DTranspose(cout, {options}, name=name)(x)"
        case UpConv():
            options = ", stride" * (layer.stride != 2) + ", bias=False" * (not layer.bias)
            return f"UpConv(cout{options}, name=name)(x, y)"
        case Affine(gated=True):
            return "GatedAffine(name=name)(x, y)"
        case Affine():
            return "Affine(name=name)(x)"
        case Linear():
            return f"layers.Dense(cout{', **options' * layer.output}, name=name)(x)"
        case AvgPool(exact=True):
            return f"layers.AveragePooling{rank}D(stride, {LAST})(x)"
        case AvgPool():
            window = "[min(2, s) for s in stride]" if per_axis else "2"
            return f"layers.AveragePooling{rank}D({window}, stride, 'same', 'channels_last')(x)"
        case Dropout(channels=True):
            return f"layers.SpatialDropout{rank}D(rate, {LAST})(x)"
        case Dropout(samples=True):
            return f"layers.Dropout(rate, noise_shape=(None, {', '.join('1' * (rank + 1))}))(x)"
        case Dropout():
            return "layers.Dropout(rate)(x)"
        case Table():
            return "Table(rows, name=name)(x)"
        case Attention():
            return "attention(x, y, z, dropout=dropout, name=name)"
        case Norm(kind=kind):
            return _norm_spelling(kind, "'zeros'" if layer.zero_init else "")
        case Call():
            raise CompileError(Problem(f"the block {layer.block} is called by its function"))
        case _:
            assert_never(layer)


def _loaded_spelling(layer: Conv | ConvTranspose | Linear, rank: int) -> str:
    """A layer of an inference file, which says nothing of initial weights."""
    full = ", dtype=keras.config.floatx()" * getattr(layer, "output", False)
    match layer:
        case Conv(output=True):
            return f"layers.Conv{rank}D(cout, 1, {LAST}{full}, name=name)(x)"
        case Conv(padded=False):
            return f"layers.Conv{rank}D(cout, *window, name=name)(x)"
        case Conv():
            options = ", stride=stride" * (layer.stride != 1)
            options += ", groups=groups" * (layer.groups != 1)
            options += ", bias=False" * (not layer.bias)
            return f"conv(x, cout, kernel{options}, name=name)"
        case ConvTranspose():
            window = "stride, stride" if layer.exact else "4, strides=stride, padding='same'"
            if layer.stride != 2 and not layer.exact:
                window = "[s * s for s in stride], strides=stride, padding='same'"
            bias = ", use_bias=False" * (not layer.bias)
            return f"layers.Conv{rank}DTranspose(cout, {window}{bias}, {LAST}, name=name)(x)"
        case Linear():
            return f"layers.Dense(cout{full}, name=name)(x)"
        case _:
            assert_never(layer)


NORM_DOCS = {
    "batch": "Batch norm with PyTorch's momentum and epsilon.",
    "instance": "Instance norm with PyTorch's epsilon: each channel is a group.",
    "group": f"Group norm with PyTorch's epsilon, in {GROUPS} groups or as many as divide x.",
    "layer": "Layer norm over the channels of each {unit}, with PyTorch's epsilon.",
}


def norm_function(kind: str, *, zero_init: bool) -> tuple[str, str]:
    """What the file's function for norms makes of a tensor `x`, and its docstring.

    With `zero_init`, some of them start at another scale than 1, the function's argument `gamma`.
    """
    norm = _usual_norm("x.shape[-1]", kind)
    spelling = _norm_spelling(kind, "gamma" if zero_init else "")
    return spell(_filled(spelling, norm, [ast.Name("x")], ast.Name("name"))), NORM_DOCS[kind]


def _norm_spelling(kind: str, gamma: str) -> str:
    named = f"gamma_initializer={gamma}, " * bool(gamma) + "epsilon=eps, name=name"
    return {
        "batch": f"layers.BatchNormalization(momentum=momentum, {named})(x)",
        "instance": f"layers.GroupNormalization(-1, {named})(x)",
        "group": f"layers.GroupNormalization(groups, {named})(x)",
        "layer": f"layers.LayerNormalization({named})(x)",
        "token": f"layers.LayerNormalization({named})(x)",
    }[kind]


def _is_usual(layer: Norm, kind: str) -> bool:
    """Whether it is what the file's function for norms makes."""
    usual = _usual_norm(layer.channels, kind)
    return replace(layer, name=usual.name, when="", zero_init=False) == usual


def _usual_norm(channels: Dim, kind: str) -> Norm:
    """A norm of an encoder whose norms are of this kind."""
    (norm,) = with_norm(Fragment((Norm("bn", channels),), ()), kind).layers
    assert isinstance(norm, Norm)
    return norm
