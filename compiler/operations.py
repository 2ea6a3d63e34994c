"""What programs can do to tensors besides calling layers: one row for each operation.

A row says what becomes of a shape and of a number of channels. How an operation is spelled is each
target's own table, with a row of the same name. Shapes are channels first, without the batch axis;
tokens are (width, count); the sizes of a map are a tuple of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .ir import Shape
from .program import Apply, Expression, Name

Reading = Callable[..., Expression]


def _first(x: Expression, *_others: Expression) -> Expression:
    return x


def _sum(*values: Expression) -> Expression:
    total = values[0]
    for value in values[1:]:
        total = Apply("add", (total, value))
    return total


def _named(name: str) -> Reading:
    """A number that does not follow from channels: the module's argument of this name."""
    return lambda *_operands: Name(name)


@dataclass(frozen=True)
class Operation:
    """What an operation does to shapes and to channels. By default it keeps its first operand's.

    A `pointwise` operation changes values only, so its input is observed where its output would
    be. If `tensor` is false, the result is a number or a tuple of sizes. A `sized` one reads the
    values of its first operand; the others lend it their size.
    """

    shape: Callable[..., Any]
    channels: Reading = _first
    pointwise: bool = False
    tensor: bool = True
    sized: bool = False


def _same(x: Shape) -> Shape:
    return x


def _like(x: Shape, like: Shape) -> Shape:
    return (x[0], *like[1:])


def _upsampled(x: Shape, like: Shape, scale: Shape | None = None, past: int = 0) -> Shape:
    """The size of `like`, which must be at most `past` voxels above that of x times the scale."""
    for size, wanted, by in zip(x[1:], like[1:], scale or (2,) * len(x[1:]), strict=True):
        if not by * (size - 1) < wanted <= by * size + (past if by > 1 else 0):
            raise ValueError(f"brings {x} to {like} by {scale or 2}")
    return _like(x, like)


def _upsampled_past(x: Shape, like: Shape, scale: Shape | None = None) -> Shape:
    return _upsampled(x, like, scale, past=1)


def _pooled(x: Shape, strides: Shape) -> Shape:
    return (x[0], *(-(-size // stride) for size, stride in zip(x[1:], strides, strict=True)))


def _pooled_down(x: Shape, strides: Shape) -> Shape:
    return (x[0], *(size // stride for size, stride in zip(x[1:], strides, strict=True)))


def _broadcast(a: Shape, b: Shape) -> Shape:
    if len(a) == len(b) and all(m == n or 1 in (m, n) for m, n in zip(a, b)):
        return tuple(max(m, n) for m, n in zip(a, b))
    raise ValueError(f"joins the shapes {a} and {b}")


def _joined(*parts: Shape) -> Shape:
    first = parts[0]
    for part in parts:
        if part[1:] != first[1:]:
            raise ValueError(f"joins the shapes {first} and {part}")
    return (sum(part[0] for part in parts), *first[1:])


def _added(*parts: Shape) -> Shape:
    total = parts[0]
    for part in parts[1:]:
        total = _broadcast(total, part)
    return total


# What a program takes of the pyramid, whatever its levels are: shapes, channels or names.
PYRAMID: dict[str, Callable[[Sequence[Any]], Any]] = {
    "deepest": lambda levels: levels[-1],
    "skips": lambda levels: tuple(levels[-2::-1]),  # as a decoder meets them
}

_VALUES = Operation(_same, pointwise=True)
_RESIZED = Operation(_like, sized=True)
_SCORES = Operation(lambda queries, tokens: (tokens[1], queries[1]), _named("num_tokens"))
_MASK = Operation(lambda logits, scale, level: (math.prod(level[1:]), logits[0]), sized=True)
_FLAT_MASK = Operation(lambda scores, level: (math.prod(level[1:]), scores[1]), sized=True)
_MIXED = Operation(lambda classes, masks: (masks[0], classes[0]))

POSITIVE = ("relu", "sigmoid")  # activations with no value below zero
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "hard_swish", "tanh", "sigmoid")

# Activations that have a form which overwrites its operand, and the operation that is this form.
IN_PLACE = {
    name: f"{name}_in_place"
    for name in ("relu", "leaky_relu", "steep_leaky_relu", "elu", "silu", "mish", "hard_swish")
}

OPERATIONS: dict[str, Operation] = {
    **dict.fromkeys(
        (
            *ACTIVATIONS,
            *IN_PLACE.values(),
            "steep_leaky_relu",
            "output_softmax",
            "output_sigmoid",
            "rescale",
        ),
        _VALUES,
    ),
    "add": Operation(_added),
    "total": Operation(_added),  # of maps, however many
    "multiply": Operation(_broadcast),
    "concat": Operation(_joined, _sum),
    # Maps made smaller, and brought to the size of another.
    "max_pool": Operation(_pooled),
    "signed_max_pool": Operation(_pooled),
    "ceil_max_pool": Operation(_pooled_down),
    "signed_ceil_max_pool": Operation(_pooled_down),
    "mean": Operation(lambda x: (x[0], *(1 for _ in x[1:]))),
    "global_average": Operation(lambda x: x[:1]),
    "global_max": Operation(lambda x: x[:1]),
    "crop": _RESIZED,
    # Nearest, by 2; or by a scale of each axis, where the pool may have rounded down or has not.
    "upsample": Operation(_upsampled_past, sized=True),
    "upsample_by": Operation(_upsampled, sized=True),
    "upsample_past": Operation(_upsampled_past, sized=True),
    "linear_upsample": Operation(_upsampled, sized=True),  # linear, by 2, half-pixel
    "linear_upsample_by": Operation(_upsampled, sized=True),
    "stretch": Operation(lambda x, size, old: (x[0], *size)),  # linear, half-pixel
    "corner_stretch": _RESIZED,  # linear, from any size, corner on corner
    # Between maps and tokens.
    "tokens": Operation(lambda x: (x[0], math.prod(x[1:]))),
    "sizes": Operation(lambda x: x[1:], tensor=False),
    "token_grid": Operation(
        lambda sizes, patch: tuple(n // p for n, p in zip(sizes, patch)), tensor=False
    ),
    "length": Operation(lambda x: x[1], _named("num_tokens"), tensor=False),
    "volume": Operation(lambda sizes: math.prod(sizes), _named("num_voxels"), tensor=False),
    "as_map": Operation(lambda x, count, sizes: (count, *sizes), lambda x, count, sizes: count),
    "as_tokens": Operation(lambda x: (math.prod(x[1:]), x[0]), _named("num_voxels")),
    # Queries against tokens: each query's scores. `similarity` is laid out as a map is.
    "similarity": _SCORES,
    "scores": _SCORES,
    "mix": _MIXED,  # of a similarity
    "mix_scores": _MIXED,
    "class_softmax": _VALUES,  # over the classes of each query
    "attention_mask": _MASK,
    "patch_attention_mask": _MASK,
    "flat_attention_mask": _FLAT_MASK,
    "flat_attention_bias": _FLAT_MASK,
    # Numbers of channels, for what a layer of a program is asked to put out.
    "channels": Operation(lambda x: x[0], tensor=False),
}
