"""Lines that make the layers of a module: a program of declarations, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from ..ir import Each, Layer
from ..program import Append, Assign, Expression, Name, Statement, values_of, walk


@dataclass(frozen=True)
class Declare:
    """A layer of a module, made: with loops around it, the one of these turns."""

    each: Each
    layer: Layer
    uses: frozenset[str]


@dataclass(frozen=True)
class Turns:
    """A loop that declares layers."""

    targets: tuple[str, ...]
    sources: tuple[Expression, ...]
    body: tuple[Declaration, ...]


Declaration: TypeAlias = Declare | Assign | Append | Turns


def live_names(lines: Sequence[Declaration]) -> frozenset[str]:
    """The names that some layer needs, over however many lines."""
    live: frozenset[str] = frozenset()
    while True:
        more = live | _uses(lines, live)
        if more == live:
            return live
        live = more


def _uses(lines: Sequence[Declaration], live: frozenset[str]) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for line in lines:
        match line:
            case Declare(uses=uses):
                found |= uses
            case Assign() | Append():
                if line.target in live:
                    found |= _read(line)
            case Turns(targets=targets, sources=sources, body=body):
                found |= _uses(body, live)
                for target, source in zip(targets, sources):
                    if target in live:
                        found |= {n.id for n in walk(source) if isinstance(n, Name)}
            case _:
                assert_never(line)
    return found


def _read(statement: Statement) -> frozenset[str]:
    return frozenset(
        node.id for v in values_of(statement) for node in walk(v) if isinstance(node, Name)
    )


def needed(lines: Sequence[Declaration], live: frozenset[str]) -> tuple[Declaration, ...]:
    kept: list[Declaration] = []
    for line in lines:
        match line:
            case Declare():
                kept.append(line)
            case Assign() | Append():
                if line.target in live:
                    kept.append(line)
            case Turns(targets=targets, sources=sources, body=body):
                inner = needed(body, live)
                if inner:
                    pairs = [p for p in zip(targets, sources) if p[0] in live]
                    pairs = pairs or [(targets[0], sources[0])]
                    targets, sources = zip(*pairs)
                    kept.append(Turns(targets, sources, inner))
            case _:
                assert_never(line)
    return tuple(kept)
