"""PyTorch: modules that are declared once and called."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..ir import Fragment
from ..lower import Plan
from ..model import Segmentor
from ..program import Assign, Name, Return
from .base import Helper, Target
from .facts import layers_of
from .prose import LINE, docstring, wrap_sentences
from .spelling import quoted
from .text import EncoderText, words
from .torch_init import init_lines
from .torch_nodes import own
from .torch_supervision import aux_declarations, aux_outputs
from .torch_writer import TorchWriter
from .writer import Writer, line_of

STANDARD = {  # of Python: what is imported for the names that a file uses
    "math.": "import math",
    "Iterator": "from collections.abc import Callable, Iterator",
    "contextmanager": "from contextlib import contextmanager",
    "wraps": "from functools import wraps",
    "Any": "from typing import Any",
}
SELECTIVE = "create_selective_checkpoint_contexts("
COUNTS = {3: "three", 4: "four", 5: "five"}


class Torch(Target):
    name = "torch"
    title = "PyTorch"
    tensor = "Tensor"
    mask_shape = "(N, 1, Q, T)"
    load = 'model.load_state_dict(safetensors.torch.load_file("w.safetensors"))'
    ops: ClassVar[Mapping[str, str]] = {
        "add": "x + y",
        "total": "total(xs)",
        "multiply": "x * y",
        "rescale": "x / 255",
        "max_pool": "F.max_pool{rank}d(x, {window}, stride={stride}, padding={pad})",
        "signed_max_pool": "F.max_pool{rank}d(x, {window}, stride={stride}, padding={pad})",
        "ceil_max_pool": "F.max_pool{rank}d(x, {window}, stride={stride}, ceil_mode=True)",
        "signed_ceil_max_pool": "F.max_pool{rank}d(x, {window}, stride={stride}, ceil_mode=True)",
        "mean": "x.mean({axes}, keepdim=True)",
        "global_average": "x.mean({axes})",
        "global_max": "x.amax({axes})",
        "output_softmax": "x.softmax(1)",
        "output_sigmoid": "torch.sigmoid(x)",
        "upsample": "upsample(x, y)",
        "upsample_by": "upsample(x, y)",  # which reads the scale off the sizes
        "upsample_past": "upsample(x, y, z)",
        "crop": "crop(x, y)",
        "concat": "torch.cat(xs, 1)",
        "linear_upsample": "resize(x, 2.0, '{linear}', y)",
        "linear_upsample_by": "resize(x, z, '{linear}', y)",
        "stretch": "F.interpolate(x, size=y, mode='{linear}')",
        "corner_stretch": (
            "F.interpolate(x, size=y.shape[2:], mode='{linear}', align_corners=True)"
        ),
        "tokens": "x.flatten(2).mT",
        "sizes": "x.shape[2:]",
        "token_grid": "[s // p for s, p in zip(x, y)]",
        "length": "x.shape[1]",
        "volume": "math.prod(x)",
        "channels": "x.shape[1]",
        "as_map": "torch.unflatten(x, 2, z)",
        "as_tokens": "x.flatten(2)",
        "similarity": "x @ y.mT",
        "scores": "x @ y.mT",
        "mix": "x.mT @ y",
        "mix_scores": "x.mT @ y",
        "class_softmax": "x.softmax(2)",
        "attention_mask": "attention_mask(x, y, z)",
        "patch_attention_mask": "patch_attention_mask(x, y, z)",
        "flat_attention_mask": "flat_attention_mask(x, y)",
        "flat_attention_bias": "flat_attention_bias(x, y)",
        "steep_leaky_relu": "F.leaky_relu(x, 0.3)",
        "relu": "F.relu(x)",
        "leaky_relu": "F.leaky_relu(x, {slope})",
        "elu": "F.elu(x)",
        "gelu": "F.gelu(x)",
        "silu": "F.silu(x)",
        "mish": "F.mish(x)",
        "hard_swish": "F.hardswish(x)",
        "tanh": "torch.tanh(x)",
        "relu_in_place": "F.relu(x, inplace=True)",
        "leaky_relu_in_place": "F.leaky_relu(x, {slope}, inplace=True)",
        "steep_leaky_relu_in_place": "F.leaky_relu(x, 0.3, inplace=True)",
        "elu_in_place": "F.elu(x, inplace=True)",
        "silu_in_place": "F.silu(x, inplace=True)",
        "mish_in_place": "F.mish(x, inplace=True)",
        "hard_swish_in_place": "F.hardswish(x, inplace=True)",
        "sigmoid": "torch.sigmoid(x)",
    }

    helpers = tuple(
        Helper(name, f"helpers/{name.lower()}.py.j2")
        for name in (
            "crop",
            "upsample",
            "total",
            "Stage",
            "LayerNorm",
            "Affine",
            "GatedAffine",
            "UpConv",
            "DropPath",
            "Attention",
            "resize",
            "attention_mask",
            "patch_attention_mask",
            "flat_attention_mask",
            "flat_attention_bias",
        )
    )

    def imports(self, body: str) -> list[str]:
        found = words(body)
        lines = [line for name, line in STANDARD.items() if name in found]
        if "nullcontext(" in found:
            lines = [line + ", nullcontext" * ("contextlib" in line) for line in lines]
        lines += [""] if lines else []
        lines += ["import torch"] if "torch." in found else []
        lines.append("from torch import Tensor, nn")
        if "F." in found:
            lines.append("from torch.nn import functional as F")
        if "checkpoint(" in found:
            selective = f", {SELECTIVE[:-1]}" * (SELECTIVE in found)
            lines.append(f"from torch.utils.checkpoint import checkpoint{selective}")
        return lines

    def stage(self, plan: Plan) -> str:
        return "nn.Sequential" if plan.model.memory == "standard" else "Stage"

    def encoder(self, plan: Plan, writer: Writer) -> EncoderText:
        """The encoder; one that is recomputed has a method for its stem."""
        text = super().encoder(plan, writer)
        if plan.model.memory == "standard":
            return text
        lines = ("@recomputed", "def stem(self, x: Tensor) -> Tensor:")
        body = writer.fragment(returning(plan.network.stem)).body
        method = (*lines, *(f"    {line}" for line in body))
        return replace(
            text,
            stem=replace(text.stem, body=("x = self.stem(x)",)),
            methods=(*(f"    {line}" for line in method), ""),
        )

    def writer(self, plan: Plan) -> TorchWriter:
        return TorchWriter(self, plan)

    def made_modules(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        assert isinstance(writer, TorchWriter)
        return tuple(
            f"self.{module.path} = {module.name}({', '.join(writer.told(module))})"
            for module in plan.network.modules
        )

    def head_declarations(self, plan: Plan, made: tuple[str, ...]) -> tuple[str, ...]:
        aux = plan.network.aux_head
        # These stand last: a seed gives all other weights as it does without them.
        after = aux_declarations(aux, plan.rank) if aux else ()
        if plan.model.deploy:
            return made
        return (*made, *init_lines(layers_of(plan), plan.network.head.layers, plan.rank), *after)

    def model_body(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        modules, head, aux = plan.network.modules, plan.network.head, plan.network.supervised
        made: ast.expr = ast.Call(own("encoder"), [ast.Name("image" if modules else "x")], [])
        lines = []
        if len(modules) > 1:
            lines.append(line_of("pyramid", made, ""))
            made = ast.Name("pyramid")
        for module in modules:
            given = [made, *map(ast.Name, writer.used_inputs(module)[1:])]
            made = ast.Call(own(module.path), given, [])
            if module.step and module is not modules[0]:
                lines.append(line_of(module.step, made, ""))
                made = ast.Name(module.step)
        if not modules:
            lines.append(line_of("x", ast.Subscript(made, quoted(plan.levels[-1])), ""))
        elif aux is None and len(modules) > 1 and len(head.body) <= 1:
            return (*lines, *writer.fragment(returning(head), "", x=made).body)
        else:
            returned = writer.returned(modules[-1])
            several = returned != self.tensor
            lines.append(line_of("stages" if several else "x", made, "", returned * (not several)))
        if aux is None:
            return (*lines, *writer.fragment(returning(head), prefix="").body)
        assert isinstance(writer, TorchWriter)
        return (*lines, *writer.fragment(head, prefix="").body, *aux_outputs(aux, writer))

    def model_doc(self, plan: Plan) -> str:
        doc = self.spell_doc(plan.model_doc, plan)
        aux = plan.network.supervised
        if aux is None:
            return docstring(doc)
        more = (
            "In training mode it returns a list: this output, then those of the coarser decoder"
            f" stages, the finest first{' and the lowest left out' * aux.first}."
        )
        return "\n    ".join([f"{doc}\n", *wrap_sentences(more, LINE - 4), ""])

    def returns(self, plan: Plan) -> str:
        return "Tensor" if plan.network.supervised is None else "Tensor | list[Tensor]"

    def sizes(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        assert isinstance(writer, TorchWriter)
        head = plan.model.head
        told = {name for module in plan.network.modules for name in writer.told(module)}
        lines = []
        if isinstance(head, Segmentor) and told & {"num_tokens", "num_voxels"}:
            down = f"-(-s // {2**head.depth})"
            size = f"  # {plan.levels[-1]}: {COUNTS[head.depth]} halvings, rounded up"
            sizes = "s in image_size"
            if not plan.model.halves:
                down, size = "-(-s // d)", f"  # of {plan.levels[-1]}"
                sizes = f"s, d in zip(image_size, {plan.model.divisors[-1]})"
            voxels = f"math.prod({down} for {sizes})"
            patches = [c for c in plan.network.more_constants if c.name == "PATCH"]
            if any(c.value != (1,) * plan.rank for c in patches):
                tokens = f"math.prod({down} // p for s, p in zip(image_size, PATCH))"
                if not plan.model.halves:
                    zipped = f"zip(image_size, {plan.model.divisors[-1]}, PATCH)"
                    tokens = f"math.prod({down} // p for s, d, p in {zipped})"
                lines.append(f"num_tokens = {tokens}")
                if "num_voxels" in told:
                    lines.append(f"num_voxels = {voxels}")
            else:
                lines.append(f"num_tokens = {voxels}{size}")
        return tuple(lines)

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        return f"(N, {channels}, {', '.join(sizes)})"


def returning(head: Fragment) -> Fragment:
    """The head that returns what it makes of `x`."""
    if not head.body:
        return replace(head, body=(Return(Name("x")),))
    *before, last = head.body
    assert isinstance(last, Assign)
    return replace(head, body=(*before, Return(last.value, last.comment)))
