"""One network in two frameworks: its weights matched by name and given the same values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..passes.rows import COUNTER, Row
from ..passes.trace import Ledger
from ..targets.runtime import Runtime
from ..weights.keras_variables import keras_name, keras_value, layer_name, torch_name, torch_shape


@dataclass(frozen=True)
class Mismatch:
    """A weight that has no counterpart; `row` is its ledger row, or the weight itself."""

    row: str
    message: str


@dataclass(frozen=True, slots=True)
class Paired(Row):
    """A row whose Keras layer, or bare variable, has a name that does not follow from its path."""

    layer: str = ""
    variable: str = ""


def layer_of(row: Row) -> str:
    """The name of a row's Keras layer, with slashes as underscores."""
    return row.layer if isinstance(row, Paired) else layer_name(row.path)


def variable_of(row: Row, weight: str) -> str:
    """The path of a weight's Keras variable, with slashes as underscores."""
    if isinstance(row, Paired) and row.variable:
        return f"{row.layer}_{row.variable}"
    return keras_name(layer_of(row), row.kind, weight)


def torch_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes in the PyTorch model's own order, without the counters of batches."""
    return {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.endswith(COUNTER)
    }


def by_path(model: Any) -> dict[str, Any]:
    """The variables of a Keras model by their paths, with slashes as underscores."""
    return {variable.path.replace("/", "_"): variable for variable in model.weights}


def ledger_shapes(ledger: Ledger) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes of a ledger."""
    return {torch_name(row.path, name): shape for row in ledger.rows for name, shape in row.weights}


def keras_shapes(model: Any, ledger: Ledger) -> dict[str, tuple[int, ...]]:
    """Weight paths and shapes of a Keras model in PyTorch's layout, as far as it has them."""
    variables = by_path(model)
    return {
        torch_name(row.path, name): torch_shape(row.kind, name, tuple(variables[found].shape))
        for row in ledger.rows
        for name, _ in row.weights
        if (found := variable_of(row, name)) in variables
    }


def mismatches(networks: Sequence[tuple[Runtime, Any]], ledger: Ledger) -> list[Mismatch]:
    """Every weight without a counterpart: missing, left over, or of another shape."""
    wanted = ledger_shapes(ledger)
    rows = {torch_name(row.path, name): row.path for row in ledger.rows for name, _ in row.weights}
    found = {runtime.name: runtime.shapes(network, ledger) for runtime, network in networks}
    problems = []
    for weight, shape in wanted.items():
        for framework, shapes in found.items():
            if weight not in shapes:
                problems.append(Mismatch(rows[weight], f"{weight} is missing in {framework}"))
            elif shapes[weight] != shape:
                is_, was = (" x ".join(map(str, s)) for s in (shapes[weight], shape))
                problems.append(
                    Mismatch(
                        rows[weight], f"{weight} is {is_} in {framework}, but {was} in the ledger"
                    )
                )
    for runtime, network in networks:
        problems += [
            Mismatch(name, f"{name} of {runtime.name} is left over")
            for name in runtime.left_over(network, ledger)
        ]
    problems += [
        Mismatch("", f"two weights of {runtime.name} have the same name")
        for runtime, network in networks
        if not problems and runtime.twice(network, ledger)
    ]
    return problems


def random_values(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Iterator[tuple[str, Any]]:
    """Random weights and norm statistics, scaled so that activations stay near 1."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            array = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            array = 0.1 * rng.standard_normal(shape)
        else:
            array = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        yield name, np.asarray(array)


def randomize(model: Any, seed: int = 0) -> None:
    """Random weights for a PyTorch model."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for name, value in random_values(torch_shapes(model), seed):
            state[name].copy_(torch.from_numpy(value))


def assign_to_keras(model: Any, ledger: Ledger, values: Mapping[str, Any]) -> None:
    """Give a Keras model these weights, by PyTorch's names and in its layout."""
    variables = by_path(model)
    for row in ledger.rows:
        for name, _ in row.weights:
            variable = variables[variable_of(row, name)]
            value = values[torch_name(row.path, name)].copy()  # JAX may keep the memory
            variable.assign(keras_value(row.kind, name, value, tuple(variable.shape)))


def image(shape: tuple[int, ...], batch: int = 2, seed: int = 1) -> Any:
    """Noise, channels last, in float64."""
    import numpy as np

    return np.random.default_rng(seed).standard_normal((batch, *shape))


def channels_first(x: Any) -> Any:
    """(N, D, H, W, C) -> (N, C, D, H, W)."""
    import numpy as np

    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def difference(a: Any, b: Any, floor: float = 0.0) -> float:
    """Largest difference over the largest value of `b`, or over `floor` where that is larger.

    NaN if either holds one. Raises `ValueError` if the shapes differ.
    """
    import numpy as np

    if a.shape != b.shape:
        raise ValueError(f"shapes {b.shape} in torch and {a.shape} in keras")
    largest = float(np.abs(a - b).max(initial=0.0))
    scale = max(float(np.abs(b).max(initial=0.0)), floor)
    return largest if largest == 0.0 else largest / scale if scale else float("inf")
