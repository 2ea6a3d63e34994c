"""A third target, as somebody would add one: networks in pseudo-code, as plain text."""

import ast
from pathlib import Path
from typing import ClassVar, assert_never

from compiler.ir import (
    Affine,
    Attention,
    AvgPool,
    Call,
    Conv,
    ConvTranspose,
    Dropout,
    Linear,
    Norm,
    Table,
    UpConv,
)
from compiler.operations import OPERATIONS
from compiler.program import Append, Assign, For, Return
from compiler.targets import TargetRow
from compiler.targets.base import Target
from compiler.targets.spelling import spell
from compiler.targets.writer import Writer

ROW = TargetRow("pseudo", "pseudo-code", "tests.pseudo:Pseudo", suffix=".txt")
OPERATORS = {"add": "x + y", "multiply": "x * y"}


class PseudoWriter(Writer):
    def statement(self, statement, scope):
        match statement:
            case Assign(target=target, value=value, comment=comment):
                return [f"{target} <- {self.text(value, scope)}" + f"  # {comment}" * bool(comment)]
            case Return(value=value, comment=comment):
                return [f"give {self.text(value, scope)}" + f"  # {comment}" * bool(comment)]
            case Append(target=target, value=value):
                return [f"{target} takes {self.text(value, scope)}"]
            case For(targets=targets, sources=sources, body=body):
                over = ", ".join(self.text(source, scope) for source in sources)
                lines = self.body(body, scope)
                return [f"each {', '.join(targets)} of {over}:", *(f"    {x}" for x in lines)]
            case _:
                assert_never(statement)

    def text(self, value, scope):
        return spell(self.value(value, scope))

    def call(self, layer, values, scope):
        return ast.Call(ast.Name(layer.name), values, [])

    def choice(self, node, scope):
        absent = self.value(node.otherwise, scope)
        return ast.IfExp(ast.Name(node.call.function), self.value(node.call, scope), absent)

    def pyramid(self, function):
        return ast.Call(ast.Name(function), [ast.Name("pyramid")], [])

    def declarations(self, code):
        return [f"{layer.name}: {kind(layer)}" for layer in code.layers]

    def module_declarations(self, module):
        return [f"{e.name}: {e.of if isinstance(e.of, str) else kind(e.of)}" for e in module.layers]


class Pseudo(Target):
    name, title, load = "pseudo", "pseudo-code", "by hand."
    python, templates = False, Path(__file__).parent / "pseudo_templates"
    ops: ClassVar = {name: OPERATORS.get(name, f"{name}(xs)") for name in OPERATIONS}

    def writer(self, plan):
        return PseudoWriter(self, plan)

    def made_modules(self, plan, writer):
        aux = plan.network.supervised  # with deep supervision
        heads = aux.fragment.layers if aux else ()
        modules = [f"{module.path}: {module.name}" for module in plan.network.modules]
        return (*modules, *(f"{layer.name}: {kind(layer)}" for layer in heads))

    def model_body(self, plan, writer):
        aux, modules = plan.network.supervised, plan.network.modules
        steps = [f"x <- {m.path}({', '.join(writer.used_inputs(m))})" for m in modules]
        if aux:
            steps = [steps[0].replace("x <- ", "stages <- "), f"each x of stages{aux.stages}:"]
            steps += [f"    {line}" for line in writer.fragment(aux.fragment).body]
        return (*steps, *writer.fragment(plan.network.head).body)

    def shape(self, channels, sizes):
        return f"{channels} x {' x '.join(sizes)}"


def kind(layer):
    """A layer in words: the first one is the kind of its row in the ledger."""
    match layer:
        case Conv():
            return f"conv {layer.kernel} to {layer.cout}, stride {layer.stride}"
        case ConvTranspose():
            return f"conv_transpose to {layer.cout}"
        case UpConv():
            return f"up_conv to {layer.cout}"
        case Affine():
            return f"affine of {layer.channels}"
        case Norm():
            return f"{layer.kind}_norm, eps {layer.eps}"
        case Linear():
            return f"dense to {layer.cout}"
        case AvgPool():
            return f"pool by {layer.stride}"
        case Dropout():
            return f"dropout of {layer.rate}"
        case Attention():
            return f"attention of {layer.channels}"
        case Table():
            return f"table {layer.rows} x {layer.channels}"
        case Call():
            return layer.block
        case _:
            assert_never(layer)
