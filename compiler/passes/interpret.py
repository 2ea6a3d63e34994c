"""Runs programs over shapes: blocks, heads, and modules with their loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, assert_never

from .. import ir, program
from ..binding import bound, tensors_of
from ..errors import CompileError, Problem, placed
from ..expressions import evaluate, evaluate_int
from ..ir import Block, Each, Fragment, Layer, Module, Shape
from ..operations import OPERATIONS, PYRAMID
from ..program import Body, Expression, code_of
from .rows import At, Row, attention_rows, axes, below, path_of, row_of
from .steps import Turn
from .wires import Tensor, Wire


class Tracer:
    """Runs blocks over shapes. A block with the same arguments and inputs is run once.

    A subclass may follow each tensor: `applied` and `made` see every operation and layer, with what
    it takes and puts out.
    """

    def __init__(self, rank: int, blocks: Mapping[str, Block], constants: Mapping[str, object]):
        self.rank, self.blocks, self.constants = rank, blocks, constants
        self.wires: list[Wire] = []
        self.memo: dict[object, tuple[list[Row], Tensor]] = {}
        self.entered: dict[Tensor, At] = {}  # a tensor without a row -> the row that it enters
        self.frames: list[Frame] = []  # programs that run now, the innermost last
        self.around: Sequence[Tensor] = ()  # tensors that live outside of these programs

    def call(
        self, name: str, args: tuple[object, ...], inputs: Sequence[Tensor]
    ) -> tuple[list[Row], Tensor]:
        """Rows in the order in which a block's layers are declared, and its result."""
        key = (name, args, tuple(x.shape for x in inputs))
        if key not in self.memo:
            outside = len(self.wires)
            self.memo[key] = self.run_block(name, args, inputs)
            del self.wires[outside:]
        return self.memo[key]

    def run_block(
        self, name: str, args: tuple[object, ...], inputs: Sequence[Tensor]
    ) -> tuple[list[Row], Tensor]:
        """The same, run now. Within a block, its inputs come from no row."""
        block = self.blocks[name]
        names = dict(zip(block.args, args, strict=True))
        own = (replace(x, row=()) for x in inputs)
        tensors = {tensor: x for (tensor, _), x in zip(block.inputs, own, strict=True)}
        return self.run(block, names, tensors)

    def run(
        self, code: Block | Fragment, arguments: Mapping[str, object], tensors: dict[str, Tensor]
    ) -> tuple[list[Row], Tensor]:
        """Rows in the order in which the layers are declared, and what is returned, or `x`."""
        name = code.name if isinstance(code, Block) else "what stands outside of the blocks"
        frame = Frame(self, name, code.layers, arguments, tensors)
        if isinstance(code, Block) and code.joins:  # nothing else holds what it makes of its inputs
            frame.given = ()
        value = self._ran(frame, code.body)
        return frame.rows(), frame.values["x"] if value is None else value

    @contextmanager
    def recomputed(self, again: bool, inputs: Sequence[Tensor]) -> Iterator[None]:
        """Around what runs `again` in the backward pass, and is left with its inputs."""
        yield

    def _ran(self, frame: Frame, body: Body) -> Any:
        self.frames.append(frame)
        value = frame.run(body)
        self.frames.pop()
        return value

    def module(
        self, module: Module, arguments: Mapping[str, object], inputs: dict[str, Any]
    ) -> tuple[list[Row], list[Turn], Any]:
        """Rows in PyTorch's order, the turns that are steps, and the module's result.

        It is a tensor, or a list of them.
        """
        frame = Frame(self, module.name, module.layers, arguments, inputs, (module.path,))
        frame.by_turn = not module.step
        value = self._ran(frame, module.body)
        if module.step or frame.fresh:
            frame.note(value[-1] if isinstance(value, list) else value)
        return frame.rows(), frame.turns, value

    def called(self, frame: Frame, layer: Layer | Each, args: Sequence[Expression]) -> Tensor:
        """What a layer makes of the operands in a call of it."""
        return frame.layer(layer, frame.operands(args))

    def applied(self, function: str, values: Sequence[Any], shape: Shape) -> Tensor:
        """What an operation makes of these values: a tensor of this shape."""
        return Tensor(shape, values[0].row if OPERATIONS[function].pointwise else ())

    def step_ends(self) -> None:
        """A step that a person sees has run."""

    def made(
        self, layer: Layer, at: At, names: Mapping[str, object], inputs: list[Tensor]
    ) -> tuple[list[Row], Tensor]:
        """The rows of a layer in a place, and its output."""
        x, shape = inputs[0], inputs[0].shape
        match layer:
            case ir.Call():
                args = tuple(evaluate(arg, names) for arg in layer.args)
                rows, output = self.call(layer.block, args, inputs)
                source = (*at, *output.row) if output.row else ()
                return below(at, rows), replace(output, row=source)
            case ir.AvgPool():
                stride = axes(layer.stride, names, self.rank)
                sizes = (-(-size // s) for size, s in zip(shape[1:], stride))
                return [], Tensor((shape[0], *sizes))
            case ir.Attention():
                rows = attention_rows(layer, at, shape, inputs[1].shape, names)
                return rows, Tensor(shape, rows[-1].at)
            case ir.Dropout():
                return [], x
            case ir.UpConv():
                row = row_of(layer, at, shape, names, self.rank, inputs[1].shape)
                return [row], Tensor(row.output, at)
            case (
                ir.Conv() | ir.ConvTranspose() | ir.Norm() | ir.Affine() | ir.Linear() | ir.Table()
            ):
                row = row_of(layer, at, shape, names, self.rank)
                return [row], Tensor(row.output, at)
            case _:
                assert_never(layer)


class Frame:
    """One run of a program: its names, its values, and the rows so far."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        layers: Sequence[Layer | Each],
        arguments: Mapping[str, object],
        values: dict[str, Any],
        prefix: At = (),
    ):
        self.tracer, self.name, self.prefix = tracer, name, prefix
        self.by_turn = False  # whether each turn of an outermost loop is a step
        self.layers = {layer.name: layer for layer in layers}
        self.names = {**tracer.constants, **arguments}
        self.values = values
        self.given = tuple(values.values())
        self.pending: list[list[Any]] = []  # operands of the calls that are being read
        self.ran: set[At] = set()
        self.by_layer: dict[str, list[Row]] = {}
        self.index: list[int] = []
        self.count = 0  # turns of the last outermost loop
        self.fresh: list[Row] = []  # rows since the last step's end, in the order of execution
        self.turns: list[Turn] = []

    def rows(self) -> list[Row]:
        """All rows as PyTorch registers them: a module's own tables first."""
        rows = [row for layer in self.layers for row in self.by_layer.get(layer, [])]
        return sorted(rows, key=lambda row: row.kind != "table")

    def note(self, value: Tensor) -> None:
        self.turns.append(Turn(value, tuple(self.fresh)))
        self.fresh = []
        self.tracer.step_ends()

    def run(self, body: Body) -> Any:
        """What the body returns; None where it does not."""
        for statement in body:
            with placed(f"{self.name}, line {statement.line}"):
                match statement:
                    case program.Assign(target=target, value=value):
                        self.values[target] = self.value(value)
                    case program.Append(target=target, value=value):
                        self.items(target).append(self.value(value))
                    case program.Return(value=value):
                        return self.value(value)
                    case program.For():
                        self.loop(statement)
                    case _:
                        assert_never(statement)
        return None

    def items(self, name: str) -> Any:
        """The list or tuple of that name."""
        value = self.value(program.Name(name))
        if not isinstance(value, list | tuple):
            raise CompileError(Problem(f"{name!r} is not a list"))
        return value

    def loop(self, statement: program.For) -> None:
        sources = [self.value(source) for source in statement.sources]
        for i, items in enumerate(zip(*sources)):
            self.index.append(i)
            self.values |= dict(zip(statement.targets, items))
            self.run(statement.body)
            self.index.pop()
            if not self.index:
                self.count = i + 1
            if not self.index and self.by_turn:
                last = statement.body[-1]
                while isinstance(last, program.For):  # what its own turns hand on
                    last = last.body[-1]
                if not isinstance(last, program.Assign | program.Append):
                    raise CompileError(Problem("a loop ends with what its step puts out"))
                value = self.values[last.target]
                self.note(value[-1] if isinstance(value, list) else value)

    def value(self, node: Expression) -> Any:
        match node:
            case program.Name(id=name):
                for known in (self.values, self.names):
                    if name in known:
                        return known[name]
                raise CompileError(Problem(f"{name!r} is not a name of this program"))
            case program.Number(value=value):
                return value
            case program.Items(values=values, fixed=fixed):
                items = [self.value(value) for value in values]
                return tuple(items) if fixed else items
            case program.Item(value=value, index=index):
                items = self.items(value.id)
                if not -len(items) <= index < len(items):
                    raise CompileError(Problem(f"{value.id!r} has {len(items)} items"))
                return items[index]
            case program.Slice(value=value, start=start, stop=stop):
                return self.items(value.id)[start:stop]
            case program.Choice(call=call, otherwise=otherwise):
                layer = self.layers.get(call.function)
                if layer is None or isinstance(layer, Each):
                    raise CompileError(Problem(f"{call.function!r} is not a layer of this block"))
                return self.value(call if self.present(layer) else otherwise)
            case program.Star(value=value):
                return self.items(value.id)
            case program.Apply(function=function, args=args):
                if function in self.layers:
                    return self.tracer.called(self, self.layers[function], args)
                operands = self.operands(args)
                if function in PYRAMID:
                    return PYRAMID[function](operands[0])
                return self.operation(node, operands)
            case _:
                assert_never(node)

    def operands(self, args: Sequence[Expression]) -> list[Any]:
        """The values of what stands in a call, with the items of its lists."""
        found: list[Any] = []
        self.pending.append(found)
        for arg in args:
            value = self.value(arg)
            found += value if isinstance(arg, program.Star) else [value]
        self.pending.pop()
        return found

    def operation(self, node: program.Apply, values: list[Any]) -> Any:
        operation = OPERATIONS.get(node.function)
        if operation is None:
            raise CompileError(Problem(f"a program cannot say {code_of(node)!r}"))
        shapes = [value.shape if isinstance(value, Tensor) else value for value in values]
        try:
            shape = operation.shape(*shapes)
        except (ValueError, TypeError) as error:
            raise CompileError(Problem(f"{code_of(node)!r} {error}")) from None
        if not operation.tensor:
            return shape
        output = self.tracer.applied(node.function, values, shape)
        read = values[:1] if operation.sized else values
        inputs = tuple(value for value in read if isinstance(value, Tensor))
        self.tracer.wires.append(Wire(node.function, inputs, output))
        return output

    def present(self, layer: Layer) -> bool:
        return not layer.when or bool(evaluate(layer.when, self.names))

    def layer(self, found: Layer | Each, values: list[Any]) -> Tensor:
        """Run a layer, once: in a module, the one of these turns."""
        count = tensors_of(found, self.tracer.blocks) if isinstance(found, Each) else 1
        if not values or not all(isinstance(value, Tensor) for value in values[:count]):
            raise CompileError(Problem(f"the layer {found.name!r} takes a tensor"))
        if not isinstance(found, Each):
            x: Tensor = values[0]
            return self.made(found, (found.name,), values) if self.present(found) else x
        tensors: list[Tensor] = values[:count]
        channels = [tensor.shape[0] for tensor in tensors]
        layer = bound(found, self.tracer.blocks, channels, values[len(tensors) :])
        at: At = (*self.prefix, found.name)
        if found.one:  # the loops' indices; after a loop, the next one
            at = (*at, *(self.index or [self.count]))
        if not found.times:
            return self.made(layer, at, tensors)
        output = tensors[0]
        for i in range(evaluate_int(found.times, self.names)):
            output = self.made(layer, (*at, i), [output])
        return output

    def made(self, layer: Layer, at: At, inputs: list[Tensor]) -> Tensor:
        """The output of a layer that is present; its rows are noted."""
        x = inputs[0]
        if isinstance(layer, ir.Dropout):
            return self.tracer.made(layer, at, self.names, inputs)[1]
        if at in self.ran:
            raise CompileError(Problem(f"the layer {path_of(at)!r} runs twice"))
        self.ran.add(at)
        rows, output = self.tracer.made(layer, at, self.names, inputs)
        self.by_layer.setdefault(layer.name, []).extend(rows)
        self.fresh += rows
        read = 0 if isinstance(layer, ir.Table) else 1 if isinstance(layer, ir.UpConv) else None
        self.tracer.wires.append(Wire("", tuple(inputs[:read]), output, layer, at, tuple(rows)))
        if rows and not x.row and rows[0].kind != "table":  # a table is no layer in PyTorch
            self.tracer.entered.setdefault(x, rows[0].at)
        return output
