"""What is measured in each network: the output of every row, of every level, and of every head."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..ir import AUX_HEADS
from ..passes.rows import Row
from .parity import channels_first, layer_of


@dataclass
class Run:
    """The results of one forward pass, in PyTorch's layout: channels first.

    `rows` holds (input, output) of each call of a ledger row, rows in the order of execution.
    """

    rows: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    levels: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    aux: list[Any] = field(default_factory=list)

    def keep(self, path: str, x: Any, output: Any) -> None:
        self.rows.setdefault(path, []).append((x, output))


def run_torch(model: Any, rows: Sequence[Row], x: Any) -> Run:
    """Run the forward pass in PyTorch, in evaluation mode. `x` is channels last."""
    import torch

    run = Run()
    dtype = next(model.parameters()).dtype
    image = torch.from_numpy(channels_first(x)).to(dtype)
    model.eval()
    with torch.no_grad(), _watch_torch(model, rows, run):
        run.output = model(image).numpy()
    if hasattr(model, AUX_HEADS):
        heads = [row for row in rows if row.path.startswith(f"{AUX_HEADS}.")]
        with torch.no_grad(), _watch_torch(model, heads, run), every_output(model):
            run.aux = [output.numpy() for output in outputs_of(model(image))[1:]]
    with torch.no_grad():
        run.levels = {name: level.numpy() for name, level in model.pyramid(image).items()}
    return run


@contextmanager
def every_output(model: Any) -> Iterator[None]:
    """Let a model return the outputs of its auxiliary heads, if it has any, and do nothing else.

    It returns them in training mode. Its modules, batch norms among them, stay in their own mode.
    """
    mode = model.training
    model.training = mode or hasattr(model, AUX_HEADS)
    try:
        yield
    finally:
        model.training = mode


def outputs_of(output: Any) -> list[Any]:
    """The outputs of a model that may have auxiliary heads: the main one first."""
    return [*output] if isinstance(output, list | tuple) else [output]


@contextmanager
def _watch_torch(model: Any, rows: Sequence[Row], run: Run) -> Iterator[None]:
    modules = dict(model.named_modules())

    def keep(path: str, _module: Any, inputs: Any, output: Any) -> None:
        run.keep(path, inputs[0].detach().numpy().copy(), output.detach().numpy().copy())

    hooks = [
        modules[row.path].register_forward_hook(functools.partial(keep, row.path))
        for row in rows
        if row.path in modules
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def run_keras(model: Any, rows: Sequence[Row], x: Any) -> Run:
    """Run the forward pass in Keras, in evaluation mode; the results are channels first."""
    import keras

    run = Run()
    levels = model.pyramid_outputs
    _, *aux = outputs_of(in_training(model).output)
    whole = keras.Model(model.inputs[0], [list(levels.values()), model.output, aux])
    with _no_grad(), _watch_keras(model, rows, run):
        values, output, aux = whole(
            keras.ops.convert_to_tensor(x, model.inputs[0].dtype), training=False
        )
    run.levels = {name: as_torch(value) for name, value in zip(levels, values, strict=True)}
    run.output = as_torch(output)
    run.aux = [as_torch(value) for value in aux]
    return run


def in_training(model: Any) -> Any:
    """The Keras model that is trained: the one with auxiliary heads, where there is one."""
    return getattr(model, "training_model", model)


@contextmanager
def _watch_keras(model: Any, rows: Sequence[Row], run: Run) -> Iterator[None]:
    """Wrap the `call` of each layer, which also sees the layers inside an attention."""
    import keras

    paths = {layer_of(row): row for row in rows if row.kind != "table"}
    watched = []

    def watch(layer: Any, row: Row) -> None:
        call = layer.call

        @functools.wraps(call)
        def keep(x: Any, *args: Any, **kwargs: Any) -> Any:
            output = call(x, *args, **kwargs)
            run.keep(row.path, *(as_torch(value, row.kind) for value in (x, output)))
            return output

        object.__setattr__(layer, "call", keep)  # past the tracking of attributes
        watched.append(layer)

    for layer in in_training(model)._flatten_layers(include_self=False):
        row = paths.get((layer.path or layer.name).replace("/", "_"))
        if row and not isinstance(layer, keras.layers.MultiHeadAttention):
            watch(layer, row)
    try:
        yield
    finally:
        for layer in watched:
            layer.__dict__.pop("call", None)


def as_torch(value: Any, kind: str = "") -> Any:
    """A map with channels first; tokens and vectors as they are, with the heads concatenated."""
    import keras

    array = keras.ops.convert_to_numpy(value)
    if kind.startswith("attention"):
        return array.reshape(*array.shape[:2], -1).copy()
    return channels_first(array) if array.ndim > 3 else array.copy()


@contextmanager
def _no_grad() -> Iterator[None]:
    import keras

    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.no_grad():
        yield
