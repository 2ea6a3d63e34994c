"""The commands `new` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import Problem, escaped
from .options import model_options


@click.command("new")
@click.argument("model")
@model_options
@click.option("-o", "output", metavar="PATH", help="Write to this file; by default, it is printed.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def new_command(model: str, output: str | None, force: bool, **options: Any) -> None:
    """Write MODEL as a spec: a commented TOML file to start a network of your own from.

    MODEL is a name, a spec, or a file that `emit` wrote. The spec holds the whole network.
    """
    from ..files import STDOUT, obstacle, print_source, write
    from ..spec.writing import spec_text
    from ..vendoring.request import resolve_any

    path = None if output is None or output in STDOUT else Path(output)
    problems: list[Problem] = []
    if path is not None:
        at = f"-o {output}"
        if path.suffix.lower() != ".toml":
            hint = "use one, as in -o net.toml: by it, commands know a spec from a name"
            problems.append(Problem(f"{str(path)!r} has no suffix .toml", at, hint))
        elif problem := obstacle(path, at):
            problems.append(problem)
        elif path.exists() and not force:
            problems.append(Problem(f"{str(path)!r} exists", at, "--force replaces it"))
    resolved = resolve_any(model, options, problems)
    text = spec_text(resolved, path.name if path else "net.toml")
    if path is None:
        return print_source(text)
    write(path, text)
    print(escaped(f"{resolved.title}, {resolved.dims}D: {path}"))


@click.command("schema")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the reference page instead.")
def schema_command(as_markdown: bool) -> None:
    """Print the JSON Schema of specs, with which editors complete keys and mark errors."""
    from ..spec.schema import json_schema, markdown

    print(markdown() if as_markdown else json.dumps(json_schema(), indent=2), end="")
