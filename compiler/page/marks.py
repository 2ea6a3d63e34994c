"""Which lines of an emitted file, and which rows of its ledger, are one step of a network.

Both have keys. A layer's key is the part that owns it and its name there, `bottleneck.conv1`; that
of a step is `step stage 0`. Lines with the same key, in whichever target, are about the same rows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..deployment import HEAD, STEM
from ..names import plain
from ..network import Network
from ..passes.instances import owners
from ..passes.rows import At, Row
from ..passes.trace import Ledger

ENCODER, STAGES = "encoder", "stages"
OUTPUTS = ("logits", "sigmoid", "softmax")  # what a table calls the head's output
_ROW = re.compile(r" {4}(?P<label>\S.*?) +\((?:N|T)\b")
Span = tuple[int, int]  # the first line and the last, from 1


def step_key(name: str) -> str:
    return f"step {name}"


def row_keys(network: Network, ledger: Ledger) -> dict[str, tuple[str, ...]]:
    """The keys of each row by its path, the nearest first: its layer, the parts around, its step.

    A row of the head has the model's own key.
    """
    steps = {row.path: step.name for step in (*ledger.steps, ledger.head) for row in step.rows}
    return {
        row.path: tuple(dict.fromkeys([*_layers(network, row), step_key(steps[row.path])]))
        for row in ledger.rows
    }


def _layers(network: Network, row: Row) -> list[str]:
    found: list[str] = []
    at: At = row.at
    if at[:2] == (ENCODER, STAGES):
        found.append(_key(ENCODER, STAGES))
    elif module := next((m for m in network.modules if m.path == at[0]), None):
        found.append(_key(module.name, str(at[1])))
    for owner, place in owners(network, at):
        name = {STEM: ENCODER, HEAD: network.model.class_name}.get(owner, owner)
        found.append(_key(name, str(at[len(place)])))
    return found[::-1]


def _key(owner: str, layer: str) -> str:
    return f"{plain(owner)}.{layer}"


def line_keys(text: str, network: Network, ledger: Ledger) -> dict[int, list[str]]:
    """The keys of each line that has any. Nothing of the text is run."""
    known = {key for keys in row_keys(network, ledger).values() for key in keys}
    layers: dict[str, set[str]] = {}
    for key in known:
        owner, dot, layer = key.partition(".")
        if dot:
            layers.setdefault(owner, set()).add(layer)
    tree = ast.parse(text)
    found: dict[int, dict[str, None]] = {}
    for key, (first, last) in (*_statements(tree, layers), *_steps(tree, text, known)):
        for line in range(first, last + 1):
            found.setdefault(line, {})[key] = None
    return {line: list(keys) for line, keys in sorted(found.items())}


def _statements(tree: ast.Module, layers: Mapping[str, set[str]]) -> Iterator[tuple[str, Span]]:
    """The statements of classes and functions that name a layer of theirs."""
    for part in tree.body:
        if not isinstance(part, ast.ClassDef | ast.FunctionDef):
            continue
        owner = plain(part.name)
        own = sorted(layers.get(owner, ()), key=len, reverse=True)
        for span, nodes in _lines(part.body):
            for name in filter(None, map(_named, nodes)):
                if layer := next((each for each in own if _begins(name, each)), None):
                    yield f"{owner}.{layer}", span


def _begins(name: str, layer: str) -> bool:
    """Whether the name is that of the layer, or of one turn of it: `blocks_0`."""
    return re.fullmatch(rf"{layer}(_\d*)*", name) is not None


def _lines(body: Sequence[ast.stmt]) -> Iterator[tuple[Span, Iterable[ast.AST]]]:
    """Simple statements, and the heads of those that hold others, with what is in them."""
    for statement in body:
        inner: list[ast.stmt] = []
        for name in ("body", "orelse"):
            inner += getattr(statement, name, [])
        if not inner:
            yield (statement.lineno, statement.end_lineno or statement.lineno), ast.walk(statement)
            continue
        head = [node for node in ast.iter_child_nodes(statement) if node not in inner]
        nodes = [node for part in head for node in ast.walk(part)]
        yield (statement.lineno, max(statement.lineno, inner[0].lineno - 1)), nodes
        yield from _lines(inner)


def _named(node: ast.AST) -> str:
    """The layer that a node names: `self.conv1`, `f"{name}_conv1"`, `name="head"`; or ""."""
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(name)), *_]):
            return name.removeprefix("_")
        case ast.keyword(arg="name", value=ast.Constant(value=str(name))):
            return name
        case ast.keyword(
            arg="name", value=ast.JoinedStr(values=[ast.Constant(value=str(name)), *_])
        ):
            return name
    return ""


def _steps(tree: ast.Module, text: str, known: set[str]) -> Iterator[tuple[str, Span]]:
    """The lines of the docstring's table, and those of the table of stages."""
    head = step_key("head")
    last = tree.body[0].end_lineno or 0 if tree.body else 0
    for number, line in enumerate(text.splitlines()[:last], start=1):
        if match := _ROW.match(line):
            label = match["label"]
            key = head if label in OUTPUTS else step_key(re.sub("^row ", "block ", label))
            if key in known:
                yield key, (number, number)
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="STAGES")], value=ast.Tuple(elts=stages)):
                for i, stage in enumerate(stages):
                    if step_key(f"stage {i}") in known:
                        span = (stage.lineno, stage.end_lineno or stage.lineno)
                        yield step_key(f"stage {i}"), span
