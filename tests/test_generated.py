"""`generated/` is what the compiler writes today: the one test of it, and of `emit --all`."""

import difflib
from pathlib import Path

import black

from compiler import emitter
from compiler.commands.cli import main
from compiler.showcase import showcase

GENERATED = Path(__file__).parents[1] / "generated"


def _texts(folder: Path) -> dict[str, str]:
    """Those of the folder's files, without what its README says."""
    found = (path for path in folder.rglob("*") if path.suffix == ".py")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def test_the_folder_is_fresh_and_texts_come_in_blacks_form(tmp_path, monkeypatch, capsys):
    """Black is asked about parts, and about a whole file only where it changes one."""
    asked = []

    def watched(text, mode):
        asked.append(text)
        return black_format(text, mode=mode)

    black_format = black.format_str
    monkeypatch.setattr(black, "format_str", watched)
    emitter._is_laid_out.cache_clear()
    monkeypatch.chdir(tmp_path)
    assert main(["emit", "--all", "-o", "generated/"]) == 0
    paths = [piece.path.as_posix() for piece in showcase()]
    assert len(paths) >= 64
    assert capsys.readouterr().out == f"{len(paths)} files in generated\n"
    assert asked and all(black_format(text, mode=emitter._MODE) == text for text in asked)
    assert len(asked) == len(set(asked))  # and about each once
    kept, fresh = _texts(GENERATED), _texts(tmp_path / "generated")
    assert kept.keys() == fresh.keys() == set(paths)
    for path, text in fresh.items():
        old, new = kept[path].splitlines(), text.splitlines()
        difference = difflib.unified_diff(old, new, f"kept/{path}", f"fresh/{path}", lineterm="")
        assert kept[path] == text, "\n".join(difference)
