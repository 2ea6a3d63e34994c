"""The commands `list` and `show`."""

from __future__ import annotations

from typing import Any

import click

from ..catalog import FAMILIES
from ..errors import Problem
from ..targets import TARGETS
from .options import USUAL, model_options, precision_options, print_json, warn_about


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
@click.option("--cost", "with_cost", is_flag=True, help="Add the memory of training and inference.")
@click.option("--batch", metavar="N", help="With --cost: items of a batch. Default: 1.")
@precision_options("With --cost: ")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def show_command(
    model: str, target: str | None, with_cost: bool, as_json: bool, **options: Any
) -> None:
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
    names = ("batch", *USUAL)
    asked = {name: value for name in names if (value := options.pop(name)) is not None}
    if asked and not with_cost:
        problems.append(Problem(f"--{next(iter(asked))} needs --cost", hint="add --cost"))
    cost = None
    if with_cost:
        from ..costs import cost_description, find_setting
        from ..passes.cost import cost_of

        given = {"batch": 1, **USUAL, **asked}
        setting = find_setting(**given, problems=problems)
    resolved = resolve(model, options, problems)
    warn_about(resolved)
    network = specialize(resolved)
    ledger = trace(network)
    if with_cost:
        cost = cost_of(resolved, *setting)
    if as_json:
        more = {"cost": cost_description(cost)} if cost else {}
        return print_json(description(resolved, ledger) | more)
    from ..passes.lint import hints_of
    from ..tables import print_cost, print_description, print_notes

    print_description(resolved, ledger, lower(network, ledger).table)
    if cost:
        print_cost(cost)
    print_notes(hints_of(network, ledger))


@click.command("lint")
@click.argument("model")
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def lint_command(model: str, as_json: bool, **options: Any) -> None:
    """Look for what may be better about MODEL, with figures. Advice is never an error."""
    from ..passes.lint import notes_of
    from ..passes.validate import resolve
    from ..tables import print_notes

    notes = notes_of(resolve(model, options))
    print_json([note.described() for note in notes]) if as_json else print_notes(notes)
