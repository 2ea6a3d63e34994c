"""The variables of a Keras model that hold a ledger row's weights: their names and axes."""

from __future__ import annotations

from typing import Any

# Row kind and PyTorch's weight name -> Keras' weight name, and the axes that turn the first into
# the second (None: the same).
WEIGHTS = {
    ("conv", "weight"): ("kernel", "spatial first"),
    ("conv", "bias"): ("bias", None),
    ("batch_norm", "weight"): ("gamma", None),
    ("batch_norm", "bias"): ("beta", None),
    ("batch_norm", "running_mean"): ("moving_mean", None),
    ("batch_norm", "running_var"): ("moving_variance", None),
    ("up_conv", "weight"): ("kernel", "spatial first"),
    ("up_conv", "bias"): ("bias", None),
    ("affine", "weight"): ("scale", None),
    ("affine", "bias"): ("shift", None),
    ("dense", "weight"): ("kernel", "spatial first"),
    ("dense", "bias"): ("bias", None),
    ("conv_transpose", "weight"): ("kernel", "spatial first"),
    ("conv_transpose", "bias"): ("bias", None),
    ("instance_norm", "weight"): ("gamma", None),
    ("instance_norm", "bias"): ("beta", None),
    ("group_norm", "weight"): ("gamma", None),
    ("group_norm", "bias"): ("beta", None),
    ("layer_norm", "weight"): ("gamma", None),
    ("layer_norm", "bias"): ("beta", None),
    ("token_norm", "weight"): ("gamma", None),
    ("token_norm", "bias"): ("beta", None),
    ("attention_in", "weight"): ("kernel", "spatial first"),
    ("attention_in", "bias"): ("bias", None),
    ("attention_out", "weight"): ("kernel", "spatial first"),
    ("attention_out", "bias"): ("bias", None),
    ("table", "table"): ("table", None),
}
# The axis of the heads in a weight of attention, which Keras tells apart and PyTorch does not.
HEADS = {
    ("attention_in", "weight"): 1,
    ("attention_in", "bias"): 0,
    ("attention_out", "weight"): 0,
}


def layer_name(path: str) -> str:
    """The Keras layer of a ledger path: a dot in a name breaks Keras on its torch backend."""
    return path.replace(".", "_")


def weight_axes(kind: str, weight: str, rank: int) -> tuple[int, ...]:
    """The transposition of a PyTorch weight of `rank` axes into Keras' order."""
    if WEIGHTS[kind, weight][1] is None:
        return tuple(range(rank))
    return (*range(2, rank), 1, 0)


def torch_name(path: str, weight: str) -> str:
    """The entry of a state dict: a bare table of weights is the path alone."""
    return path if weight == "table" else f"{path}.{weight}"


def keras_name(path: str, kind: str, weight: str) -> str:
    """The path of a Keras variable, its slashes as underscores."""
    return f"{layer_name(path)}_{WEIGHTS[kind, weight][0]}"


def told_apart(kind: str, weight: str, shape: tuple[int, ...]) -> bool:
    """Whether the shape of a Keras weight has an axis for the heads of attention."""
    merged = 1 if weight == "bias" else 2
    return (kind, weight) in HEADS and len(shape) == merged + 1


def torch_shape(kind: str, weight: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a Keras weight with its axes in PyTorch's order, and its heads merged.

    A shape that has too few axes for its kind of weight is returned as it is.
    """
    if told_apart(kind, weight, shape):
        axis = HEADS[kind, weight]
        shape = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
    axes = weight_axes(kind, weight, len(shape))
    if len(axes) != len(shape):  # a vector where a matrix belongs
        return shape
    return tuple(shape[axes.index(axis)] for axis in range(len(shape)))


def keras_value(kind: str, weight: str, value: Any, shape: tuple[int, ...]) -> Any:
    """A PyTorch weight (a NumPy array) as Keras holds it; `shape` is the variable's."""
    return value.transpose(weight_axes(kind, weight, value.ndim)).reshape(shape)


def torch_value(kind: str, weight: str, value: Any, shape: tuple[int, ...]) -> Any:
    """A Keras weight (a NumPy array) as PyTorch holds it; `shape` is the ledger's."""
    axes = weight_axes(kind, weight, len(shape))
    inverse = tuple(axes.index(axis) for axis in range(len(axes)))
    return value.reshape(tuple(shape[axis] for axis in axes)).transpose(inverse)
