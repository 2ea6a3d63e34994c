"""The weights of a model, and their names in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..api import traced
from ..ir import Shape
from ..model import Classifier, Model
from ..passes.rows import COUNTER, Row, path_of
from ..targets.runtime import files_of
from .checkpoints import Checkpoint, Tensor
from .keras_variables import layer_name, torch_name
from .layouts import Layout, name_there

ATTRIBUTES = {  # of Keras' attention, by the names of its layers
    "query": "query_dense",
    "key": "key_dense",
    "value": "value_dense",
    "attention_output": "output_dense",
}


@dataclass(frozen=True)
class Place:
    """A weight of a model: its ledger row, and its PyTorch name and shape."""

    row: Row
    weight: str
    index: int
    shape: Shape

    @property
    def path(self) -> str:
        return self.row.path

    @property
    def kind(self) -> str:
        return self.row.kind

    @property
    def name(self) -> str:
        return torch_name(self.path, self.weight)

    @property
    def keras_name(self) -> str:
        """The name of the weight in a Keras file as `keras_files` reads it: `<layer>/<index>`."""
        return f"{_keras_layer(self.row)}/{self.index}"

    @property
    def group(self) -> str:
        """`encoder`, `decoder`, `head`, ..."""
        return path_of(self.row.at[:1])

    @property
    def part(self) -> str:
        """The group, or the encoder's stage."""
        return path_of(self.row.at[:3]) if self.group == "encoder" else self.group


def places_of(model: Model) -> tuple[Place, ...]:
    """The weights of a model, in PyTorch's order."""
    _, ledger = traced(model)
    return tuple(
        Place(row, weight, index, shape)
        for row in ledger.rows
        for index, (weight, shape) in enumerate(row.weights)
    )


def _keras_layer(row: Row) -> str:
    if not row.kind.startswith("attention"):
        return layer_name(row.path)
    *layer, part = row.at
    return f"{layer_name(path_of(tuple(layer)))}/{ATTRIBUTES[str(part)]}"


class Names:
    """The tensors of a checkpoint and the weights of a model, under common names.

    `known` are names that the whole encoder with a classifier has, but this model does not.
    """

    def __init__(self, layout: Layout | None, model: Model, checkpoint: Checkpoint):
        self.layout, self.model, self.checkpoint = layout, model, checkpoint
        self.files = files_of(checkpoint.framework)
        self.places = self._by_name(model)
        more = self._by_name(replace(model, head=Classifier(1)))
        more |= self._by_name(layout.whole(model)) if layout else {}
        self.known = {n: p for n, p in more.items() if n not in self.places}
        self.tensors: dict[str, Tensor] = {}
        self.others: list[str] = []
        others = self._others()
        owners = {
            alias: name
            for name in self.places
            for alias in (layout.names(model, name)[1:] if layout else ())
        }
        self.copies: dict[str, list[Tensor]] = {}  # under the other names of a tensor
        for name, tensor in checkpoint.tensors.items():
            owner = name.removesuffix(COUNTER)
            if owner != name and f"{owner}running_var" in checkpoint.tensors:
                continue  # belongs to a batch norm; any other counter is stray and an error
            if name.startswith(others):
                self.others.append(name)
                continue
            plain = self.files.plain_name(name) if layout else name
            if plain in owners:
                self.copies.setdefault(owners[plain], []).append(tensor)
                continue
            self.tensors[name if plain in self.tensors else plain] = tensor
        for name, copies in self.copies.items():
            self.tensors.setdefault(name, copies[0])

    def unlike(self) -> list[tuple[str, str]]:
        """Two names of each tensor that the checkpoint holds twice, with different values."""
        found = []
        for name, copies in self.copies.items():
            first = self.tensors[name]
            other = next((copy for copy in copies if not _equal(first, copy)), None)
            if other:
                found.append((first.name, other.name))
        return found

    def beside(self) -> list[str]:
        """The names outside the network that end in the name of one of its weights."""
        known = self.places.keys() | self.known.keys()
        found = []
        for name in self.checkpoint.beside:
            parts = name[:1000].split(".")
            if any(".".join(parts[i:]) in known for i in range(len(parts))):
                found.append(name)
        return found

    def _others(self) -> tuple[str, ...]:
        """Prefixes of tensors that belong to another network's decoder and head.

        The heads of all decoders share their names, so the decoder's tensors decide whose it is.
        """
        others = self.layout.others if self.layout else ()
        held = (self.places[name] for name in self.checkpoint.tensors if name in self.places)
        if all(place.group in ("encoder", "head") for place in held):
            return others
        return tuple(o for o in others if not any(name.startswith(o) for name in self.places))

    def _by_name(self, model: Model) -> dict[str, Place]:
        names = {}
        for place in places_of(model):
            name = self._name(model, place)
            if name is not None:
                names[name] = place
        return names

    def _name(self, model: Model, place: Place) -> str | None:
        if self.layout is None:
            return self.files.place_name(place)
        there = name_there(self.layout, model, place.row)
        if there is None:
            return None
        return self.files.name_below(there, place)

    def heads(self, place: Place, tensor: Tensor) -> int | None:
        """How many heads an attention's kernel has, which only Keras files tell; else None."""
        return self.files.heads(place, tensor.shape)

    def shape(self, place: Place, tensor: Tensor) -> Shape:
        """A tensor's shape in PyTorch's axis order."""
        return self.files.shape(place, tensor.shape)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bytes. Those that share a storage are not read."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    first, second = a.load(), b.load()
    if first.__array_interface__["data"] == second.__array_interface__["data"]:
        return True
    return bool(first.tobytes() == second.tobytes())
