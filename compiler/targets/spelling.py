"""Expressions as text: operations around their operands, numbers as people write them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import assert_never

from ..errors import CompileError, Problem
from ..expressions import changed, parse_expression
from ..ir import Axes, Norm
from ..program import Apply, Choice, Expression, Item, Items, Name, Number, Slice, Star


def spell(node: ast.expr) -> str:
    """The expression as black writes it: where black changes a text, it formats it twice."""
    return ast.unparse(node)


def substitute(source: str, names: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with its names replaced by expressions, its strings in double quotes."""

    def change(node: ast.AST) -> ast.AST | None:
        match node:
            case ast.Name(id=name):
                return names.get(name, node)
            case ast.Constant(value=str() as text):
                return quoted(text)
            case _:
                return None

    result = changed(parse_expression(source), change)
    assert isinstance(result, ast.expr)
    return result


def quoted(text: str) -> ast.expr:
    """A string in double quotes."""
    return ast.Name(f'"{text}"')


def expression(value: Axes | float) -> ast.expr:
    """A size, a kernel or a stride as it stands in code."""
    if isinstance(value, str):
        return parse_expression(value)
    if isinstance(value, tuple):
        return ast.Tuple([ast.Constant(item) for item in value])
    return ast.Constant(value)


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
        case Apply() | Choice():
            raise CompileError(Problem(f"{node} has no spelling of its own"))
        case _:
            assert_never(node)


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
