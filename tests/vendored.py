"""What tests of vendored files share: two versions of the compiler, a person, and a folder."""

from __future__ import annotations

import contextlib
import shlex
import sys
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


@contextlib.contextmanager
def compiler_with(version: str):
    """The compiler with some of its templates as they were in that version."""
    TEMPLATES.insert(0, VERSIONS / version)
    emitter._environment.cache_clear()
    try:
        yield
    finally:
        del TEMPLATES[0]
        emitter._environment.cache_clear()


def process(version: str) -> list[str]:
    """The words that start the command line of that version in a process of its own."""
    return [sys.executable, "-c", LAUNCH, str(VERSIONS / version)]


def run(line: str, *paths: Path) -> int:
    """The exit code of a command in this process."""
    return main([*shlex.split(line), *map(str, paths)])
