"""Named numbers of a file, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir import Constant
from ..passes.channels import CHANNELS
from .spelling import spell_float
from .text import AXES_TYPE, ConstantText


def axes_line(rank: int) -> ConstantText:
    """The type of arguments with a number for each axis, for the files that have some."""
    numbers = ", ".join(["int"] * rank)
    return ConstantText((AXES_TYPE,), f"{AXES_TYPE} = tuple[{numbers}]  # a kernel or a stride")


def channels_constant(constant: Constant, columns: Sequence[str]) -> Constant:
    """The channels of all levels, which follow from the table of stages."""
    if constant.name != CHANNELS:
        return constant
    stages = f"*(stage[{columns.index('channels')}] for stage in STAGES)"
    return replace(constant, text=f"(STEM_CHANNELS, {stages})")


def constant_lines(constants: Sequence[Constant], together: int = 6) -> tuple[ConstantText, ...]:
    """Named numbers, some `together`; tuples and those with a comment have their own lines."""
    lines: list[ConstantText] = []
    row: list[Constant] = []

    def flush() -> None:
        for i in range(0, len(row), together):
            some = row[i : i + together]
            values = ", ".join(spelled(constant) for constant in some)
            names = tuple(constant.name for constant in some)
            lines.append(ConstantText(names, f"{', '.join(names)} = {values}"))
        row.clear()

    for constant in constants:
        if isinstance(constant.value, tuple) or constant.comment or constant.text:
            flush()
            comment = f"  # {constant.comment}" if constant.comment else ""
            line = f"{constant.name} = {spelled(constant)}{comment}"
            lines.append(ConstantText((constant.name,), line))
        else:
            row.append(constant)
    flush()
    return tuple(lines)


def spelled(constant: Constant) -> str:
    value = constant.value
    if constant.text:
        return constant.text
    return spell_float(value) if isinstance(value, float) else str(value)
