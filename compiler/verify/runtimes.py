"""How the files of each target run: PyTorch's, and Keras' on each of its backends."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..ir import Shape
from ..model import Model
from ..passes.count import non_trainable
from ..passes.rows import Row
from ..passes.trace import Ledger
from . import doubles, gradients, joint, loading, measure, parity


class TorchRuntime:
    """PyTorch, whose names and layouts the ledger uses."""

    name = label = "torch"

    def prepare(self, backend: str) -> None:
        loading.imported(("torch",), backend)

    def release(self) -> None:
        pass

    @contextlib.contextmanager
    def computing(self, dtype: str) -> Iterator[None]:
        yield

    def build(self, source: loading.Source, model: Model, dtype: str) -> Any:
        import torch

        return loading.build_torch(source, model).to(getattr(torch, dtype))

    def parameters(self, network: Any, ledger: Ledger) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    def shapes(self, network: Any, ledger: Ledger) -> dict[str, Shape]:
        return parity.torch_shapes(network)

    def left_over(self, network: Any, ledger: Ledger) -> list[str]:
        wanted = parity.ledger_shapes(ledger)
        return [name for name in parity.torch_shapes(network) if name not in wanted]

    def twice(self, network: Any, ledger: Ledger) -> bool:
        return False

    def values(self, network: Any, ledger: Ledger) -> Mapping[str, Any]:
        state = network.state_dict()
        return {name: state[name].numpy() for name in parity.ledger_shapes(ledger)}

    def assign(self, network: Any, ledger: Ledger, values: Mapping[str, Any]) -> None:
        import torch

        with torch.no_grad():
            state = network.state_dict()
            for name, value in values.items():
                state[name].copy_(torch.from_numpy(value))

    def common(self, network: Any, ledger: Ledger, reference: Any) -> Ledger:
        return ledger

    def observed(self, network: Any, ledger: Ledger, shape: Shape) -> Ledger:
        return joint.run_once(ledger, network, shape)

    def run(self, network: Any, rows: Sequence[Row], x: Any) -> measure.Run:
        return measure.run_torch(network, rows, x)

    def gradients(
        self, network: Any, ledger: Ledger, x: Any, cotangents: Any
    ) -> gradients.Gradients:
        network.eval()
        return gradients.torch_gradients(network, ledger, x, cotangents)

    def train(
        self, network: Any, ledger: Ledger, x: Any, cotangents: Any, rate: float | None
    ) -> tuple[dict[str, Any], float]:
        norms = {row.path: row for row in ledger.rows if row.kind == "batch_norm"}
        momenta = {path: network.get_submodule(path).momentum for path in norms}
        before = {
            name: value.numpy().copy()
            for name, value in network.state_dict().items()
            if name.endswith("running_var")
        }
        change, rate = gradients.train_torch(network, ledger, x, cotangents, rate)
        for path, row in norms.items():
            if momenta[path]:
                name, count = f"{path}.running_var", len(x) * math.prod(row.output[1:])
                change[name] = gradients.biased(change[name], before[name], momenta[path], count)
        return change, rate


class KerasRuntime:
    """Keras, with values in PyTorch's layout."""

    name, label = "keras", "Keras"

    def prepare(self, backend: str) -> None:
        loading.use_backend(backend)

    def release(self) -> None:
        import keras

        keras.backend.clear_session()

    def computing(self, dtype: str) -> contextlib.AbstractContextManager[None]:
        return doubles.floating(dtype)

    def build(self, source: loading.Source, model: Model, dtype: str) -> Any:
        return loading.build_keras(source, model)

    def parameters(self, network: Any, ledger: Ledger) -> int:
        every: int = sum(math.prod(weight.shape) for weight in network.weights)
        return every - non_trainable(ledger.rows)

    def shapes(self, network: Any, ledger: Ledger) -> dict[str, Shape]:
        return parity.keras_shapes(network, ledger)

    def left_over(self, network: Any, ledger: Ledger) -> list[str]:
        known = {parity.variable_of(row, name) for row in ledger.rows for name, _ in row.weights}
        paths = (variable.path for variable in network.weights)
        return [path for path in paths if path.replace("/", "_") not in known]

    def twice(self, network: Any, ledger: Ledger) -> bool:
        return len(network.weights) != len(parity.ledger_shapes(ledger))

    def values(self, network: Any, ledger: Ledger) -> Mapping[str, Any]:
        return dict(gradients.keras_values(network, ledger))

    def assign(self, network: Any, ledger: Ledger, values: Mapping[str, Any]) -> None:
        parity.assign_to_keras(network, ledger, values)

    def common(self, network: Any, ledger: Ledger, reference: Any) -> Ledger:
        return joint.joint_ledger(ledger, reference, network)

    def observed(self, network: Any, ledger: Ledger, shape: Shape) -> Ledger:
        return ledger

    def run(self, network: Any, rows: Sequence[Row], x: Any) -> measure.Run:
        return measure.run_keras(network, rows, x)

    def gradients(
        self, network: Any, ledger: Ledger, x: Any, cotangents: Any
    ) -> gradients.Gradients:
        return gradients.keras_gradients(network, ledger, x, cotangents)[0]

    def train(
        self, network: Any, ledger: Ledger, x: Any, cotangents: Any, rate: float | None
    ) -> tuple[dict[str, Any], float]:
        assert rate is not None
        return gradients.train_keras(network, ledger, x, cotangents, rate), rate
