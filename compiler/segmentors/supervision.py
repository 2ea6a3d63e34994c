"""Deep supervision: in training, logits of the decoder's coarser stages too.

A decoder returns the output of each stage. The head takes the last one, as without supervision; an
auxiliary head each takes those before it, but for the first, which is the lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from ..errors import Problem
from ..ir import AUX_HEADS, AuxHead, Constant, Conv, Fragment, Module
from ..model import Segmentor
from ..program import (
    Append,
    Assign,
    Body,
    Expression,
    For,
    Item,
    Items,
    Name,
    Return,
    mapped,
    renamed,
)
from .base import Wiring

STAGES = "stages"  # what the decoder's list of outputs is called


def supervised(wiring: Wiring, filters: Sequence[int], text: str, lowest: int = 1) -> Wiring:
    """The wiring with an auxiliary head on each stage but the last, from the `lowest` one on.

    `filters` are those of these stages, the finest first, and `text` how the file writes them.
    """
    (decoder,) = wiring.modules
    first, *rest = wiring.head.body
    assert isinstance(first, Assign)
    last = mapped(first.value, lambda node: Item(Name(STAGES), -1) if node == Name("x") else node)
    return replace(
        with_heads(wiring, filters, text, "of the supervised stages", lowest),
        modules=(with_stages(decoder),),
        head=replace(wiring.head, body=(replace(first, value=last), *rest)),
    )


def with_heads(
    wiring: Wiring, filters: Sequence[int], text: str, note: str, lowest: int, used: bool = True
) -> Wiring:
    """The wiring with auxiliary heads, which something has to call if they are `used`."""
    (layer,) = wiring.head.layers
    assert isinstance(layer, Conv)
    own = replace(layer, name=AUX_HEADS, cin="filters")
    body = renamed(wiring.head.body[:1], {layer.name: AUX_HEADS})
    return replace(
        wiring,
        aux_head=AuxHead(Fragment((own,), body), lowest, used),
        constants=(*wiring.constants, Constant("AUX_FILTERS", tuple(filters), note, text)),
    )


def with_stages(module: Module) -> Module:
    """The decoder that returns the outputs of its stages: those of its loop's turns, and the last.

    The last one may be what the loop has put out already.
    """
    body: list[Append | Assign | For | Return] = []
    stage: Expression = Name("")
    for statement in module.body:
        match statement:
            case For(body=turn):
                stage = output_of(turn)
                body.append(Assign(STAGES, Items(())))
                body.append(replace(statement, body=(*turn, Append(STAGES, stage))))
            case Return(value=value):
                body += [Append(STAGES, value)] if value != stage else []
                body.append(Return(Name(STAGES)))
            case Assign() | Append():
                body.append(statement)
            case _:
                assert_never(statement)
    return replace(module, body=tuple(body))


def output_of(turn: Body) -> Expression:
    """What a turn of the loop puts out: its last variable, or the last of a row of nodes."""
    last = turn[-1]
    while isinstance(last, For):  # what its own turns hand on
        last = last.body[-1]
    assert isinstance(last, Assign)
    output = Name(last.target)
    return Item(output, -1) if isinstance(last.value, Name) else output


def problems(head: Segmentor, stages: int) -> list[Problem]:
    """A decoder of so many stages needs one between the lowest and the last."""
    if stages > 2:
        return []
    return [
        Problem(
            f"--deep-supervision adds nothing to {head.name} at depth {head.depth}: there is no"
            " stage between the lowest and the last one",
            hint=f"--encoder-depth {head.depth + 1}, or leave it out",
        )
    ]
