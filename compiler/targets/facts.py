"""What the helpers and checks of a file depend on, read off its plan."""

from __future__ import annotations

from ..dialect import DIALECTS
from ..ir import Conv, Layer, Norm
from ..lower import Plan
from ..model import UNITS
from ..passes.joined import maps_of
from ..program import calls, names
from .constants import he_scale
from .prose import docstring
from .text import Facts

AXES = ("d", "h", "w")


def facts_of(plan: Plan, shapes: dict[str, str], mask_shape: str) -> Facts:
    """The facts of a plan. Shapes are as the target writes them."""
    model, network = plan.model, plan.network
    axes = AXES[-plan.rank :]
    stretches = any(c.function == "stretch" for m in network.modules for c in calls(m.body))
    resizing = "x2 upsampling" if model.halves and not stretches else "resizing"
    convs = [layer for layer in layers_of(plan) if isinstance(layer, Conv)]
    he, he_doc = he_scale(convs)
    joins = [block.joins for block in network.all_blocks.values() if block.joins]
    return Facts(
        rank=plan.rank,
        package=f"{model.class_name}{plan.rank}D",
        unit=UNITS[plan.rank],
        extends=DIALECTS[model.encoder.dialect].ceil_pool,
        after_head=any(call.function == "upsample" for call in calls(network.head.body)),
        axes=axes,
        shapes=shapes,
        attention_doc=docstring(
            f"Multi-head attention: (N, Q, EMBED), (N, T, EMBED), mask {mask_shape}"
            " -> (N, Q, EMBED)."
        ),
        upsample_doc=docstring(
            f"Linear {resizing} (half-pixel centers), cropped.", "(N, ..., C) -> (N, *size, C)."
        ),
        stretches=stretches,
        scaled=bool(network.modules) and not model.halves,
        per_axis=network.residual.per_axis,
        wide=any(not isinstance(conv.kernel, int) for conv in convs if conv.padded),
        grouped=any(conv.groups != 1 for conv in convs),
        biased=any(conv.bias for conv in convs),
        he=he,
        he_doc=he_doc,
        zero_init=any(isinstance(x, Norm) and x.zero_init for x in layers_of(plan)),
        deploy=model.deploy,
        lean=model.memory == "lean",
        joins=next((", ".join(maps_of(each)) for each in joins if each.several), ""),
        unbiased=any(not conv.bias for conv in convs),
    )


def class_check(plan: Plan) -> tuple[str, str]:
    """The `num_classes` that a file has no activation for, and what is said of them."""
    called = {call.function for m in plan.network.modules for call in calls(m.body)}
    if "class_softmax" in called and plan.model.compat != "medicai":
        error = "num_classes must be at least 2 here: one class needs a sigmoid"
        return "num_classes < 2", error
    if any("num_classes" in names(m.body) for m in plan.network.modules if m.step) and (
        "class_softmax" not in called
    ):
        error = "num_classes must be 1 in this file: several classes need a softmax"
        return "num_classes > 1", error
    return "", ""


def layers_of(plan: Plan) -> list[Layer]:
    """Every layer of a plan."""
    network = plan.network
    found = [*network.stem.layers, *network.head.layers]
    found += [layer for block in network.all_blocks.values() for layer in block.layers]
    each = [each.of for module in network.modules for each in module.layers]
    return [*found, *(layer for layer in each if not isinstance(layer, str))]
