"""Expressions of PyTorch code."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ..program import Expression, Items, Number


def own(name: str) -> ast.expr:
    """`self.name`."""
    return ast.Attribute(ast.Name("self"), name)


def floats(scale: Expression) -> ast.expr:
    """A scale of each axis as `F.interpolate` takes it."""
    assert isinstance(scale, Items)
    numbers = [value for value in scale.values if isinstance(value, Number)]
    return ast.List([ast.Constant(float(number.value)) for number in numbers])


def literal(source: ast.expr) -> bool:
    """Whether these are lists of numbers, written out."""
    return isinstance(source, ast.Tuple) and any(isinstance(x, ast.List) for x in source.elts)


def several(operands: Sequence[ast.expr], kind: type[ast.List | ast.Tuple]) -> ast.expr:
    """`(x, y)` or `[x, y]`; with a list among them `[x] + row`, which TorchScript reads."""
    plain = [x for x in operands if not isinstance(x, ast.Starred)]
    lists = [x.value for x in operands if isinstance(x, ast.Starred)]
    if not lists:
        return kind(plain)
    total = ast.List(plain) if plain else lists.pop(0)
    for more in lists:
        total = ast.BinOp(total, ast.Add(), more)
    return total
