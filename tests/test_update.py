"""`update`: a table of edits and compiler changes, with the state and the merge of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import compiler
from compiler.vendoring import merging
from compiler.vendoring.bases import keep

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
    "the same line": (replaced(DOC, "twice or thrice that of x, or one "), EDITED, BOTH, 1),
    "a deleted block": (without_upsample, EDITED, BOTH, 1),
    "a deleted line": (replaced("SE_RATIO = 16\n", "SE_RATIO = 8\n"), EDITED, BOTH, 0),
    "a renamed class": (replaced("SqueezeExcite", "ChannelGate"), EDITED, BOTH, 0),
    "black at 79 columns": (BLACK, "reformatted", "stale", 0),
    "ruff": (formatted("ruff", "format", "--isolated"), "reformatted", "stale", 0),
    "black, edited": (lambda text: BLACK(replaced(*CONSTANT)(text)), EDITED, BOTH, 0),
    "sorted imports": (other_imports, "reformatted", "stale", 0),
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


@pytest.mark.parametrize("git", [True, False], ids=["git", "no git"])
@pytest.mark.parametrize("case", TABLE)
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
