"""The commands `new` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import CompileError, Problem, escaped
from ..model import Encoder
from ..targets import suffixes
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
    from ..passes.validate import resolve
    from ..spec.writing import spec_text

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
    if model.endswith(suffixes()):
        encoder, own = _of_file(model, problems)
        given = {
            n: value for n, value in options.items() if value is not None and value is not False
        }
        resolved = resolve(encoder, own | given, problems)
    else:
        resolved = resolve(model, options, problems)
    text = spec_text(resolved, path.name if path else "net.toml")
    if path is None:
        return print_source(text)
    write(path, text)
    print(escaped(f"{resolved.title}, {resolved.dims}D: {path}"))


def _of_file(name: str, problems: list[Problem]) -> tuple[str | Encoder, dict[str, object]]:
    """The encoder and the options in the provenance of an emitted file."""
    from ..arguments import spell_options
    from ..provenance import read
    from ..reading import read_source
    from ..vendoring.request import model_of

    try:
        provenance = read(read_source(Path(name)))
        if provenance is None:
            hint = "only a file that `emit` wrote says its network"
            raise CompileError(Problem("it has no provenance of plainnet at its end", hint=hint))
        model, _ = model_of(provenance)
    except CompileError as error:
        found = (Problem(p.message, p.at or name, p.hint) for p in error.problems)
        raise CompileError(*problems, *found) from None
    encoder = model.encoder if model.encoder.custom else model.encoder.name
    return encoder, spell_options(model)


@click.command("schema")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the reference page instead.")
def schema_command(as_markdown: bool) -> None:
    """Print the JSON Schema of specs, with which editors complete keys and mark errors."""
    from ..spec.schema import json_schema, markdown

    print(markdown() if as_markdown else json.dumps(json_schema(), indent=2), end="")
