"""The files of weights of each target: PyTorch's state dicts, and what Keras saves."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..ir import Shape
from ..model import Model
from .checkpoints import Tensor
from .keras_files import read_keras
from .keras_variables import HEADS, told_apart, torch_shape, torch_value
from .matching import Match
from .naming import Place
from .torch_files import read_pickle, read_safetensors, without_prefix
from .writers import write_keras, write_torch


class TorchFiles:
    """PyTorch's files, whose names and layouts the ledger uses."""

    name = "torch"

    def read(
        self, path: Path, stack: ExitStack, notes: list[str]
    ) -> tuple[dict[str, Tensor], str, list[str]]:
        dialect = ""
        if path.suffix == ".safetensors":
            tensors, dialect = read_safetensors(path, stack)
        else:
            tensors = read_pickle(path, notes)
        tensors, beside = without_prefix(tensors, notes)
        return tensors, dialect, beside

    def write(self, path: Path, model: Model, match: Match, origin: str) -> None:
        write_torch(path, model, match, origin)

    def place_name(self, place: Place) -> str:
        return place.name

    def name_below(self, layer: str, place: Place) -> str:
        return f"{layer}.{place.weight}"

    def plain_name(self, name: str) -> str:
        return name

    def heads(self, place: Place, shape: Shape) -> int | None:
        return None

    def shape(self, place: Place, shape: Shape) -> Shape:
        return shape

    def value(self, place: Place, value: Any, shape: Shape) -> Any:
        return value


class KerasFiles:
    """Keras' files: a layer's weights are numbered, and kernels have their spatial axes first."""

    name = "keras"

    def read(
        self, path: Path, stack: ExitStack, notes: list[str]
    ) -> tuple[dict[str, Tensor], str, list[str]]:
        return *read_keras(path, stack), []

    def write(self, path: Path, model: Model, match: Match, origin: str) -> None:
        write_keras(path, model, match, origin)

    def place_name(self, place: Place) -> str:
        return place.keras_name

    def name_below(self, layer: str, place: Place) -> str:
        return f"{layer}/{place.index}"

    def plain_name(self, name: str) -> str:
        """The name without Keras' own numbers and without the rank."""
        layer, slash, rest = name.partition("/")
        layer = re.sub(r"_[23]D$", "", layer)
        layer = re.sub(r"^conv[23]d(_\d+)?$", "conv", layer)
        return re.sub(r"^(learnable_queries)_\d+$", r"\1", layer) + slash + rest

    def heads(self, place: Place, shape: Shape) -> int | None:
        if not told_apart(place.kind, place.weight, shape):
            return None
        return shape[HEADS[place.kind, place.weight]]

    def shape(self, place: Place, shape: Shape) -> Shape:
        if place.kind == "table" and len(shape) == len(place.shape) - 1:  # of a whole batch
            return (1, *shape)
        return torch_shape(place.kind, place.weight, shape)

    def value(self, place: Place, value: Any, shape: Shape) -> Any:
        return torch_value(place.kind, place.weight, value, shape)
