"""Deep supervision in PyTorch: the auxiliary heads, made and called."""

from __future__ import annotations

import ast

from ..ir import AuxHead, Each
from ..program import Assign
from .spelling import spell
from .torch_init import aux_start
from .torch_layers import declare
from .torch_writer import TorchWriter
from .writer import Scope

UNUSED = (  # why a head is there that nothing calls
    "# The heads of the coarser stages, the finest first. nnU-Net trains with them, so that its",
    "# checkpoints hold them; nothing here calls them.",
)


def aux_declarations(head: AuxHead, rank: int) -> tuple[str, ...]:
    """Lines of the constructor that make the heads."""
    (layer,) = head.fragment.layers
    note = "  # of the coarser stages, in training" * head.used
    return (
        *(() if head.used else UNUSED),
        f"self.{layer.name} = nn.ModuleList(){note}",
        "for filters in AUX_FILTERS:",
        f"    aux_head = {declare(layer, rank)}",
        *aux_start(layer),
        f"    self.{layer.name}.append(aux_head)",
    )


def aux_outputs(head: AuxHead, writer: TorchWriter) -> tuple[str, ...]:
    """Lines that return `x` in inference, and in training a list of it and the heads' outputs."""
    (layer,), (body,) = head.fragment.layers, head.fragment.body
    assert isinstance(body, Assign)
    scope = Scope({layer.name: Each(layer.name, layer, one="aux_head")})
    scope = scope.inside("i", {"x": ast.Name("stages[-i]")})
    return (
        "if not self.training:",
        "    return x",
        "outputs = [x]",
        f"for i, aux_head in enumerate(self.{layer.name}, start=2):",
        f"    outputs.append({spell(writer.value(body.value, scope))})",
        "return outputs",
    )
