"""Variants of blocks and modules, as passes over their nodes: what an option changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..ir import Block, Conv, ConvTranspose, Dim, Each, Fragment, Layer, Module, Norm
from ..parsing import parse
from ..program import (
    Apply,
    Assign,
    Body,
    Expression,
    For,
    Items,
    Name,
    Number,
    Statement,
    mapped,
    renamed,
    replaced,
    rewritten,
    unwrapped,
)

Part = TypeVar("Part", Block, Fragment)
GROUPS = 32  # of group norm (Group Normalization, Fig. 3), as far as they divide the channels


def with_activation(part: Part, activation: str) -> Part:
    """The block or fragment with another activation for ReLU."""
    return replace(part, body=renamed(part.body, {"relu": activation}))


def with_norm(block: Part, kind: str, momentum: float = 0.1, groups: Dim = "") -> Part:
    """The block or fragment with its norms of this kind; without one, convolutions have a bias.

    `groups` are those of group norm; by default each has the most of 32 that divide its channels.
    """
    norms = [layer for layer in block.layers if isinstance(layer, Norm)]
    if kind == "none":
        layers = tuple(_without_norm(x) for x in block.layers if not isinstance(x, Norm))
        body = unwrapped(block.body, [norm.name for norm in norms])
        return replace(block, layers=layers, body=body)
    same = kind == "batch"
    names = {n.name: n.name if same else f"norm{n.name.removeprefix('bn')}" for n in norms}
    layers = tuple(
        _other_norm(x, kind, names, momentum, groups) if isinstance(x, Norm) else x
        for x in block.layers
    )
    return replace(block, layers=layers, body=renamed(block.body, names))


def _other_norm(
    norm: Norm, kind: str, names: Mapping[str, str], momentum: float, groups: Dim
) -> Norm:
    eps = 1e-5 if kind == "instance" else norm.eps
    groups = groups or f"math.gcd({GROUPS}, {norm.channels})" if kind == "group" else 1
    name = names[norm.name]
    return replace(norm, name=name, kind=kind, groups=groups, eps=eps, momentum=momentum)


def _without_norm(layer: Layer) -> Layer:
    if isinstance(layer, ConvTranspose):
        return replace(layer, normed=False)
    return replace(layer, bias=True) if isinstance(layer, Conv) else layer


def learned(module: Module, up: Each, before: str) -> Module:
    """The module with its upsampling learned: `upsample(x, like)` in a call of the layer `before`
    becomes `crop(ups(x, filters), like)`, with that call's filters."""

    def inside(filters: Expression) -> Callable[[Expression], Expression]:
        def change(node: Expression) -> Expression:
            if isinstance(node, Apply) and node.function == "upsample":
                x, like = node.args
                return Apply("crop", (Apply(up.name, (x, filters)), like))
            return node

        return change

    body = _within(module.body, before, lambda args: inside(args[-1]))
    return replace(module, layers=_inserted(module.layers, up, before), body=body)


def gated(module: Module, gate: Each, before: str) -> Module:
    """The module with gates on what the layer `before` joins: `skip` becomes `gates(skip, x,
    filters)`, where x is what it is joined with before its upsampling."""

    def inside(filters: Expression) -> Callable[[Expression], Expression]:
        def change(node: Expression) -> Expression:
            match node:
                case Apply("concat", (Apply("upsample", (x, _)) as up, Name() as skip)):
                    return replace(node, args=(up, Apply(gate.name, (skip, x, filters))))
                case _:
                    return node

        return change

    body = _within(module.body, before, lambda args: inside(args[-1]))
    return replace(module, layers=_inserted(module.layers, gate, before), body=body)


def _within(
    body: Body,
    layer: str,
    changes: Callable[[tuple[Expression, ...]], Callable[[Expression], Expression]],
) -> Body:
    """The body with each call of a layer changed inside."""

    def change(node: Expression) -> Expression:
        if isinstance(node, Apply) and node.function == layer:
            return replace(node, args=tuple(mapped(arg, changes(node.args)) for arg in node.args))
        return node

    return rewritten(body, change)


def _inserted(layers: tuple[Each, ...], new: Each, before: str) -> tuple[Each, ...]:
    at = next(i for i, each in enumerate(layers) if each.name == before)
    return (*layers[:at], new, *layers[at:])


Numbers = Sequence[float] | Sequence[tuple[float, ...]]


def with_numbers(module: Module, numbers: Mapping[str, Numbers]) -> Module:
    """The module with named numbers written out."""

    def spelled(value: float | tuple[float, ...]) -> Expression:
        if isinstance(value, tuple):
            return Items(tuple(map(Number, value)), fixed=True)
        return Number(value)

    def change(node: Expression) -> Expression:
        if isinstance(node, Name) and node.id in numbers:
            return Items(tuple(map(spelled, numbers[node.id])), fixed=True)
        return node

    return replace(module, body=rewritten(module.body, change))


def reassigned(body: Body, target: str, source: str) -> Body:
    """The body with these statements for each assignment of a variable."""
    new = parse(source)

    def change(statement: Statement) -> Body:
        is_it = isinstance(statement, Assign) and statement.target == target
        return new if is_it else (statement,)

    return replaced(body, change)


def without_argument(module: Module, layer: str, source: str) -> Module:
    """The module whose loop does not run over `source`, and whose layer is not told its items."""
    loop = next(s for s in module.body if isinstance(s, For) and Name(source) in s.sources)
    gone = Name(loop.targets[loop.sources.index(Name(source))])

    def change(node: Expression) -> Expression:
        if isinstance(node, Apply) and node.function == layer:
            return replace(node, args=tuple(arg for arg in node.args if arg != gone))
        return node

    return replace(module, body=rewritten(without_source(module.body, source), change))


def without_source(body: Body, source: str) -> Body:
    """The body with loops that do not run over this name any more."""

    def change(statement: Statement) -> Body:
        if not isinstance(statement, For):
            return (statement,)
        kept = [(t, s) for t, s in zip(statement.targets, statement.sources) if s != Name(source)]
        targets, sources = zip(*kept)
        return (replace(statement, targets=targets, sources=sources),)

    return replaced(body, change)
