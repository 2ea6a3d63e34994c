"""What all targets share: reading a plan, and laying out the page of a file.

A target is a table of spellings, how it writes four statements and its kinds of layer, and how it
calls things. The templates print what stands here, in frozen texts.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..ir import Module, Shape
from ..lower import Plan
from ..model import RANK_NAMES, Model, Segmentor
from ..program import Assign, chain
from ..segmentors.base import Doc
from . import target_row
from .constants import RATES, axes_line, channels_constant, constant_lines
from .facts import AXES, class_check, facts_of
from .prose import LINE, docstring, heading, wrap_sentences
from .text import (
    EncoderText,
    Facts,
    ModelText,
    Page,
    Part,
    Section,
)
from .writer import Writer


@dataclass(frozen=True)
class Helper:
    """A function or class that files define where they use it, by its name."""

    name: str
    template: str


class Target:
    """One target of the compiler. Subclasses are tables and a few overrides."""

    name: ClassVar[str]
    title: ClassVar[str]
    tensor: ClassVar[str] = "tensor"  # the type of what layers take and return
    load: ClassVar[str]  # how weights get into a model
    mask_shape: ClassVar[str] = ""  # what its attention takes
    python: ClassVar[bool] = True  # whether black can lay out its files
    lacks: ClassVar[Mapping[str, str]] = {}  # options that it does not have, and why
    templates: ClassVar[Path | None] = None  # their folder; None for that of its name beside ours
    ops: ClassVar[Mapping[str, str]]  # `x`, `y`, `z` are the operands, `xs` all of them
    statements: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # operations of several lines
    helpers: ClassVar[tuple[Helper, ...]] = ()  # in the order of definition
    first_helpers: ClassVar[tuple[Helper, ...]] = ()  # which every file begins with

    def page(self, plan: Plan) -> Page:
        """Everything that a file says, for the templates to lay out."""
        network = plan.network
        writer = self.writer(plan)
        last = Part((Section(self.model_template(plan), self.model(plan, writer)),))
        parts = [
            Part(
                (
                    *(Section("block.py.j2", writer.block(block)) for block in network.blocks),
                    Section("encoder.py.j2", self.encoder(plan, writer)),
                )
            ),
            *(self.part(plan, writer, module) for module in network.modules),
        ]
        if len(network.modules) == 1:  # one decoder and the model stand together
            parts, last = parts[:-1], Part((*parts[-1].sections, *last.sections))
        return Page(
            heading=heading(f"{plan.title}, {self.title}{plan.inference}."),
            table=tuple(self.table(plan)),
            notes=tuple(
                line
                for note in (*plan.notes, *self.made_of(plan), f"Load weights: {self.load}")
                for line in wrap_sentences(note)
            ),
            class_name=plan.model.class_name,
            constants=(axes_line(plan.rank), *constant_lines(network.constants, together=1)),
            columns=", ".join(plan.columns),
            stages=plan.stages,
            more_constants=constant_lines(
                [channels_constant(x, plan) for x in network.more_constants]
            ),
            parts=(*parts, last),
            facts=self.facts(plan),
        )

    def made_of(self, plan: Plan) -> tuple[str, ...]:
        """Where the weights of an inference file come from."""
        weights = target_row(self.name).weights
        if not plan.model.deploy or not weights:
            return ()
        made = f"plainnet convert best{weights[0]} --model FILE.py -o w{weights[0]}"
        return (
            "Inference only: the numbers of the training file, with weights made from its own.",
            f"Make weights: {made}",
        )

    def part(self, plan: Plan, writer: Writer, module: Module) -> Part:
        """A module with its blocks."""
        blocks = (Section("block.py.j2", writer.block(block)) for block in module.blocks)
        return Part((*blocks, Section("module.py.j2", writer.module(module))))

    def encoder(self, plan: Plan, writer: Writer) -> EncoderText:
        network = plan.network
        pool = Assign("x", chain(network.pool))
        return EncoderText(
            doc=docstring(self.spell_doc(plan.encoder_doc, plan)),
            stem=writer.fragment(network.stem),
            pool=tuple(writer.statement(pool, writer.scope())) if network.pool else (),
            columns=", ".join(plan.columns),
            before="STEM_CHANNELS" if network.stem.layers else "in_channels",
            first=plan.model.encoder.first_level,
            levels=self.first_levels(plan),
            first_block=writer.construct(network.residual, plan.stage_args, first=True),
            next_block=writer.construct(network.residual, plan.stage_args, first=False),
            rates=RATES if network.residual.rates else (),
            stage=self.stage(plan),
        )

    def model(self, plan: Plan, writer: Writer) -> ModelText:
        model = plan.model
        check, error = class_check(plan)
        head = writer.fragment(plan.network.head, prefix="")
        return ModelText(
            class_name=model.class_name,
            name=model.name,
            doc=self.model_doc(plan),
            in_channels=model.in_channels,
            input_shape=model.input_shape,
            num_classes=getattr(model.head, "num_classes", None),
            modules=self.made_modules(plan, writer),
            declarations=self.head_declarations(plan, head.declarations),
            body=self.model_body(plan, writer),
            sizes=self.sizes(plan, writer),
            class_check=check,
            class_error=error,
            returns=self.returns(plan),
            multiples=plan.model.multiples,
            training_model=self.training_model(plan),
        )

    def model_template(self, plan: Plan) -> str:
        if not isinstance(plan.model.head, Segmentor):
            return "model.py.j2"
        return "segmentor.py.j2"

    def facts(self, plan: Plan) -> Facts:
        shapes = {
            "map": self.spell_doc("[C]", plan),
            "half": self.spell_doc("[C /2]", plan),
            "query": self.shape("Q", AXES[-plan.rank :]),
        }
        return facts_of(plan, shapes, self.mask_shape)

    # -- what a target says ------------------------------------------------------------------------

    def built(self, model: Model) -> Model:
        """The model that its files build, with the weights of this one."""
        return model

    def writer(self, plan: Plan) -> Writer:
        raise NotImplementedError

    def imports(self, body: str) -> list[str]:
        """The import lines that a file with this body needs."""
        return []

    def made_modules(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        """Lines of the model that make its modules."""
        return ()

    def head_declarations(self, plan: Plan, made: tuple[str, ...]) -> tuple[str, ...]:
        """Lines of the model that make its head, and what else has to be said there."""
        return made

    def model_body(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        """Lines that run the model."""
        raise NotImplementedError

    def returns(self, plan: Plan) -> str:
        """The type of what the model returns."""
        return self.tensor

    def first_levels(self, plan: Plan) -> tuple[str, ...]:
        """The lines that begin the pyramid: with the stem's output where that is a level."""
        if plan.model.encoder.first_level == 2:
            return ('pyramid = {"P1": x}',)
        return (f"pyramid: dict[str, {self.tensor}] = {{}}",)

    def stage(self, plan: Plan) -> str:
        """What makes a stage of several blocks, in a target where one is an object."""
        return ""

    def training_model(self, plan: Plan) -> str:
        """The expression that makes a second model, for training; "" if there is none."""
        return ""

    def sizes(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        """Lines that compute what the modules are told of the image's size."""
        return ()

    def model_doc(self, plan: Plan) -> str:
        """The docstring of the model's class or function."""
        return docstring(self.spell_doc(plan.model_doc, plan))

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        """A tensor's shape in this target's order of axes."""
        raise NotImplementedError

    def block_name(self, name: str) -> str:
        """What this target calls a block in prose and code."""
        return name

    # -- what a file says of itself ----------------------------------------------------------------

    def module_doc(self, doc: Doc, plan: Plan) -> str:
        """A module's docstring."""
        first, rest = self.spell_doc(doc.first, plan), self.spell_doc(doc.rest, plan)
        text = docstring(first, rest)
        if not doc.paragraphs and not doc.drawing:
            return text
        blocks = [textwrap.wrap(self.spell_doc(p, plan), LINE - 4) for p in doc.paragraphs]
        if doc.drawing:
            blocks.append([f"    {line}" for line in doc.drawing])
        return "\n\n".join([text, *("\n".join(f"    {x}" for x in b) for b in blocks)]) + "\n    "

    def spell_doc(self, text: str, plan: Plan) -> str:
        """`[C /2]` and `{Bottleneck}` as this target writes them."""
        sizes = RANK_NAMES[plan.rank]

        def shape(match: re.Match[str]) -> str:
            channels, _, divisor = match.group(1).partition(" ")
            if divisor == "...":
                return self.shape(channels, AXES[-plan.rank :])
            factors = divisor[1:].split("x")
            factors = factors * len(sizes) if len(factors) == 1 else factors
            parts = [divisor[:1] + f if f not in ("", "1") else "" for f in factors]
            return self.shape(channels, [size + part for size, part in zip(sizes, parts)])

        text = re.sub(r"\[(\w+(?: (?:[/*]\w+|\.\.\.))?)\]", shape, text)
        text = re.sub(r"\{(\d)\}", lambda match: "x".join(match.group(1) * len(sizes)), text)
        return re.sub(r"\{(\w+)\}", lambda match: self.block_name(match.group(1)), text)

    def table(self, plan: Plan) -> list[str]:
        """The docstring's table, its columns aligned."""
        maps = [r.shape for r in plan.table if isinstance(r.shape, tuple) and len(r.shape) > 1]
        width = max(len(str(shape[0])) for shape in maps)
        widths = [max(len(str(shape[i])) for shape in maps) for i in range(1, len(maps[0]))]
        label = max(len(row.label) for row in plan.table)
        levels = max(len(row.level) for row in plan.table)
        leveled = any(isinstance(row.shape, str) for row in plan.table)  # its texts need the room
        lines = []
        for row in plan.table:
            text = self.spell_doc(row.text, plan)
            if isinstance(row.shape, str):
                shape = row.shape.ljust(len(self._aligned(maps[0], width, widths)))
            else:
                shape = self._aligned(row.shape, width, widths)
            level = "" if leveled and not row.level else f"{row.level:<{levels}}  "
            start = f"{row.label:<{label}}  {shape}  {level}"
            first, *rest = textwrap.wrap(text, LINE - 4 - len(start)) or [""]
            lines.append(f"{start}{first}".rstrip())
            lines += [" " * len(start) + more for more in rest]
        return lines

    def _aligned(self, shape: Shape, width: int, widths: Sequence[int]) -> str:
        if len(shape) == 1:
            return f"(N, {shape[0]})"
        sizes = [str(size).rjust(wide) for size, wide in zip(shape[1:], widths)]
        return self.shape(str(shape[0]).rjust(width), sizes)
