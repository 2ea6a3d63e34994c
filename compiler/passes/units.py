"""What nnU-Net puts around its convolutions, written into blocks and stems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ir import Constant, Conv, Dropout, Layer, Norm
from ..model import Encoder
from ..parts import Units
from ..program import Apply, Expression, rewritten, wrapped
from .variants import Part, with_activation, with_norm

DROPOUT = "CONV_DROPOUT"
# The convolution of a block or a stem with dropout behind it: the first, or a bottleneck's second.
DROPPED = {
    "ConvBlock": "conv",
    "DecoderBlock": "conv",
    "BasicBlock": "conv1",
    "Bottleneck": "conv2",
}


def dressed(part: Part, encoder: Encoder) -> Part:
    """The block or fragment with the encoder's norm and activation, and with its units."""
    part = with_activation(with_norm(part, encoder.norm), encoder.activation)
    return in_units(part, encoder.units, encoder.activation) if encoder.units else part


def in_units(part: Part, units: Units, activation: str) -> Part:
    """The block or fragment with biases, epsilon, dropout and order of these units.

    A projection is never followed by dropout, and its convolution has no bias.
    """
    name = getattr(part, "name", "")
    bias = units.bias and name != "Projection"
    part = replace(part, layers=tuple(_layer(layer, units, bias) for layer in part.layers))
    dropped = DROPPED.get(name, "" if name else "conv1")
    if units.dropout is not None and any(layer.name == dropped for layer in part.layers):
        layers = (*part.layers, Dropout("dropout", DROPOUT, channels=True))
        part = replace(part, layers=layers, body=wrapped(part.body, dropped, "dropout"))
    if units.activation_first:
        norms = {layer.name for layer in part.layers if isinstance(layer, Norm)}
        part = replace(part, body=rewritten(part.body, _swapped(norms, activation)))
    return part


def unit_constants(units: Units | None) -> tuple[Constant, ...]:
    """The named numbers of the units."""
    if units is None or units.dropout is None:
        return ()
    return (Constant(DROPOUT, float(units.dropout), "rate at which whole channels are dropped"),)


def _layer(layer: Layer, units: Units, bias: bool) -> Layer:
    match layer:
        case Conv(bias=False):
            return replace(layer, bias=bias)
        case Norm():
            return replace(layer, eps=units.eps)
        case _:
            return layer


def _swapped(norms: set[str], activation: str) -> Callable[[Expression], Expression]:
    """A change that puts the activation before the norm."""

    def change(node: Expression) -> Expression:
        match node:
            case Apply(outer, (Apply(inner, args),)) if outer == activation and inner in norms:
                return Apply(inner, (Apply(outer, args),))
            case _:
                return node

    return change
