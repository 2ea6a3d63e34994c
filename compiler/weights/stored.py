"""Values and tensors that the pickle of a `.pt` describes, without running it or loading PyTorch.

A tensor's storage is mapped into memory once its values are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem, raise_all
from ..limits import PICKLE_DEPTH, PICKLE_VALUES
from .archives import Part, Records
from .checkpoints import Tensor, need, shown
from .pickles import AGAIN, ITEM_BYTES, Node

DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}


@dataclass(frozen=True)
class Thing:
    """What a call in the pickle would have made: nothing was called."""

    def __repr__(self) -> str:
        return "an object"


def entries(node: object, at: str) -> dict[Any, Any]:
    """The entries of a dict, described or plain; {} if the node is something else."""
    if not isinstance(node, Node) or node.kind != "dict":
        return {}
    keys = [Thing() if isinstance(key, Node) else key for key in node.items[::2]]
    if len(node.items) % 2:
        raise CompileError(Problem("one of its tables is damaged", at, AGAIN))
    return dict(zip(keys, node.items[1::2]))


class Values:
    """Builds values of Python: dicts, lists, tuples, text, numbers and None; `Thing`s for the rest.

    A list that is in several places is built in each, so their number is bounded.
    """

    def __init__(self, at: str):
        self.at, self.made = at, 0

    def of(self, node: object, depth: int = 0) -> Any:
        """The value of a node. Raises `CompileError`."""
        self.made += 1
        if self.made > PICKLE_VALUES.largest or depth > PICKLE_DEPTH.largest:
            raise_all(PICKLE_VALUES.problems("the number of its values", self.made, self.at))
            raise_all(PICKLE_DEPTH.problems("the depth of its values", depth, self.at))
        if not isinstance(node, Node):
            plain = node is None or isinstance(node, str | int | float)
            return node if plain else Thing()
        if node.kind == "dict":
            found_entries = entries(node, self.at)
            return {key: self.of(value, depth + 1) for key, value in found_entries.items()}
        if node.kind in ("list", "tuple"):
            values = [self.of(item, depth + 1) for item in node.items]
            return values if node.kind == "list" else tuple(values)
        return Thing()


def tensors(path: Path, records: Records, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict by name. Raises `CompileError` if one entry is something else."""
    order = records.parts.get(f"{records.folder}byteorder")
    if order is not None:
        with Part(path, order) as part:
            if part.read(16) != b"little":
                raise CompileError(Problem("its numbers are big-endian", str(path)))
    mapped: dict[str, Any] = {}
    found = {}
    for name, node in state.items():
        match node:
            case Node(kind="tensor", items=[_, _, _, tuple(), tuple()]) if isinstance(name, str):
                found[name] = _tensor(path, records, name, node.items, mapped)
            case _:
                message = f"the entry {shown(str(name))} of its state dict is not a tensor"
                raise CompileError(Problem(message, str(path)))
    return found


def _tensor(
    path: Path, records: Records, name: str, items: list[Any], mapped: dict[str, Any]
) -> Tensor:
    """One tensor. `mapped` are the storages in memory, which tensors of the same one share."""
    key, kind, offset, shape, strides = items
    dtype = DTYPES.get(kind, "not dense")

    def load() -> Any:
        import numpy as np

        if dtype == "bfloat16":
            need("ml_dtypes", "torch")
            import ml_dtypes

            numbers = np.dtype(ml_dtypes.bfloat16)
        else:
            numbers = np.dtype(dtype)
        if not math.prod(shape):
            return np.zeros(shape, numbers)
        item = ITEM_BYTES[kind]
        if key not in mapped:
            entry = records.parts[f"{records.folder}data/{key}"]
            with Part(path, entry) as part:
                start = part.start
            # Changes stay in memory. `read_records` and `Scan` have checked the sizes.
            mapped[key] = np.memmap(path, np.uint8, "c", start, (entry.file_size,))
        count = len(mapped[key]) // item
        raw = mapped[key][: count * item].view(numbers)
        steps = tuple(step * item for step in strides)
        view = np.lib.stride_tricks.as_strided(raw[offset:], shape, steps)
        return view if view.flags.c_contiguous else np.array(view, order="C")

    return Tensor(name, shape, dtype, load)
