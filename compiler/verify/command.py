"""The command `verify`: arguments, the report as a table, exit codes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from ..cli_options import model_options
from ..errors import CompileError, Problem, raise_all


@click.command("verify")
@click.argument("models", nargs=-1, metavar="MODEL | TORCH_FILE KERAS_FILE")
@model_options
@click.option("--size", metavar="SIZES", help="Of the image: 33,40,47, or one for all axes.")
@click.option("--seed", metavar="N", default="0", help="Of weights and image. Default: 0.")
@click.option(
    "--tolerance",
    metavar="X",
    default="1e-4",
    help="Of float32, relative. Default: 1e-4. What is in float64 has 1e-6.",
)
@click.option(
    "--backend",
    metavar="tensorflow|torch|jax",
    default="torch",
    help="What Keras runs on. Default: torch.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--all", "everything", is_flag=True, help="The catalog, 2D and 3D.")
@click.option("--shard", metavar="I/N", help="Of --all, one part of N.")
@click.option(
    "--resume",
    metavar="PATH",
    help="Of --all: results go there as JSON lines, and what passed there is not run.",
)
@click.option("-o", "output", metavar="PATH", help="Of --all: its table, in Markdown.")
def verify_command(
    models: tuple[str, ...],
    size: str | None,
    seed: str,
    tolerance: str,
    backend: str,
    as_json: bool,
    everything: bool,
    shard: str | None,
    resume: str | None,
    output: str | None,
    **options: Any,
) -> int:
    """Run a network in PyTorch and Keras with the same weights, and compare the numbers.

    MODEL is compiled to both; two files, in any order, are run as they stand. Ends with 1 where
    they differ, and names the first row of the ledger that does.
    """
    from .report import Settings

    problems: list[Problem] = []
    settings = Settings(
        size=_sizes(size, problems),
        seed=int(_number("--seed", seed, int, 0, problems)),
        tolerance=_number("--tolerance", tolerance, float, 0.0, problems),
        backend=_backend(backend, problems),
    )
    of_all = {"--shard": shard, "--resume": resume, "-o": output}
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if everything and (models or given):
        extra = ", ".join([*models, *given])
        problems.append(Problem(f"--all verifies the whole catalog: leave out {extra}"))
    if not everything:
        problems += [
            Problem(f"{name} is an option of --all") for name, value in of_all.items() if value
        ]
        if not models:
            problems.append(Problem("which model?", hint="`verify MODEL`, or two files, or --all"))
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
    from dataclasses import replace

    from ..passes.validate import resolve
    from .compare import sized, verify
    from .report import as_dict
    from .sweep import sizes

    files = None
    if len(models) == 1 and not models[0].endswith(".py"):
        model = resolve(models[0], options, problems)
        size = sizes(settings.size, model.dims)
        if size is None and options.get("input_shape"):
            size = model.input_shape[:-1]
        model = sized(model, size)
    else:
        from .pairs import read_pair

        if given:
            problems.append(
                Problem(f"files say themselves which model they are: leave out {', '.join(given)}")
            )
        if len(models) > 2:
            problems.append(Problem(f"{len(models)} arguments, and two files are compared"))
        raise_all(problems)
        model, files = read_pair(models)
        model = sized(model, sizes(settings.size, model.dims), fixed=True)
    report = verify(model, replace(settings, size=model.input_shape[:-1]), files)
    if as_json:
        print(json.dumps(as_dict(report), indent=2))
    else:
        from ..tables import print_report

        print_report(report)
    return 0 if report.passed else 1


def _all(
    settings: Any, part: str | None, resume: str | None, output: str | None, as_json: bool
) -> int:
    from ..files import write
    from ..tables import print_table, progress
    from . import sweep
    from .report import TOLERANCE

    raise_all(_unwritable("--resume", resume) + _unwritable("-o", output))
    cases = sweep.shard(sweep.catalog(), part)
    state = Path(resume) if resume else None
    done = sweep.read_state(state, settings)
    if settings.size and len(settings.size) > 1:
        raise CompileError(
            Problem("--all has 2D and 3D networks", at="--size", hint="one number, as in --size 33")
        )
    todo = [case for case in cases if not done.get(case.name, {}).get("passed")]
    for case in progress(todo, "verifying"):
        done[case.name] = sweep.run(case, settings, state)
    rows = [sweep.line(case.name, done[case.name]) for case in cases]
    failed = [case.name for case in cases if not done[case.name]["passed"]]
    if output:
        words = ["python -m compiler verify --all"]
        words += [f"--size {settings.size[0]}"] if settings.size else []
        words += [f"--shard {shlex.quote(part)}"] if part else []
        words += [f"--seed {settings.seed}"] if settings.seed else []
        if settings.tolerance != TOLERANCE:
            words.append(f"--tolerance {settings.tolerance:g}")
        words += [f"--backend {settings.backend}"] if settings.backend != "torch" else []
        missing = len(sweep.catalog()) - len(cases)
        write(Path(output), sweep.markdown(rows, " ".join(words), missing))
    if as_json:
        print(json.dumps({case.name: done[case.name] for case in cases}, indent=2))
    else:
        print_table(f"{len(cases)} networks, {len(failed)} different", sweep.COLUMNS, rows)
    return 1 if failed else 0


def _unwritable(flag: str, name: str | None) -> list[Problem]:
    """Why a file cannot be written once the work is done."""
    path = Path(name or "here")
    if path.is_dir():
        return [Problem(f"{name!r} is a folder", at=flag)]
    if not path.parent.is_dir():
        return [Problem(f"there is no folder {str(path.parent)!r}", at=f"{flag} {name}")]
    return []


def _sizes(size: str | None, problems: list[Problem]) -> tuple[int, ...] | None:
    if size is None:
        return None
    parts = size.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) < 10**5 for part in parts):
        problems.append(Problem(f"--size is {size!r}", hint="as in 33,40,47, or one number"))
        return None
    return tuple(map(int, parts))


def _number(
    flag: str, text: str, kind: type[int] | type[float], least: float, problems: list[Problem]
) -> float:
    try:
        value = kind(text)
        if least <= value < 2**31:  # a NaN is not
            return value
    except ValueError:
        pass
    problems.append(Problem(f"{flag} is {text!r}", hint=f"a number from {least} on"))
    return least


def _backend(backend: str, problems: list[Problem]) -> str:
    from .parity import BACKENDS

    if backend not in BACKENDS:
        problems.append(Problem(f"--backend is {backend!r}", hint=f"one of {', '.join(BACKENDS)}"))
    return backend
