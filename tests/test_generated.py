"""`generated/` is what the compiler writes today."""

import difflib
from pathlib import Path

import pytest

from compiler.emitter import source
from compiler.showcase import showcase

GENERATED = Path(__file__).parents[1] / "generated"
PIECES = {str(piece.path): piece for piece in showcase()}


@pytest.mark.parametrize("path", PIECES)
def test_file_is_fresh(path):
    kept = (GENERATED / path).read_text()
    fresh = source(PIECES[path].model, PIECES[path].target)
    diff = difflib.unified_diff(kept.splitlines(), fresh.splitlines(), "kept", "fresh", lineterm="")
    assert kept == fresh, "\n".join(diff)


def test_nothing_else_is_kept():
    kept = {str(path.relative_to(GENERATED)) for path in GENERATED.rglob("*.py")}
    assert kept == set(PIECES)
