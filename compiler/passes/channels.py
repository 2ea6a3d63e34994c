"""Runs programs over channels: what each layer of a module is made with.

A tensor is its number of channels, an expression over the file's constants. What comes out is a
program again, which makes the layers: for targets that declare them before they are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from .. import ir, program
from ..binding import bound, tensors_of
from ..errors import CompileError, Problem, placed
from ..ir import Block, Dim, Each, Layer, Module
from ..operations import OPERATIONS, PYRAMID
from ..program import Body, Expression, code_of, mapped, names, walk
from .declarations import Declaration, Declare, Turns, live_names, needed

# The constants that hold the channels of all levels and, as a decoder meets them, of the skips.
CHANNELS, SKIP_CHANNELS = "CHANNELS", "SKIP_CHANNELS"
LEVELS: dict[str, Expression] = {
    "deepest": program.Item(program.Name(CHANNELS), -1),
    "skips": program.Name(SKIP_CHANNELS),
}


def declarations(module: Module, blocks: Mapping[str, Block]) -> tuple[Declaration, ...]:
    """The lines that make a module's layers, in the order of its calls; none that is not needed."""
    reading = _Channels(module.name, {each.name: each for each in module.layers}, blocks)
    reading.known = {
        tensor: program.Name(channels) for tensor, channels in module.inputs if channels
    }
    lines = reading.body(module.body)
    return needed(lines, live_names(lines))


def width_of(block: Block, blocks: Mapping[str, Block]) -> Expression:
    """Channels of what a block returns, over its arguments."""
    reading = _Channels(block.name, {layer.name: layer for layer in block.layers}, blocks)
    reading.known = {tensor: program.Name(channels) for tensor, channels in block.inputs}
    reading.body(block.body)
    return reading.result


class _Channels:
    def __init__(self, name: str, layers: Mapping[str, Layer | Each], blocks: Mapping[str, Block]):
        self.name, self.layers, self.blocks = name, layers, blocks
        self.known: dict[str, Expression] = {}
        self.numbers: set[str] = set()  # loops' variables that are no tensors
        self.made: list[Declare] = []
        self.result: Expression = program.Number(0)

    def body(self, body: Body) -> list[Declaration]:
        lines: list[Declaration] = []
        for statement in body:
            with placed(f"{self.name}, line {statement.line}"):
                match statement:
                    case program.Assign(target=target, value=value):
                        self.known[target] = self.value(value)
                        lines += self.flush()
                    case program.Append(target=target, value=value):
                        channels = self.value(value)
                        lines += [*self.flush(), program.Append(target, channels)]
                    case program.Return(value=value):
                        self.result = self.value(value)
                        lines += self.flush()
                    case program.For():
                        lines += self.loop(statement)
                    case _:
                        assert_never(statement)
        return lines

    def flush(self) -> list[Declare]:
        made, self.made = self.made, []
        return made

    def loop(self, loop: program.For) -> list[Declaration]:
        """The loop, with lines before it for what its turns hand on."""
        before = dict(self.known)
        changed = self._changed(loop)
        lines: list[Declaration] = []
        for variable in [*before]:
            value = before[variable]
            listed = isinstance(value, program.Items) and variable in _mentioned(loop)
            if variable in changed or listed:
                shown = _shown(variable, value)
                lines.append(program.Assign(shown, value))
                self.known[variable] = program.Name(shown)
        targets, sources = self._heads(loop)
        held = {variable: self.known[variable] for variable in changed}
        inner = self.body(loop.body)
        for variable in changed:
            if self.known[variable] != held[variable]:
                name = held[variable]
                assert isinstance(name, program.Name)
                inner.append(program.Assign(name.id, self.known[variable]))
                self.known[variable] = name
        turns = Turns(targets, sources, tuple(inner))
        return self._shifted([*lines, turns]) or [*lines, turns]

    def _shifted(self, lines: list[Declaration]) -> list[Declaration]:
        """A loop over `F[1:]` that hands on what it took, from `F[0]`: over `F` as well."""
        match lines:
            case [
                program.Assign(
                    target=name, value=program.Item(value=program.Name(id=first), index=0)
                ),
                Turns(
                    targets=targets,
                    sources=sources,
                    body=(*body, program.Assign(target=end, value=v)),
                ),
            ] if (
                name == end and isinstance(v, program.Name) and v.id in targets
            ):
                if sources[targets.index(v.id)] == program.Slice(program.Name(first), 1, None):
                    self.known = {
                        k: v if x == program.Name(name) else x for k, x in self.known.items()
                    }
                    return [Turns((name, *targets), (program.Name(first), *sources), tuple(body))]
            case _:
                pass
        return []

    def _heads(self, loop: program.For) -> tuple[tuple[str, ...], tuple[Expression, ...]]:
        """The loop's variables and what they run over: tensors as their channels."""
        targets = []
        for target, source in zip(loop.targets, loop.sources):
            root = source.value if isinstance(source, program.Slice) else source
            name = root.id if isinstance(root, program.Name) else ""
            tensors = name in self.known and name not in self.numbers
            if not tensors:
                self.numbers.add(target)
            shown = _shown(target, program.Number(0)) if tensors else target
            self.known[target] = program.Name(shown)
            targets.append(shown)
        return tuple(targets), tuple(map(self.value, loop.sources))

    def _changed(self, loop: program.For) -> list[str]:
        """Variables from before the loop that a turn leaves with other channels."""
        before = dict(self.known)
        assigned = [
            s.target for s in loop.body if isinstance(s, program.Assign) and s.target in before
        ]
        for variable in assigned:
            self.known[variable] = program.Name(_shown(variable, before[variable]))
        held = dict(self.known)
        self._heads(loop)
        written = _assigned(self.body(loop.body))  # what a loop in it hands on
        changed = [
            v
            for v in assigned
            if self.known[v] not in (before[v], held[v]) or code_of(held[v]) in written
        ]
        self.known, self.made = before, []
        return list(dict.fromkeys(changed))

    def value(self, node: Expression) -> Expression:
        match node:
            case program.Name(id=name):
                return self.known.get(name, node)
            case program.Number():
                return node
            case program.Items(values=values):
                return replace(node, values=tuple(map(self.value, values)))
            case program.Star(value=value):
                return program.Apply("sum", (self.value(value),))
            case program.Item(value=value) | program.Slice(value=value):
                inner = self.value(value)
                if isinstance(inner, program.Items) and isinstance(node, program.Slice):
                    return replace(inner, values=inner.values[node.start : node.stop])
                if isinstance(inner, program.Items) and isinstance(node, program.Item):
                    found = inner.values[node.index :][:1]  # negative ones too
                    if found:
                        return found[0]
                if isinstance(inner, program.Name):
                    return replace(node, value=inner)
                raise CompileError(Problem(f"{code_of(node)!r} is not there"))
            case program.Choice(call=call):
                return self.value(call)
            case program.Apply(function=function, args=args):
                operands = [self.value(arg) for arg in args]
                if function in self.layers:
                    return self.layer(self.layers[function], operands)
                if function in PYRAMID:
                    return LEVELS[function]
                if function not in OPERATIONS:
                    raise CompileError(Problem(f"a program cannot say {code_of(node)!r}"))
                return OPERATIONS[function].channels(*operands)
            case _:
                assert_never(node)

    def layer(self, found: Layer | Each, values: list[Expression]) -> Expression:
        if not isinstance(found, Each):
            return self.width(found, values)
        count = tensors_of(found, self.blocks)
        dims = [_dim(value) for value in values]
        layer = bound(found, self.blocks, dims[:count], dims[count:])
        uses = frozenset(
            node.id for value in values for node in walk(value) if isinstance(node, program.Name)
        )
        self.made.append(Declare(found, layer, uses))
        if not isinstance(layer, ir.Call):
            return self.width(layer, values)
        block = self.blocks[layer.block]
        given = {arg: value for (_, arg), value in zip(block.inputs, values)}
        rest = iter(values[count:])
        given |= {arg: next(rest) for arg in block.args if arg not in given}
        return _substituted(width_of(block, self.blocks), given)

    def width(self, layer: Layer, values: Sequence[Expression]) -> Expression:
        """What a layer puts out."""
        match layer:
            case (
                ir.Conv(cout=cout)
                | ir.ConvTranspose(cout=cout)
                | ir.UpConv(cout=cout)
                | ir.Linear(cout=cout)
            ):
                return values[1] if len(values) > 1 else _expression(cout)
            case ir.Table(channels=channels):
                return _expression(channels)
            case ir.Call():
                block = self.blocks[layer.block]
                given = {arg: _expression(dim) for arg, dim in zip(block.args, layer.args)}
                return _substituted(width_of(block, self.blocks), given)
            case ir.Norm() | ir.Affine() | ir.AvgPool() | ir.Dropout() | ir.Attention():
                return values[0]
            case _:
                assert_never(layer)


def _shown(variable: str, value: Expression) -> str:
    """What the channels of a variable are called: of `x` `channels`, of `skip` `skip_channels`."""
    if isinstance(value, program.Items):
        return variable
    return "channels" if variable == "x" else f"{variable}_channels"


def _dim(value: Expression) -> Dim:
    return int(value.value) if isinstance(value, program.Number) else code_of(value)


def _expression(dim: Dim) -> Expression:
    """A size of a layer as a program has it. Raises `CompileError` for what is computed."""
    if isinstance(dim, str) and not dim.isidentifier():
        raise CompileError(Problem(f"no program can say the number of channels {dim!r}"))
    return program.Number(dim) if isinstance(dim, int) else program.Name(dim)


def _substituted(node: Expression, given: Mapping[str, Expression]) -> Expression:
    return mapped(node, lambda n: given.get(n.id, n) if isinstance(n, program.Name) else n)


def _assigned(lines: Sequence[Declaration]) -> frozenset[str]:
    """The variables that these lines assign, in their loops too."""
    found = {line.target for line in lines if isinstance(line, program.Assign)}
    inner = [_assigned(line.body) for line in lines if isinstance(line, Turns)]
    return frozenset(found).union(*inner)


def _mentioned(loop: program.For) -> frozenset[str]:
    """The names that a loop reads or appends to."""
    return names((loop,)) | _appended(loop.body)


def _appended(body: Body) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for statement in body:
        match statement:
            case program.Append(target=target):
                found |= {target}
            case program.For(body=inner):
                found |= _appended(inner)
            case program.Assign() | program.Return():
                pass
            case _:
                assert_never(statement)
    return found
