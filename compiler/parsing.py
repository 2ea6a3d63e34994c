"""The one place that reads programs: text -> nodes, and what a program may not do."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Container
from typing import NoReturn, assert_never

from . import program
from .errors import CompileError, Problem, suggest
from .program import Body, Expression, Statement, values_of, walk

OPERATORS: dict[type[ast.operator], str] = {ast.Add: "add", ast.Mult: "multiply"}


def parse(source: str, at: str = "a program") -> Body:
    """The statements of a text. Raises `CompileError` for what is not in the language."""
    return _Parser(source, at).body()


class _Parser:
    def __init__(self, source: str, at: str):
        self.at = at
        text = textwrap.dedent(source).strip("\n")
        self.lines = text.splitlines()
        try:
            self.tree = ast.parse(text).body
        except SyntaxError as error:
            self.reject(error.lineno or 0, f"this is not Python: {error.msg}")

    def body(self) -> Body:
        return tuple(self.statement(node) for node in self.tree)

    def reject(self, line: int, message: str) -> NoReturn:
        raise CompileError(Problem(message, at=f"{self.at}, line {line}"))

    def comment(self, node: ast.stmt) -> str:
        return self.lines[(node.end_lineno or node.lineno) - 1].partition("  # ")[2]

    def statement(self, node: ast.stmt) -> Statement:
        line = node.lineno
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                return program.Assign(target, self.value(value), self.comment(node), line)
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=target), attr="append"),
                    args=[value],
                    keywords=[],
                )
            ):
                return program.Append(target, self.value(value), line)
            case ast.For(target=target, iter=sources, body=body, orelse=[]):
                return self.loop(node, target, sources, body)
            case ast.Return(value=ast.expr() as value):
                return program.Return(self.value(value), self.comment(node), line)
        text = ast.unparse(node).splitlines()[0]
        self.reject(line, f"a program cannot say {text!r}: it assigns, appends, loops, returns")

    def loop(
        self, node: ast.stmt, target: ast.expr, sources: ast.expr, body: list[ast.stmt]
    ) -> program.For:
        match target, sources:
            case ast.Tuple(elts=targets), ast.Call(func=ast.Name(id="zip"), args=values) if len(
                targets
            ) == len(values):
                pass
            case ast.Name(), ast.Name() | ast.Subscript():
                targets, values = [target], [sources]
            case _:
                text = ast.unparse(sources)
                self.reject(node.lineno, f"a loop runs over a name or a zip of them, not {text!r}")
        names = []
        for name in targets:
            if not isinstance(name, ast.Name):
                self.reject(node.lineno, f"{ast.unparse(name)!r} cannot be a loop's variable")
            names.append(name.id)
        statements = tuple(self.statement(inner) for inner in body)
        return program.For(tuple(names), tuple(map(self.value, values)), statements, node.lineno)

    def value(self, node: ast.expr) -> Expression:
        match node:
            case ast.Name(id=name):
                return program.Name(name)
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return program.Number(number)
            case ast.List(elts=values):
                return program.Items(tuple(map(self.value, values)))
            case ast.Starred(value=ast.Name(id=name)):
                return program.Star(program.Name(name))
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Slice(step=None) as part):
                ends = [
                    None if end is None else self.index(end) for end in (part.lower, part.upper)
                ]
                return program.Slice(program.Name(name), *ends)
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return program.Item(program.Name(name), self.index(index))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                operands = (self.value(left), self.value(right))
                return program.Apply(OPERATORS[type(op)], operands, node.lineno)
            case ast.Call(func=ast.Name(id=function), args=args, keywords=[]):
                return program.Apply(function, tuple(map(self.value, args)), node.lineno)
            case ast.IfExp(test=ast.Name(id=layer), body=body, orelse=orelse):
                call = self.value(body)
                if isinstance(call, program.Apply) and call.function == layer:
                    return program.Choice(call, self.value(orelse))
        self.reject(node.lineno, f"a program cannot say {ast.unparse(node)!r}")

    def index(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
                return -value
        self.reject(node.lineno, f"{ast.unparse(node)!r} is not an index")


def check(
    body: Body,
    at: str,
    known: Container[str],
    layers: Container[str],
    operations: Container[str],
    *,
    returns: bool = True,
) -> None:
    """Raise `CompileError` for a program that reads well and means nothing.

    `known` are its inputs, arguments and constants. A layer is called once, or once in a loop and
    once after it; a loop's variables are not assigned; a program returns once, at its end, where it
    `returns` at all.
    """
    checker = _Checker(at, known, layers, operations)
    checker.body(body, depth=0)
    if returns and not (body and isinstance(body[-1], program.Return)):
        checker.reject(body[-1].line if body else 1, "a program returns at its end")


class _Checker:
    def __init__(
        self, at: str, known: Container[str], layers: Container[str], operations: Container[str]
    ):
        self.at, self.known, self.layers, self.operations = at, known, layers, operations
        self.variables: set[str] = set()
        self.fixed: set[str] = set()  # loops' variables
        self.lists: set[str] = set()
        self.called: dict[str, set[bool]] = {}  # layer -> whether in a loop

    def reject(self, line: int, message: str) -> NoReturn:
        raise CompileError(Problem(message, at=f"{self.at}, line {line}"))

    def body(self, body: Body, depth: int) -> None:
        for i, statement in enumerate(body):
            if isinstance(statement, program.Return) and (depth or i + 1 < len(body)):
                self.reject(statement.line, "a program returns at its end")
            self.statement(statement, depth)

    def statement(self, statement: Statement, depth: int) -> None:
        line = statement.line
        for value in values_of(statement):
            self.value(value, line, depth)
        match statement:
            case program.Assign(target=target, value=value):
                if target in self.fixed:
                    self.reject(line, f"{target!r} is the loop's: it cannot be assigned")
                self.variables.add(target)
                listed = isinstance(value, program.Items) or (
                    isinstance(value, program.Name) and value.id in self.lists
                )
                (self.lists.add if listed else self.lists.discard)(target)
            case program.Append(target=target):
                if target not in self.lists:
                    self.reject(line, f"{target!r} is not a list of this program")
            case program.For(targets=targets, body=inner):
                for target in targets:
                    if target in self.fixed or targets.count(target) > 1:
                        self.reject(line, f"{target!r} is a loop's variable already")
                self.fixed |= {*targets}
                self.variables |= {*targets}
                self.body(inner, depth + 1)
                self.fixed -= {*targets}
            case program.Return():
                pass
            case _:
                assert_never(statement)

    def value(self, value: Expression, line: int, depth: int) -> None:
        for node in walk(value):
            if isinstance(node, program.Name) and not (
                node.id in self.variables or node.id in self.known
            ):
                close = suggest(node.id, self.variables)
                self.reject(line, f"{node.id!r} is not a name of this program.{close}")
            if isinstance(node, program.Apply):
                self.call(node.function, line, depth)

    def call(self, function: str, line: int, depth: int) -> None:
        if function in self.layers:
            before = self.called.setdefault(function, set())
            if bool(depth) in before or (depth and False in before):
                self.reject(line, f"the layer {function!r} runs twice")
            before.add(bool(depth))
        elif function not in self.operations:
            self.reject(line, f"{function!r} is not a layer of this program, nor an operation")
