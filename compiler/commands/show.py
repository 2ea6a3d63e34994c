"""The commands `list` and `show`."""

from __future__ import annotations

from typing import Any

import click

from ..catalog import FAMILIES
from ..errors import Problem
from ..targets import TARGETS
from .options import model_options, print_json, warn_about


@click.command("list")
@click.option("--family", metavar="|".join(FAMILIES), help="List only this family.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def list_command(family: str | None, as_json: bool) -> None:
    """List the encoders, with their parameter counts in 2D and 3D."""
    from ..passes.values import choice
    from ..tables import catalog_rows, print_catalog

    if family is not None:
        family = choice("--family", family, FAMILIES)
    rows = catalog_rows(family)
    print_json(rows) if as_json else print_catalog(rows)


@click.command("show")
@click.argument("model")
@click.option(
    "--target",
    metavar="|".join(TARGETS),
    help="Has no effect: the result is the same for every target.",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def show_command(model: str, target: str | None, as_json: bool, **options: Any) -> None:
    """Show each step of MODEL: output shape, parameters and MACs."""
    from ..api import description
    from ..lower import lower
    from ..passes.specialize import specialize
    from ..passes.trace import trace
    from ..passes.validate import resolve
    from ..passes.values import find_target

    problems: list[Problem] = []
    if target is not None:
        find_target(target, problems)
    resolved = resolve(model, options, problems)
    warn_about(resolved)
    network = specialize(resolved)
    ledger = trace(network)
    if as_json:
        return print_json(description(resolved, ledger))
    from ..tables import print_description

    print_description(resolved, ledger, lower(network, ledger).table)
