"""Reading the small Python that blocks are written in: sizes and conditions."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from .errors import CompileError, Problem

_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Gt: lambda a, b: a > b,
}


@cache
def parse_expression(source: str) -> ast.expr:
    """The syntax tree of one expression."""
    return ast.parse(source, mode="eval").body


def evaluate(expression: object, names: Mapping[str, object]) -> object:
    """Value of a size or a condition. Raises `CompileError` for other syntax."""
    if not isinstance(expression, str):
        return expression
    return _value(parse_expression(expression), names, expression)


def evaluate_int(expression: object, names: Mapping[str, object]) -> int:
    value = evaluate(expression, names)
    if not isinstance(value, int):
        raise CompileError(Problem(f"{expression!r} is not a whole number here"))
    return value


def _value(node: ast.expr, names: Mapping[str, object], source: str) -> object:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(left, names, source), _value(right, names, source))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(left, names, source), _value(right, names, source))
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_value(value, names, source) for value in values)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, names, source) for value in values)
        case ast.Subscript(value=value, slice=index):
            items = _value(value, names, source)
            if isinstance(items, tuple):
                item: object = items[int(ast.literal_eval(index))]
                return item
        case ast.Call(func=ast.Attribute(ast.Name("math"), "gcd"), args=args, keywords=[]):
            return math.gcd(*(_value(arg, names, source) for arg in args))  # type: ignore[arg-type]
        case ast.Call(func=ast.Name(id="max"), args=args, keywords=[]):
            numbers: list[Any] = [_value(arg, names, source) for arg in args]
            return max(*numbers)  # of several, or of a tuple with one for each axis
    raise CompileError(
        Problem(f"cannot read {ast.unparse(node)!r}", at=f"the expression {source!r}")
    )


def changed(node: ast.AST, change: Callable[[ast.AST], ast.AST | None]) -> ast.AST:
    """The tree with what `change` returns in place of a node; None goes on to its parts.

    It is a new one, because what is parsed is shared.
    """
    found = change(node)
    if found is not None:
        return found
    fields: dict[str, Any] = {}
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            value = [changed(item, change) for item in value]
        elif isinstance(value, ast.AST):
            value = changed(value, change)
        fields[field] = value
    return type(node)(**fields)


def with_part(source: str, part: str, other: str) -> str:
    """The expression with another one in place of a part: of a condition, one test."""
    old, new = ast.dump(parse_expression(part)), parse_expression(other)
    if not source or old not in ast.dump(parse_expression(source)):
        return source
    tree = changed(parse_expression(source), lambda node: new if ast.dump(node) == old else None)
    return ast.unparse(tree)


def names_in(expression: object) -> frozenset[str]:
    """The names that an expression mentions."""
    if not isinstance(expression, str) or not expression:
        return frozenset()
    tree = parse_expression(expression)
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
