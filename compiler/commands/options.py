"""What commands share: the options of a model, its warnings, results as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import TypeVar

import click

from ..errors import CompileError, escaped, placed
from ..model import Model
from ..nnunet.asked import QUESTIONS
from ..options import OPTIONS

METAVARS = {
    "count": "N",
    "counts": "N,N,...",
    "axes": "N,N,N/...",
    "share": "SHARE",
    "shape": "SIZES",
}
USUAL = {"precision": "fp32", "optimizer": "adamw", "device": "cpu"}
Item = TypeVar("Item")
Command = TypeVar("Command", bound=Callable[..., object])


def model_options(command: Command, taken: Container[str] = ()) -> Command:
    """Add the options of a model, and what is asked beside nnU-Net's, to a command.

    `resolve` checks their values together. Flags that are `taken` mean something else there.
    """
    for option in reversed(OPTIONS):
        flags = [flag for flag in (option.flag, option.also) if flag and flag not in taken]
        choices = "|".join(option.choices)
        if option.kind == "flag":
            decorate = click.option(*flags, is_flag=True, help=option.help)
        else:
            metavar = choices or METAVARS.get(option.kind, "NAME")
            decorate = click.option(*flags, metavar=metavar, help=option.help)
        command = decorate(command)
    for question in reversed(QUESTIONS):
        command = click.option(question.flag, metavar=question.metavar, help=question.help)(command)
    return command


def precision_options(when: str = "") -> Callable[[Command], Command]:
    """A decorator that adds the options of a training run to a command."""

    def decorate(command: Command) -> Command:
        for flag, choices, what in (
            ("--device", "cpu|cuda", "whose rules hold for what is kept. Default: cpu."),
            ("--optimizer", "adamw|sgd", "the optimizer; sgd has momentum. Default: adamw."),
            ("--precision", "fp32|bf16|fp16", "fp32, or torch.autocast. Default: fp32."),
        ):
            text = when + what if when else what[:1].upper() + what[1:]
            command = click.option(flag, metavar=choices, help=text)(command)
        return command

    return decorate


def warn_about(model: Model) -> None:
    """Print what a model is likely not meant to be."""
    from ..passes.advice import advice

    for message in advice(model):
        print(f"warning: {escaped(message)}", file=sys.stderr)


def print_json(value: object) -> None:
    """Print a result for programs."""
    print(json.dumps(value, indent=2))


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield the items, with a progress bar if stderr is a terminal."""
    if not sys.stderr.isatty():
        return iter(items)
    from ..tables import progress as with_a_bar

    return with_a_bar(items, what)


def each_on_its_own(
    items: Iterable[Item], name_of: Callable[[Item], str], run: Callable[[Item], int]
) -> int:
    """The largest exit code of all items. An error is printed, with the item's name, and is 2."""
    code = 0
    for item in items:
        try:
            with placed(name_of(item)):
                code = max(code, run(item))
        except CompileError as error:
            print(error, file=sys.stderr)
            code = 2
    return code


def print_diff(diff: str) -> None:
    """Print a diff, with what a terminal would obey in it escaped."""
    for line in diff.split("\n")[:-1]:
        print(escaped(line, kept="\t"))
