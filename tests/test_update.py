"""`update`: a table of edits and compiler changes, with the state and the merge of each."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import compiler
from compiler import emitter
from compiler.passes.validate import resolve
from compiler.provenance import read, sign
from compiler.vendoring import known, merging
from compiler.vendoring.bases import FOLDER, find, keep
from compiler.vendoring.updating import apply, plan

from .vendored import compiler_with, run

CONSTANT = "STEM_CHANNELS = 64\n", "STEM_CHANNELS = 48  # fewer\n"
RETURN = '    return F.interpolate(x, size=like.shape[2:], mode="nearest")\n'
DOC = "twice that of x, or one "
METHOD = (
    "    def weights(self) -> int:\n        return sum(p.numel() for p in self.parameters())\n\n"
)
PYRAMID = "    def pyramid(self, x: Tensor)"
LICENCE = "#!/usr/bin/env python\n# Copyright 2026, somebody.\n\n"


@pytest.fixture(scope="module")
def first() -> str:
    with compiler_with("first"):
        return compiler.emit("seresnet18", target="torch", segmentor="unet")


@pytest.fixture(scope="module")
def second() -> str:
    with compiler_with("second"):
        return compiler.emit("seresnet18", target="torch", segmentor="unet")


def replaced(old: str, new: str):
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def by_ruff(text: str) -> str:
    """With every import in a statement of its own, and all of them in one order."""
    settings = ["force-single-line", "force-sort-within-sections", "no-sections"]
    words = [f"--config=lint.isort.{name}=true" for name in settings]
    sort = ["ruff", "check", "--isolated", "--select=I", "--fix", "-q"]
    return formatted(*sort, *words)(text)


def without_upsample(text: str) -> str:
    start = text.index("def upsample(")
    return text[:start] + text[text.index("class DecoderBlock") :]


def other_imports(text: str) -> str:
    torch, names = "import torch\n", "from torch import Tensor, nn\n"
    assert torch + names in text
    return text.replace(torch + names, f"from torch import nn\nfrom torch import Tensor\n{torch}")


def formatted(*words: str):
    def edit(text: str) -> str:
        command = [sys.executable, "-m", *words, "-"]
        return subprocess.run(
            command, input=text, capture_output=True, text=True, check=True
        ).stdout

    return edit


def garbled_digests(text: str) -> str:
    start = text.index("# sha256: text ")
    return text[:start] + "# sha256: text " + "0" * 32 + ", code " + "1" * 32 + "\n"


BLACK = formatted("black", "-q", "-l", "79")
EDITED, BOTH = "edited", "edited and stale"
# The edit; the state while the compiler is the same, and when it has changed; and what an update
# gives then: exit code, and which of the person's and the compiler's lines are in the file.
TABLE = {
    "no edit": (str, "clean", "stale", 0),
    "elsewhere": (replaced(*CONSTANT), EDITED, BOTH, 0),
    "an added method": (replaced(PYRAMID, METHOD + PYRAMID), EDITED, BOTH, 0),
    "a function below": (lambda text: text + "\n\ndef mine():\n    pass\n", EDITED, BOTH, 0),
    "a line below, CRLF": (lambda t: (t + "x = 1").replace("\n", "\r\n"), EDITED, BOTH, 0),
    "the same line": (replaced(DOC, "twice or thrice that of x, or one "), EDITED, BOTH, 1),
    "a deleted block": (without_upsample, EDITED, BOTH, 1),
    "a deleted line": (replaced("SE_RATIO = 16\n", "SE_RATIO = 8\n"), EDITED, BOTH, 0),
    "a renamed class": (replaced("SqueezeExcite", "ChannelGate"), EDITED, BOTH, 0),
    "black at 79 columns": (BLACK, "reformatted", "stale", 0),
    "ruff": (formatted("ruff", "format", "--isolated"), "reformatted", "stale", 0),
    "black, edited": (lambda text: BLACK(replaced(*CONSTANT)(text)), EDITED, BOTH, 0),
    "sorted imports": (other_imports, "reformatted", "stale", 0),
    "imports sorted by ruff": (by_ruff, "reformatted", "stale", 0),
    "a licence above": (lambda text: LICENCE + text, "reformatted", "stale", 0),
    "CRLF": (lambda text: text.replace("\n", "\r\n"), "clean", "stale", 0),
    "CRLF, edited": (lambda t: replaced(*CONSTANT)(t).replace("\n", "\r\n"), EDITED, BOTH, 0),
    "BOM": (lambda text: "\ufeff" + text, "clean", "stale", 0),
    "an edited command": (replaced("--segmentor unet", "--segmentor unet --num-classes 3"),)
    + (EDITED, BOTH, 0),
    "edited digests": (garbled_digests, EDITED, BOTH, 2),
    "two networks": (lambda text: text + text, "not ours", "not ours", 2),
    "no provenance": (lambda text: text.partition("\n\n# Written")[0] + "\n", "not ours")
    + ("not ours", 2),
}


def state_of(path: Path) -> str:
    [verdict] = compiler.check(path)
    return verdict.state


def vendor(folder: Path, text: str, edit) -> Path:
    path = folder / "net.py"
    path.write_bytes(edit(text).encode())
    keep(path, text)
    return path


CASES = [(case, True) for case in TABLE]
ALIKE = ("an edited command", "black, edited", "CRLF, edited", "edited digests")  # git or not
CASES += [(case, False) for case, row in TABLE.items() if row[1] == EDITED and case not in ALIKE]


@pytest.mark.parametrize(("case", "git"), CASES)
def test_edits_and_changes_of_the_compiler(tmp_path, monkeypatch, capsys, first, second, case, git):
    edit, before, after, code = TABLE[case]
    path = vendor(tmp_path, first, edit)
    if not git:
        monkeypatch.setattr(merging, "merge_by_git", lambda *_: None)
    with compiler_with("first"):
        assert state_of(path) == before
    original = path.read_bytes()
    with compiler_with("second"):
        assert state_of(path) == after
        if case in ("elsewhere", "the same line", "CRLF", "edited digests"):
            assert run("update --dry-run", path) == code
            assert path.read_bytes() == original and not (tmp_path / "net.py.orig").exists()
        assert run("update", path) == code, capsys.readouterr()
        if code == 2:
            assert path.read_bytes() == original
            return
        text = path.read_bytes().decode()
        assert (tmp_path / "net.py.orig").exists() == (code == 1)
        if code == 1:
            assert (tmp_path / "net.py.orig").read_bytes() == original
            assert text.count("<<<<<<< ") == text.count("||||||| ") == text.count(">>>>>>> ") == 1
            assert state_of(path) == EDITED and run("check --allow-edits", path) == 1
            assert run("update", path) == 0  # nothing is stale: it is the person's turn
            return
        if case == "an edited command":  # what it says is emitted
            assert state_of(path) == "clean"
            options = {"segmentor": "unet", "num_classes": 3}
            assert text == compiler.emit("seresnet18", target="torch", **options)
            return
        assert state_of(path) == before
        assert text == edit(second)


def test_a_layout_that_black_does_not_have(tmp_path, capsys, first, second):
    """Nothing is lost but the layout, and nothing is shown but the edit."""
    quotes = ["--config=indent-width=2", "--config=format.quote-style='single'"]
    ruff = formatted("ruff", "format", "--isolated", "--line-length=70", *quotes)
    path = vendor(tmp_path, first, ruff)
    with compiler_with("second"):
        assert state_of(path) == "stale"
        assert run("update", path) == 0 and path.read_text() == second
    assert "laid out again" in capsys.readouterr().out
    path = vendor(tmp_path, first, lambda text: ruff(replaced(*CONSTANT)(text)))
    before = path.read_text()
    with compiler_with("second"):
        assert state_of(path) == BOTH
        assert run("update", path) == 0 and state_of(path) == EDITED
        capsys.readouterr()
        assert run("diff", path) == 1
    shown = [line for line in capsys.readouterr().out.splitlines()[2:] if line[:1] in "+-"]
    assert shown == ["-STEM_CHANNELS = 64", "+STEM_CHANNELS = 48  # fewer"]
    assert (tmp_path / "net.py.orig").read_text() == before


def test_moved_and_renamed_files_are_known_by_their_digests(tmp_path, first, second):
    """A base is found beside the file, in the folders above it, and where somebody says."""
    path = vendor(tmp_path, first, replaced(*CONSTANT))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    renamed = path.rename(tmp_path / "unet.py")
    expected = replaced(*CONSTANT)(second)
    with compiler_with("second"):
        assert run("update", renamed) == 0 and renamed.read_text() == expected
        renamed.write_text(replaced(*CONSTANT)(first))
        moved = renamed.rename(tmp_path / "deep" / "er" / "unet.py")
        assert run("update", moved) == 0 and moved.read_text() == expected
    (tmp_path / "deep" / ".git").mkdir()  # another repository, which does not look above itself
    moved.write_text(replaced(*CONSTANT)(first))
    shutil.rmtree(moved.parent / FOLDER)
    emission = tmp_path / "emission.py"
    emission.write_text(first)
    with compiler_with("second"):
        assert run("update", moved) == 2
        for base in (tmp_path / FOLDER, emission):
            moved.write_text(replaced(*CONSTANT)(first))
            assert run(f"update --base {base}", moved) == 0 and moved.read_text() == expected


def test_without_a_base_nothing_is_written_and_both_differences_are_one(tmp_path, capsys, first):
    path = tmp_path / "net.py"
    path.write_text(replaced(*CONSTANT)(first))
    before = path.read_bytes()
    with compiler_with("second"):
        assert state_of(path) == BOTH
        assert run("update", path) == 2
        said = capsys.readouterr()
        assert "its base was not kept" in said.err and "Traceback" not in said.err
        assert "\n-STEM_CHANNELS = 48" in said.out and "\n+STEM_CHANNELS = 64\n" in said.out
        assert run("diff", path) == 2
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.py"]


def test_a_base_that_was_committed_is_found_in_the_history(tmp_path, monkeypatch, first, second):
    """Also under another name, and with other line ends; not where git is not installed."""
    (tmp_path / "nets").mkdir()
    path = tmp_path / "nets" / "net of mine.py"

    def git(*words: str) -> None:
        names = [
            "-c",
            "user.name=me",
            "-c",
            "user.email=me@example.org",
            "-c",
            "core.autocrlf=false",
        ]
        subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    path.write_bytes(first.replace("\n", "\r\n").encode())
    git("add", ".")
    git("commit", "-qm", "as it was emitted")
    path.write_text(replaced(*CONSTANT)(first))
    git("commit", "-qam", "edited")
    git("mv", "nets/net of mine.py", "nets/unet.py")
    git("commit", "-qm", "renamed")
    path = tmp_path / "nets" / "unet.py"
    with compiler_with("second"):
        with monkeypatch.context() as patch:
            patch.setenv("PATH", str(tmp_path))
            assert run("update", path) == 2
        assert run("diff", path) == 1
        assert run("update", path) == 0 and path.read_text() == replaced(*CONSTANT)(second)


@pytest.mark.parametrize("damage", ["cut", "other", "bomb", "text", "folder"])
def test_a_damaged_base_is_none(tmp_path, first, damage):
    path = vendor(tmp_path, first, replaced(*CONSTANT))
    (stored,) = (tmp_path / FOLDER).glob("*.gz")
    content = stored.read_bytes()
    stored.unlink()
    if damage == "folder":
        stored.mkdir()
    else:
        other = first.replace("64", "65").encode()
        stored.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "other": gzip.compress(other),
                "bomb": gzip.compress(b" " * 2**26),
                "text": first.encode(),
            }[damage]
        )
    with compiler_with("second"):
        assert run("update", path) == 2
    if damage != "folder":
        keep(path, first)  # which mends it
        with compiler_with("second"):
            assert run("update", path) == 0


def test_the_same_compiler_keeps_a_base_that_is_missing(tmp_path, first, second):
    path = tmp_path / "net.py"
    path.write_text(replaced(*CONSTANT)(first))
    with compiler_with("first"):
        assert run("update", path) == 0
    with compiler_with("second"):
        assert run("update", path) == 0
    assert path.read_text() == replaced(*CONSTANT)(second)


def test_a_merge_that_git_can_do_and_lines_of_ones_own(tmp_path, monkeypatch, first, second):
    """Without git, equal merges have equal texts."""
    for edit in (replaced(*CONSTANT), replaced(PYRAMID, METHOD + PYRAMID), str):
        by_git = merging.merge_by_git(first, edit(first), second)
        assert by_git == merging.merge_lines(first, edit(first), second)
    conflict = replaced(DOC, "twice or thrice that of x, or one ")(first)
    by_git = merging.merge_by_git(first, conflict, second)
    assert by_git == merging.merge_lines(first, conflict, second) and by_git.conflicts == 1
    monkeypatch.setenv("PATH", str(tmp_path))
    assert merging.merge_by_git(first, conflict, second) is None
    assert merging.merge(first, conflict, second) == by_git


def test_options_are_merged_as_changes_of_the_compiler_are(tmp_path, capsys, first):
    path = vendor(tmp_path, first, replaced(*CONSTANT))
    with compiler_with("first"):
        assert run("update --num-classes 3 --in-channels 1", path) == 0
        options = {"segmentor": "unet", "num_classes": 3, "in_channels": 1}
        wanted = compiler.emit("seresnet18", target="torch", **options)
        assert path.read_text() == replaced(*CONSTANT)(wanted)
        assert state_of(path) == EDITED
        assert run("update --decoder-filters 8,8", path) == 2
        assert run("update --num-classes none", path) == 2
        assert path.read_text() == replaced(*CONSTANT)(wanted)
    assert "Traceback" not in capsys.readouterr().err


def test_another_target_is_written_beside_and_never_over(tmp_path, capsys, first):
    path = vendor(tmp_path, first, replaced(*CONSTANT))
    other = tmp_path / "net_keras.py"
    with compiler_with("first"):
        before = path.read_bytes()
        assert run("update --target keras", path) == 0
        assert "the edits in " in capsys.readouterr().out
        assert path.read_bytes() == before
        assert other.read_text() == compiler.emit("seresnet18", target="keras", segmentor="unet")
        other.write_text("mine = 1\n")
        assert run("update --target keras", path) == 2
        assert other.read_text() == "mine = 1\n"
        assert run("update --target torch", path) == 0  # its own: nothing to do


def test_originals_are_saved_over_nothing(tmp_path, first, second):
    edit = TABLE["the same line"][0]
    path = vendor(tmp_path, first, edit)
    (tmp_path / "net.py.orig").write_text("mine\n")
    (tmp_path / "net.py.orig.1").symlink_to(tmp_path / "nowhere")
    with compiler_with("second"):
        assert run("update", path) == 1
        assert (tmp_path / "net.py.orig").read_text() == "mine\n"
        assert (tmp_path / "net.py.orig.2").read_text() == edit(first)
        assert not (tmp_path / "nowhere").exists()
        assert run("update --num-classes 2", path) == 2  # the conflicts come first
        start, _, rest = path.read_text().partition("<<<<<<< yours\n")
        mine, _, rest = rest.partition("||||||| ")
        path.write_text(start + mine + rest.partition(">>>>>>> ")[2].partition("\n")[2])
        assert run("check --allow-edits", path) == 0


def test_a_file_that_an_editor_saved_meanwhile_stays(tmp_path, first):
    path = vendor(tmp_path, first, replaced(*CONSTANT))
    with compiler_with("second"):
        planned = plan(path, {})
        path.write_text("saved = 1\n")
        with pytest.raises(compiler.CompileError, match="changed meanwhile"):
            apply(planned, path)
    assert path.read_text() == "saved = 1\n"


def test_mode_and_links_stay(tmp_path, first, second):
    real = vendor(tmp_path, first, replaced(*CONSTANT))
    real.chmod(0o755)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "net.py"
    link.symlink_to(real)
    with compiler_with("second"):
        assert run("update", link) == 0
    assert link.is_symlink() and real.read_text() == replaced(*CONSTANT)(second)
    assert real.stat().st_mode & 0o777 == 0o755


def test_check_tells_edits_from_staleness(tmp_path, capsys, first):
    path = vendor(tmp_path, first, replaced(*CONSTANT))
    with compiler_with("second"):
        assert run("check --json --diff", path) == 1
        (row,) = json.loads(capsys.readouterr().out)["files"]
        assert (row["state"], row["passed"]) == (BOTH, False)
        changed = [line for line in row["edits"].splitlines()[2:] if line[0] in "+-"]
        assert changed == ["-STEM_CHANNELS = 64", "+STEM_CHANNELS = 48  # fewer"]
        assert "STEM_CHANNELS" not in row["changes"] and " -> None:" in row["changes"]
        assert run("check --allow-edits", path) == 1
    with compiler_with("first"):
        assert run("check", path) == 1 and run("check --allow-edits", path) == 0
        capsys.readouterr()
        assert run("diff", path) == 1
        assert capsys.readouterr().out == row["edits"]
        assert run("check --format github", path) == 1
        line = first.splitlines().index("STEM_CHANNELS = 64") + 1
        said = capsys.readouterr().out.splitlines()[-1]
        assert said.startswith(f"::error file={path},line={line},title=plainnet::edited since")
        assert run("check --format github --allow-edits", path) == 0
        assert "::notice " in capsys.readouterr().out
        path.write_text(first)
        assert run("diff", path) == 0 and run("check --format github", path) == 0
        assert "::" not in capsys.readouterr().out
    assert run("check --format xml", path) == 2


def test_files_that_are_named_may_be_somebody_elses(tmp_path, capsys, first):
    path = vendor(tmp_path, first, str)
    (tmp_path / "own.py").write_text("x = 1\n")
    with compiler_with("first"):
        assert run("check --skip-others", path, tmp_path / "own.py") == 0
        assert run("check --skip-others", tmp_path / "own.py") == 0
        assert run("check", path, tmp_path / "own.py") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_unchanged_file_needs_no_emission(tmp_path, monkeypatch, first):
    """Its digest is known, to this compiler and to no other; a forged one is not."""
    monkeypatch.setenv("PLAINNET_CACHE_DIR", str(tmp_path / "cache"))
    path = vendor(tmp_path, first, str)
    with compiler_with("first"):
        assert state_of(path) == "clean"
        monkeypatch.setattr(emitter, "source", None)  # an emission would be an error
        assert state_of(path) == "clean" and run("update", path) == 0
        monkeypatch.undo()
        monkeypatch.setenv("PLAINNET_CACHE_DIR", str(tmp_path / "cache"))
    with compiler_with("second"):
        assert state_of(path) == "stale"
    path.write_text(first.replace("by plainnet 0.1.0", "by plainnet 9.0"))
    with compiler_with("first"):  # a newer one wrote it, and its word counts
        assert state_of(path) == "not ours"
    model = resolve("seresnet18", {"segmentor": "unet"})
    forged = sign(read(first).text.replace("64", "65"), model, "torch", emitter.WRITER)
    path.write_text(forged)
    with compiler_with("first"):
        assert read(forged).untouched and state_of(path) == "stale"


def test_the_cache_may_be_anything(tmp_path, monkeypatch, first):
    path = vendor(tmp_path, first, str)
    for place in ("relative", "/proc/nowhere", str(path), ""):
        monkeypatch.setenv("PLAINNET_CACHE_DIR", place)
        with compiler_with("first"):
            assert state_of(path) == "clean"
    monkeypatch.setenv("PLAINNET_CACHE_DIR", str(tmp_path / "cache"))
    with compiler_with("first"):
        assert state_of(path) == "clean"
        (cache,) = (tmp_path / "cache").iterdir()
        cache.write_bytes(b"\xff\n" + cache.read_bytes()[:20])  # a line that was not finished
        known._digests.cache_clear()
        assert state_of(path) == "clean"
        assert known.is_known(read(first).text_digest)


def test_emit_keeps_a_base_unless_it_is_told_not_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("emit resnet18 --target torch -o a/") == 0
    assert run("emit resnet18 --target torch --no-base -o b/") == 0
    digest = read((tmp_path / "a/resnet18_2d.py").read_text()).text_digest
    assert {*os.listdir("a")} == {FOLDER, "resnet18_2d.py"} and os.listdir("b") == [
        "resnet18_2d.py"
    ]
    assert {*os.listdir(f"a/{FOLDER}")} == {f"{digest}.gz", "README.md"}
    assert find(tmp_path / "a/other.py", digest).text_digest == digest
