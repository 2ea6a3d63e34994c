"""What tools do to a whole file without editing it: a licence above it, other layout, its imports.

Emitted files have their imports in one order, so that a file in another one is still known.
"""

from __future__ import annotations

import ast
import re
import sys

from .syntax import comparable, parsed

_ABOVE = re.compile(r"(?:[ \t\f]*(?:#[^\n]*)?\n)*")


def split_header(text: str) -> tuple[str, str]:
    """The comments and blank lines above the first statement, and the text from there on."""
    end = _ABOVE.match(text)
    assert end is not None
    return text[: end.end()], text[end.end() :]


def canonical(text: str) -> str:
    """The text as it is compared: without its layout, its header, and the order of its imports."""
    return comparable(sorted_imports(split_header(text)[1]))


def sorted_imports(text: str) -> str:
    """The text with its imports in the order of emitted files; as it is if they hold comments."""
    found = imports(text)
    if found is None:
        return text
    first, last, statements = found
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:first], *(f"{line}\n" for line in statements), *lines[last:]])


def imports(text: str) -> tuple[int, int, tuple[str, ...]] | None:
    """The first lines of imports: where they begin and end, and their statements in order.

    None if there are none, if they share a line with something else, or if comments or conditions
    stand among them.
    """
    tree = parsed(text)
    if tree is None:
        return None
    body = tree.body
    kinds = [isinstance(node, ast.Import | ast.ImportFrom) for node in body]
    if True not in kinds:
        return None
    start = kinds.index(True)
    stop = kinds.index(False, start) if False in kinds[start:] else len(body)
    chosen = body[start:stop]
    first, last = chosen[0].lineno - 1, chosen[-1].end_lineno or 0
    around = [body[start - 1].end_lineno or 0 if start else 0]
    shared = around[0] > first or (stop < len(body) and body[stop].lineno <= last)
    lines = text.splitlines()
    if shared or any("#" in line for line in lines[first:last]):
        return None
    return first, last, _ordered(chosen)


def _ordered(statements: list[ast.stmt]) -> tuple[str, ...]:
    """As isort and ruff have them: the standard library first, `import` before `from`."""
    found: dict[tuple[object, ...], set[str]] = {}
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[(_is_foreign(alias.name), False, 0, alias.name, _spelled(alias))] = set()
        elif isinstance(node, ast.ImportFrom):
            module = f"{'.' * node.level}{node.module or ''}"
            for alias in node.names:
                renamed = _spelled(alias) if alias.asname else "~"  # each has its own statement
                key = (_is_foreign(module), True, node.level, module, renamed)
                found.setdefault(key, set()).add(_spelled(alias))
    return tuple(
        f"from {key[3]} import {', '.join(sorted(found[key]))}" if key[1] else f"import {key[4]}"
        for key in sorted(found)
    )


def _is_foreign(module: str) -> bool:
    return module.split(".")[0] not in sys.stdlib_module_names


def _spelled(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name
