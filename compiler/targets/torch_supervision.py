"""Deep supervision in PyTorch: the auxiliary heads, made and called."""

from __future__ import annotations

import ast

from ..ir import Each, Fragment
from ..program import Assign
from .spelling import spell
from .torch_init import aux_start
from .torch_layers import declare
from .torch_writer import TorchWriter
from .writer import Scope


def aux_declarations(fragment: Fragment, rank: int) -> tuple[str, ...]:
    """Lines of the constructor that make the heads."""
    (layer,) = fragment.layers
    return (
        f"self.{layer.name} = nn.ModuleList()  # of the coarser stages, in training",
        "for filters in AUX_FILTERS:",
        f"    aux_head = {declare(layer, rank)}",
        *aux_start(layer),
        f"    self.{layer.name}.append(aux_head)",
    )


def aux_outputs(fragment: Fragment, writer: TorchWriter) -> tuple[str, ...]:
    """Lines that return `x` in inference, and in training a list of it and the heads' outputs."""
    (layer,), (body,) = fragment.layers, fragment.body
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
