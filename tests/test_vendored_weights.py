"""Weights survive edits and updates: what changes is told, and the command that is told works."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

import compiler
from compiler.vendoring.bases import keep
from compiler.vendoring.weights import changes, declarations

from .harness import constructor, tiny
from .vendored import run

OPTIONS = {"segmentor": "unet", "encoder_depth": 3, "decoder_filters": (16, 8, 8)}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A network and the weights of it, in one folder."""
    monkeypatch.chdir(tmp_path)
    text = compiler.emit(tiny(), target="torch", **OPTIONS, dims=2)
    path = tmp_path / "net.py"
    path.write_text(text)
    keep(path, text)
    save_file(constructor(text)().state_dict(), tmp_path / "w.safetensors")
    return path


def told(text: str) -> list[str]:
    """The words of the command that a report names."""
    (command,) = re.findall(r"carry (?:a checkpoint|it) over: plainnet (.*)", text)
    return shlex.split(command)


def loads(path, weights) -> dict[str, torch.Tensor]:
    """The state of the file's network with these weights, every one of them."""
    network = constructor(path.read_text())()
    state = {name: torch.from_numpy(value) for name, value in load_file(weights).items()}
    network.load_state_dict(state)
    return network.state_dict()


def test_an_edit_that_renames(file, capsys):
    assert run("check --weights w.safetensors", file) == 0
    assert "w.safetensors fits" in capsys.readouterr().out
    text = file.read_text()
    edited = text.replace("self.decoder", "self.upward").replace("self.bn1", "self.first_norm")
    assert edited != text
    file.write_text(edited)
    assert run("check --allow-edits --weights w.safetensors", file) == 1
    said = capsys.readouterr().out
    assert "does not fit" in said
    words = [word.replace("NEW", "new") for word in told(said)]
    from compiler.commands.cli import main

    assert main(words) == 0
    state = loads(file, "new.safetensors")
    assert "upward.blocks.0.first_norm.weight" in state
    before = load_file("w.safetensors")
    assert len(before) == len(state)
    values = sorted(value.numpy().tobytes() for value in state.values())
    assert values == sorted(value.tobytes() for value in before.values())


def test_options_that_convert_can_carry_over(file, capsys):
    from compiler.commands.cli import main

    assert run("update --num-classes 3 --in-channels 1", file) == 0
    said = capsys.readouterr().out
    assert "4 reshaped" in said or "3 reshaped" in said
    assert "head.weight" in said and "encoder.conv1.weight" in said
    words = told(said)
    assert main(words) == 0
    state = loads(file, words[words.index("-o") + 1])
    old = load_file("w.safetensors")
    name = "decoder.blocks.0.conv1.weight"
    assert np.array_equal(state[name].numpy(), old[name])
    assert run("check --weights w.safetensors", file) == 1
    assert "head.weight is 1x8x1x1, but 3x8x1x1 in the file" in capsys.readouterr().out


def test_a_network_in_2d_that_becomes_one_in_3d(tmp_path, monkeypatch, capsys):
    from compiler.commands.cli import main

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    path.write_text(compiler.emit(tiny(), target="torch", dims=2))
    save_file(constructor(path.read_text())().state_dict(), tmp_path / "w.safetensors")
    assert run("update --dims 3 --in-channels 3 --num-classes 1000", path) == 0
    words = told(capsys.readouterr().out)
    assert "--inflate" in words and main(words) == 0
    loads(path, words[words.index("-o") + 1])


def test_a_training_file_that_becomes_an_inference_file(file, capsys):
    from compiler.commands.cli import main

    assert run("update --deploy", file) == 0
    said = capsys.readouterr().out
    assert "renamed" not in said and "removed" in said
    words = told(said)
    assert main(words) == 0
    loads(file, words[words.index("-o") + 1])


def test_what_no_command_can_carry_over(file, capsys):
    assert run("update --decoder-filters 32,8,8", file) == 0
    said = capsys.readouterr().out
    assert "reshaped" in said and "no command carries a checkpoint over: " in said
    file.write_text(
        file.read_text().replace(
            "self.head = ", "self.more = nn.Linear(2, 2)\n        self.head = "
        )
    )
    assert run("update --num-classes 2", file) == 0
    assert "weights of your own" in capsys.readouterr().out


def test_a_file_that_cannot_be_built_is_updated_and_told_of(file, capsys):
    file.write_text(file.read_text().replace("STEM_CHANNELS = ", "STEM_CHANNELS = 1 // 0 + "))
    assert run("update --num-classes 2", file) == 0
    assert (
        "weights may change: its network cannot be built: ZeroDivision" in capsys.readouterr().out
    )
    assert run("check --allow-edits --weights w.safetensors", file) == 2


def test_a_keras_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = compiler.emit(tiny(), target="keras", dims=2)
    (tmp_path / "net.py").write_text(text)
    path = tmp_path / "net.py"
    keep(path, text)
    constructor(text)().save_weights("w.weights.h5")
    assert run("check --weights w.weights.h5", path) == 0
    assert run("update --num-classes 7", path) == 0
    assert "head.weight" in capsys.readouterr().out
    assert run("check --weights w.weights.h5", path) == 1


def test_renames_of_tensors(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file(
        {"a.b.w": torch.zeros(2), "a.c.w": torch.ones(3), "ab": torch.ones(1)}, "w.safetensors"
    )
    assert run("convert w.safetensors -o n.pt --rename a.b=x.y --rename a=z") == 0
    assert {*torch.load("n.pt")} == {"x.y.w", "z.c.w", "ab"}
    assert run("convert n.pt -o m.safetensors --rename x.y=a.b --rename z=a") == 0
    assert {name: v.tolist() for name, v in load_file("m.safetensors").items()} == {
        name: v.tolist() for name, v in load_file("w.safetensors").items()
    }
    for words, message in {
        "-o n.safetensors --rename q=r": "no tensor is called 'q'",
        "-o n.safetensors --rename a.b.w=ab": "would both be 'ab'",
        "-o n.safetensors --rename a": "--rename is 'a'",
        "-o n.weights.h5 --rename a=b": "for PyTorch's checkpoints",
        "-o n.safetensors --rename a=b --layout timm": "leave out --layout",
        "--rename a=b": "-o is missing",
        "-o w.safetensors --rename a=b": "the output is the checkpoint itself",
        "-o n.pt --rename a=b": "already exists",
    }.items():
        assert run(f"convert w.safetensors {words}") == 2
        assert message in capsys.readouterr().err, words


def test_pairs_are_found_by_shape_and_path():
    before = {"a.conv1.weight": (2, 3), "a.bn.bias": (2,), "b.conv1.weight": (2, 3)}
    after = {"b.first.weight": (2, 3), "a.first.weight": (2, 3), "a.bn.bias": (4,)}
    found = changes(before, after)
    assert found.renamed == {"a.conv1.weight": "a.first.weight", "b.conv1.weight": "b.first.weight"}
    assert found.reshaped == {"a.bn.bias": ((2,), (4,))} and not found.added and not found.removed


def test_only_lines_that_may_declare_weights_count():
    text = compiler.emit(tiny(), target="torch", dims=2)
    assert declarations(text.replace("x + residual", "residual + x")) == declarations(text)
    assert declarations(text.replace("(nn.Module):", "(nn.Module):  # mine")) == declarations(text)
    assert declarations(text.replace("eps=1e-5", "eps=1e-4")) != declarations(text)
    assert declarations(text.replace("(2, ", "(3, ")) != declarations(text)
