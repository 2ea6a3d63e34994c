"""Named numbers of a file, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..initialization import Init, init_of
from ..ir import Constant, Conv
from ..lower import Plan
from ..passes.channels import CHANNELS
from .spelling import spell_float
from .text import AXES_TYPE, ConstantText


def axes_line(rank: int) -> ConstantText:
    """The type of arguments with a number for each axis, for the files that have some."""
    numbers = ", ".join(["int"] * rank)
    return ConstantText((AXES_TYPE,), f"{AXES_TYPE} = tuple[{numbers}]  # a kernel or a stride")


def channels_constant(constant: Constant, plan: Plan) -> Constant:
    """The channels of all levels, which follow from the table of stages."""
    if constant.name != CHANNELS:
        return constant
    stem = plan.model.encoder.first_level == 2
    stages = f"(stage[{plan.columns.index('channels')}] for stage in STAGES)"
    text = f"(STEM_CHANNELS, *{stages})" if stem else f"tuple{stages}"
    return replace(constant, text=text)


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


RATES = (
    "count = sum(stage[0] for stage in STAGES)  # of blocks",
    "rates = iter([DROP_PATH * i / (count - 1) for i in range(count)])  # linear over depth",
)
HE_SCALES = {  # of normal distributions: scale and fan, and the fan in words
    Init.FAN_OUT: ('2.0, "fan_out"', "fan-out"),
    Init.NNUNET: ('2.0 / (1 + 0.01**2), "fan_in"', "fan-in"),
}


def he_scale(convs: Sequence[Conv]) -> tuple[str, str]:
    """The scale and the fan of the normal distribution from which convolutions start, or ""."""
    found = {init_of(conv) for conv in convs} & HE_SCALES.keys()
    return HE_SCALES[found.pop()] if found else ("", "")
