"""What is given to `convert` by mistake is recognized by its content, in one sentence."""

import io
import zipfile
import zlib

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import save_file

from compiler.commands.cli import main

MODEL = ["--model", "resnet18", "--input-shape", "32,32,3", "--num-classes", "3"]
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".weights.h5", ".keras")


def archive(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return content.getvalue()


def graph():
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy")
    made = onnx.helper.make_graph([node], "g", [x], [y])
    return onnx.helper.make_model(made, producer_name="pytorch").SerializeToString()


def png():
    body = b"IHDR" + bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + zlib.crc32(body).to_bytes(4, "big")


GIVEN = {  # name: its suffix or all of a checkpoint's, its content, what is said
    "empty": (SUFFIXES, b"", "error: the file is empty\n"),
    "text": ((*SUFFIXES, ".txt"), "naïve text\n".encode() * 900, "it is a text file, not a ch"),
    "python": ((".py", ".pt"), b"import torch\n", "it is a text file, not a checkpoint"),
    "page": (SUFFIXES[:2], b"<!DOCTYPE html><p>404", "it is a web page, not a checkpoint"),
    "pointer": (SUFFIXES[:2], b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "image": ((".png", *SUFFIXES), png(), "error: it is a PNG image, not a checkpoint\n"),
    "onnx": ((".onnx", ".pt"), graph(), "error: it is an ONNX file, not a checkpoint\n"),
    "zip": (
        (".zip", *SUFFIXES),
        archive("a.txt"),
        "it is a zip archive without a PyTorch or Keras checkpoint",
    ),
    "gzip": ((".pt.gz", ".pt"), b"\x1f\x8b\x08" + bytes(20), "it is a gzip archive, not a"),
    "gguf": (SUFFIXES[:1], b"GGUF\x03" + bytes(99), "it is a GGUF file, not a checkpoint"),
}


def said(capsys, path, output):
    assert main(["convert", str(path), *MODEL, "-o", str(output)]) == 2
    found = capsys.readouterr()
    assert not found.out and not output.exists()
    assert found.err.count("error:") == 1 and "Traceback" not in found.err
    return found.err


@pytest.mark.parametrize("case", GIVEN)
def test_what_is_no_checkpoint(case, tmp_path, capsys):
    suffixes, content, message = GIVEN[case]
    for suffix in suffixes:
        path = tmp_path / f"given{suffix}"
        path.write_bytes(content)
        assert message in said(capsys, path, tmp_path / "out.safetensors"), suffix


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_random_bytes(suffix, tmp_path, capsys):
    path = tmp_path / f"given{suffix}"
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(1000))
        error = said(capsys, path, tmp_path / "out.safetensors")
        assert "readable" in error.splitlines()[0] and str(path) in error


@pytest.mark.parametrize("kind", ["plain", "saved model", "with a checkpoint", "suffix"])
def test_folders(kind, tmp_path, capsys, monkeypatch):
    folder = tmp_path / ("given.pt" if kind == "suffix" else "given")
    folder.mkdir()
    monkeypatch.chdir(folder)
    message = "error: it is a folder, not a checkpoint\n  at   .\n"
    if kind == "saved model":
        (folder / "saved_model.pb").write_bytes(b"x")
        message = "it is a TensorFlow SavedModel, not a checkpoint"
    elif kind == "with a checkpoint":
        (folder / "model.safetensors").write_bytes(b"x")
        message += "  hint name a file in it: 'model.safetensors'\n"
    assert message in said(capsys, ".", tmp_path / "out.safetensors")


@pytest.mark.parametrize("content", [".safetensors", ".pt", ".pth", "old .pt", ".keras"])
def test_a_name_of_another_format(content, tmp_path, capsys):
    state = {"a": np.zeros(3, np.float32)}
    is_torch = content in (".pt", ".pth", "old .pt")
    for suffix in (*SUFFIXES, ".bin"):
        path = tmp_path / f"given{suffix}"
        if content == ".safetensors":
            save_file(state, path)
        elif content == ".keras":
            path.write_bytes(archive("model.weights.h5"))
        else:
            new = content != "old .pt"
            torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=new)
        error = said_all(capsys, path, tmp_path / "out.safetensors")
        right = suffix in ((".pt", ".pth", ".ckpt") if is_torch else (content,))
        wanted = ".pt" if is_torch else content
        assert (f"it contains a {wanted} file" in error) == (not right), suffix
        assert right or f"rename it to 'given{wanted}'" in error


def said_all(capsys, path, output):
    assert main(["convert", str(path), *MODEL, "-o", str(output)]) == 2
    return capsys.readouterr().err
