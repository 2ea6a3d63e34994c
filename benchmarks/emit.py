"""What an emission costs, as ratios within one run: `python benchmarks/emit.py`.

Whole processes are measured against the floor, a process that does nothing but import jinja2 and
black; work in the process against black alone. Rounds are interleaved, so that a busy machine
slows both sides of a ratio; figures are medians. Nothing here fails: read it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import black  # noqa: E402

from compiler import emitter  # noqa: E402
from compiler.passes.trace import trace  # noqa: E402
from compiler.passes.validate import resolve  # noqa: E402
from compiler.provenance import read  # noqa: E402
from compiler.showcase import showcase  # noqa: E402
from compiler.targets import TARGETS  # noqa: E402

FRAMEWORKS = {"torch", "keras", "tensorflow", "jax", "numpy"}
FLOOR = ("-c", "import jinja2, black")
COMMANDS = {
    "emit": ("emit", "seresnext50", "--target", "torch", "--dims", "3", "--force"),
    "list": ("list",),
    "show": ("show", "seresnext50", "--dims", "3"),
    "check": ("check", "seresnext50_3d.py"),
}
SHALLOW, DEEP = ("seresnet18", "seresnet50vd"), "seresnet200vd"


def main() -> None:
    """Measure and print everything."""
    print(f"{'':<44}{'median':>10}{'ratio':>8}  target")
    with tempfile.TemporaryDirectory() as folder:
        cold(Path(folder))
        frameworks(Path(folder))
    depth()
    everything()


def cold(folder: Path, rounds: int = 15) -> None:
    """Each command as a user's process, from its start to its end, against the floor."""
    commands = {"floor": FLOOR, **{k: ("-m", "compiler", *v) for k, v in COMMANDS.items()}}
    times = interleaved({k: partial(run, folder, *v) for k, v in commands.items()}, rounds)
    line("floor: python -c 'import jinja2, black'", times["floor"])
    for name in COMMANDS:
        target = "at most 2.0" if name == "emit" else ""
        line(f"cold {name}, against the floor", times[name], times["floor"], target)


def frameworks(folder: Path) -> None:
    """What `-X importtime` saw of frameworks on the way of each command."""
    for name, arguments in COMMANDS.items():
        log = run(folder, "-X", "importtime", "-m", "compiler", *arguments)
        modules = {row.rpartition("|")[2].strip().partition(".")[0] for row in log.splitlines()}
        found = ", ".join(sorted(modules & FRAMEWORKS)) or "none"
        print(f"{f'frameworks imported by {name}':<44}{found:>10}{'':>8}  none")


def depth(rounds: int = 15) -> None:
    """A deep network against shallow ones, warm, with nothing remembered from the last round.

    seresnet50vd has the same blocks at a quarter of the depth. seresnet18 has other ones, so that
    its file is shorter: what is left between them is black's time for those lines.
    """
    for target in TARGETS:
        times = interleaved({n: partial(fresh, n, target) for n in (*SHALLOW, DEEP)}, rounds)
        for name in SHALLOW:
            lines = fresh(DEEP, target).count("\n"), fresh(name, target).count("\n")
            line(f"warm {name}, {target}, {lines[1]} lines", times[name])
            line(f"  {DEEP}, {lines[0]} lines, against it", times[DEEP], times[name], "about 1")


def fresh(name: str, target: str) -> str:
    trace.cache_clear()
    return emitter.source(resolve(name, {"dims": 3}), target)


def everything(rounds: int = 5) -> None:
    """`emit --all` without its writing, against black alone on the same texts."""
    pieces = showcase()
    bodies = []
    for piece in pieces:
        provenance = read(emitter.source(piece.model, piece.target))
        assert provenance is not None
        bodies.append(provenance.text)
    mode = black.Mode(line_length=100)

    def emit_all() -> None:
        trace.cache_clear()
        for piece in pieces:
            emitter.source(piece.model, piece.target)

    def format_all() -> None:
        for body in bodies:
            black.format_str(body, mode=mode)

    times = interleaved({"black": format_all, "emit": emit_all}, rounds)
    line(f"black alone, {len(pieces)} files", times["black"])
    line("emit --all, against black alone", times["emit"], times["black"], "at most 1.5")


def interleaved(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each task; the first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def run(folder: Path, *arguments: str) -> str:
    """Run Python in the folder; returns what it wrote to stderr."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def line(what: str, seconds: float, base: float | None = None, target: str = "") -> None:
    ratio = f"{seconds / base:.2f}" if base else ""
    print(f"{what:<44}{1000 * seconds:>7.0f} ms{ratio:>8}  {target}".rstrip())


if __name__ == "__main__":
    main()
