"""PyTorch code: layers are declared once and called."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from .. import ir, program
from ..ir import Block, Each, Fragment, Layer, Module
from ..lower import Plan
from ..passes.channels import declarations
from ..passes.declarations import Declaration, Declare, Turns
from ..passes.joined import own_join
from ..passes.kernels import SCALES
from ..program import Body, Statement, code_of, names, replaced, rewritten, values_of, walk
from .prose import LINE
from .spelling import spell, substitute
from .text import BlockText
from .torch_joined import joined_values, joining_text
from .torch_layers import declare, lines_before
from .torch_lists import chains, heads, one_of, only, renamed, used
from .torch_nodes import floats, literal, own, several
from .writer import Scope, Speech, Writer, called, drawn, line_of, nested


class TorchWriter(Writer):
    def __init__(self, target: Speech, plan: Plan):
        super().__init__(target, plan)
        # A script does not read the constants of a file: they are written out where it runs.
        self.scales = [
            ast.List([ast.Constant(float(s)) for s in scale]) for scale in plan.model.steps[::-1]
        ]

    def parameters(self, block: Block) -> str:
        sizes = [f"{arg}: {self.kind(block, arg)}" for arg in block.args]
        return ", ".join(["self", *sizes, *(f"{rate}: float" for rate in block.rates)])

    def construct(self, block: Block, stage_args: Sequence[str], *, first: bool) -> str:
        args = stage_args if first else self.unstrided(block, stage_args)
        before = "channels_before" if first else "channels"
        return f"{block.name}({', '.join((before, *args, *drawn(block)))})"

    def block(self, block: Block) -> BlockText:
        """A class; where it only chains its layers, a `Sequential` of them."""
        text = super().block(block)
        if chains(block):
            text = replace(text, base="nn.Sequential", body=())
        text = replace(text, decorators=("@recomputed",) * block.recomputed)
        return joining_text(text, block.joins, self) if block.joins else text

    def declarations(self, code: Block | Fragment) -> list[str]:
        per_axis = code.per_axis if isinstance(code, Block) else ()
        lines = [f"self.{arg} = [float(s) for s in {arg}]" for arg in self._kept(code)]
        chained = isinstance(code, Block) and chains(code)
        for layer in code.layers:
            declared = f"self.{layer.name} = {declare(layer, self.rank, per_axis)}"
            before = [x for x in lines_before(layer, self.rank, per_axis) if x not in lines]
            if layer.when:
                pooled = "  # pads as ceil_mode does, but exports with dynamic sizes"
                lines_here = [f"    {line}" for line in (*before, declared)]
                if chained:
                    note = pooled * isinstance(layer, ir.AvgPool)
                    lines += [f"if {layer.when}:{note}", *lines_here]
                elif self._tested(layer, code) or before:
                    absent = "None" if self._tested(layer, code) else "nn.Identity()"
                    kind = "" if absent == "None" else ": nn.Module"
                    lines += [f"self.{layer.name}{kind} = {absent}", f"if {layer.when}:"]
                    lines += lines_here
                else:
                    line = f"{declared} if {layer.when} else nn.Identity()"
                    if len(line) > LINE - 8:  # in a method
                        lines.append(f"changes = {layer.when}")
                        line = f"{declared} if changes else nn.Identity()"
                    lines.append(line)
            else:
                lines += [*before, declared]
            if isinstance(layer, ir.Norm) and layer.zero_init:
                start = f"nn.init.zeros_(self.{layer.name}.weight)"
                lines.append(f"{start}  # the block starts as its shortcut")
        return lines

    def _kept(self, code: Block | Fragment) -> list[str]:
        """The arguments that a block needs when it runs: scales of its upsamplings."""
        if not isinstance(code, Block):
            return []
        read = names(self.without_unread(code.body))
        return [arg for arg in code.per_axis if arg in read]

    def kept_items(self, block: Block) -> dict[str, ast.expr]:
        return {arg: own(arg) for arg in self._kept(block)}

    def _tested(self, layer: Layer, code: Block | Fragment) -> bool:
        """Whether the body asks if the layer is there."""
        return any(
            isinstance(node, program.Choice) and node.call.function == layer.name
            for statement in code.body
            for value in values_of(statement)
            for node in walk(value)
        )

    # -- statements --------------------------------------------------------------------------------

    def statement(self, statement: Statement, scope: Scope) -> list[str]:
        match statement:
            case program.Assign(target=target, value=value, comment=comment):
                kind = "Tensor" if statement is scope.typed else ""
                return [line_of(target, self.value(value, scope), comment, kind)]
            case program.Return(value=value, comment=comment):
                return [line_of("", self.value(value, scope), comment)]
            case program.Append(target=target, value=value):
                return [f"{target}.append({spell(self.value(value, scope))})"]
            case program.For():
                return self.loop(statement, scope)
            case _:
                assert_never(statement)

    def loop(self, loop: program.For, scope: Scope) -> list[str]:
        """The loop over what its body needs: lists of layers, and tensors.

        Over a list of tensors it needs an index: TorchScript knows the length of layers only.
        """
        here = called(loop.body)
        layers = [each for each in scope.layers.values() if each.name in here]
        ones = [one_of(each, loop.body) for each in layers]
        sources = [ast.Name(each.name) if scope.index else own(each.name) for each in layers]
        read = names(self.run_body(loop.body, scope))
        pairs = [(t, s) for t, s in zip(loop.targets, loop.sources) if t in read]
        items = {}
        counted = False
        for target, source in pairs:
            if isinstance(source, program.Name) and source.id in scope.lists and layers:
                items[target] = ast.Subscript(ast.Name(source.id), ast.Name("i"))
                counted = True
            else:
                ones.append(target)
                sources.append(self.value(source, scope))
        lines = [f"scales = {spell(source)}" for source in sources if literal(source)]
        texts = ["scales" if literal(source) else spell(source) for source in sources]
        if len(ones) == 1:
            one, source_text = ones[0], texts[0]
        else:
            one, source_text = ", ".join(ones), f"zip({', '.join(texts)})"
        head = f"for {one} in {source_text}:"
        if counted:
            one = f"({one})" if len(ones) > 1 else one
            head = f"for i, {one} in enumerate({source_text}):"
        inner = scope.inside("i", items)
        return [*lines, head, *(f"    {line}" for line in self.body(loop.body, inner))]

    def run_body(self, body: Body, scope: Scope) -> Body:
        """The body whose inner loops over layers run over nothing that they do not read."""

        def change(statement: Statement) -> Body:
            if not isinstance(statement, program.For) or not called(statement.body) & {
                *scope.layers
            }:
                return (statement,)
            read = names(statement.body)
            pairs = [p for p in zip(statement.targets, statement.sources) if p[0] in read]
            targets, sources = tuple(t for t, _ in pairs), tuple(s for _, s in pairs)
            return (replace(statement, targets=targets, sources=sources),)

        return replaced(body, change)

    def value(self, node: program.Expression, scope: Scope) -> ast.expr:
        match node:
            case program.Name(id=name) if name == SCALES:
                return ast.Tuple([*self.scales[:-1]])  # of the loop over the skips
            case program.Item(value=program.Name(id=name), index=index) if name == SCALES:
                return self.scales[index]
            case program.Items(values=(program.Items(), *_) as values):
                return ast.Tuple([floats(value) for value in values])
            case program.Apply(function=function, args=args) if function in scope.layers:
                layer = scope.layers[function]
                own_joins = own_join(layer, args, self.blocks)
                if own_joins is None:
                    return super().value(node, scope)
                return self.call(layer, joined_values(*own_joins, self, scope), scope)
            case _:
                return super().value(node, scope)

    def choice(self, node: program.Choice, scope: Scope) -> ast.expr:
        test = ast.Compare(own(node.call.function), [ast.Is()], [ast.Constant(None)])
        return ast.IfExp(test, self.value(node.otherwise, scope), self.value(node.call, scope))

    def call(self, layer: Layer | Each, values: list[ast.expr], scope: Scope) -> ast.expr:
        """A declared layer, called with its tensors."""
        made: ast.expr = own(layer.name)
        if isinstance(layer, Each):
            if isinstance(layer.of, ir.Table):
                repeated = "table.expand(x.shape[0], -1, -1)"
                given = {"table": made, "x": values[0]}
                return made if layer.of.shared else substitute(repeated, given)
            if layer.one:
                last = ast.Subscript(made, ast.Constant(-1))
                made = ast.Name(layer.one) if scope.index else last
        return ast.Call(made, values, [])

    def several(self, operands: Sequence[ast.expr]) -> ast.expr:
        return several(operands, ast.Tuple)

    # -- modules -----------------------------------------------------------------------------------

    def run(self, module: Module) -> Body:
        return self.without_unread(self.without_numbers(module))

    def without_unread(self, body: Body) -> Body:
        """The program without the scales of operations that read them off the sizes here."""

        def change(node: program.Expression) -> program.Expression:
            if isinstance(node, program.Apply) and node.function == "upsample_by":
                return replace(node, args=node.args[:2])
            return node

        return rewritten(body, change)

    def typed(self, module: Module, body: Body) -> Statement | None:
        """The line that declares `x` to be a tensor, where it is not an input."""
        if any(name == "x" for name, _ in module.inputs):
            return None
        return next((s for s in body if isinstance(s, program.Assign) and s.target == "x"), None)

    def module_parameters(self, module: Module) -> str:
        return ", ".join(["self", *(f"{name}: int" for name in self.told(module))])

    def told(self, module: Module) -> list[str]:
        """The arguments that a module needs to be made: those that its layers do."""
        found = declarations(module, self.blocks)
        needed = used(found)
        return [name for name in module.arguments if name in needed]

    def module_inputs(self, module: Module) -> str:
        kinds = {"pyramid": "dict[str, Tensor]"}
        used = self.used_inputs(module)
        return ", ".join(f"{name}: {kinds.get(name, 'Tensor')}" for name in used)

    def module_declarations(self, module: Module) -> list[str]:
        """Lines that make the layers: a list of them is there before the layers behind it."""
        found = declarations(module, self.blocks)
        waiting = list(module.layers)
        deeper = nested(module.body)
        lines: list[str] = []

        def lists() -> None:
            while waiting and waiting[0].one:
                name = waiting.pop(0).name
                deep = name in deeper
                kind, note = (": Any", "  # of a ModuleList for each row") if deep else ("", "")
                lines.append(f"self.{name}{kind} = nn.ModuleList(){note}")

        for item in found:
            if waiting and isinstance(item, Turns) and only(item, found) == waiting[0].name:
                line = self.comprehension(item)
                if len(line) <= LINE - 8:
                    lines.append(line)
                    del waiting[0]
                    continue
            lists()
            if isinstance(item, Declare) and not item.each.one:
                lines.append(f"self.{item.each.name} = {self.each(item)}")
                waiting = [each for each in waiting if each.name != item.each.name]
            else:
                lines += self.made([item], ())
        return lines

    def comprehension(self, turns: Turns) -> str:
        """A list of layers that are made alike."""
        if len(turns.targets) == 1:  # nothing to tell it from
            turns = renamed(turns, turns.targets[0], "channels")
        (item,) = turns.body
        assert isinstance(item, Declare)
        made = f"{self.each(item)} for {heads(turns)}"
        return f"self.{item.each.name} = nn.ModuleList([{made}])"

    def each(self, made: Declare) -> str:
        text = declare(made.layer, self.rank)
        if made.each.times:
            return f"nn.Sequential(*[{text} for _ in range({made.each.times})])"
        return text

    def made(self, items: Sequence[Declaration], loops: tuple[Turns, ...]) -> list[str]:
        """Lines of declarations, in loops whose inner ones fill lists of their own."""
        lines: list[str] = []
        for item in items:
            match item:
                case Declare(each=each):
                    store = each.name if len(loops) > 1 else f"self.{each.name}"
                    lines.append(f"{store}.append({self.each(item)})")
                case program.Assign(target=target, value=value):
                    lines.append(f"{target} = {code_of(value)}")
                case program.Append(target=target, value=value):
                    lines.append(f"{target}.append({code_of(value)})")
                case Turns():
                    wide = len(f"for {heads(item)}:") > LINE - 8
                    turns = renamed(item, "skip_channels", "skip") if wide else item
                    inner = [x.each.name for x in turns.body if loops and isinstance(x, Declare)]
                    lines += [f"{name} = nn.ModuleList()" for name in inner]
                    lines.append(f"for {heads(turns)}:")
                    lines += [f"    {line}" for line in self.made(turns.body, (*loops, turns))]
                    lines += [f"self.{name}.append({name})" for name in inner]
                case _:
                    assert_never(item)
        return lines
