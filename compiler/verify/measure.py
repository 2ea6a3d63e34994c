"""What is measured in each network: the output of every row, gradients, and a training step."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..passes.rows import NOT_TRAINED, Row
from ..passes.trace import Ledger
from ..targets.keras_weights import torch_name, torch_value
from .parity import by_path, channels_first, layer_of, variable_of


@dataclass
class Run:
    """The results of one forward pass, in PyTorch's layout: channels first.

    `rows` holds (input, output) of each call of a ledger row, rows in the order of execution.
    """

    rows: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    levels: dict[str, Any] = field(default_factory=dict)
    output: Any = None

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
    with torch.no_grad():
        run.levels = {name: level.numpy() for name, level in model.pyramid(image).items()}
    return run


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
    whole = keras.Model(model.inputs[0], [list(levels.values()), model.output])
    with _no_grad(), _watch_keras(model, rows, run):
        values, output = whole(
            keras.ops.convert_to_tensor(x, model.inputs[0].dtype), training=False
        )
    run.levels = {name: _as_torch(value) for name, value in zip(levels, values, strict=True)}
    run.output = _as_torch(output)
    return run


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
            run.keep(row.path, *(_as_torch(value, row.kind) for value in (x, output)))
            return output

        object.__setattr__(layer, "call", keep)  # past the tracking of attributes
        watched.append(layer)

    for layer in model._flatten_layers(include_self=False):
        row = paths.get((layer.path or layer.name).replace("/", "_"))
        if row and not isinstance(layer, keras.layers.MultiHeadAttention):
            watch(layer, row)
    try:
        yield
    finally:
        for layer in watched:
            layer.__dict__.pop("call", None)


def _as_torch(value: Any, kind: str = "") -> Any:
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


@dataclass
class Gradients:
    """Gradients of a weighted sum of the outputs, by image and by weight (PyTorch's names)."""

    image: Any
    weights: dict[str, Any]


def torch_gradients(model: Any, ledger: Ledger, x: Any, cotangent: Any) -> Gradients:
    """Gradients of sum(output * cotangent) in PyTorch, in the model's current mode.

    `x` is channels last, `cotangent` channels first. A gradient that does not exist is None.
    """
    import torch

    image = torch.from_numpy(channels_first(x)).requires_grad_()
    model.zero_grad()
    (model(image) * torch.from_numpy(cotangent)).sum().backward()
    parameters = dict(model.named_parameters())
    return Gradients(
        image.grad.numpy(),
        {
            name: None if (grad := parameters[name].grad) is None else grad.numpy()
            for name in trained(ledger)
        },
    )


def keras_gradients(
    model: Any, ledger: Ledger, x: Any, cotangent: Any, training: bool = False
) -> tuple[Gradients, list[Any]]:
    """The same in Keras, and the gradients of its trainable variables in Keras' layout."""
    import keras
    import numpy as np

    if cotangent.ndim > 2:
        cotangent = np.ascontiguousarray(np.moveaxis(cotangent, 1, -1))
    variables = model.trainable_variables
    differentiate = _DIFFERENTIATE[keras.backend.backend()]
    image, gradients = differentiate(model, variables, x, cotangent, training)
    found = {variable.path: grad for variable, grad in zip(variables, gradients, strict=True)}
    weights = {
        name: (
            None
            if (grad := found.get(variable.path)) is None
            else torch_value(row.kind, weight, keras.ops.convert_to_numpy(grad), shape)
        )
        for row, weight, shape, name, variable in places(model, ledger)
        if weight not in NOT_TRAINED
    }
    return Gradients(_as_torch(image), weights), gradients


def _with_torch(model: Any, variables: Any, x: Any, cotangent: Any, training: bool) -> Any:
    import torch

    image = torch.from_numpy(x.copy()).requires_grad_()
    loss = (model(image, training=training) * torch.from_numpy(cotangent)).sum()
    wanted = [image, *[variable.value for variable in variables]]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    return gradients[0], list(gradients[1:])


def _with_tensorflow(model: Any, variables: Any, x: Any, cotangent: Any, training: bool) -> Any:
    import tensorflow as tf

    image = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = tf.reduce_sum(model(image, training=training) * tf.constant(cotangent))
    gradients = tape.gradient(loss, [image, *[variable.value for variable in variables]])
    gradients = [
        tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients
    ]
    return gradients[0], gradients[1:]


def _with_jax(model: Any, variables: Any, x: Any, cotangent: Any, training: bool) -> Any:
    import jax

    def loss(image: Any, values: Any) -> Any:
        output, state = model.stateless_call(values, fixed, image, training=training)
        return (output * cotangent).sum(), state

    fixed = [variable.value for variable in model.non_trainable_variables]
    values = [variable.value for variable in variables]
    differentiate = jax.jit(jax.grad(loss, (0, 1), has_aux=True))  # op by op, each is compiled
    (image, gradients), state = differentiate(x, values)
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)
    return image, gradients


_DIFFERENTIATE = {"torch": _with_torch, "tensorflow": _with_tensorflow, "jax": _with_jax}


def trained(ledger: Ledger) -> list[str]:
    """PyTorch's names of the trainable weights."""
    return [
        torch_name(row.path, weight)
        for row in ledger.rows
        for weight, _ in row.weights
        if weight not in NOT_TRAINED
    ]


def places(model: Any, ledger: Ledger) -> Iterator[tuple[Row, str, tuple[int, ...], str, Any]]:
    """Yield (row, weight, PyTorch's shape, PyTorch's name, Keras variable) for every weight."""
    variables = by_path(model)
    for row in ledger.rows:
        for weight, shape in row.weights:
            variable = variables[variable_of(row, weight)]
            yield row, weight, shape, torch_name(row.path, weight), variable


def keras_values(model: Any, ledger: Ledger) -> Iterator[tuple[str, Any]]:
    """Yield every weight of a Keras model in PyTorch's layout, copied one at a time."""
    import keras

    for row, weight, shape, name, variable in places(model, ledger):
        value = keras.ops.convert_to_numpy(variable)
        yield name, torch_value(row.kind, weight, value, shape).copy()


def train_torch(model: Any, ledger: Ledger, x: Any, cotangent: Any) -> tuple[dict[str, Any], float]:
    """The change of each weight in one step of SGD, and the learning rate: the largest step is 1.

    Only layers with moving statistics are in training mode, so dropout has no effect.
    """
    import torch

    model.eval()
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            module.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = torch_gradients(model, ledger, x, cotangent)
    largest = max(abs(grad).max() for grad in gradients.weights.values() if grad is not None)
    rate = float(1.0 / largest) if largest > 0 else 1.0
    torch.optim.SGD(model.parameters(), lr=rate).step()
    model.eval()
    del gradients
    model.zero_grad()
    change = {}
    for name, value in model.state_dict().items():
        change[name] = (value - before.pop(name)).numpy()
    return change, rate


def train_keras(model: Any, ledger: Ledger, x: Any, cotangent: Any, rate: float) -> dict[str, Any]:
    """The change of each weight in one step of SGD without dropout, in PyTorch's layout."""
    import keras

    for layer in model._flatten_layers():
        if "Dropout" in type(layer).__name__ and hasattr(layer, "rate"):
            layer.rate = 0.0
    before = dict(keras_values(model, ledger))
    gradients = keras_gradients(model, ledger, x, cotangent, training=True)[1]
    optimizer = keras.optimizers.SGD(learning_rate=rate)
    optimizer.apply(gradients, model.trainable_variables)
    del gradients
    return {name: value - before.pop(name) for name, value in keras_values(model, ledger)}


def biased(change: Any, before: Any, momentum: float, count: int) -> Any:
    """Convert a step of PyTorch's moving variance to what Keras computes from the same n values.

    PyTorch divides the variance of a batch by n - 1, Keras by n.
    """
    towards = change / momentum + before
    return momentum * (towards * (count - 1) / count - before)
