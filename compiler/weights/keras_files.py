"""Read Keras weight files, h5 or an archive that contains one, by the names of the layers."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..limits import CHECKPOINT_ENTRIES, H5_GROUPS
from .archives import Part, check_archive
from .checkpoints import DIALECT, Tensor, need, shown

KERAS_WEIGHTS = "model.weights.h5"  # inside a .keras archive


def read_keras(path: Path, stack: contextlib.ExitStack) -> tuple[dict[str, Tensor], str]:
    """The weights in a `.weights.h5` or `.keras` file, and the dialect that it declares."""
    need("h5py", "keras")
    import h5py

    source: Any = path
    if path.suffix == ".keras":
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            if KERAS_WEIGHTS not in archive.namelist():
                raise CompileError(Problem(f"it contains no {KERAS_WEIGHTS!r}", str(path)))
            member = archive.getinfo(KERAS_WEIGHTS)
        source = stack.enter_context(Part(path, member))
    file = stack.enter_context(h5py.File(source, "r"))
    tensors: dict[str, Tensor] = {}
    for name, dataset in keras_datasets(file):
        if problems := CHECKPOINT_ENTRIES.problems(
            "the number of its tensors", len(tensors) + 1, str(path)
        ):
            raise CompileError(*problems)
        if name in tensors:
            raise CompileError(Problem(f"two layers share the name {shown(name)}", str(path)))
        tensors[name] = _from_h5(name, dataset, str(path))
    if not tensors and "layers" not in file:
        hint = "save it with `model.save_weights` of Keras 3"
        raise CompileError(Problem("it contains no layers", str(path), hint))
    return tensors, str(file.attrs.get(DIALECT, ""))


def keras_datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield each weight in a Keras h5 file as (`<layer>/<attribute>/<index>`, dataset).

    Groups are numbered by class in the model's order. Each has its layer's name as an attribute,
    and that name is what we use.
    """
    return _layers_below(file, "", set())


def _layers_below(group: Any, name: str, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the weights below the layer of that name, or below a container if it is empty.

    A group linked under two names is an error, since following branching links may never end.
    """
    import h5py

    place = h5py.h5o.get_info(group.id).addr
    if place in seen:
        raise ValueError(f"the group {shown(group.name)} is linked under two names")
    seen.add(place)
    if problems := H5_GROUPS.problems("the number of its groups", len(seen)):
        raise CompileError(*problems)
    variables = _child(group, "vars", h5py.Group)
    for index in sorted(variables if variables is not None else (), key=lambda i: (len(i), i)):
        dataset = _child(variables, index, h5py.Dataset)
        if dataset is not None and not name:
            message = f"the group {shown(group.name)} has weights, but no layer name"
            hint = "its `vars` lacks the attribute `name`: save the weights with a newer Keras 3"
            raise CompileError(Problem(message, hint=hint))
        if dataset is not None:
            yield f"{name}/{index}", dataset
    for key in group:
        child = _child(group, key, h5py.Group)
        if child is None or key in ("vars", "optimizer", "seed_generator"):
            continue
        if key == "layers":  # the group belongs to a model, possibly one used as a layer
            yield from _layers_below(child, "", seen)
        elif name:
            yield from _layers_below(child, f"{name}/{key}", seen)
        else:
            own = _child(child, "vars", h5py.Group)
            named = "" if own is None else str(own.attrs.get("name", ""))
            yield from _layers_below(child, named, seen)


def _child(group: Any, name: str, kind: Any) -> Any:
    """A member of an h5 group; None if it is of another kind or stored in another file."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    child: Any = group[name]
    if not isinstance(child, kind):
        return None
    return None if kind is h5py.Dataset and (child.external or child.is_virtual) else child


def _type(dataset: Any) -> str:
    """The dtype of a dataset, regardless of byte order."""
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError):
        return "of a dtype that NumPy does not have"
    if dataset.shape is None:
        return f"{dtype} without a value"
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None:
        # h5 stores dtypes that it does not know as bytes; Keras adds the name as an attribute
        return "bfloat16" if str(dataset.attrs.get("dtype", "")) == "bfloat16" else str(dtype)
    return str(dtype.name if dtype.kind == "f" else dtype)


def _from_h5(name: str, dataset: Any, at: str) -> Tensor:
    dtype = _type(dataset)
    if dataset.chunks and any(c > n for c, n in zip(dataset.chunks, dataset.shape)):
        dtype = "not dense"  # a chunk is read whole, whatever the shape says

    def load() -> Any:
        if dataset.id.get_create_plist().get_nfilters():  # could unpack to any size
            hint = "Keras does not compress weights: save them again"
            raise CompileError(Problem(f"the tensor {shown(name)} is compressed", at, hint))
        if dtype != "bfloat16":
            return dataset[()].astype(dtype, copy=False)  # also converts the byte order
        need("ml_dtypes", "keras")
        import ml_dtypes

        return dataset[()].view(ml_dtypes.bfloat16)

    return Tensor(name, tuple(dataset.shape or ()), dtype, load)
