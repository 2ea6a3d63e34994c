"""What a program hands from call to call: tensors, and the calls between them."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Layer, Shape
from .rows import At, Row


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of a run: its shape, and the row that put it out, but for an activation or a sum."""

    shape: Shape
    row: At = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """One call outside of blocks: of a layer, with its place and rows, or of an operation.

    `inputs` are the tensors whose values it reads, without those that only lend their size.
    """

    function: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    layer: Layer | None = None
    at: At = ()
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Flow:
    """How tensors flow above the encoder: from its levels by the calls of modules and heads."""

    image: Tensor
    levels: tuple[Tensor, ...]
    wires: tuple[Wire, ...]
    output: Tensor
