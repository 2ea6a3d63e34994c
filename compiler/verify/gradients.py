"""What training does in each network: gradients, and the change of every weight in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..passes.rows import NOT_TRAINED, Row
from ..passes.trace import Ledger
from ..weights.keras_variables import torch_name, torch_value
from .measure import as_torch, every_output, in_training, outputs_of
from .parity import by_path, channels_first, variable_of


@dataclass
class Gradients:
    """Gradients of a weighted sum of the outputs, by image and by weight (PyTorch's names)."""

    image: Any
    weights: dict[str, Any]


def torch_gradients(model: Any, ledger: Ledger, x: Any, cotangents: Sequence[Any]) -> Gradients:
    """Gradients of sum(output * cotangent) in PyTorch, in the model's current mode.

    `x` is channels last, the cotangents channels first: one for each output, those of auxiliary
    heads included. A gradient that does not exist is None.
    """
    import torch

    image = torch.from_numpy(channels_first(x)).requires_grad_()
    model.zero_grad()
    with every_output(model):
        outputs = outputs_of(model(image))
    pairs = zip(outputs, map(torch.from_numpy, cotangents), strict=True)
    sum((output * cotangent).sum() for output, cotangent in pairs).backward()
    parameters = dict(model.named_parameters())
    return Gradients(
        image.grad.numpy(),
        {
            name: None if (grad := parameters[name].grad) is None else grad.numpy()
            for name in trained(ledger)
        },
    )


def keras_gradients(
    model: Any, ledger: Ledger, x: Any, cotangents: Sequence[Any], training: bool = False
) -> tuple[Gradients, list[Any]]:
    """The same in Keras, and the gradients of its trainable variables in Keras' layout."""
    import keras
    import numpy as np

    model = in_training(model)
    by_place = [
        np.ascontiguousarray(np.moveaxis(c, 1, -1)) if c.ndim > 2 else c for c in cotangents
    ]
    variables = model.trainable_variables
    differentiate = _DIFFERENTIATE[keras.backend.backend()]
    image, gradients = differentiate(model, variables, x, by_place, training)
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
    return Gradients(as_torch(image), weights), gradients


def weighed(outputs: Sequence[Any], cotangents: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each output with its cotangent. Those behind have none: PyTorch's file does not call them."""
    return list(zip(outputs[: len(cotangents)], cotangents, strict=True))


def _with_torch(model: Any, variables: Any, x: Any, cotangents: Any, training: bool) -> Any:
    import torch

    image = torch.from_numpy(x.copy()).requires_grad_()
    outputs = outputs_of(model(image, training=training))
    pairs = weighed(outputs, [torch.from_numpy(cotangent) for cotangent in cotangents])
    loss = sum((output * cotangent).sum() for output, cotangent in pairs)
    wanted = [image, *[variable.value for variable in variables]]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    return gradients[0], list(gradients[1:])


def _with_tensorflow(model: Any, variables: Any, x: Any, cotangents: Any, training: bool) -> Any:
    import tensorflow as tf

    image = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(image)
        outputs = outputs_of(model(image, training=training))
        pairs = weighed(outputs, [tf.constant(cotangent) for cotangent in cotangents])
        loss = sum(tf.reduce_sum(output * cotangent) for output, cotangent in pairs)
    gradients = tape.gradient(loss, [image, *[variable.value for variable in variables]])
    gradients = [
        tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients
    ]
    return gradients[0], gradients[1:]


def _with_jax(model: Any, variables: Any, x: Any, cotangents: Any, training: bool) -> Any:
    import jax

    def loss(image: Any, values: Any) -> Any:
        output, state = model.stateless_call(values, fixed, image, training=training)
        pairs = weighed(outputs_of(output), cotangents)
        return sum((output * cotangent).sum() for output, cotangent in pairs), state

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


def train_torch(
    model: Any, ledger: Ledger, x: Any, cotangents: Sequence[Any], rate: float | None = None
) -> tuple[dict[str, Any], float]:
    """The change of each weight in one step of SGD, and the learning rate.

    Without a rate, the largest step is 1.
    Only layers with moving statistics are in training mode, so dropout has no effect.
    """
    import torch

    model.eval()
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            module.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = torch_gradients(model, ledger, x, cotangents)
    largest = max(abs(grad).max() for grad in gradients.weights.values() if grad is not None)
    if rate is None:
        rate = float(1.0 / largest) if largest > 0 else 1.0
    with torch.no_grad():  # not torch.optim: it takes seconds to import
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-rate)
    model.eval()
    del gradients
    model.zero_grad()
    change = {}
    for name, value in model.state_dict().items():
        change[name] = (value - before.pop(name)).numpy()
    return change, rate


def train_keras(
    model: Any, ledger: Ledger, x: Any, cotangents: Sequence[Any], rate: float
) -> dict[str, Any]:
    """The change of each weight in one step of SGD without dropout, in PyTorch's layout."""
    import keras

    for layer in model._flatten_layers():
        if "Dropout" in type(layer).__name__ and hasattr(layer, "rate"):
            layer.rate = 0.0
    before = dict(keras_values(model, ledger))
    gradients = keras_gradients(model, ledger, x, cotangents, training=True)[1]
    optimizer = keras.optimizers.SGD(learning_rate=rate)
    optimizer.apply(gradients, in_training(model).trainable_variables)
    del gradients
    return {name: value - before.pop(name) for name, value in keras_values(model, ledger)}


def biased(change: Any, before: Any, momentum: float, count: int) -> Any:
    """Convert a step of PyTorch's moving variance to what Keras computes from the same n values.

    PyTorch divides the variance of a batch by n - 1, Keras by n.
    """
    towards = change / momentum + before
    return momentum * (towards * (count - 1) / count - before)
