"""What `verify` and `convert` ask of a target: how its files run, and which files hold weights.

Weights are known by the names of the ledger, and their values in its layout: kernels are (out, in,
*sizes), maps are channels first. A target translates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol

from ..ir import Shape
from ..model import Model
from ..passes.rows import Row
from ..passes.trace import Ledger
from . import TARGETS, made, target_row


class Runtime(Protocol):
    """Runs the files of a target. Only the runtime knows what `build` returns as a network."""

    name: str  # the target's
    label: str  # what a line of progress calls it

    def prepare(self, backend: str) -> None:
        """Import the frameworks that it needs. Raises `CompileError` if one is missing."""

    def release(self) -> None:
        """Free the networks that were built."""

    def computing(self, dtype: str) -> AbstractContextManager[None]:
        """Build and run in this dtype."""

    def build(self, source: Any, model: Model, dtype: str) -> Any:
        """The network of a file (`verify.loading.Source`) at the model's size and channels."""

    def parameters(self, network: Any, ledger: Ledger) -> int:
        """The number of its trainable parameters."""

    def shapes(self, network: Any, ledger: Ledger) -> dict[str, Shape]:
        """The weights that it has, by name, and their shapes."""

    def left_over(self, network: Any, ledger: Ledger) -> list[str]:
        """Its own names of the weights that the ledger has not."""

    def twice(self, network: Any, ledger: Ledger) -> bool:
        """Whether two of its weights have one name."""

    def values(self, network: Any, ledger: Ledger) -> Mapping[str, Any]:
        """Its weights as NumPy arrays."""

    def assign(self, network: Any, ledger: Ledger, values: Mapping[str, Any]) -> None:
        """Give it these weights."""

    def common(self, network: Any, ledger: Ledger, reference: Any) -> Ledger:
        """The ledger of what it has in common with an edited network of the first target."""

    def observed(self, network: Any, ledger: Ledger, shape: Shape) -> Ledger:
        """The ledger with the shapes that one image has in the network."""

    def run(self, network: Any, rows: Sequence[Row], x: Any) -> Any:
        """A forward pass without training (`verify.measure.Run`); `x` is channels last."""

    def gradients(self, network: Any, ledger: Ledger, x: Any, cotangents: Any) -> Any:
        """Gradients of the sum of all output * cotangent (`verify.gradients.Gradients`)."""

    def train(
        self, network: Any, ledger: Ledger, x: Any, cotangents: Any, rate: float | None
    ) -> tuple[dict[str, Any], float]:
        """The change of each weight in a step of SGD without dropout, and the learning rate.

        Without a `rate`, the largest step is 1. A moving variance moves by the mean square of the
        batch, not divided by one less than its count.
        """


class WeightFiles(Protocol):
    """Reads and writes the files of a target's weights. A `place` is a `weights.naming.Place`."""

    name: str  # the target's

    def read(
        self, path: Path, stack: ExitStack, notes: list[str]
    ) -> tuple[dict[str, Any], str, list[str]]:
        """The tensors of a file by name (`weights.checkpoints.Tensor`), and its dialect.

        The last item lists tensors that were omitted because they do not belong to the network.
        """

    def write(self, path: Path, model: Model, match: Any, origin: str) -> None:
        """Write the weights of a match (`weights.matching.Match`)."""

    def place_name(self, place: Any) -> str:
        """The name of one of our weights in a file."""

    def name_below(self, layer: str, place: Any) -> str:
        """The name in a file of a weight of the layer that a layout calls `layer`."""

    def plain_name(self, name: str) -> str:
        """A name without the numbers that depend on the session that wrote the file."""

    def heads(self, place: Any, shape: Shape) -> int | None:
        """The number of heads of an attention kernel, if the files have an axis for them."""

    def shape(self, place: Any, shape: Shape) -> Shape:
        """A tensor's shape in the layout of the ledger."""

    def value(self, place: Any, value: Any, shape: Shape) -> Any:
        """A tensor's value in the layout of the ledger, where `shape` is its shape."""


def runtime_of(name: str) -> Runtime | None:
    """The runtime of a target; None if its files do not run. Raises `KeyError`."""
    place = target_row(name).runtime
    found: Runtime | None = made(place) if place else None
    return found


def runnable() -> tuple[str, ...]:
    """The targets whose files run; the others are compared with the first."""
    return tuple(row.name for row in TARGETS.values() if row.runtime)


def files_of(name: str) -> WeightFiles:
    """The files of a target's weights. Raises `KeyError` where it has none."""
    place = target_row(name).files
    if not place:
        raise KeyError(f"the target {name!r} has no files of weights")
    found: WeightFiles = made(place)
    return found
