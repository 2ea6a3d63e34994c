"""The options of `compiler.options`, as they are typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from .options import OPTIONS

METAVARS = {"count": "N", "counts": "N,N,...", "share": "SHARE", "shape": "SIZES"}
Command = TypeVar("Command", bound=Callable[..., object])


def model_options(command: Command) -> Command:
    """A command with the options of a model. Their values are checked together, later."""
    for option in reversed(OPTIONS):
        choices = "|".join(option.choices)
        if option.kind == "flag":
            decorate = click.option(option.flag, is_flag=True, help=option.help)
        else:
            metavar = choices or METAVARS.get(option.kind, "NAME")
            decorate = click.option(option.flag, metavar=metavar, help=option.help)
        command = decorate(command)
    return command
