"""Deep supervision: in training, logits of the decoder's coarser stages too.

A decoder returns the output of each stage. The head takes the last one, as without supervision; an
auxiliary head each takes those before it, but for the first, which is the lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from ..errors import Problem
from ..ir import AUX_HEADS, Constant, Conv, Fragment, Module
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


def supervised(wiring: Wiring, filters: Sequence[int], text: str) -> Wiring:
    """The wiring with an auxiliary head on each stage but the first and the last.

    `filters` are those of these stages, the finest first, and `text` how the file writes them.
    """
    (decoder,) = wiring.modules
    (layer,) = wiring.head.layers
    assert isinstance(layer, Conv)
    first, *rest = wiring.head.body
    assert isinstance(first, Assign)
    own = replace(layer, name=AUX_HEADS, cin="filters")
    last = mapped(first.value, lambda node: Item(Name(STAGES), -1) if node == Name("x") else node)
    return replace(
        wiring,
        modules=(with_stages(decoder),),
        head=replace(wiring.head, body=(replace(first, value=last), *rest)),
        aux_head=Fragment((own,), renamed((first,), {layer.name: AUX_HEADS})),
        constants=(
            *wiring.constants,
            Constant("AUX_FILTERS", tuple(filters), "of the supervised stages", text),
        ),
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
