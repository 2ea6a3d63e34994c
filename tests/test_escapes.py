"""What files hold reaches the terminal escaped and shortened, whatever it is."""

import json
import os
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from compiler import emit
from compiler.commands.cli import main
from compiler.errors import CompileError, Problem, escaped
from tests.harness import tiny
from tests.test_convert import state_of

EVIL = "\x1b[2J\x1b]0;t\x07\r\n\u202eevil\u2066\x9b31m\x00\ud800"
SHAPE = (32, 32, 3)
OPTIONS = {"input_shape": SHAPE, "num_classes": 3}
HARMLESS = set("\n")


def harmless(text):
    return all(c.isprintable() or c in HARMLESS for c in text) and len(text) < 20_000


def test_escaped():
    assert escaped("a b é 漢 ²") == "a b é 漢 ²"
    assert escaped("\x1b[31m") == "\\x1b[31m" and escaped("a\r\n\tb") == "a\\r\\n\\tb"
    assert escaped("a\n\tb", kept="\n\t") == "a\n\tb"
    assert escaped("\u202e\u2066\u200f\u2028\ud800") == "\\u202e\\u2066\\u200f\\u2028\\ud800"
    assert escaped("a" * 50 + "b" * 10**6, longest=43) == "a" * 20 + "..." + "b" * 20


def test_every_error_is_printable():
    text = str(CompileError(Problem(EVIL, EVIL * 10_000, "b" * 10**7)))
    assert harmless(text) and "\\x1b[2J" in text and text.count("\n") == 3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.py"
    from compiler.emitter import source
    from compiler.passes.validate import resolve

    path.write_text(source(resolve(tiny(), OPTIONS), "torch"))
    return path


ADDED = EVIL.replace("\ud800", "")  # which UTF-8 does not hold


@pytest.mark.parametrize(
    "name", [ADDED, "n" * 10**6, ADDED * 50_000, "module.\x1b[31m"], ids=range(4)
)
def test_names_and_metadata_of_a_checkpoint(name, model, tmp_path, capsys):
    state = state_of(tiny(), **OPTIONS)
    all_of_them = {f"{name[:1000]}.{key}": value for key, value in state.items()}
    for changed in ({**state, name: np.zeros(3, np.float32)}, all_of_them):
        path = tmp_path / "x.safetensors"
        save_file(changed, path, {"plainnet_dialect": name, "format": name})
        code = main(["convert", str(path), "--model", str(model), "-o", str(tmp_path / "out.pt")])
        said = capsys.readouterr()
        assert code == 2
        assert harmless(said.out) and harmless(said.err)


def test_wrappers_and_prefixes(model, tmp_path, capsys):
    import torch

    state = {k: torch.from_numpy(v) for k, v in state_of(tiny(), **OPTIONS).items()}
    torch.save({"state_dict": state, ADDED: 1, "n" * 10**6: 2}, tmp_path / "x.pt")
    arguments = ["convert", str(tmp_path / "x.pt"), "--model", str(model)]
    assert main([*arguments, "-o", str(tmp_path / "out.pt")]) == 0
    said = capsys.readouterr()
    assert "omitted" in said.out and harmless(said.out) and harmless(said.err)
    assert main([*arguments, "-o", str(tmp_path / "out2.pt"), "--json"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said) and harmless(said)


@pytest.mark.skipif(sys.platform == "win32", reason="a name may not hold these characters")
def test_names_of_files(model, tmp_path, capsys):
    name = "a\x1b[31m\n\u202e\r"
    save_file(state_of(tiny(), **OPTIONS), tmp_path / f"{name}.safetensors")
    source = str(tmp_path / f"{name}.safetensors")
    out = str(tmp_path / f"out{name}.safetensors")
    assert main(["convert", source, "--model", str(model), "-o", out]) == 0
    assert main(["convert", str(tmp_path / f"{name}.pt"), "--model", str(model), "-o", out]) == 2
    (tmp_path / f"{name}.pt").write_bytes(b"abc")
    assert main(["convert", str(tmp_path / f"{name}.pt"), "--model", str(model), "-o", out]) == 2
    assert main(["emit", "resnet18", "--target", "torch", "-o", str(tmp_path / f"{name}.py")]) == 0
    assert main(["check", str(tmp_path / f"{name}.py")]) == 0
    assert main(["check", str(tmp_path / f"{name}2.py")]) == 2
    said = capsys.readouterr()
    assert "\\x1b[31m" in said.out and "\\x1b[31m" in said.err
    assert harmless(said.out) and harmless(said.err)
    assert len(os.listdir(tmp_path)) == 5  # with the folder of bases


def test_files_that_are_checked(tmp_path, capsys):
    text = emit("resnet18", target="torch", input_shape=SHAPE)
    line = next(line for line in text.splitlines() if line.startswith("#     plainnet emit"))
    cases = {
        "command": text.replace(line, line.replace("resnet18", "resnet\x1b[31m\u202e18")),
        "option": text.replace(line, f"{line} --\x1b[2Jx 5"),
        "version": text.replace("# sha256", "# sha256\x1b[2J"),
        "code": text.replace("\nclass ", "\n# \x1b[2J\u202e\x07\nclass ", 1),
    }
    for name, content in cases.items():
        assert content != text
        (tmp_path / f"{name}.py").write_text(content)
        for extra in ([], ["--diff"], ["--json"], ["--json", "--diff"]):
            assert main(["check", str(tmp_path / f"{name}.py"), *extra]) in (1, 2), name
            said = capsys.readouterr()
            assert harmless(said.out) and harmless(said.err), name
