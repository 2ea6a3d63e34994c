"""The command `draw`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..drawing.theme import THEMES
from ..errors import CompileError, Problem, escaped, raise_all
from ..model import Model
from .options import model_options, warn_about


@click.command("draw")
@click.argument("models", metavar="MODEL", nargs=-1)
@model_options
@click.option("--compare", is_flag=True, help="Draw two models side by side, on one scale.")
@click.option(
    "--theme", default="auto", metavar="|".join(THEMES), help="By default, what the reader prefers."
)
@click.option(
    "-o", "output", metavar="PATH", help="Write to this file or FOLDER/; - prints the drawing."
)
@click.option("--force", is_flag=True, help="Overwrite a file that is not an unedited drawing.")
def draw_command(
    models: tuple[str, ...],
    compare: bool,
    theme: str,
    output: str | None,
    force: bool,
    **options: Any,
) -> None:
    """Draw MODEL as an SVG: its levels, skips and sizes, its shares of parameters and MACs."""
    from ..api import find_theme, resolve_all
    from ..drawing.picture import picture
    from ..drawing.signed import may_write
    from ..files import STDOUT, make_folder, print_source, write

    problems = _count_problems(models, compare)
    chosen = find_theme(theme, problems)
    resolved = resolve_all(models, options, problems)
    for model in resolved:
        warn_about(model)
    if output in STDOUT:
        return print_source(picture(resolved, chosen))
    path, folder = _destination(output, resolved)
    raise_all(may_write(path, force, folder))
    text = picture(resolved, chosen)
    if folder:
        make_folder(path, str(output))
    write(path, text)
    titles = " and ".join(f"{model.title} {model.dims}D" for model in resolved)
    print(escaped(f"{titles}: {path}"))


def _count_problems(models: tuple[str, ...], compare: bool) -> list[Problem]:
    if len(models) == 1 + compare:
        return []
    if compare:
        hint = "`plainnet draw --compare resnet50_unet seresnet50_unet -o both.svg`"
        return [Problem(f"--compare draws two models, not {len(models)}", hint=hint)]
    if models:
        return [Problem(f"{len(models)} models given", hint="--compare draws two side by side")]
    return [Problem("no model given", hint="`plainnet draw MODEL -o net.svg`")]


def _destination(output: str | None, models: list[Model]) -> tuple[Path, bool]:
    """The path of the drawing, and whether it gets its usual name in a folder."""
    usual = f"{'_and_'.join(model.name for model in models)}_{models[0].dims}d.svg"
    if output is None:
        return Path(usual), False
    if not output:
        raise CompileError(Problem("-o is empty", hint="a FILE.svg, a FOLDER/, or - for stdout"))
    path = Path(output)
    if output.endswith("/") or path.is_dir():
        return path / usual, True
    if path.suffix.lower() != ".svg":
        hint = f"{output}.svg for a file, {output}/ for a folder"
        raise CompileError(
            Problem(f"-o {output} has no suffix .svg and is not a folder", hint=hint)
        )
    return path, False
