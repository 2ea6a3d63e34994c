"""The classes and arguments that a plans file names: what each says of an architecture.

Nothing is imported by the names. A class or an argument that the emitted network could not hold is
a problem, even where its value would make no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import Problem, shown, suggest
from ..parts import EPS, SLOPE
from .architecture import BLOCK_KINDS, RANKS, SLOPED
from .documents import Table

NETWORK_CLASSES = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "resenc"}
BLOCK_CLASSES = dict(zip(("BasicBlockD", "BottleneckD"), BLOCK_KINDS))
CONV_CLASSES = {f"Conv{rank}d": rank for rank in RANKS}
NORM_CLASSES = {"InstanceNorm": "instance", "BatchNorm": "batch"}
ACTIVATION_CLASSES = {
    "LeakyReLU": SLOPED,
    "ReLU": "relu",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Hardswish": "hard_swish",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}
RATE = 0.5  # of PyTorch's dropouts
TORCH = r"torch\.nn\.(?:modules\.\w+\.)?(\w+)"
BLOCKS = r"dynamic_network_architectures\.building_blocks\.(?:\w+\.)*(\w+)"
NETWORKS = r"dynamic_network_architectures\.architectures\.(?:\w+\.)*(\w+)"


@dataclass
class Arguments:
    """A table whose keys are taken one by one, so that those that nobody knows are left."""

    table: Table
    problems: list[Problem]
    taken: set[str] = field(default_factory=set)

    def take(self, key: str, usual: object = None) -> Any:
        self.taken.add(key)
        return self.table.values.get(key, usual)

    def wrong(self, key: str, value: object, hint: str) -> None:
        self.problems.append(Problem(f"{key} is {shown(value)}", self.table.at(key), hint))

    def only(self, key: str, usual: object, hint: str) -> None:
        """Take a key that may have a single value."""
        value = self.take(key, usual)
        if type(value) is not type(usual) or value != usual:
            self.wrong(key, value, hint)

    def named(self, key: str, pattern: str, known: Mapping[str, Any]) -> Any:
        """What the class of a dotted name stands for; None is noted as a problem."""
        value = self.take(key)
        found = re.fullmatch(pattern, value) if isinstance(value, str) else None
        if found is None or found[1] not in known:
            hint = f"a network is emitted with {' or '.join(known)}"
            self.wrong(key, value, hint)
            return None
        return known[found[1]]

    def inner(self, key: str) -> Arguments:
        """The arguments of a class, which may be null or absent."""
        value = self.take(key)
        if value is not None and not isinstance(value, Mapping):
            self.wrong(key, value, "a table, or null")
            value = None
        path = f"{self.table.path}.{key}"
        return Arguments(Table(value or {}, self.table.file, path), self.problems)

    def finish(self, what: str) -> None:
        """Note the keys that were not taken."""
        for key in self.table.values:
            if key not in self.taken:
                near = suggest(key, self.taken) if isinstance(key, str) else ""
                message = f"{what} has the unknown argument {shown(key)}.{near}".rstrip(".")
                hint = "the emitted network could not hold it"
                self.problems.append(Problem(message, self.table.at(shown(key)), hint))


def units(arguments: Arguments, dims: int) -> dict[str, Any]:
    """Fields of what follows a convolution: norm, dropout and activation."""
    return {
        **_norm(arguments, dims),
        **_dropout(arguments, dims),
        **_activation(arguments),
    }


def _norm(arguments: Arguments, dims: int) -> dict[str, Any]:
    known = {f"{name}{dims}d": kind for name, kind in NORM_CLASSES.items()}
    kind = arguments.named("norm_op", TORCH, known)
    own = arguments.inner("norm_op_kwargs")
    batch = kind == "batch"
    found = {
        "norm": kind,
        "norm_eps": own.take("eps", EPS),
        "norm_affine": own.take("affine", batch),  # each class has a default of its own
    }
    own.only("momentum", 0.1, "0.1, PyTorch's default")
    own.only("track_running_stats", batch, f"{'true' if batch else 'false'}, PyTorch's default")
    own.finish("the norm")
    return found


def _dropout(arguments: Arguments, dims: int) -> dict[str, Any]:
    """A rate, even of 0, makes a layer; without a class, nothing reads the arguments."""
    if arguments.take("dropout_op") is None:
        arguments.take("dropout_op_kwargs")
        return {"dropout": None}
    arguments.named("dropout_op", TORCH, {f"Dropout{dims}d": True})
    own = arguments.inner("dropout_op_kwargs")
    rate = own.take("p", RATE)
    own.take("inplace")
    own.finish("the dropout")
    return {"dropout": rate}


def _activation(arguments: Arguments) -> dict[str, Any]:
    kind = arguments.named("nonlin", TORCH, ACTIVATION_CLASSES)
    own = arguments.inner("nonlin_kwargs")
    own.take("inplace")
    slope = own.take("negative_slope", SLOPE) if kind == SLOPED else 0.0
    own.finish("the activation")
    return {"activation": kind, "slope": slope}


def per_stage(value: object, stages: int) -> object:
    """One number for all stages, or a list of them; anything else stays as it is."""
    if isinstance(value, int):
        return (value,) * stages
    return tuple(value) if isinstance(value, list | tuple) else value


def per_axis(value: object, stages: int, dims: int) -> object:
    """One number for all stages or for all axes of one, or a list for its axes."""
    values = per_stage(value, stages)
    if not isinstance(values, tuple):
        return values
    spread: Callable[[Any], object] = lambda each: per_stage(each, dims)  # noqa: E731
    return tuple(map(spread, values))
