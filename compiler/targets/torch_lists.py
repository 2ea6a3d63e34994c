"""How a PyTorch class makes its layers: chains of them, and lists that loops fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from ..expressions import with_part
from ..ir import (
    Affine,
    Attention,
    AvgPool,
    Block,
    Call,
    Conv,
    ConvTranspose,
    Dim,
    Dropout,
    Each,
    Layer,
    Linear,
    Norm,
    Table,
    UpConv,
)
from ..passes.declarations import Declaration, Declare, Turns
from ..program import Append, Apply, Assign, Body, Expression, For, Name, Return, code_of, mapped
from .writer import called


def chains(block: Block) -> bool:
    """Whether the block runs its layers one after the other, and nothing else.

    One that is recomputed has a method of its own for it.
    """
    if block.recomputed:
        return False
    match block.body:
        case (Return(value=value),):
            found: list[str] = []
            while isinstance(value, Apply) and len(value.args) == 1:
                found.insert(0, value.function)
                (value,) = value.args
            return isinstance(value, Name) and found == [layer.name for layer in block.layers]
        case _:
            return False


def one_of(each: Layer | Each, body: Body) -> str:
    """What a loop calls an item of these layers: one of them, or a row of them."""
    assert isinstance(each, Each)
    deeper = [statement for statement in body if isinstance(statement, For)]
    return each.name if any(each.name in called((loop,)) for loop in deeper) else each.one


def heads(turns: Turns) -> str:
    """`skip, filters in zip(skips, FILTERS)`."""
    texts = [code_of(source) for source in turns.sources]
    over = texts[0] if len(texts) == 1 else f"zip({', '.join(texts)})"
    return f"{', '.join(turns.targets)} in {over}"


def only(item: Declaration, items: Sequence[Declaration]) -> str:
    """The list that a loop fills by itself, and with nothing else to do; "" if it does more."""
    match item:
        case Turns(body=(Declare(each=each),)):
            others = (other for other in items if other is not item)
            return "" if any(each.name in _made(other) for other in others) else each.name
        case _:
            return ""


def renamed(turns: Turns, old: str, new: str) -> Turns:
    """The loop with another name for a variable."""

    def name(text: str) -> str:
        return new if text == old else text

    def node(found: Expression) -> Expression:
        return Name(new) if found == Name(old) else found

    def line(item: Declaration) -> Declaration:
        match item:
            case Declare(layer=layer):
                return replace(item, layer=_resized(layer, old, new))
            case Assign(target=target, value=value) | Append(target=target, value=value):
                return replace(item, target=name(target), value=mapped(value, node))
            case Turns():
                return renamed(item, old, new)
            case _:
                assert_never(item)

    sources = tuple(mapped(source, node) for source in turns.sources)
    return Turns(tuple(map(name, turns.targets)), sources, tuple(map(line, turns.body)))


def _resized(layer: Layer, old: str, new: str) -> Layer:
    """The layer with another name for a variable in its sizes."""

    def dim(size: Dim) -> Dim:
        return with_part(size, old, new) if isinstance(size, str) else size

    match layer:
        case Conv() | ConvTranspose() | UpConv() | Linear():
            return replace(layer, cin=dim(layer.cin), cout=dim(layer.cout))
        case Norm() | Affine() | Attention():
            return replace(layer, channels=dim(layer.channels))
        case Table():
            return replace(layer, rows=dim(layer.rows), channels=dim(layer.channels))
        case Call():
            return replace(layer, args=tuple(map(dim, layer.args)))
        case AvgPool() | Dropout():
            return layer
        case _:
            assert_never(layer)


def _made(item: Declaration) -> frozenset[str]:
    """The layers that these lines make."""
    match item:
        case Declare(each=each):
            return frozenset({each.name})
        case Turns(body=body):
            return frozenset().union(*map(_made, body))
        case Assign() | Append():
            return frozenset()
        case _:
            assert_never(item)


def used(items: Sequence[Declaration]) -> frozenset[str]:
    """The names that layers are made with."""
    found: frozenset[str] = frozenset()
    for item in items:
        match item:
            case Declare(uses=uses):
                found |= uses
            case Turns(body=body):
                found |= used(body)
            case Assign() | Append():
                pass
            case _:
                assert_never(item)
    return found
