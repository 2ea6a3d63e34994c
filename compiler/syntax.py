"""The parts of a source text that formatters do not change: its syntax tree and its comments."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
import warnings
from bisect import bisect_right

_LAYOUT = frozenset("()[]{},;")  # what formatters add and remove
_IGNORED = frozenset({"kind", "ctx", "type_comment"})
_SPACE = frozenset(
    {tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER, tokenize.TYPE_COMMENT}
)
_FSTRING_START = getattr(tokenize, "FSTRING_START", None)  # since Python 3.12
_FSTRING_END = getattr(tokenize, "FSTRING_END", None)


def normal_form(source: str) -> str | None:
    """A spelling that two texts share if they differ in layout alone; None if it does not parse.

    Layout is whitespace, line breaks, redundant parentheses, trailing commas, quotes, and the
    indentation of docstrings. Every comment counts, and so does where it stands: after which token,
    on a line of its own or not, and how deeply it is indented. The form is the same in every
    version of Python.
    """
    tree = parsed(source)
    if tree is None:
        return None
    try:
        parts: list[str] = []
        _spell(tree, parts)
        return "\n".join([*parts, *_comments(source)])
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of somebody's source; None if it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in their strings
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def comparable(text: str) -> str:
    """The normal form of a text in Python; any other text as it is."""
    form = normal_form(text)
    return text if form is None else form


def _spell(node: ast.AST, parts: list[str]) -> None:
    """Append the node's type and its fields, without those that are empty.

    `ast.dump` names fields that depend on the version of Python.
    """
    parts.append(type(node).__name__)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        _without_docstring_layout(node)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in _IGNORED:
            continue
        parts.append(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                _spell(item, parts)
            else:
                parts.append(repr(item))
    parts.append(".")


def _without_docstring_layout(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str() as text) as doc), *_]:
            lines = inspect.cleandoc(text).splitlines()
            doc.value = "\n".join(line.rstrip() for line in lines).strip()


def _comments(source: str) -> list[str]:
    """Each comment with its place: the tokens before it, and the depth of a line of its own.

    A comment behind an opening bracket counts as one behind the closing bracket, which is where it
    goes when the lines are joined.
    """
    last = source.count("\n", 0, source.rfind("#") + 1) + 1  # no comment begins below this line
    found: list[tuple[int, str, str]] = []
    opened: list[list[int]] = []  # for each open bracket, the comments directly behind it
    tokens, inside_fstring = 0, 0
    indents = [0]
    after_string = after_opening = line_has_code = False
    for kind, text, (row, column), _, line in tokenize.generate_tokens(
        io.StringIO(source).readline
    ):
        if row > last and not any(opened):
            break
        if kind == tokenize.COMMENT:
            if after_opening and line_has_code:
                opened[-1].append(len(found))
            width = len(line[:column].expandtabs())
            depth = bisect_right(indents, width) if not opened else 0
            place = "after code" if line_has_code else f"own line, depth {depth}"
            found.append((tokens, place, text.lstrip("#").strip()))
        elif kind == tokenize.INDENT:
            indents.append(len(text.expandtabs()))
        elif kind == tokenize.DEDENT:
            indents.pop()
        elif kind in _SPACE:
            line_has_code = False
        else:
            inside_fstring += (kind == _FSTRING_START) - (kind == _FSTRING_END)
            is_string = kind in (tokenize.STRING, _FSTRING_END)
            counts = not inside_fstring and text not in _LAYOUT
            if counts and not (is_string and after_string):  # "a" "b" is one string
                tokens += 1
            after_opening = kind == tokenize.OP and text in "([{"
            if after_opening:
                opened.append([])
            elif kind == tokenize.OP and text in ")]}" and opened:
                for index in opened.pop():
                    found[index] = (tokens, *found[index][1:])
            after_string = is_string or (after_string and text in _LAYOUT)
            line_has_code = True
    return [f"{tokens} {place} {text}" for tokens, place, text in found]
