"""The command `verify`: arguments, reports and exit codes."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Any

import click

from ..actions import read_settings, verify_model
from ..errors import CompileError, Problem, raise_all, shown
from ..targets import suffixes
from .options import model_options, print_json


@click.command("verify")
@click.argument("models", nargs=-1, metavar="MODEL | TORCH_FILE KERAS_FILE")
@model_options
@click.option("--size", metavar="SIZES", help="Size of the image: 33,40,47, or one for all axes.")
@click.option("--seed", metavar="N", default="0", help="Seed of weights and image. Default: 0.")
@click.option(
    "--tolerance",
    metavar="X",
    default="1e-4",
    help="Largest relative difference in float32. Default: 1e-4. In float64 it is always 1e-6.",
)
@click.option(
    "--backend",
    metavar="tensorflow|torch|jax",
    default="torch",
    help="Backend that Keras runs on. Default: torch.",
)
@click.option(
    "--checkpoint",
    metavar="PATH",
    help="With --deploy or an inference file: weights of the training file. Default: random ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--all", "everything", is_flag=True, help="Verify the whole catalog in 2D and 3D.")
@click.option("--shard", metavar="I/N", help="With --all: verify only part I of N.")
@click.option(
    "--resume",
    metavar="PATH",
    help="With --all: save results in this file as JSON lines, and skip cases that passed there. "
    "Several processes may share it.",
)
@click.option("-o", "output", metavar="PATH", help="With --all: write the table, as Markdown.")
def verify_command(
    models: tuple[str, ...],
    size: str | None,
    seed: str,
    tolerance: str,
    backend: str,
    checkpoint: str | None,
    as_json: bool,
    everything: bool,
    shard: str | None,
    resume: str | None,
    output: str | None,
    **options: Any,
) -> int:
    """Run a network in PyTorch and Keras with the same weights and compare the numbers.

    A MODEL is compiled to both frameworks. Two files, in any order, are compared with each other as
    they are. This runs their code: verify only files that you trust. The exit code is 0 if both
    hold the same network, and 1 if they differ; the report names the first layer that does.

    With --deploy, or of a training file and its inference file, these two are compared in each
    framework, on even and odd sizes; the tolerance is 1e-5 then.
    """
    problems: list[Problem] = []
    settings = read_settings(size, seed, tolerance, backend, problems, checkpoint)
    of_all = {"--shard": shard, "--resume": resume, "-o": output}
    if everything and checkpoint:
        problems.append(Problem("--checkpoint is not an option of --all"))
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if everything and (models or given):
        extra = ", ".join([*map(shlex.quote, models), *given])
        problems.append(Problem(f"--all verifies the whole catalog: leave out {extra}"))
    if not everything:
        problems += [
            Problem(f"{name} is an option of --all") for name, value in of_all.items() if value
        ]
        if not models:
            problems.append(
                Problem(
                    "no model or files given", hint="`plainnet verify MODEL`, or name two files"
                )
            )
    if everything:
        raise_all(problems)
        return _all(settings, shard, resume, output, as_json)
    return _one(models, settings, options, given, as_json, problems)


def _one(
    models: tuple[str, ...],
    settings: Any,
    options: dict[str, Any],
    given: list[str],
    as_json: bool,
    problems: list[Problem],
) -> int:
    from ..verify.isolated import verify_files
    from ..verify.report import as_dict

    if len(models) == 1 and not models[0].endswith(suffixes()):
        report = verify_model(models[0], settings, options, problems)
    else:
        if given:
            problems.append(
                Problem(f"the files say which model they hold: leave out {', '.join(given)}")
            )
        if len(models) > 2:
            problems.append(
                Problem(
                    f"verify takes one model or two files, not {len(models)} arguments",
                    hint="name one model, or a PyTorch file and a Keras file",
                )
            )
        raise_all(problems)
        report = verify_files(models, settings)
    if as_json:
        print_json(as_dict(report))
    else:
        from ..verify.table import print_report

        print_report(report)
    return 0 if report.passed else 1


def _all(
    settings: Any, part: str | None, resume: str | None, output: str | None, as_json: bool
) -> int:
    from ..files import write
    from ..tables import print_table, progress
    from ..verify import sweep
    from ..verify.settings import TOLERANCE
    from ..verify.state import read_state

    raise_all(_unwritable("--resume", resume) + _unwritable("-o", output))
    cases = sweep.shard(sweep.catalog(), part)
    state = Path(resume) if resume else None
    if settings.size and len(settings.size) > 1:
        raise CompileError(
            Problem(
                "--all verifies 2D and 3D networks",
                at="--size",
                hint="a single number is the size of every axis: --size 33",
            )
        )
    named = {case.name: case for case in sweep.catalog()}
    done = read_state(state, settings, lambda name: named[name].model(settings))
    todo = [case for case in cases if not done.get(case.name, {}).get("passed")]
    for case in progress(todo, "verifying"):
        done[case.name] = sweep.run(case, settings, state)
    rows = [sweep.line(case.name, done[case.name]) for case in cases]
    failed = [case.name for case in cases if not done[case.name]["passed"]]
    if output:
        words = ["plainnet verify --all"]
        words += [f"--size {settings.size[0]}"] if settings.size else []
        words += [f"--shard {shlex.quote(part)}"] if part else []
        words += [f"--seed {settings.seed}"] if settings.seed else []
        if settings.tolerance != TOLERANCE:
            words.append(f"--tolerance {settings.tolerance:g}")
        words += [f"--backend {settings.backend}"] if settings.backend != "torch" else []
        missing = len(sweep.catalog()) - len(cases)
        write(Path(output), sweep.markdown(rows, " ".join(words), missing))
    if as_json:
        print_json({case.name: done[case.name] for case in cases})
    else:
        print_table(f"{len(cases)} networks, {len(failed)} different", sweep.COLUMNS, rows)
    return 1 if failed else 0


def _unwritable(flag: str, name: str | None) -> list[Problem]:
    """Why a file cannot be written once the work is done."""
    at = f"{flag} {shown(name or '')}"
    if name is None:
        return []
    if not name:
        return [Problem(f"{flag} is empty", hint="name a file")]
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(name) or "."
        if os.path.isdir(folder):
            return []
        return [Problem(f"the folder {shown(folder)} does not exist", at=at)]
    except (OSError, ValueError) as error:  # too long, or with a null character
        return [Problem(f"cannot write: {getattr(error, 'strerror', None) or error}", at=at)]
    if stat.S_ISDIR(mode):
        return [Problem(f"{shown(name)} is a folder", at=at)]
    return [] if stat.S_ISREG(mode) else [Problem(f"{shown(name)} is not a regular file", at=at)]
