"""Keras' weight files: h5, alone or in an archive, gone by the names of the layers."""

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
    """The weights of a `.weights.h5` or `.keras`, and the dialect that it says to be of."""
    need("h5py", "keras")
    import h5py

    source: Any = path
    if path.suffix == ".keras":
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            if KERAS_WEIGHTS not in archive.namelist():
                raise CompileError(Problem(f"there is no {KERAS_WEIGHTS!r} in it", str(path)))
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
            raise CompileError(Problem(f"two layers are called {shown(name)}", str(path)))
        tensors[name] = _from_h5(name, dataset, str(path))
    if not tensors and "layers" not in file:
        hint = "as `model.save_weights` of Keras 3 writes it"
        raise CompileError(Problem("there are no layers in it", str(path), hint))
    return tensors, str(file.attrs.get(DIALECT, ""))


def keras_datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """The weights of the layers in Keras' h5 file: `<layer>/<attribute>/<index>`, dataset.

    Groups are numbered by class in the model's order; each says its layer's name, by which we go.
    """
    return _layers_below(file, "", set())


def _layers_below(group: Any, name: str, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """Of the layer of that name; of what contains layers where there is none.

    A group that is in the file under two names is an error: links that branch have no end.
    """
    import h5py

    place = h5py.h5o.get_info(group.id).addr
    if place in seen:
        raise ValueError(f"the group {shown(group.name)} is there under two names")
    seen.add(place)
    if problems := H5_GROUPS.problems("the number of its groups", len(seen)):
        raise CompileError(*problems)
    variables = _child(group, "vars", h5py.Group)
    for index in sorted(variables if variables is not None else (), key=lambda i: (len(i), i)):
        dataset = _child(variables, index, h5py.Dataset)
        if dataset is not None and not name:
            message = f"the group {shown(group.name)} has weights, but no layer's name"
            hint = "as the attribute `name` of its `vars`: save the weights with a newer Keras 3"
            raise CompileError(Problem(message, hint=hint))
        if dataset is not None:
            yield f"{name}/{index}", dataset
    for key in group:
        child = _child(group, key, h5py.Group)
        if child is None or key in ("vars", "optimizer", "seed_generator"):
            continue
        if key == "layers":  # of a model, itself a layer or not
            yield from _layers_below(child, "", seen)
        elif name:
            yield from _layers_below(child, f"{name}/{key}", seen)
        else:
            own = _child(child, "vars", h5py.Group)
            named = "" if own is None else str(own.attrs.get("name", ""))
            yield from _layers_below(child, named, seen)


def _child(group: Any, name: str, kind: Any) -> Any:
    """A member of an h5 group; None where it is of another kind or lies in another file."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    child: Any = group[name]
    if not isinstance(child, kind):
        return None
    return None if kind is h5py.Dataset and (child.external or child.is_virtual) else child


def _type(dataset: Any) -> str:
    """The type of a dataset's values, whatever the order of their bytes."""
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError):
        return "a type that NumPy does not have"
    if dataset.shape is None:
        return f"{dtype} without a value"
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None:
        # as h5 holds what it does not know: Keras says what it is
        return "bfloat16" if str(dataset.attrs.get("dtype", "")) == "bfloat16" else str(dtype)
    return str(dtype.name if dtype.kind == "f" else dtype)


def _from_h5(name: str, dataset: Any, at: str) -> Tensor:
    dtype = _type(dataset)
    if dataset.chunks and any(c > n for c, n in zip(dataset.chunks, dataset.shape)):
        dtype = "another layout than dense"  # a chunk is read whole, whatever the shape says

    def load() -> Any:
        if dataset.id.get_create_plist().get_nfilters():  # it unpacks to whatever size it likes
            hint = "Keras writes none: save the weights again"
            raise CompileError(Problem(f"the tensor {shown(name)} is compressed", at, hint))
        if dtype != "bfloat16":
            return dataset[()].astype(dtype, copy=False)  # from the other order of bytes, too
        need("ml_dtypes", "keras")
        import ml_dtypes

        return dataset[()].view(ml_dtypes.bfloat16)

    return Tensor(name, tuple(dataset.shape or ()), dtype, load)
