"""Checkpoints that are none: exit 2, a clear message, no file, nothing run, no memory taken."""

import collections
import io
import json
import os
import pickle
import resource
import struct
import zipfile
import zlib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from compiler import convert
from compiler.api import custom_encoder
from compiler.commands.cli import main
from compiler.emitter import source
from compiler.passes.validate import resolve
from tests.test_convert import state_of, tiny

SHAPE = (32, 32, 3)
RAN = "/tmp/plainnet_a_pickle_was_run"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The model as a file of ours, and good checkpoints for it in every format."""
    folder = tmp_path_factory.mktemp("good")
    options = {"input_shape": SHAPE, "num_classes": 3}
    (folder / "net.py").write_text(source(resolve(tiny(), options), "torch"))
    save_file(state_of(tiny(), **options), folder / "good.safetensors")
    for name in ("good.weights.h5", "good.keras", "good.pt"):
        convert(folder / "good.safetensors", folder / name, str(folder / "net.py"))
    return folder


class RunsCode:
    def __reduce__(self):
        return os.system, (f"touch {RAN}",)


def changed(change):
    """A good checkpoint with a change."""

    def write(good, path):
        state = load_file(good / "good.safetensors")
        change(state)
        save_file(state, path)

    return write


def cut(name, share):
    """The beginning of a good file."""

    def write(good, path):
        content = (good / name).read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return write


def holding(content):
    return lambda good, path: path.write_bytes(content)


def rewritten(change):
    """A good h5 file with a change."""

    def write(good, path):
        path.write_bytes((good / "good.weights.h5").read_bytes())
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def saved(content, **how):
    return lambda good, path: torch.save(content, path, **how)


def put(name, value):
    return changed(lambda state: state.update({name: value}))


def drop(name):
    return changed(lambda state: state.pop(name))


def spoil(value):
    def change(state):
        state["encoder.bn1.bias"][1] = value

    return changed(change)


def other_model(good, path):
    other = custom_encoder("other", blocks=(1, 1), filters=(4, 8), strides=(1, 2), block="basic")
    save_file(state_of(other, input_shape=SHAPE, num_classes=3), path)


def in_3d(good, path):
    save_file(state_of(tiny(), input_shape=(16, 16, 16, 3), num_classes=3, dims=3), path)


def compressed(good, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1 << 26))


def claims_in_h5(good, path):
    def change(file):
        group = file["layers/conv2d/vars"]
        del group["0"]
        group.create_dataset("0", (3 << 28,), "float32", chunks=(1 << 20,), compression="gzip")

    rewritten(change)(good, path)


def links_elsewhere(good, path):
    def change(file):
        group = file["layers/conv2d/vars"]
        del group["0"]
        group["0"] = h5py.ExternalLink(str(good / "good.weights.h5"), "layers/conv2d/vars/0")

    rewritten(change)(good, path)


def unpacks_in_h5(good, path):
    """A chunk of 1 GB in a tensor that claims no more than it should."""

    def change(file):
        group = file["layers/conv2d/vars"]
        shape = group["0"].shape
        del group["0"]
        chunk = group.create_dataset("0", shape, "float32", chunks=shape, compression="gzip")
        packed = zlib.compressobj()
        content = [packed.compress(bytes(1 << 20)) for _ in range(1 << 10)]
        chunk.id.write_direct_chunk((0,) * len(shape), b"".join([*content, packed.flush()]))

    rewritten(change)(good, path)


def branches_in_h5(good, path):
    """Each group is there twice in the one above it: 2 ** 40 ways to the last."""

    def change(file):
        group = file["layers"].create_group("first")
        for i in range(40):
            below = file.create_group(f"group{i}")
            group["a"], group["b"], group = below, below, below

    rewritten(change)(good, path)


def whole_numbers_in_h5(good, path):
    def change(file):
        group = file["layers/conv2d/vars"]
        shape = group["0"].shape
        del group["0"]
        group.create_dataset("0", shape, "int32").attrs["dtype"] = "float32"

    rewritten(change)(good, path)


FILLS_MEMORY = b"\x80\x02cbuiltins\nbytearray\nJ" + struct.pack("<i", 1 << 30) + b"\x85R."


def fills_memory(good, path):
    buffer = io.BytesIO()
    torch.save({}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            pickled = entry.filename.endswith("data.pkl")
            new.writestr(entry.filename, FILLS_MEMORY if pickled else old.read(entry))


def claims_in_pickle(good, path):
    """A stored tensor of 3 GB by its pickle, of 12 bytes by the archive."""
    buffer = io.BytesIO()
    torch.save({"encoder.conv1.weight": torch.zeros(3)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = data.replace(b"K\x03", b"J" + struct.pack("<i", 3 << 28))
            new.writestr(entry.filename, data)


def short_record(good, path):
    """One storage of half its bytes, with checksums that hold: PyTorch would read on behind it."""
    with zipfile.ZipFile(good / "good.pt") as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, data[:72] if entry.filename.endswith("data/0") else data)


def flipped(name, part):
    """A good archive with one bit changed in the middle of a part."""

    def write(good, path):
        content = bytearray((good / name).read_bytes())
        with zipfile.ZipFile(good / name) as archive:
            found = next(e for e in archive.infolist() if e.filename.endswith(part))
        content[found.header_offset + found.file_size // 2] ^= 1
        path.write_bytes(content)

    return write


def header(claim, text=b"{}"):
    return struct.pack("<Q", claim) + text


BIG = json.dumps({"a": {"dtype": "F32", "shape": [3 << 28], "data_offsets": [0, 3 << 30]}}).encode()
EXCHANGED = b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}'
LEGACY = {"_use_new_zipfile_serialization": False}
HOSTILE = {  # name: file name, how to write it, what is said
    "empty": ("x.safetensors", holding(b""), "the file is empty"),
    "empty pickle": ("x.pt", holding(b""), "the file is empty"),
    "empty h5": ("x.weights.h5", holding(b""), "the file is empty"),
    "pipe": ("x.pt", lambda good, path: os.mkfifo(path), "it is not a regular file"),
    "nothing but an ending": (".safetensors", cut("good.safetensors", 1), "'weights.safetensors'"),
    "folder": ("x.safetensors", lambda good, path: path.mkdir(), "it is a folder"),
    "missing": ("x.safetensors", lambda good, path: None, "cannot read it: No such file"),
    "other name": ("x.bin", holding(b"\0\1"), "'x.bin' is not the name of a checkpoint"),
    "wrong magic": ("x.safetensors", holding(b"GGUF" * 100), "it is a GGUF file"),
    "wrong magic pickle": ("x.pt", holding(b"GGUF" * 100), "it is a GGUF file"),
    "wrong magic h5": ("x.weights.h5", holding(b"GGUF" * 100), "it is a GGUF file"),
    "wrong magic archive": ("x.keras", holding(b"GGUF" * 100), "it is a GGUF file"),
    "cut": ("x.safetensors", cut("good.safetensors", 0.5), "not a readable .safetensors file"),
    "cut in the header": ("x.safetensors", cut("good.safetensors", 0.001), "not a readable"),
    "cut pickle": ("x.pt", cut("good.pt", 0.5), ".pt file: the archive is truncated"),
    "cut h5": ("x.weights.h5", cut("good.weights.h5", 0.5), "cannot read it"),
    "cut archive": ("x.keras", cut("good.keras", 0.5), "not a readable .keras file"),
    "3 GB header": ("x.safetensors", holding(header(3 << 30)), "not a readable .safetensors file"),
    "3 GB tensor": ("x.safetensors", holding(header(len(BIG), BIG)), "not a readable"),
    "exchanged offsets": (
        "x.safetensors",
        holding(header(len(EXCHANGED), EXCHANGED + bytes(8))),
        "the tensor 'a' ends at byte 0, before it begins at 8",
    ),
    "3 GB h5": ("x.weights.h5", claims_in_h5, "'encoder.conv1.weight' is 805306368 in the"),
    "unpacks in h5": ("x.weights.h5", unpacks_in_h5, "'encoder_conv1/0' is compressed"),
    "branches in h5": ("x.weights.h5", branches_in_h5, "is linked under two names"),
    "whole numbers in h5": (
        "x.weights.h5",
        whole_numbers_in_h5,
        "'encoder_conv1/0' is int",
    ),
    "fills memory": ("x.pt", fills_memory, "it calls 'bytearray', which no state dict needs"),
    "fills memory, old": ("x.pt", holding(FILLS_MEMORY), "it calls 'bytearray', which no state"),
    "3 GB pickle": ("x.pt", claims_in_pickle, "bytes, but its tensors need 3,221,225,472"),
    "3 GB expanded": (
        "x.pt",
        saved({"head.weight": torch.zeros(1).expand(3 << 28)}),
        "'head.weight' is 805306368 in the checkpoint",
    ),
    "short record": ("x.pt", short_record, "bytes, but its tensors need "),
    "a bit in a pickle": ("x.pt", flipped("good.pt", "data.pkl"), "does not match"),
    "a bit in an archive": ("x.keras", flipped("good.keras", ".weights.h5"), "does not match"),
    "a name that is no text": ("x.pt", saved({(1, 2): torch.zeros(3)}), "not a string"),
    "bomb": ("x.keras", compressed, "it is a compressed archive"),
    "link": ("x.weights.h5", links_elsewhere, "missing tensor 'encoder_conv1/0'"),
    "no h5 in it": (
        "x.keras",
        lambda good, path: zipfile.ZipFile(path, "w").close(),
        "it is a zip archive without",
    ),
    "runs code": ("x.pt", saved({"a": RunsCode()}), "nothing was run"),
    "runs code, old": ("x.pth", saved({"a": RunsCode()}, **LEGACY), "nothing was run"),
    "runs code, bare": ("x.pt", holding(pickle.dumps(RunsCode())), "nothing was run"),
    "a whole model": ("x.pt", saved(torch.nn.ReLU()), "nothing was run"),
    "no state": ("x.pt", saved({"epoch": 3}), "it contains no state dict, but 'epoch'"),
    "a list": ("x.pt", saved([torch.zeros(3)]), "it contains no state dict, but list"),
    "no tensors": ("x.pt", saved(collections.OrderedDict()), "it contains no"),
    "sparse": ("x.pt", saved({"a": torch.eye(3).to_sparse()}), "not dense"),
    "whole numbers": ("x.pt", saved({"a": torch.arange(3)}), "is int64"),
    "NaN": ("x.safetensors", spoil(np.nan), "'encoder.bn1.bias' contains NaN or infinite values"),
    "infinite": ("x.safetensors", spoil(np.inf), "'encoder.bn1.bias' contains NaN or"),
    "one too many": (
        "x.safetensors",
        put("encoder.conv1.bias", np.zeros(8, np.float32)),
        "unexpected tensor 'encoder.conv1.bias' (8).",
    ),
    "a folder of another name": ("x", lambda good, path: path.mkdir(), "it is a folder"),
    "a stray counter": (
        "x.safetensors",
        put("encoder.conv1.num_batches_tracked", np.zeros((), np.int64)),
        "unexpected tensor 'encoder.conv1.num_batches_tracked' (scalar)",
    ),
    "one too few": (
        "x.safetensors",
        drop("encoder.stages.0.0.bn3.running_var"),
        "missing tensor 'encoder.stages.0.0.bn3.running_var'.",
    ),
    "half a head": ("x.safetensors", drop("head.bias"), "missing tensor 'head.bias'."),
    "another shape": (
        "x.safetensors",
        put("encoder.stages.0.0.bn3.bias", np.zeros(31, np.float32)),
        "'encoder.stages.0.0.bn3.bias' is 31 in the checkpoint, but 32 in the model",
    ),
    "a scalar": (
        "x.safetensors",
        put("encoder.conv1.weight", np.zeros((), np.float32)),
        "'encoder.conv1.weight' is scalar in the checkpoint",
    ),
    "a vector for a matrix": (
        "x.safetensors",
        put("head.weight", np.zeros(96, np.float32)),
        "'head.weight' is 96 in the checkpoint",
    ),
    "another model's": ("x.safetensors", other_model, " missing"),
    "3D": ("x.safetensors", in_3d, "the checkpoint is 3D, but the model is 2D"),
    "name with an escape": (
        "x.safetensors",
        put("\x1b[31m" + "a" * 5000, np.zeros(1, np.float32)),
        "unexpected tensor '\\x1b[31maaa",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(case, there, tmp_path, capsys):
    name, write, message = HOSTILE[case]
    write(there, tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for out in ("out.safetensors", "out.weights.h5"):
        arguments = ["convert", str(tmp_path / name), "--model", str(there / "net.py")]
        code = main([*arguments, "-o", str(tmp_path / out)])
        said = capsys.readouterr()
        assert code == 2
        assert message in said.err
        assert not said.out
        assert len(said.err) < 10_000 and "Traceback" not in said.err and "\x1b" not in said.err
    assert sorted(os.listdir(tmp_path)) in ([name], [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    assert not os.path.exists(RAN)


def test_no_channels_are_not_adapted(there, tmp_path, capsys):
    path = tmp_path / "x.safetensors"
    put("encoder.conv1.weight", np.zeros((8, 0, 7, 7), np.float32))(there, path)
    arguments = ["convert", str(path), "--model", str(there / "net.py"), "--in-channels", "3"]
    assert main([*arguments, "-o", str(tmp_path / "out.safetensors")]) == 2
    assert "'encoder.conv1.weight' is 8x0x7x7 in the checkpoint" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("name", ["out.safetensors", "out.pt", "out.weights.h5", "out.keras"])
def test_a_full_disk(name, there, tmp_path, capsys, monkeypatch):
    """Known before where the system tells; else as the libraries tell it while they write."""
    good = "good.keras" if name.endswith(("h5", "keras")) else "good.safetensors"
    arguments = ["convert", str(there / good), "--model", str(there / "net.py")]
    arguments += ["-o", str(tmp_path / name)]
    if name.endswith(("safetensors", "pt")):
        kept = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, kept[1]))
        try:
            assert main(arguments) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        assert "error: cannot write: " in capsys.readouterr().err
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=60_000))
    assert main(arguments) == 2
    assert "error: the disk is full: " in capsys.readouterr().err
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["a" * 240 + ".safetensors", "\u00e9" * 122 + ".keras"])
def test_a_name_as_long_as_a_disk_takes(name, there, tmp_path):
    convert(there / "good.safetensors", tmp_path / name, str(there / "net.py"))
    assert os.listdir(tmp_path) == [name]
