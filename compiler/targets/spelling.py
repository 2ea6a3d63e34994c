"""Expressions as text: operations around their operands, numbers as people write them."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ..errors import CompileError, Problem
from ..ir import Norm
from ..program import Expression, Item, Items, Name, Number, Slice, Star


class _Substitute(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, ast.expr]):
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node)


def spell(node: ast.expr) -> str:
    """The expression as black writes it: where black changes a text, it formats it twice."""
    text = ast.unparse(node)
    return text if '"' in text else text.replace("'", '"')


def substitute(source: str, names: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with its names replaced by expressions."""
    result = _Substitute(names).visit(ast.parse(source, mode="eval").body)
    assert isinstance(result, ast.expr)
    return result


def simple(node: Expression) -> ast.expr:
    """A name, a number, or items of them, as they stand in a program."""
    match node:
        case Name(id=name):
            return ast.Name(name)
        case Number(value=value):
            return ast.Constant(value)
        case Items(values=values, fixed=fixed):
            items = [simple(value) for value in values]
            return ast.Tuple(items) if fixed else ast.List(items)
        case Star(value=value):
            return ast.Starred(ast.Name(value.id))
        case Item(value=value, index=index):
            return ast.Subscript(ast.Name(value.id), ast.Constant(index))
        case Slice(value=value, start=start, stop=stop):
            ends = [None if end is None else ast.Constant(end) for end in (start, stop)]
            return ast.Subscript(ast.Name(value.id), ast.Slice(*ends))
    raise CompileError(Problem(f"{node} has no spelling of its own"))


def spell_float(value: float) -> str:
    """A number as people write it, 1e-5, which reads back as the same."""
    short = f"{value:.15g}"
    mantissa, mark, exponent = short.partition("e")
    if not mark and 0 < abs(value) < 1e-2:
        mantissa, mark, exponent = f"{value:e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
    text = f"{mantissa}e{int(exponent)}" if mark else short
    if float(text) != value:
        return repr(value)
    return text


def spell_eps(norm: Norm) -> str:
    """A norm's epsilon: a number, or the name of a constant."""
    return norm.eps if isinstance(norm.eps, str) else spell_float(norm.eps)
