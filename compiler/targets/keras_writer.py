"""Keras code: layers are made where they are called."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from .. import ir, program
from ..binding import bound, tensors_of
from ..expressions import names_in
from ..ir import Block, Dim, Each, Fragment, Layer, Module
from ..operations import PYRAMID
from ..program import Expression, Statement, code_of, names, walk
from .keras_layers import called as keras_call
from .keras_layers import line_before
from .prose import LINE
from .spelling import simple, spell, substitute
from .writer import Scope, Writer, called, drawn, line_of

OWN_LINE = ("mean", "stretch")  # operations whose layers are as long as those with a name


class KerasWriter(Writer):
    def kept(self, block: Block) -> tuple[str, ...]:
        """The arguments that a function needs: Keras reads input channels off the tensor."""
        used: set[str] = set()
        for layer in block.layers:
            used |= {name for value in self._values(layer) for name in names_in(value)}
            used |= names_in(self._condition(block.inputs, layer))
        return tuple(arg for arg in block.args if arg in used)

    def _values(self, layer: Layer) -> tuple[Dim, ...]:
        match layer:
            case ir.Conv():
                return (layer.cout, _scalar(layer.kernel), _scalar(layer.stride), layer.groups)
            case ir.Call():
                callee = self.callee(layer)
                kept = self.kept(callee)
                return tuple(v for a, v in zip(callee.args, layer.args, strict=True) if a in kept)
            case ir.ConvTranspose() | ir.UpConv():
                return (layer.cout, _scalar(layer.stride))
            case ir.Linear():
                return (layer.cout,)
            case ir.AvgPool():
                return (_scalar(layer.stride),)
            case ir.Table():
                return (layer.rows,)
            case ir.Norm() | ir.Affine() | ir.Dropout() | ir.Attention():
                return ()
            case _:
                assert_never(layer)

    def _condition(self, inputs: Sequence[tuple[str, str]], layer: Layer) -> str:
        """`when`, with the channels of an input read off the tensor."""
        if not layer.when:
            return ""
        channels = {arg: self.op("channels", [ast.Name(tensor)]) for tensor, arg in inputs}
        return spell(substitute(layer.when, channels))

    def parameters(self, block: Block) -> str:
        tensors = [f"{tensor}: Tensor" for tensor, _ in block.inputs]
        sizes = [f"{arg}: {self.kind(block, arg)}" for arg in self.kept(block)]
        rates = [f"{rate}: float" for rate in block.rates]
        return ", ".join([*tensors, *sizes, *rates, "*", "name: str"])

    def construct(self, block: Block, stage_args: Sequence[str], *, first: bool) -> str:
        args = [arg for arg in stage_args if arg in self.kept(block)]
        args = args if first else self.unstrided(block, args)
        index = "0" if first else "{i}"
        name = f'name=f"{{name}}_stages_{{s}}_{index}"'
        given = ", ".join(["x", *args, *drawn(block), name])
        return f"{self.target.block_name(block.name)}({given})"

    def module_parameters(self, module: Module) -> str:
        kinds = {"pyramid": "dict[str, Tensor]"}
        tensors = [f"{x}: {kinds.get(x, 'Tensor')}" for x in self.used_inputs(module)]
        sizes = [f"{arg}: int" for arg in self.told(module)]
        return ", ".join([*tensors, *sizes, "*", f'name: str = "{module.path}"'])

    def told(self, module: Module) -> list[str]:
        """The arguments that a module's program reads; the others are read off its tensors."""
        return [arg for arg in module.arguments if arg in names(module.body)]

    def aux_head(self, fragment: Fragment) -> list[str]:
        """Lines that append the output of one stage."""
        (layer,), (body,) = fragment.layers, fragment.body
        assert isinstance(body, program.Assign)
        scope = Scope({layer.name: replace(layer, name=f"{layer.name}_{{i}}")}, prefix="")
        x, stage = program.Name("x"), program.Name("stage")
        value = program.mapped(body.value, lambda node: stage if node == x else node)
        return [*self.assigned("aux", value, "", scope), "outputs.append(aux)"]

    # -- statements --------------------------------------------------------------------------------

    def statement(self, statement: Statement, scope: Scope) -> list[str]:
        match statement:
            case program.Assign(target=target, value=value, comment=comment):
                return self.assigned(target, value, comment, scope)
            case program.Return(value=value, comment=comment):
                return self.assigned("", value, comment, scope)
            case program.Append(target=target, value=value):
                expression, before = self.split(value, "x", scope)
                return [*before, f"{target}.append({spell(expression)})"]
            case program.For():
                return self.loop(statement, scope)
            case _:
                assert_never(statement)

    def assigned(self, target: str, value: Expression, comment: str, scope: Scope) -> list[str]:
        optional = self._optional(value, scope)
        if optional:
            return self._conditional(target, *optional, scope)
        if isinstance(value, program.Apply) and value.function in self.target.statements:
            several = self.target.statements[value.function]
            return [text.format(rank=self.rank, **self.pool()) for text in several]
        expression, before = self.split(value, target or "x", scope)
        return [*before, line_of(target, expression, comment)]

    def loop(self, loop: program.For, scope: Scope) -> list[str]:
        """The loop, with an index where it names layers."""
        targets = ", ".join(loop.targets)
        sources = [spell(self.unnested(source, "x", [], scope)[0]) for source in loop.sources]
        over = sources[0] if len(sources) == 1 else f"zip({', '.join(sources)})"
        head = f"for {targets} in {over}:"
        index = ""
        if any(name in scope.layers for name in called(loop.body)):
            deeper = tuple(inner for inner in loop.body if isinstance(inner, program.For))
            index = "r" if any(name in scope.layers for name in called(deeper)) else "i"
            targets = f"({targets})" if len(loop.targets) > 1 else targets
            head = f"for {index}, {targets} in enumerate({over}):"
        inner = scope.inside(index) if index else scope
        return [head, *(f"    {line}" for line in self.body(loop.body, inner))]

    # -- expressions -------------------------------------------------------------------------------

    def split(self, node: Expression, target: str, scope: Scope) -> tuple[ast.expr, list[str]]:
        """The expression with at most one named layer in it, none where that makes it too long."""
        before: list[str] = []
        value, _ = self.unnested(node, target, before, scope)
        indented = 4 + 4 * len(scope.index)
        if len(f"{target or 'return'} = {ast.unparse(value)}") > LINE - indented:
            before = []
            value, _ = self.unnested(node, target, before, replace(scope, apart=True))
        return value, before

    def _optional(
        self, node: Expression, scope: Scope
    ) -> tuple[Layer, Expression, Expression] | None:
        """The layer, its input and what stands in for it, where a line runs an optional layer."""
        match node:
            case program.Choice(
                call=program.Apply(function=function, args=(arg,)), otherwise=otherwise
            ):
                pass
            case program.Apply(function=function, args=(arg,)):
                otherwise = arg
            case _:
                return None
        layer = scope.layers.get(function)
        if layer is None or isinstance(layer, Each) or not layer.when:
            return None
        return layer, arg, otherwise

    def _conditional(
        self, target: str, layer: Layer, arg: Expression, other: Expression, scope: Scope
    ) -> list[str]:
        called = spell(self._call(layer, [simple(arg)], scope))
        otherwise = [] if code_of(other) == target else [f"{target} = {code_of(other)}"]
        condition = self._condition(scope.inputs, layer)
        return [*otherwise, f"if {condition}:", f"    {target} = {called}"]

    def unnested(
        self, node: Expression, target: str, before: list[str], scope: Scope
    ) -> tuple[ast.expr, bool]:
        """The expression with at most one named layer in it, and whether it has one.

        The layers inside of it get lines of their own, `before`: in a chain they assign the
        statement's target, side by side each a variable of its own name.
        """
        match node:
            case (
                program.Name()
                | program.Number()
                | program.Star()
                | program.Item()
                | program.Slice()
            ):
                return simple(node), False
            case program.Items(values=values, fixed=fixed):
                items = [self.unnested(value, target, before, scope)[0] for value in values]
                return (ast.Tuple(items) if fixed else ast.List(items)), False
            case program.Choice():
                return self.unnested(node.call, target, before, scope)
            case program.Apply(function=function) if function in scope.layers:
                layer = scope.layers[function]
                if isinstance(layer, Each):
                    return self.each(layer, node.args, target, before, scope)
                return self.layer(layer, node, target, before, scope)
            case program.Apply(function=function) if function in PYRAMID:
                return self.pyramid(function), False
            case program.Apply(function=function, args=args):
                found = [self._operand(arg, target, before, scope, len(args)) for arg in args]
                if scope.apart:
                    found = [self._own_line(*value, target, before) for value in found]
                named = function in OWN_LINE or any(has_layer for _, has_layer in found)
                return self.op(function, [value for value, _ in found]), named
            case _:
                assert_never(node)

    def layer(
        self, layer: Layer, node: program.Apply, target: str, before: list[str], scope: Scope
    ) -> tuple[ast.expr, bool]:
        """A layer of a block."""
        match node.args:
            case (program.Name(id=tensor) as arg,) if layer.when:
                before += self._conditional(tensor, layer, arg, arg, scope)
                return simple(arg), False
            case _:
                pass
        siblings = len(node.args)
        values = [self._operand(arg, target, before, scope, siblings) for arg in node.args]
        if isinstance(layer, ir.Dropout):
            return self._call(layer, [values[0][0]], scope), values[0][1]
        values = [self._own_line(*value, target, before) for value in values]
        before += filter(None, [line_before(layer)])
        return self._call(layer, [value for value, _ in values], scope), True

    def each(
        self,
        each: Each,
        args: Sequence[Expression],
        target: str,
        before: list[str],
        scope: Scope,
    ) -> tuple[ast.expr, bool]:
        """A layer of a module. It takes names: what is computed has a line of its own."""
        count = tensors_of(each, self.blocks)
        tensors: list[ast.expr] = []
        of = self.blocks[each.of].inputs if isinstance(each.of, str) else (("x", ""),)
        for arg, (name, _) in zip(args[:count], of, strict=True):
            value, _ = self.unnested(arg, target, before, scope)
            tensors.append(self._own_line(value, isinstance(value, ast.Call), name, before)[0])
        sizes = [_dim(self.unnested(arg, target, before, scope)[0]) for arg in args[count:]]
        layer = bound(each, self.blocks, [""] * count, sizes)
        index = "".join(f"_{{{i}}}" for i in scope.index) or f"_{scope.turns}"
        layer = replace(layer, name=f"{each.name}{index if each.one else ''}")
        if each.times:
            if spell(tensors[0]) != target:
                before.append(f"{target} = {spell(tensors[0])}")
            layer = replace(layer, name=f"{layer.name}_{{i}}")
            made = spell(self._call(layer, [ast.Name(target)], scope))
            before += [f"for i in range({each.times}):", f"    {target} = {made}"]
            return ast.Name(target), False
        before += filter(None, [line_before(layer)])
        made_here = self._call(layer, tensors, scope)
        if each.result:
            return self._own_line(made_here, True, each.result, before)
        return made_here, True

    def _operand(
        self, node: Expression, target: str, before: list[str], scope: Scope, siblings: int
    ) -> tuple[ast.expr, bool]:
        if siblings == 1:
            return self.unnested(node, target, before, scope)
        layers = (scope.layers.get(n.function) for n in walk(node) if isinstance(n, program.Apply))
        own = next((layer for layer in reversed([*layers]) if layer), None)
        if isinstance(own, Each):  # a block's name says what it is
            return self.unnested(node, target, before, scope)[0], False
        # A function has the layer's own name.
        name = (
            "y" if isinstance(own, ir.Attention | ir.Call | ir.Dropout) else own.name if own else ""
        )
        value, has_layer = self.unnested(node, name, before, scope)
        return self._own_line(value, has_layer, name, before)

    def _own_line(
        self, value: ast.expr, has_layer: bool, target: str, before: list[str]
    ) -> tuple[ast.expr, bool]:
        if not has_layer:
            return value, False
        before.append(f"{target} = {spell(value)}")
        return ast.Name(target), False

    def _call(self, layer: Layer, inputs: Sequence[ast.expr], scope: Scope) -> ast.expr:
        """A layer made and called."""
        function: str = ""
        args: tuple[Dim, ...] = ()
        if isinstance(layer, ir.Call):
            function = self.target.block_name(self.callee(layer).name)
            args = self._values(layer)
        per_axis = "stride" in self.plan.network.residual.per_axis
        norm = self.plan.model.encoder.norm
        return keras_call(layer, inputs, scope.prefix, self.rank, function, args, per_axis, norm)


def _scalar(value: object) -> Dim:
    return value if isinstance(value, int | str) else 1


def _dim(value: ast.expr) -> Dim:
    return spell(value)
