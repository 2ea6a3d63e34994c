"""What all targets share: reading a plan, and writing the lines that templates print.

A target is a table of spellings (`OPS`), the way it declares layers, and the way it runs them.
Templates get plain strings and lists of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import Block, Call, Fragment, Layer, Norm, Shape
from ..lower import RANK_NAMES, DecoderPlan, Plan, doc_of
from ..lower_trans import TransPlan
from ..passes.decoders import MOST_GROUPS
from .prose import docstring, grid, heading, wrap_sentences

NOTES = {  # constant -> its comment in an emitted file
    "DECODER_EPS": "as in medicai, whose weights were trained with it; the encoder has 1e-5",
}


@dataclass(frozen=True)
class BlockText:
    """A block, ready to print: names, and lines without their indentation."""

    name: str
    doc: str
    parameters: str
    inputs: str
    declarations: list[str]
    body: list[str]


class Target:
    """One dialect of the emitted file. Subclasses are tables and a few overrides."""

    name: ClassVar[str]
    title: ClassVar[str]
    load: ClassVar[str]  # how weights get into a model
    mask_shape: ClassVar[str]  # what its attention takes
    ops: ClassVar[Mapping[str, str]]  # `x`, `y` are the operands; {rank}, {axes} the dimensions
    statements: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # operations of several lines

    def context(self, plan: Plan) -> dict[str, object]:
        """The names that this target's templates print."""
        network = plan.network
        model = network.model
        writer = self.writer(plan)
        return {
            "heading": heading(f"{plan.title}, {self.title}."),
            "table": self.table(plan),
            "notes": [
                line
                for note in (*plan.notes, f"Load weights: {self.load}")
                for line in wrap_sentences(note)
            ],
            "class_name": model.class_name,
            "model_name": model.name,
            "rank": model.dims,
            "constants": network.constants,
            "columns": ", ".join(plan.columns),
            "stages": plan.stages,
            "blocks": [writer.block(block) for block in network.blocks],
            "stem": writer.fragment(network.stem),
            "pool": writer.lines(f"x = {network.pool}(x)", {}),
            "head": writer.fragment(network.head, prefix=""),
            "first_block": writer.construct(network.residual, plan, first=True),
            "next_block": writer.construct(network.residual, plan, first=False),
            "last_level": plan.last_level,
            "encoder_doc": self.spell_doc(plan.encoder_doc, plan),
            "model_doc": self.model_doc(plan),
            "in_channels": model.in_channels,
            "input_shape": model.input_shape,
            "num_classes": getattr(model.head, "num_classes", None),
            "decoder_constants": [],
            **(self.decoder(plan, plan.decoder) if plan.decoder else {}),
            **(self.transformer(plan, plan.transformer) if plan.transformer else {}),
        }

    def decoder(self, plan: Plan, decoder: DecoderPlan) -> dict[str, object]:
        """The names that the templates of a decoder print."""
        return {
            "decoder_constants": [
                ("DECODER_FILTERS", decoder.filters),
                *(
                    (name, GROUPS_OF_NORM if name == "NORM_GROUPS" else value)
                    for name, value in named(plan.network.decoder_constants)
                ),
            ],
            "decoder_blocks": [
                self.writer(plan).block(block) for block in plan.network.decoder_blocks
            ],
            "decoder_doc": self.spell_doc(decoder.doc, plan),
            "decoder_shapes": self.spell_doc(decoder.shapes, plan),
            "skips": ", ".join(f'pyramid["{level}"]' for level in decoder.skips),
            "last_index": len(decoder.skips),
            "grid": grid(decoder.skips, plan.last_level),
        }

    def transformer(self, plan: Plan, trans: TransPlan) -> dict[str, object]:
        """The names that the templates of a TransUNet print."""
        rank, head = plan.network.model.dims, trans.head
        writer = self.writer(plan)
        blocks = [writer.block(block) for block in plan.network.decoder_blocks]
        axes = ("d", "h", "w")[-rank:]
        output = self.spell_doc(f"[{head.stage_filters[-1]}]", plan)
        levels = f"{trans.skips[0]}..{trans.skips[-1]}"
        return {
            "mlp": blocks[0],
            "vit_block": blocks[1],
            "cross_attention": blocks[2],
            "coarse_map": self.shape("K", axes),
            "query_map": self.shape("Q", axes),
            "map_shape": self.spell_doc("[C]", plan),
            "half_shape": self.spell_doc("[C /2]", plan),
            "voxels": "*".join(axes).upper(),
            "skips": ", ".join(f'pyramid["{level}"]' for level in trans.skips),
            "axes": ", ".join(axes),
            "rank_axes": tuple(range(2, 2 + rank)),
            "scales": trans.scales,
            "halvings": 2**head.depth,
            "times": {3: "three", 4: "four", 5: "five"}[head.depth],
            "class_probability": "sigmoid" if self._one_class(trans) else "softmax",
            "one_class": [self._class_check(trans)] * (not trans.compat),
            "class_error": self._class_error(trans),
            "mask_decoder_doc": docstring(
                f"Coarse class maps from queries refined on {levels}.",
                f"tokens (N, T, EMBED) -> {self.shape('K', axes)}.",
            ),
            "trans_decoder_doc": docstring(
                f"Class maps upsampled with the skips {levels}.",
                f"{self.shape('K', axes)} -> {output}.",
            ),
            "attention_doc": docstring(
                f"Multi-head attention: (N, Q, EMBED), (N, T, EMBED), mask {self.mask_shape}"
                " -> (N, Q, EMBED)."
            ),
        }

    def _one_class(self, trans: TransPlan) -> bool:
        return trans.head.num_classes == 1 and not trans.compat

    def _class_check(self, trans: TransPlan) -> str:
        return "num_classes > 1" if trans.head.num_classes == 1 else "num_classes < 2"

    def _class_error(self, trans: TransPlan) -> str:
        if trans.head.num_classes == 1:
            return "num_classes must be 1 in this file: several classes need a softmax"
        return "num_classes must be at least 2 in this file: a single class needs a sigmoid"

    def imports(self, body: str) -> list[str]:
        """The import lines that a file with this body needs."""
        raise NotImplementedError

    def model_doc(self, plan: Plan) -> str:
        """The docstring of the model's class or function."""
        return docstring(self.spell_doc(plan.model_doc, plan))

    def writer(self, plan: Plan) -> Writer:
        raise NotImplementedError

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        """A tensor's shape in this target's order of axes."""
        raise NotImplementedError

    def block_name(self, name: str) -> str:
        """What this target calls a block in prose and code."""
        raise NotImplementedError

    def spell_doc(self, text: str, plan: Plan) -> str:
        """`[C /2]` and `{Bottleneck}` as this target writes them."""
        sizes = RANK_NAMES[plan.network.model.dims]

        def shape(match: re.Match[str]) -> str:
            channels, _, divisor = match.group(1).partition(" ")
            return self.shape(channels, [size + divisor for size in sizes])

        text = re.sub(r"\[(\w+(?: [/*]\w+)?)\]", shape, text)
        text = re.sub(r"\{(\d)\}", lambda match: "x".join(match.group(1) * len(sizes)), text)
        return re.sub(r"\{(\w+)\}", lambda match: self.block_name(match.group(1)), text)

    def table(self, plan: Plan) -> list[str]:
        """The docstring's table, its columns aligned."""
        maps = [r.shape for r in plan.table if isinstance(r.shape, tuple) and len(r.shape) > 1]
        width = max(len(str(shape[0])) for shape in maps)
        widths = [max(len(str(shape[i])) for shape in maps) for i in range(1, len(maps[0]))]
        label = max(len(row.label) for row in plan.table)
        leveled = plan.transformer is not None  # its texts need the room
        lines = []
        for row in plan.table:
            text = self.spell_doc(row.text, plan)
            if isinstance(row.shape, str):
                shape = row.shape.ljust(len(self._aligned(maps[0], width, widths)))
            else:
                shape = self._aligned(row.shape, width, widths)
            level = "" if leveled and not row.level else f"{row.level:<2}  "
            lines.append(f"{row.label:<{label}}  {shape}  {level}{text}".rstrip())
        return lines

    def _aligned(self, shape: Shape, width: int, widths: Sequence[int]) -> str:
        if len(shape) == 1:
            return f"(N, {shape[0]})"
        sizes = [str(size).rjust(wide) for size, wide in zip(shape[1:], widths)]
        return self.shape(str(shape[0]).rjust(width), sizes)


class Writer:
    """Writes the code of one plan's blocks and fragments."""

    def __init__(self, target: Target, plan: Plan):
        self.target, self.plan = target, plan
        self.rank = plan.network.model.dims
        network = plan.network
        self.blocks = {b.name: b for b in (*network.blocks, *network.decoder_blocks)}

    def block(self, block: Block) -> BlockText:
        return BlockText(
            name=self.target.block_name(block.name),
            doc=self._doc(block),
            parameters=self.parameters(block),
            inputs=", ".join(f"{tensor}: Tensor" for tensor, _ in block.inputs),
            declarations=self.declarations(block),
            body=self.body(block),
        )

    def fragment(self, fragment: Fragment, prefix: str = "{name}_") -> BlockText:
        return BlockText("", "", "", "", self.declarations(fragment), self.body(fragment, prefix))

    def _doc(self, block: Block) -> str:
        text, shapes = (self.target.spell_doc(part, self.plan) for part in doc_of(block))
        return docstring(text, f"{shapes}.")

    def parameters(self, block: Block) -> str:
        """What stands between the parentheses of the block's definition."""
        raise NotImplementedError

    def construct(self, block: Block, plan: Plan, *, first: bool) -> str:
        """The residual block as the loop over the stages makes it."""
        raise NotImplementedError

    def declarations(self, code: Block | Fragment) -> list[str]:
        """Lines that make the layers."""
        raise NotImplementedError

    def body(self, code: Block | Fragment, prefix: str = "{name}_") -> list[str]:
        """Lines that run the layers, whose paths go on from the prefix."""
        layers = {layer.name: layer for layer in code.layers}
        return [text for line in code.body for text in self.lines(line, layers)]

    def lines(self, line: str, layers: Mapping[str, Layer]) -> list[str]:
        """One body line in this target."""
        raise NotImplementedError

    def op(self, name: str, *operands: ast.expr) -> ast.expr:
        """The target's spelling of an operation, around its operands."""
        axes = tuple(range(2, 2 + self.rank))
        spelling = self.target.ops[name].format(rank=self.rank, axes=axes)
        return substitute(spelling, dict(zip("xy", operands)))

    def callee(self, layer: Call) -> Block:
        return self.blocks[layer.block]


# So that other filters in the file need no other groups.
GROUPS_OF_NORM = f"math.gcd({MOST_GROUPS}, *DECODER_FILTERS)"


class _Substitute(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, ast.expr]):
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node)


def spell(node: ast.expr) -> str:
    """The expression as black writes it: where black changes a text, it formats it twice."""
    text = ast.unparse(node)
    return text if '"' in text else text.replace("'", '"')


def substitute(source: str, names: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with its names replaced by expressions."""
    tree = ast.parse(source, mode="eval").body
    result = _Substitute(names).visit(tree)
    assert isinstance(result, ast.expr)
    return result


def named(constants: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Names and numbers, one to a line, those that need it with a comment."""
    return [
        (name, f"{spell_float(value)}  # {NOTES[name]}" if name in NOTES else str(value))
        for name, value in constants
    ]


def spell_eps(norm: Norm) -> str:
    """A norm's epsilon: a number, or the name of a constant."""
    return norm.eps if isinstance(norm.eps, str) else spell_float(norm.eps)


def spell_float(value: float) -> str:
    """A small number as people write it: 1e-5, 1.5e-5. It reads back as the same number."""
    short = f"{value:.0e}"
    return (short if float(short) == value else f"{value!r}").replace("e-0", "e-")
