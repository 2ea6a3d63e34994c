"""What a network costs to run, for Python: the functions of `show --cost` and `plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Unpack

from .api import channels_last, warn
from .errors import CompileError, Problem
from .keywords import ModelOptions
from .limits import BATCH
from .model import Encoder
from .names import FilePath
from .passes.cost import OPTIMIZERS, Cost, cost_of
from .passes.tape import PRECISIONS
from .passes.validate import resolve
from .passes.values import choice, count


def cost(
    model: FilePath | Encoder,
    *,
    batch: int | str = 1,
    precision: str = "fp32",
    optimizer: str = "adamw",
    **options: Unpack[ModelOptions],
) -> Cost:
    """Compute what the network's PyTorch file costs to train and to run, in bytes.

    Takes the model and options of `emit`, the size of a `batch`, a `precision` (`"fp32"`, or
    `"bf16"` and `"fp16"` under `torch.autocast`, with weights in 32 bits) and an `optimizer`
    (`"adamw"`, or `"sgd"` with momentum). Nothing is run, and no framework is imported. Returns a
    `Cost` with `macs` of one item, `parameters`, and bytes of `weights`, `gradients`,
    `optimizer_state`, of what is `saved` for the backward pass, and of the peaks of `training` and
    `inference`; `steps` has the share of each step.

    Raises `CompileError` with every problem of the arguments.
    """
    problems: list[Problem] = []
    setting = find_setting(batch, precision, optimizer, problems)
    resolved = resolve(model, options, problems)
    warn(resolved)
    return cost_of(resolved, *setting)


def find_setting(
    batch: object, precision: object, optimizer: object, problems: list[Problem]
) -> tuple[int, str, str]:
    """The batch size, the precision and the optimizer; what is wrong with them is noted."""
    size = 1
    try:
        size = count("--batch", batch, BATCH)
    except CompileError as error:
        problems += error.problems
    return size, find_precision(precision, problems), find_optimizer(optimizer, problems)


def find_precision(precision: object, problems: list[Problem]) -> str:
    return _chosen("--precision", precision, (*PRECISIONS,), problems)


def find_optimizer(optimizer: object, problems: list[Problem]) -> str:
    return _chosen("--optimizer", optimizer, (*OPTIMIZERS,), problems)


def _chosen(flag: str, value: object, choices: tuple[str, ...], problems: list[Problem]) -> str:
    try:
        return choice(flag, value, choices)
    except CompileError as error:
        problems += error.problems
        return choices[0]


def cost_description(cost: Cost) -> dict[str, object]:
    """The cost as a dict, as `show --cost --json` prints it: shapes channels last."""
    steps = [asdict(step) | {"output": channels_last(step.output)} for step in cost.steps]
    return asdict(cost) | {"steps": steps}
