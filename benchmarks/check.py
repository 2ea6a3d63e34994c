"""What `check` costs, as ratios to black on the same files: `python benchmarks/check.py`.

A hundred vendored files are checked in one process, against black formatting their texts; and one
file as the pre-commit hook does, against black as a hook, both as processes of their own. Black's
cache is off, since a changed file is in no cache. Nothing here fails: read it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import black
from emit import interleaved, line, run

from compiler.checker import Found, check_file
from compiler.emitter import source
from compiler.passes.trace import trace
from compiler.passes.validate import resolve
from compiler.vendoring import known, state

FILES = 100
NAMES = ("seresnext50", "seresnet18", "resnet50vd", "resnet101v2")
SEGMENTORS = (None, "unet", "fpn", "trans_unet", "unet_plus_plus")


def main() -> None:
    """Measure and print everything."""
    print(f"{'':<44}{'median':>10}{'ratio':>8}  target")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[known.VARIABLE] = str(Path(folder) / "cache")
        os.environ["BLACK_CACHE_DIR"] = os.devnull
        (Path(folder) / "nets").mkdir()
        texts = vendored()
        many(Path(folder) / "nets", texts)
        hook(Path(folder) / "nets", max(texts, key=len))


def vendored() -> list[str]:
    """A hundred emissions, of networks of every size."""
    found = []
    for index in range(FILES):
        options = {
            "segmentor": SEGMENTORS[index % len(SEGMENTORS)],
            "num_classes": 2 + index,
            "dims": 2 + index % 2,
        }
        name = NAMES[index % len(NAMES)]
        found.append(source(resolve(name, options), ("torch", "keras")[index % 3 == 0]))
    return found


def many(folder: Path, texts: list[str], rounds: int = 2) -> None:
    """All files in one process: unchanged and known, unchanged and new, and edited."""
    plain = [folder / f"plain_{index}.py" for index in range(len(texts))]
    edited = [folder / f"edited_{index}.py" for index in range(len(texts))]
    for path, text in zip(plain, texts):
        path.write_text(text)
    for path, text in zip(edited, texts):
        path.write_text(text.replace("import", "import os\nimport", 1))

    def check(paths: list[Path], cache: str) -> None:
        trace.cache_clear()
        state._canonical.cache_clear()
        before = os.environ[known.VARIABLE]
        os.environ[known.VARIABLE] = cache and before
        for path in paths:
            check_file(Found(path))
        os.environ[known.VARIABLE] = before

    mode = black.Mode(line_length=100)
    tasks: dict[str, Callable[[], object]] = {
        "black": lambda: [black.format_str(text, mode=mode) for text in texts],
        "known": partial(check, plain, "on"),
        "new": partial(check, plain, ""),
        "edited": partial(check, edited, ""),
    }
    times = interleaved(tasks, rounds)
    line(f"black alone, {len(texts)} files", times["black"])
    line("check, unchanged and known", times["known"], times["black"], "below 0.1")
    line("check, unchanged and new to it", times["new"], times["black"], "at most 2")
    line("check, edited", times["edited"], times["black"], "at most 3")


def hook(folder: Path, text: str, rounds: int = 15) -> None:
    """The hook on one file, as a process, against black as a hook on it."""
    (folder / "net.py").write_text(text)
    check = ("-m", "compiler", "check", "--allow-edits", "--skip-others", "net.py")
    tasks: dict[str, Callable[[], object]] = {
        "python": partial(run, folder, "-c", ""),
        "black": partial(run, folder, "-m", "black", "-q", "-l", "100", "net.py"),
        "hook": partial(run, folder, *check),
    }
    times = interleaved(tasks, rounds)
    line("python alone, as a process", times["python"])
    line(f"black on one file, {text.count(chr(10))} lines", times["black"])
    line("the hook on it, unchanged and known", times["hook"], times["black"], "below 1")


if __name__ == "__main__":
    main()
