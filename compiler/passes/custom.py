"""What is wrong with an encoder that somebody described by hand."""

from __future__ import annotations

import keyword
from collections.abc import Mapping

from ..blocks import ACTIVATIONS, PROJECTION, RESIDUAL_BLOCKS, SQUEEZE_EXCITE
from ..errors import Problem
from ..model import Encoder
from .validate import count_problems, not_one_of

BLOCK_KINDS = ("basic", "bottleneck", "basic_vd", "bottleneck_vd")
DEEPEST = 1000
# What a file defines or imports beside the model, and a model can therefore not be called.
TAKEN = {"Encoder", "F", "GROUPS", "STAGES", "Tensor", PROJECTION.name, SQUEEZE_EXCITE.name} | {
    block.name for block, _ in RESIDUAL_BLOCKS.values()
}


def validate_encoder(encoder: Encoder) -> list[Problem]:
    """Every problem of an encoder that somebody described by hand."""
    problems: list[Problem] = []

    def counts(fields: Mapping[str, object]) -> bool:
        before = len(problems)
        for field, values in fields.items():
            problems.extend(count_problems(field, values))
        return len(problems) == before

    problems += _name_problems(encoder)
    if encoder.block not in BLOCK_KINDS:
        problems.append(not_one_of("block", encoder.block, BLOCK_KINDS))
    fields = {"blocks": encoder.depths, "filters": encoder.filters, "strides": encoder.strides}
    if counts(fields):
        problems += _same_length(fields)
        problems += count_problems("blocks", encoder.depths, DEEPEST)
    fields = {"stem_filters": encoder.stem.filters, "stem_kernels": encoder.stem.kernels}
    if counts(fields):
        problems += _same_length(fields)
        for kernel in encoder.stem.kernels:
            if kernel % 2 == 0:
                problems.append(
                    Problem(
                        f"stem_kernels has {kernel}, which is even: it cannot be padded alike on"
                        " both sides",
                        hint=f"use {kernel - 1} or {kernel + 1}",
                    )
                )
    if not isinstance(encoder.pre_activation, bool):
        problems.append(
            Problem(f"pre_activation is {encoder.pre_activation!r}", hint="it is True or False")
        )
    counts({"groups": (encoder.groups,), "width_per_group": (encoder.width_per_group,)})
    if encoder.se:
        counts({"se_ratio": (encoder.se.ratio,)})
        if encoder.se.activation not in ACTIVATIONS:
            problems.append(not_one_of("se_activation", encoder.se.activation, ACTIVATIONS))
    return problems or _validate_widths(encoder)


def _name_problems(encoder: Encoder) -> list[Problem]:
    for name in (encoder.name, encoder.class_name):
        if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
            return [
                Problem(
                    f"name {encoder.name!r} cannot name a class",
                    hint="letters, digits and _, no digit first, as in my_resnext",
                )
            ]
    if encoder.class_name in TAKEN:
        return [
            Problem(
                f"name {encoder.name!r} is taken: the file has another {encoder.class_name}",
                hint="as in my_resnext",
            )
        ]
    return []


def _same_length(fields: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    if len({len(values) for values in fields.values()}) == 1:
        return []
    lengths = ", ".join(f"{field} has {len(values)}" for field, values in fields.items())
    return [Problem(f"{lengths}: one entry each is wanted")]


def _validate_widths(encoder: Encoder) -> list[Problem]:
    if encoder.basic and (encoder.groups, encoder.width_per_group) != (1, 64):
        return [
            Problem(
                f"a basic block has no groups: groups={encoder.groups},"
                f" width_per_group={encoder.width_per_group}",
                hint="use block='bottleneck', or leave both out",
            )
        ]
    return [
        Problem(
            f"width_per_group={encoder.width_per_group} leaves no channel in the {filters} filters"
            f" of stage {s}",
            at=f"filters[{s}]",
            hint=f"use {-(-64 // filters)} or more",
        )
        for s, (filters, stage) in enumerate(zip(encoder.filters, encoder.stages))
        if stage.width == 0
    ]
