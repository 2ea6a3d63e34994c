"""Write weights to files that PyTorch's `load_state_dict` and Keras' `load_weights` accept.

A file is written completely or not at all. The same weights give the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import sys
import types
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..emitter import as_it_can, source
from ..errors import CompileError, Problem
from ..files import replacing, resolved
from ..model import Model
from ..passes.rows import COUNTER
from .checkpoints import DIALECT, need
from .keras_files import KERAS_WEIGHTS, keras_datasets
from .keras_variables import keras_value
from .layouts import dialect_of, name_there, variants
from .matching import LISTED, Match
from .naming import Place

SEED = 0  # of initial values
ITEMSIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
H5_OVERHEAD = 4096  # an upper bound of bytes per tensor


class _Values:
    """The values of a match. Reading one notes whether it is finite, for `check` at the end."""

    def __init__(self, match: Match, origin: str):
        self.match, self.origin = match, origin
        self.broken: list[str] = []

    def __call__(self, place: Place) -> Any:
        import numpy as np

        value = self.match.values[place.name]()
        if not np.isfinite(value).all():
            self.broken.append(place.name)
        return value

    def check(self) -> None:
        """Raise `CompileError` if a value was not finite."""
        if not self.broken:
            return
        problems = [
            Problem(f"{name!r} contains NaN or infinite values", self.origin)
            for name in self.broken[:LISTED]
        ]
        if len(self.broken) > LISTED:
            problems.append(Problem(f"{len(self.broken)} tensors contain such values", self.origin))
        raise CompileError(*problems)


def write_torch(path: Path, model: Model, match: Match, origin: str) -> None:
    """Write a state dict: `.safetensors`, or `.pt` and `.pth` by `torch.save`.

    The counters of batch norms are zero. Weights that the match leaves at initial values are those
    of the emitted model, seeded with 0, in the dtype of the other weights. Raises `CompileError`.
    """
    need("safetensors" if path.suffix == ".safetensors" else "torch", "torch")
    write_state(path, _torch_state(path, model, match, origin), dialect_of(model))


def write_state(path: Path, state: dict[str, Any], dialect: str) -> None:
    """Write arrays as a state dict, of a network of that dialect. Raises `CompileError`."""
    need("safetensors" if path.suffix == ".safetensors" else "torch", "torch")
    if path.suffix != ".safetensors":
        _save(path, {name: _to_torch(value) for name, value in state.items()})
        return
    with _told_of_writing(path, Exception), replacing(path) as temporary:
        from safetensors.numpy import save_file

        save_file(state, temporary, {DIALECT: dialect} if dialect else None)


def write_nnunet(path: Path, model: Model, match: Match, origin: str) -> None:
    """Write a `.pth` with a state dict under `network_weights`, as nnU-Net names its tensors.

    All names of a tensor share its storage. Raises `CompileError`.
    """
    need("torch", "torch")
    state = _torch_state(path, model, match, origin)
    (layout,) = variants("nnunet", model)
    layers = {place.path: name_there(layout, model, place.row) for place in match.places}
    named: dict[str, Any] = {}
    for name, value in state.items():
        layer, _, weight = name.rpartition(".")
        tensor = _to_torch(value)
        named |= dict.fromkeys(layout.names(model, f"{layers[layer]}.{weight}"), tensor)
    _save(path, {"network_weights": named})


def _save(path: Path, content: Any) -> None:
    import torch

    # Libraries raise anything. Given a path, PyTorch would put the file's name into the archive.
    with (
        _told_of_writing(path, Exception),
        replacing(path) as temporary,
        open(temporary, "wb") as file,
    ):
        torch.save(content, file)


def _torch_state(path: Path, model: Model, match: Match, origin: str) -> dict[str, Any]:
    """The arrays of a state dict, for which the disk has room."""
    import numpy as np

    initial = _initial_torch(model) if match.initial else {}
    kinds = {}
    if initial and match.dtype == "bfloat16":
        import ml_dtypes

        kinds["bfloat16"] = ml_dtypes.bfloat16
    values = _Values(match, origin)
    state: dict[str, Any] = {}
    for place in match.places:
        if place.name in match.values:
            state[place.name] = np.ascontiguousarray(values(place))
        else:
            given = initial.pop(place.name).numpy()
            state[place.name] = given.astype(kinds.get(match.dtype, match.dtype))
        if place.weight == "running_var":
            state[f"{place.path}.{COUNTER}"] = np.zeros((), np.int64)
    values.check()
    _check_room(path, sum(value.nbytes for value in state.values()))
    return state


def _to_torch(value: Any) -> Any:
    import numpy as np
    import torch

    if str(value.dtype) != "bfloat16":
        return torch.from_numpy(value)
    return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)


def _initial_torch(model: Model) -> dict[str, Any]:
    need("torch", "torch")
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        built = _construct(model, "torch")
    return dict(built.state_dict())


def write_keras(path: Path, model: Model, match: Match, origin: str) -> None:
    """Write a `.weights.h5`, or a whole `.keras`, for the emitted Keras model.

    Keras itself saves a fresh model; ours is that file with other values, so that its structure is
    the one of the installed version. Initial values are Keras' own, by its global seed, which is
    set to 0. Raises `CompileError`.
    """
    need("keras", "keras")
    need("h5py", "keras")
    choose_backend()
    import h5py
    import keras

    # A blank file, the filled one, and its archive. HDF5 does not survive a disk that gets full.
    itemsizes = [4] + [ITEMSIZES[match.dtype]] * (2 if path.suffix == ".keras" else 1)
    sizes = [math.prod(place.shape) for place in match.places]
    _check_room(path, sum(H5_OVERHEAD + size * item for size in sizes for item in itemsizes))
    values = _Values(match, origin)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_told_of_writing(path))
        temporary = stack.enter_context(replacing(path))
        with _seeded():
            built = _construct(model, "keras")
        # In the private folder of the temporary file, so that they are deleted with it.
        blank, filled = (temporary.with_name(f"{name}.weights.h5") for name in ("blank", "filled"))
        built.save_weights(blank)
        config = ""
        if path.suffix == ".keras":
            config = json.dumps(keras.saving.serialize_keras_object(built))
        del built
        with h5py.File(blank, "r") as template, h5py.File(filled, "w") as file:
            _copy(template, file, match, values)
            file.attrs[DIALECT] = dialect_of(model)
        values.check()
        if not config:
            os.replace(filled, temporary)
            return
        with zipfile.ZipFile(temporary, "w") as archive:
            _add(archive, "metadata.json", json.dumps({"keras_version": keras.__version__}))
            _add(archive, "config.json", config)
            entry = zipfile.ZipInfo(KERAS_WEIGHTS)
            with open(filled, "rb") as reading, archive.open(entry, "w", force_zip64=True) as out:
                shutil.copyfileobj(reading, out, 1 << 20)


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    archive.writestr(
        zipfile.ZipInfo(name), text
    )  # without a date, so that the bytes are the same each time


def _copy(template: Any, file: Any, match: Match, values: _Values) -> None:
    """Copy the groups and attributes of a file that Keras wrote, with our values."""
    import numpy as np

    places = {place.keras_name: place for place in match.places}
    targets = {dataset.name: name for name, dataset in keras_datasets(template)}
    assert sorted(targets.values()) == sorted(places), "Keras and the ledger differ"

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            place = places.get(targets.get(item.name, ""))
            if place is None:  # the state of a random generator
                value = item[()]
            elif place.name in match.values:
                value = keras_value(place.kind, place.weight, values(place), item.shape)
            else:
                value = item[()]
                if match.dtype != "bfloat16":
                    value = value.astype(match.dtype)
            new = file.create_dataset(name, data=np.ascontiguousarray(value))
            if str(value.dtype) == "bfloat16":
                new.attrs["dtype"] = "bfloat16"
        else:
            new = file.require_group(name)
        for key, text in item.attrs.items():
            new.attrs[key] = text

    template.visititems(visit)


def _check_room(path: Path, size: int) -> None:
    """Raise `CompileError` if the disk has less free space than that many bytes."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(resolved(path).parent).free
        if free < size:
            message = f"the disk is full: {size:,} bytes are needed, {free:,} are free"
            raise CompileError(Problem(message, f"-o {path}"))


@contextlib.contextmanager
def _told_of_writing(path: Path, kinds: type[Exception] = OSError) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", "") or str(error).split("\n")[0]
        raise CompileError(Problem(f"cannot write: {reason}", f"-o {path}")) from None


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Python's random numbers from `SEED` on, from which Keras draws the seeds of initializers.

    `keras.utils.set_random_seed` would also seed NumPy and the framework of the caller.
    """
    state = random.getstate()
    random.seed(SEED)
    try:
        yield
    finally:
        random.setstate(state)


def choose_backend() -> None:
    """Choose an installed backend of Keras unless the user has chosen one."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    chosen = "KERAS_BACKEND" in os.environ or "keras" in sys.modules
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if not chosen and not (home / "keras.json").exists():
        there = [name for name in ("torch", "tensorflow", "jax") if find_spec(name)]
        if not there:
            hint = 'pip install "plainnet[keras]"'
            raise CompileError(Problem("Keras needs tensorflow, torch or jax", hint=hint))
        os.environ["KERAS_BACKEND"] = there[0]


def _construct(model: Model, target: str) -> Any:
    """Build the emitted model from its source, which is emitted here and not read from a file."""
    module = types.ModuleType(model.name)
    text = source(as_it_can(model, target), target)
    exec(compile(text, f"<{model.name}>", "exec"), module.__dict__)
    return getattr(module, model.class_name)()
