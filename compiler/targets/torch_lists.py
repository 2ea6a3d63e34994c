"""How a PyTorch class makes its layers: chains of them, and lists that loops fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ..ir import Block, Each, Layer
from ..passes.declarations import Declaration, Declare, Turns
from ..program import Append, Apply, Assign, Body, For, Name, Return, code_of
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
