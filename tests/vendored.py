"""What tests of vendored files share: two versions of the compiler, a person, and a folder."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
from functools import partial
from pathlib import Path

from compiler import emitter
from compiler.commands.cli import main
from compiler.vendoring.known import TEMPLATES

ROOT = Path(__file__).parent.parent
VERSIONS = Path(__file__).parent / "template_versions"  # templates that were in use once
UNET = "seresnet18 --target torch --segmentor unet"
LAUNCH = """
import sys
from pathlib import Path
from compiler.vendoring.known import TEMPLATES
TEMPLATES.insert(0, Path(sys.argv.pop(1)))
from compiler.commands.cli import main
sys.exit(main(sys.argv[1:]))
"""


_source = emitter.source
_remembered = {version: functools.cache(partial(_source)) for version in ("first", "second")}


@contextlib.contextmanager
def compiler_with(version: str):
    """The compiler with some of its templates as they were in that version.

    What it has emitted once is not emitted again.
    """
    TEMPLATES.insert(0, VERSIONS / version)
    emitter._environment.cache_clear()
    emitter.source = _remembered[version]
    try:
        yield
    finally:
        del TEMPLATES[0]
        emitter._environment.cache_clear()
        emitter.source = _source


def process(version: str) -> list[str]:
    """The words that start the command line of that version in a process of its own."""
    return [sys.executable, "-c", LAUNCH, str(VERSIONS / version)]


def run(line: str, *paths: Path) -> int:
    """The exit code of a command in this process."""
    return main([*shlex.split(line), *map(str, paths)])
