"""`generated/` is what the compiler writes today."""

import difflib
from pathlib import Path

import black
import pytest

from compiler import emitter
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


def test_texts_come_in_blacks_form(monkeypatch):
    """What black changes it formats twice, and it is most of what an emission costs."""
    changed = []

    def watched(text, mode):
        formatted = black_format(text, mode=mode)
        changed.append(text != formatted)
        return formatted

    black_format = black.format_str
    monkeypatch.setattr(black, "format_str", watched)
    for piece in PIECES.values():
        source(piece.model, piece.target)
    assert changed == [False] * len(PIECES)


@pytest.mark.parametrize("path", [p for p in PIECES if "seresnext50" in p and "_2d" in p])
def test_black_changes_nothing_that_the_compiler_writes(path, monkeypatch):
    """What black changes, it formats twice: an emission would take twice as long."""
    written = []
    as_it_is = black.format_str
    monkeypatch.setattr(
        black, "format_str", lambda text, mode: written.append(text) or as_it_is(text, mode=mode)
    )
    emitter.source(PIECES[path].model, PIECES[path].target)
    assert [as_it_is(text, mode=emitter._MODE) for text in written] == written
