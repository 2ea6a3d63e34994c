"""The command `draw`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from ..drawing.theme import THEMES
from ..errors import CompileError, Problem, escaped, raise_all
from ..model import Model
from .options import model_options, progress, warn_about


@click.command("draw")
@click.argument("models", metavar="MODEL", nargs=-1)
@model_options
@click.option("--compare", is_flag=True, help="Draw two models side by side, on one scale.")
@click.option(
    "--theme", default="auto", metavar="|".join(THEMES), help="By default, what the reader prefers."
)
@click.option("--thumbnail", is_flag=True, help="Draw small, without the names of the boxes.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Draw thumbnails of the whole catalog into the folder -o.",
)
@click.option(
    "-o", "output", metavar="PATH", help="Write to this file or FOLDER/; - prints the drawing."
)
@click.option("--force", is_flag=True, help="Overwrite a file that is not an unedited drawing.")
def draw_command(
    models: tuple[str, ...],
    compare: bool,
    theme: str,
    thumbnail: bool,
    everything: bool,
    output: str | None,
    force: bool,
    **options: Any,
) -> None:
    """Draw MODEL as an SVG: its levels, skips and sizes, its shares of parameters and MACs.

    MODEL is a name, a spec, nnU-Net's plans or checkpoint, or a file that `emit` wrote.
    """
    from ..api import find_theme, resolve_all
    from ..drawing import gallery
    from ..drawing.picture import picture
    from ..drawing.signed import may_write
    from ..files import STDOUT, make_folder, print_source, write
    from ..vendoring.request import resolve_any

    if everything:
        asked = {"compare": compare, **options}
        given = [name for name, value in asked.items() if value and name != "dims"]
        return _draw_gallery(models, given, options["dims"], theme, output, force)
    problems = _count_problems(models, compare)
    if thumbnail and compare:
        problems.append(Problem("a thumbnail shows one model", hint="leave out --compare"))
    chosen = find_theme(theme, problems)

    def drawn() -> str:
        return gallery.thumbnail(resolved[0], chosen) if thumbnail else picture(resolved, chosen)

    resolved = resolve_all(models, options, problems, resolve_any)
    for model in resolved:
        warn_about(model)
    if output in STDOUT:
        return print_source(drawn())
    path, folder = _destination(output, resolved)
    raise_all(may_write(path, force, folder))
    text = drawn()
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
    from ..drawing.picture import usual_name

    usual = usual_name(models)
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


def _draw_gallery(
    models: tuple[str, ...],
    given: list[str],
    dims: str | None,
    theme: str,
    output: str | None,
    force: bool,
) -> None:
    from ..api import find_theme
    from ..drawing.gallery import gallery, thumbnail
    from ..drawing.picture import usual_name
    from ..drawing.signed import may_write
    from ..files import STDOUT, make_folder, write

    problems: list[Problem] = []
    if models or given:
        extra = [*map(shlex.quote, models), *(f"--{name.replace('_', '-')}" for name in given)]
        problems.append(Problem(f"--all draws the whole catalog: leave out {', '.join(extra)}"))
    if not output or output in STDOUT:
        problems.append(Problem("--all writes into a folder", hint="add -o drawings/"))
    chosen = find_theme(theme, problems)
    raise_all(problems)
    folder = Path(str(output))
    pieces = {folder / usual_name([model]): model for model in gallery(dims or 2)}
    raise_all(problem for path in pieces for problem in may_write(path, force, new_folder=True))
    for path in progress([*pieces], "drawing"):
        make_folder(path, str(output))
        write(path, thumbnail(pieces[path], chosen))
    print(f"{len(pieces)} drawings in {escaped(folder)}")
