"""How far each level sees: receptive fields, as programs run over kernels and strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import ir
from ..ir import Layer, Shape
from ..network import Network
from .interpret import Tracer
from .rows import At, Row, axes
from .trace import constants_of, run_encoder
from .wires import Tensor

POOLS = ("max_pool", "signed_max_pool", "ceil_max_pool", "signed_ceil_max_pool")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seeing(Tensor):
    """A tensor, how many positions of the image each value sees, and how far two neighbors are."""

    field: Shape
    step: Shape

    def after(self, kernel: Sequence[int], stride: Sequence[int]) -> tuple[Shape, Shape]:
        """Field and step after a window of this kernel and stride, axis by axis."""
        fields = tuple(f + (k - 1) * s for f, k, s in zip(self.field, kernel, self.step))
        return fields, tuple(a * b for a, b in zip(self.step, stride))


class Fields(Tracer):
    """Runs a network over receptive fields. What gates see is not counted: a mean of everything."""

    def call(
        self, name: str, args: tuple[object, ...], inputs: Sequence[Tensor]
    ) -> tuple[list[Row], Tensor]:
        return self.run_block(name, args, inputs)

    def applied(self, function: str, values: Sequence[Any], shape: Shape) -> Tensor:
        plain = super().applied(function, values, shape)
        given = [value for value in values if isinstance(value, Seeing)]
        if function == "multiply":
            given = given[:1]
        field = tuple(map(max, zip(*(x.field for x in given))))
        step = given[0].step
        if function in POOLS:
            window = [3 if stride > 1 else 1 for stride in values[1]]
            field, step = given[0].after(window, values[1])
        return Seeing(shape, plain.row, field=field, step=step)

    def made(
        self, layer: Layer, at: At, names: Mapping[str, object], inputs: list[Tensor]
    ) -> tuple[list[Row], Tensor]:
        rows, output = super().made(layer, at, names, inputs)
        x = inputs[0]
        if isinstance(output, Seeing) or not isinstance(x, Seeing):
            return rows, output
        window: tuple[Shape, Shape] = (x.field, x.step)
        if isinstance(layer, ir.Conv):
            stride = axes(layer.stride, names, self.rank)
            window = x.after(axes(layer.kernel, names, self.rank), stride)
        elif isinstance(layer, ir.AvgPool):
            stride = axes(layer.stride, names, self.rank)
            window = x.after(stride, stride)
        return rows, Seeing(output.shape, output.row, field=window[0], step=window[1])


def receptive_field(network: Network) -> Shape:
    """How many positions of the image a value of the deepest level depends on, axis by axis."""
    model = network.model
    ones = (1,) * model.dims
    tracer = Fields(model.dims, network.all_blocks, constants_of(network))
    _, levels = run_encoder(network, tracer, Seeing(model.image, field=ones, step=ones))
    deepest = levels[-1]
    assert isinstance(deepest, Seeing)
    return deepest.field
