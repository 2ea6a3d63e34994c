"""Writes blocks, fragments and modules: the readings of a program that give code."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, assert_never

from .. import ir, program
from ..axes import plain, spread
from ..binding import tensors_of
from ..errors import CompileError, Problem
from ..ir import Block, Each, Fragment, Layer, Module
from ..lower import Plan, doc_of
from ..operations import PYRAMID
from ..parts import SLOPE
from ..program import Body, Expression, Statement, calls, names, rewritten
from ..segmentors.base import Doc
from .prose import docstring
from .spelling import quoted, simple, spell, substitute
from .text import AXES_TYPE, BlockText


class Speech(Protocol):
    """What a writer asks of its target."""

    title: ClassVar[str]
    tensor: ClassVar[str]
    ops: ClassVar[Mapping[str, str]]
    statements: ClassVar[Mapping[str, tuple[str, ...]]]

    def block_name(self, name: str) -> str: ...

    def spell_doc(self, text: str, plan: Plan) -> str: ...

    def module_doc(self, doc: Doc, plan: Plan) -> str: ...


@dataclass(frozen=True)
class Scope:
    """Where a line stands: the layers it may call, and the loops around it.

    `prefix` stands before the names of layers, `index` are the loops' variables, `lists` the
    variables that are lists, `items` what is written for a variable. `turns` is how often a loop
    over the skips runs. With `apart`, each layer has a line of its own. `typed` is an assignment
    that says the type of its variable.
    """

    layers: Mapping[str, Layer | Each] = field(default_factory=dict)
    inputs: tuple[tuple[str, str], ...] = ()
    prefix: str = "{name}_"
    index: tuple[str, ...] = ()
    lists: frozenset[str] = frozenset()
    items: Mapping[str, ast.expr] = field(default_factory=dict)
    turns: int = 0
    apart: bool = False
    typed: Statement | None = None

    def inside(self, index: str, items: Mapping[str, ast.expr] | None = None) -> Scope:
        """The scope of a loop's body."""
        return replace(self, index=(*self.index, index), items={**self.items, **(items or {})})


class Writer:
    """Writes the code of one plan."""

    def __init__(self, target: Speech, plan: Plan):
        self.target, self.plan = target, plan
        self.rank = plan.rank
        self.blocks = plan.network.all_blocks

    def scope(self) -> Scope:
        return Scope()

    def block(self, block: Block) -> BlockText:
        text, shapes = (self.target.spell_doc(part, self.plan) for part in doc_of(block))
        layers = {layer.name: layer for layer in block.layers}
        scope = Scope(layers, block.inputs, items=self.kept_items(block))
        return BlockText(
            name=self.target.block_name(block.name),
            doc=docstring(text, f"{shapes}."),
            parameters=self.parameters(block),
            inputs=", ".join(f"{tensor}: Tensor" for tensor, _ in block.inputs),
            declarations=tuple(self.declarations(block)),
            body=tuple(self.body(block.body, scope)),
        )

    def kept_items(self, block: Block) -> dict[str, ast.expr]:
        """What is written for an argument that the body of a block reads."""
        return {}

    def fragment(self, fragment: Fragment, prefix: str = "{name}_", **items: ast.expr) -> BlockText:
        """Declarations and body, with `items` in place of the variables of these names."""
        layers = {layer.name: layer for layer in fragment.layers}
        scope = Scope(layers, prefix=prefix, items=items)
        body = tuple(self.body(fragment.body, scope))
        return BlockText("", "", "", "", tuple(self.declarations(fragment)), body)

    def module(self, module: Module) -> BlockText:
        body = self.run(module)
        scope = Scope(
            layers={each.name: each for each in module.layers},
            lists=lists_of(body),
            turns=len(self.plan.levels) - 1,
            typed=self.typed(module, body),
        )
        return BlockText(
            name=self.target.block_name(module.name),
            doc=self.target.module_doc(self.plan.docs[module.name], self.plan),
            parameters=self.module_parameters(module),
            inputs=self.module_inputs(module),
            declarations=tuple(self.module_declarations(module)),
            body=tuple(self.body(body, scope)),
            returns=self.returned(module),
        )

    def returned(self, module: Module) -> str:
        """The type of what a module returns: a tensor, or a list of them."""
        last = module.body[-1]
        lists = [program.Name(variable) for variable in lists_of(module.body)]
        several = isinstance(last, program.Return) and last.value in lists
        return f"list[{self.target.tensor}]" if several else self.target.tensor

    def run(self, module: Module) -> Body:
        """The program as this target runs it."""
        return module.body

    def typed(self, module: Module, body: Body) -> Statement | None:
        """The assignment that says the type of its variable, in a target that needs one."""
        return None

    def body(self, body: Body, scope: Scope) -> list[str]:
        return [line for statement in body for line in self.statement(statement, scope)]

    def statement(self, statement: Statement, scope: Scope) -> list[str]:
        """The lines of one statement."""
        raise NotImplementedError

    def parameters(self, block: Block) -> str:
        """What stands between the parentheses of the block's definition."""
        return ", ".join(tensor for tensor, _ in block.inputs)

    def construct(self, block: Block, stage_args: Sequence[str], *, first: bool) -> str:
        """The residual block as the loop over the stages makes it."""
        return self.target.block_name(block.name)

    def declarations(self, code: Block | Fragment) -> list[str]:
        """Lines that make the layers."""
        return []

    def module_parameters(self, module: Module) -> str:
        """What a module is made with."""
        return ", ".join(self.used_inputs(module))

    def module_inputs(self, module: Module) -> str:
        """What a module is called with."""
        return ""

    def module_declarations(self, module: Module) -> list[str]:
        """Lines that make a module's layers."""
        return []

    def value(self, node: Expression, scope: Scope) -> ast.expr:
        """The code of an expression."""
        match node:
            case program.Name(id=name):
                return scope.items.get(name, ast.Name(name))
            case program.Items(values=values, fixed=False):
                return ast.List([self.value(value, scope) for value in values])
            case (
                program.Number()
                | program.Items()
                | program.Star()
                | program.Item()
                | program.Slice()
            ):
                return simple(node)
            case program.Choice():
                return self.choice(node, scope)
            case program.Apply(function=function, args=args):
                operands = [self.value(arg, scope) for arg in args]
                if function in scope.layers:
                    return self.call(scope.layers[function], operands, scope)
                if function in PYRAMID:
                    return self.pyramid(function)
                return self.op(function, operands)
            case _:
                assert_never(node)

    def call(self, layer: Layer | Each, values: list[ast.expr], scope: Scope) -> ast.expr:
        """A layer, called with its tensors."""
        raise NotImplementedError

    def choice(self, node: program.Choice, scope: Scope) -> ast.expr:
        """What stands in for a layer where it is absent."""
        raise NotImplementedError

    def op(self, name: str, operands: Sequence[ast.expr]) -> ast.expr:
        """The target's spelling of an operation, around its operands."""
        axes = tuple(range(2, 2 + self.rank))
        linear = {2: "bilinear", 3: "trilinear"}[self.rank]
        if name not in self.target.ops:
            raise CompileError(
                Problem(f"{self.target.title} has no spelling of the operation {name!r}")
            )
        spelling = self.target.ops[name].format(
            rank=self.rank, axes=axes, linear=linear, slope=self.slope(), **self.pool()
        )
        given = dict(zip("xyz", operands))
        return substitute(spelling, {**given, "xs": self.several(operands)})

    def slope(self) -> float:
        """The negative slope of leaky_relu."""
        units = self.plan.model.encoder.units
        return units.slope if units else SLOPE

    def pool(self) -> dict[str, object]:
        """The numbers of the stem's pool: an axis of stride 1 has a window of 1."""
        stride = self.plan.model.encoder.stem.pool
        strides = spread(stride, self.rank)
        none = (0, 0)
        return {
            "stride": stride,
            "window": plain(tuple(3 if s > 1 else 1 for s in strides)),
            "pad": plain(tuple(1 if s > 1 else 0 for s in strides)),
            "pads": (none, *((1, 1) if s > 1 else none for s in strides), none),
            "end": (none, *((0, 1) if s > 1 else none for s in strides), none),
        }

    def kind(self, block: Block, arg: str) -> str:
        """The type of a block's argument."""
        return AXES_TYPE if arg in block.per_axis else "int"

    def unstrided(self, block: Block, args: Sequence[str]) -> list[str]:
        """The arguments of a stage's other blocks, which have no stride."""
        one = str((1,) * self.rank) if "stride" in block.per_axis else "1"
        return [one if arg == "stride" else arg for arg in args]

    def several(self, operands: Sequence[ast.expr]) -> ast.expr:
        """All operands as one sequence."""
        return ast.List(list(operands))

    def pyramid(self, function: str) -> ast.expr:
        """What a program takes of the pyramid, by the names of its levels."""
        found = PYRAMID[function](self.plan.levels)
        if isinstance(found, str):
            return level(found)
        return ast.Tuple([level(name) for name in found])

    def callee(self, layer: ir.Call) -> Block:
        return self.blocks[layer.block]

    def used_inputs(self, module: Module) -> list[str]:
        """The inputs that a module's program reads when it runs."""
        read = names(self.without_numbers(module))
        return [tensor for tensor, _ in module.inputs if tensor in read]

    def without_numbers(self, module: Module) -> Body:
        """The program without what its layers are made with: their calls have tensors only."""
        layers = {each.name: each for each in module.layers}

        def change(node: Expression) -> Expression:
            if isinstance(node, program.Apply) and node.function in layers:
                count = tensors_of(layers[node.function], self.blocks)
                return replace(node, args=node.args[:count])
            return node

        return rewritten(module.body, change)


def drawn(block: Block) -> list[str]:
    """The rates of a block: the next ones of all blocks' rates."""
    return ["next(rates)" for _ in block.rates]


def level(name: str) -> ast.expr:
    """`pyramid["P5"]`."""
    return ast.Subscript(ast.Name("pyramid"), quoted(name))


def lists_of(body: Body) -> frozenset[str]:
    """The variables of a program that are lists."""
    found: frozenset[str] = frozenset()
    for statement in body:
        match statement:
            case program.Assign(target=target, value=program.Items(fixed=False)) | program.Append(
                target=target
            ):
                found |= {target}
            case program.Assign(target=target, value=program.Name(id=name)) if name in found:
                found |= {target}
            case program.For(body=inner):
                found |= lists_of(inner)
            case program.Assign() | program.Return():
                pass
            case _:
                assert_never(statement)
    return found


def nested(body: Body) -> frozenset[str]:
    """The functions that are called in a loop inside of a loop."""
    loops = [statement for statement in body if isinstance(statement, program.For)]
    inner = [called((s,)) for loop in loops for s in loop.body if isinstance(s, program.For)]
    return frozenset().union(*inner)


def called(body: Body) -> frozenset[str]:
    """The functions that a body calls, in its loops too."""
    return frozenset(call.function for call in calls(body))


def line_of(target: str, value: ast.expr, comment: str, kind: str = "") -> str:
    """`x = value`, `x: kind = value`, or `return value` where nothing is assigned."""
    variable = f"{target}: {kind}" if kind else target
    code = f"{variable} = {spell(value)}" if target else f"return {spell(value)}"
    return f"{code}  # {comment}" if comment else code
