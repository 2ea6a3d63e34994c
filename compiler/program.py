"""The small language of wiring: its typed nodes, and how passes read and rewrite them.

A program is straight-line Python of four statements: an assignment to a name, `list.append(value)`,
`for ... in zip(...)`, and `return`. Its expressions are names, numbers, lists, calls, `a + b` and
`a * b` (the operations `add` and `multiply`), `SIZES[-1]`, `SIZES[1:]`, and `layer(x) if layer
else y` for a layer that is not always there. A call names a layer or an operation; a name on its
own is a variable, so that `queries = queries(tokens, QUERIES)` is fine. Everything else is
rejected with its line (`parsing`).

Blocks, heads and decoders are all written in it. What reads them gives them a meaning: over shapes
(`passes.interpret`), over channels (`passes.channels`), over code (`targets`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, an argument, or a constant of the file."""

    id: str


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float


@dataclass(frozen=True, slots=True)
class Items:
    """A list, or a tuple of numbers, that stands in the text."""

    values: tuple[Expression, ...]
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Star:
    """`*row`: each item of a list as an argument of its own."""

    value: Name


@dataclass(frozen=True, slots=True)
class Item:
    """`SIZES[-1]`."""

    value: Name
    index: int


@dataclass(frozen=True, slots=True)
class Slice:
    """`SIZES[1:]`, `skips[:-1]`."""

    value: Name
    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class Apply:
    """A layer or an operation, called."""

    function: str
    args: tuple[Expression, ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """`layer(x) if layer else y`: what stands in for an optional layer where it is absent."""

    call: Apply
    otherwise: Expression


Expression: TypeAlias = Name | Number | Items | Star | Item | Slice | Apply | Choice


@dataclass(frozen=True, slots=True)
class Assign:
    target: str
    value: Expression
    comment: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Append:
    target: str
    value: Expression
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class For:
    """One turn for each tuple of items: `sources` are iterated together."""

    targets: tuple[str, ...]
    sources: tuple[Expression, ...]
    body: Body
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Return:
    value: Expression
    comment: str = ""
    line: int = field(default=0, compare=False)


OPERATORS = {"add": " + ", "multiply": " * "}

Statement: TypeAlias = Assign | Append | For | Return
Body: TypeAlias = tuple[Statement, ...]


def chain(*functions: str, of: Expression | str = "x") -> Expression:
    """`relu(bn1(conv1(x)))` of `chain("relu", "bn1", "conv1")`."""
    value: Expression = Name(of) if isinstance(of, str) else of
    for function in reversed(functions):
        value = Apply(function, (value,))
    return value


def activated(activation: str, *layers: str) -> Expression:
    """The layers of `x` with the activation of a network's output behind them; "none" is none."""
    return chain(*layers) if activation == "none" else chain(f"output_{activation}", *layers)


def children(node: Expression) -> tuple[Expression, ...]:
    match node:
        case Name() | Number():
            return ()
        case Items(values=values):
            return values
        case Star(value=value) | Item(value=value) | Slice(value=value):
            return (value,)
        case Apply(args=args):
            return args
        case Choice(call=call, otherwise=otherwise):
            return (call, otherwise)
        case _:
            assert_never(node)


def values_of(statement: Statement) -> tuple[Expression, ...]:
    """The expressions of a statement itself, without those of a loop's body."""
    match statement:
        case Assign(value=value) | Append(value=value) | Return(value=value):
            return (value,)
        case For(sources=sources):
            return sources
        case _:
            assert_never(statement)


def walk(node: Expression) -> Iterator[Expression]:
    """The expression and everything in it, in the order of evaluation."""
    for child in children(node):
        yield from walk(child)
    yield node


def calls(body: Body) -> Iterator[Apply]:
    """Every call of a body, loops included, in the order of evaluation."""
    for statement in body:
        for value in values_of(statement):
            yield from (node for node in walk(value) if isinstance(node, Apply))
        if isinstance(statement, For):
            yield from calls(statement.body)


def names(body: Body) -> frozenset[str]:
    """The variables, arguments and constants that a body reads."""
    found: set[str] = set()
    for statement in body:
        for value in values_of(statement):
            found |= {node.id for node in walk(value) if isinstance(node, Name)}
        if isinstance(statement, For):
            found |= names(statement.body)
    return frozenset(found)


def mapped(node: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """The expression with each of its nodes changed, inner ones first."""
    match node:
        case Name() | Number() | Star() | Item() | Slice():
            return change(node)
        case Items(values=values):
            return change(replace(node, values=tuple(mapped(v, change) for v in values)))
        case Apply(args=args):
            return change(replace(node, args=tuple(mapped(arg, change) for arg in args)))
        case Choice(call=call, otherwise=otherwise):
            changed = mapped(call, change)
            if not isinstance(changed, Apply):  # the layer is gone
                return changed
            return change(Choice(changed, mapped(otherwise, change)))
        case _:
            assert_never(node)


def rewritten(body: Body, change: Callable[[Expression], Expression]) -> Body:
    """The body with each node of its expressions changed, inner ones first."""

    def one(statement: Statement) -> Statement:
        match statement:
            case Assign(value=value) | Append(value=value) | Return(value=value):
                return replace(statement, value=mapped(value, change))
            case For(sources=sources, body=inner):
                sources = tuple(mapped(source, change) for source in sources)
                return replace(statement, sources=sources, body=rewritten(inner, change))
            case _:
                assert_never(statement)

    return tuple(map(one, body))


def replaced(body: Body, change: Callable[[Statement], Iterable[Statement]]) -> Body:
    """The body with each statement replaced by others, those inside of a loop before the loop."""
    result: list[Statement] = []
    for statement in body:
        if isinstance(statement, For):
            statement = replace(statement, body=replaced(statement.body, change))
        result += change(statement)
    return tuple(result)


def renamed(body: Body, functions: dict[str, str]) -> Body:
    """The body with calls of other functions: `relu` by `gelu`."""

    def change(node: Expression) -> Expression:
        if isinstance(node, Apply) and node.function in functions:
            return replace(node, function=functions[node.function])
        return node

    return rewritten(body, change)


def wrapped(body: Body, inner: str, outer: str) -> Body:
    """The body with `outer(inner(...))` where `inner(...)` was."""

    def change(node: Expression) -> Expression:
        return Apply(outer, (node,)) if _calls(node, inner) else node

    return rewritten(body, change)


def unwrapped(body: Body, functions: Iterable[str]) -> Body:
    """The body without these functions of one argument: their argument stands in their place."""
    gone = frozenset(functions)

    def change(node: Expression) -> Expression:
        return node.args[0] if isinstance(node, Apply) and node.function in gone else node

    return rewritten(body, change)


def _calls(node: Expression, function: str) -> bool:
    return isinstance(node, Apply) and node.function == function


def code_of(node: Expression) -> str:
    """The expression as it is written."""
    match node:
        case Name(id=name):
            return name
        case Number(value=value):
            return str(value)
        case Items(values=values, fixed=fixed):
            text = ", ".join(map(code_of, values))
            return f"({text}{',' * (len(values) == 1)})" if fixed else f"[{text}]"
        case Star(value=value):
            return f"*{value.id}"
        case Item(value=value, index=index):
            return f"{value.id}[{index}]"
        case Slice(value=value, start=start, stop=stop):
            return f"{value.id}[{'' if start is None else start}:{'' if stop is None else stop}]"
        case Apply(function="add" | "multiply" as function, args=(first, *rest)):
            code = _operand(first, function)
            return OPERATORS[function].join([code, *(_operand(a, function, True) for a in rest)])
        case Apply(function=function, args=args):
            return f"{function}({', '.join(map(code_of, args))})"
        case Choice(call=call, otherwise=otherwise):
            return f"{code_of(call)} if {call.function} else {code_of(otherwise)}"
        case _:
            assert_never(node)


def _operand(node: Expression, of: str, right: bool = False) -> str:
    """The operand of a sum or a product, in parentheses where it would be read otherwise."""
    looser = isinstance(node, Choice) or (of == "multiply" and _calls(node, "add"))
    return f"({code_of(node)})" if looser or (right and _calls(node, of)) else code_of(node)


def lines_of(body: Body) -> tuple[str, ...]:
    """The program as it is written, line by line."""
    lines: list[str] = []
    for statement in body:
        match statement:
            case Assign(target=target, value=value, comment=comment):
                lines.append(f"{target} = {code_of(value)}{f'  # {comment}' * bool(comment)}")
            case Append(target=target, value=value):
                lines.append(f"{target}.append({code_of(value)})")
            case Return(value=value, comment=comment):
                lines.append(f"return {code_of(value)}{f'  # {comment}' * bool(comment)}")
            case For(targets=targets, sources=sources, body=inner):
                over = ", ".join(map(code_of, sources))
                over = f"zip({over})" if len(sources) > 1 else over
                lines.append(f"for {', '.join(targets)} in {over}:")
                lines += [f"    {line}" for line in lines_of(inner)]
            case _:
                assert_never(statement)
    return tuple(lines)
