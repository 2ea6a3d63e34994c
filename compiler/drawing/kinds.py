"""What a call of a program is to a reader of the drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from .. import ir
from ..ir import Block, Shape
from ..operations import OPERATIONS
from ..passes.wires import Wire
from ..program import Apply, Body, Expression, Name, Return, calls, children, values_of

Kind: TypeAlias = Literal[
    "image", "encoder", "decoder", "up", "gate", "tokens", "table", "head", "join", "output"
]
Blocks: TypeAlias = Mapping[str, Block]


def kind_of(wire: Wire, blocks: Blocks) -> Kind:
    """What a layer is, by what it does to its tensors."""
    before = wire.inputs[0].shape if wire.inputs else ()
    if isinstance(wire.layer, ir.Table):
        return "table"
    if len(wire.at) == 1:
        return "head"
    if len(wire.output.shape) == 2:
        return "tokens"
    several = len(wire.inputs) > 1 and isinstance(wire.layer, ir.Call)
    if several and isinstance(wire.layer, ir.Call) and _gates(blocks[wire.layer.block].body):
        return "gate"
    return "up" if grows(before, wire.output.shape) else "decoder"


def grows(before: Shape, after: Shape) -> bool:
    """Whether a map becomes larger; tokens do not."""
    return 2 < len(after) == len(before) and math.prod(after[1:]) > math.prod(before[1:])


def _gates(body: Body) -> bool:
    """Whether a block returns a product of what it was given."""
    last = body[-1]
    return isinstance(last, Return) and any(call.function == "multiply" for call in calls((last,)))


def detail_of(wire: Wire) -> str:
    """The kind of a layer in words, or the name of its block."""
    kernel = "×".join(map(str, wire.rows[0].weights[0][1][2:])) if wire.rows else ""
    match wire.layer:
        case ir.Call(block=block):
            return block
        case ir.Conv():
            return f"{kernel} convolution"
        case ir.ConvTranspose():
            return f"{kernel} transposed convolution"
        case ir.UpConv():
            return "upsampling and convolution in one"
        case ir.Linear():
            return "dense layer"
        case ir.Table():
            return "learned table"
        case _:
            return type(wire.layer).__name__


def reads(wire: Wire, blocks: Blocks) -> list[int]:
    """Which inputs of a layer it reads; the others of a block lend their sizes only."""
    if not isinstance(wire.layer, ir.Call):
        return [*range(len(wire.inputs))]
    block = blocks[wire.layer.block]
    read = {*_read(block, blocks)}
    return [i for i, (name, _) in enumerate(block.inputs) if name in read]


def _read(block: Block, blocks: Blocks) -> Iterator[str]:
    """The variables of a block whose values are used."""
    layers = {layer.name: layer for layer in block.layers}

    def names(node: Expression) -> Iterator[str]:
        operands = children(node)
        match node:
            case Name(id=name):
                yield name
            case Apply(function=function) if function in layers:
                layer = layers[function]
                if isinstance(layer, ir.UpConv):
                    operands = operands[:1]
                elif isinstance(layer, ir.Call):
                    inner = blocks[layer.block]
                    used = {*_read(inner, blocks)}
                    operands = tuple(
                        operand
                        for operand, (name, _) in zip(operands, inner.inputs)
                        if name in used
                    )
            case Apply(function=function) if OPERATIONS[function].sized:
                operands = operands[:1]
            case _:
                pass
        for operand in operands:
            yield from names(operand)

    for statement in block.body:
        for value in values_of(statement):
            yield from names(value)
