"""`sync`: the networks that a project lists in `pyproject.toml`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from compiler.vendoring.bases import FOLDER
from compiler.vendoring.project import find_project

from .vendored import compiler_with, run

PROJECT = """
[project]
name = "mine"

[tool.plainnet]
networks = [
    {file = "nets/encoder.py", model = "seresnet18", target = "torch", num-classes = 3},
    {file = "nets/deep/unet.py", model = "unet.toml", target = "keras", in_channels = 1},
]
"""
MINE = "STEM_CHANNELS = 64", "STEM_CHANNELS = 48"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    assert run("new resnet18 --segmentor unet -o unet.toml") == 0
    return tmp_path


def emitted(name: str, **options) -> str:
    return compiler.emit("seresnet18", target="torch", num_classes=3, **options)


def states(capsys, line: str = "sync --check") -> tuple[int, dict[str, str]]:
    capsys.readouterr()
    code = run(line)
    rows = [row.rsplit(maxsplit=1) for row in capsys.readouterr().out.splitlines()]
    return code, {Path(path).name: state for state, path in rows}


def test_a_project_from_nothing_to_another_compiler(folder, capsys):
    encoder = folder / "nets" / "encoder.py"
    with compiler_with("first"):
        assert states(capsys) == (1, {"encoder.py": "missing", "unet.py": "missing"})
        assert not (folder / "nets").exists()
        assert run("sync --dry-run") == 0 and not (folder / "nets").exists()
        assert states(capsys, "sync") == (0, {"encoder.py": "emitted", "unet.py": "emitted"})
        assert encoder.read_text() == emitted("seresnet18")
        keras = compiler.emit("unet.toml", target="keras", in_channels=1)
        assert (folder / "nets/deep/unet.py").read_text() == keras
        assert {FOLDER, "encoder.py"} <= {*os.listdir("nets")}
        assert states(capsys) == (0, {"encoder.py": "current", "unet.py": "current"})
        encoder.write_text(encoder.read_text().replace(*MINE))
        assert states(capsys) == (1, {"encoder.py": "edited", "unet.py": "current"})
        project = folder / "pyproject.toml"
        project.write_text(PROJECT.replace("plainnet]\n", "plainnet]\nallow-edits = true\n"))
        assert states(capsys) == (0, {"encoder.py": "edited", "unet.py": "current"})
    with compiler_with("second"):
        assert states(capsys) == (1, {"encoder.py": "stale", "unet.py": "current"})
        assert states(capsys, "sync")[0] == 0
        assert encoder.read_text() == emitted("seresnet18").replace(*MINE)
        assert states(capsys) == (0, {"encoder.py": "edited", "unet.py": "current"})
        project.write_text(project.read_text().replace("num-classes = 3", "num-classes = 5"))
        assert states(capsys)[1]["encoder.py"] == "other options"
        os.chdir("nets/deep")  # the project is found from below
        assert states(capsys, "sync")[0] == 0
        five = compiler.emit("seresnet18", target="torch", num_classes=5)
        assert encoder.read_text() == five.replace(*MINE)


def test_conflicts_are_told_until_they_are_resolved(folder, capsys):
    encoder = folder / "nets" / "encoder.py"
    with compiler_with("first"):
        assert run("sync") == 0
    signature = "def __init__(self, channels: int)"
    text = encoder.read_text()
    assert f"{signature}:" in text
    encoder.write_text(text.replace(f"{signature}:", f"{signature}:  # mine"))
    with compiler_with("second"):
        assert run("sync") == 1
        assert "<<<<<<< yours" in encoder.read_text()
        assert states(capsys) == (1, {"encoder.py": "conflicts", "unet.py": "current"})


WRONG = {
    "[tool.plainnett]": ["no pyproject.toml here"],
    "[tool]\nplainnet = 3": ["plainnet is not a table"],
    "[tool.plainnet]": ["it lists no network"],
    "[tool.plainnet]\nnetworks = 3": ["networks is not a list of tables"],
    "[tool.plainnet]\nallow_edits = 1\nnetworks = []": ["unknown key 'allow_edits'"],
    "[tool.plainnet]\nallow-edits = 1\nnetworks = [{}]": [
        "allow-edits is 1",
        "file is missing",
        "model is missing",
        "target is missing",
    ],
    "[tool.plainnet]\n[[tool.plainnet.networks]]\nfile = 'a.py'\nmodel = 'resnet17'\n"
    "target = 'tensor'\ncolour = 3\ndims = 4\n": [
        "unknown encoder 'resnet17'",
        "--target is 'tensor'",
        "unknown key 'colour'",
        "--dims is 4",
    ],
    "[[tool.plainnet.networks]]\nfile = 'a.txt'\nmodel = 'resnet18'\ntarget = 'torch'\n": [
        "does not end with .py"
    ],
    "[[tool.plainnet.networks]]\nfile = 'a.py'\nmodel = 'resnet18'\ntarget = 'torch'\n"
    "[[tool.plainnet.networks]]\nfile = './a.py'\nmodel = 'resnet34'\ntarget = 'torch'\n": [
        "two networks have the file"
    ],
    "[[tool.plainnet.networks]]\nfile = 'a.py'\nmodel = 'none.toml'\ntarget = 'torch'\n": [
        "cannot read it"
    ],
    "[tool.plainnet\n": ["it is not TOML"],
    "x" + ".x" * 5000 + " = 1\n": ["number of dots"],
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_has_its_line(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    assert run("sync") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said
    for message in WRONG[text]:
        assert message in said, said
    assert os.listdir(tmp_path) == ["pyproject.toml"]


def test_a_line_is_that_of_the_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").write_text('extends = "resnet18"\ncolour = 3\n')
    rows = ["[[tool.plainnet.networks]]\nfile = 'a.py'\nmodel = 'resnet18'\ntarget = 'torch'\n"]
    rows.append(rows[0].replace("a.py", "b.py").replace("resnet18", "net.toml"))
    rows.append(rows[0].replace("a.py", "c.py") + "dims = 7\n")
    (tmp_path / "pyproject.toml").write_text("".join(rows))
    assert run("sync") == 2
    said = capsys.readouterr().err
    assert "net.toml:2" in said and "pyproject.toml:9, tool.plainnet.networks[2]" in said


VALUES = st.recursive(
    st.booleans() | st.integers(-3, 2**40) | st.text("a=/.[\n\"'\x00é", max_size=5),
    lambda values: st.lists(values, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["file", "model", "target", "allow-edits", "dims", "num-classes", "x"])
GOOD = {"file": "a.py", "model": "resnet18", "target": "torch"}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(KEYS, VALUES, max_size=3), st.sampled_from([{}, GOOD]))
def test_a_table_of_anything_is_a_project_or_an_error(tmp_path_factory, row, good):
    folder = tmp_path_factory.mktemp("project")
    pairs = [f"{key} = {json.dumps(value)}" for key, value in {**good, **row}.items()]
    text = "[[tool.plainnet.networks]]\n" + "\n".join(pairs) + "\n"
    (folder / "pyproject.toml").write_text(text)
    try:
        (listed,) = find_project(folder)
    except compiler.CompileError as error:
        assert all("pyproject.toml" in problem.at for problem in error.problems), error
    else:
        assert {**good, **row}["file"].endswith(".py") and listed.target in ("torch", "keras")


@pytest.mark.parametrize("what", ["own file", "other target", "folder", "binary"])
def test_what_is_not_ours_stays_and_the_others_are_done(folder, capsys, what):
    path = folder / "nets" / "encoder.py"
    path.parent.mkdir()
    if what == "folder":
        path.mkdir()
    elif what == "other target":
        path.write_text(compiler.emit("seresnet18", target="keras"))
    else:
        path.write_bytes(b"x = 1\n" if what == "own file" else b"\xff\xfe")
    before = None if path.is_dir() else path.read_bytes()
    assert run("sync") == 2
    assert run("sync --check") == 2
    said = capsys.readouterr().err
    assert said.count("error: ") == 2 and "nets/encoder.py" in said
    assert path.is_dir() or path.read_bytes() == before
    assert (folder / "nets/deep/unet.py").exists()
