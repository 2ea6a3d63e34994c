"""Checkpoints that ask for work without end: an error, within seconds and little memory."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from compiler.errors import CompileError
from compiler.limits import Limit
from compiler.weights.formats import open_checkpoint

ROOT = Path(__file__).parents[1]
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".keras", ".weights.h5")
CHILD = """
import resource, sys, time
import numpy, torch, h5py, safetensors.numpy
from compiler.errors import CompileError
from compiler import convert
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
for path in sys.argv[2:]:
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        convert(path, path + ".out.safetensors", sys.argv[1])
        print("no error")
    except CompileError as error:
        print(str(error).replace("\\n", " ")[:2000])
    took, grew = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert took < 15, (path, took)
    assert grew - before < 2**20, (path, grew)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    from compiler import emit

    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(emit("resnet18", target="torch", input_shape=(32, 32, 3), num_classes=2))
    return path


def said(net, *paths):
    """What `convert` says of each file, in one process of 2 GB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(net), *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths) and all(len(line) < 1000 for line in lines)
    return lines


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensors(count):
    """As many empty tensors of one storage, by name."""
    content = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x01ctorch\nFloatStorage\nq\x02"
    content += b"ccollections\nOrderedDict\nq\x03"
    content += text("storage") + b"q\x04" + text("0") + b"q\x05" + text("cpu") + b"q\x06}"
    tensor = b"h\x01((h\x04h\x02h\x05h\x06K\x00tQK\x00K\x00\x85K\x01\x85\x89h\x03)RtRs"
    return content + b"".join(text(f"{i:07}") + tensor for i in range(count)) + b"."


PICKLES = {  # name: a pickle, the row of the table that it meets
    "shared tuples": (b"}" + b")q\x01" + b"h\x01h\x01\x86q\x01" * 5_500 + b"h\x01Ns.", "steps"),
    "nested in turn": (b"]q\x01" + b"]q\x02h\x01a" * 100 + b".", "no state dict"),
    "nested marks": (b"(" * 30_000_000 + b".", "64 levels"),
    "nested tuples": (b"N" + b"\x85" * 30_000_000 + b".", "64 levels"),
    "lists side by side": (b"]" * 30_000_000 + b".", "steps"),
    "one key again and again": (
        b"}(" + b"N" * 900 + b"tq\x01" + b"Ns" + b"h\x01Ns" * 10**6 + b".",
        "steps",
    ),
    "one list into many sets": (
        b"](" + b"N" * 10**6 + b"eq\x01c__builtin__\nset\nq\x02" + b"h\x02h\x01\x85R" * 10**5,
        "steps",
    ),
    "a long text": (text("a" * (65 << 20)) + b".", "64 MiB"),
    "a text longer than the file": (b"X\xff\xff\xff\xff" + b"a" * 100, "64 MiB"),
    "memory": (b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R.", "it calls 'torch.Tensor'"),
    "memory of a tensor that is built": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nctorch\nTensor\n"
        b"J\xff\xff\xff\x7f\x85NtR.",
        "in a way that no state dict needs",
    ),
    "tensors": (tensors(1_000_000)[2:], "100,000 tensors"),
}


def test_pickles(net, tmp_path):
    """By themselves, as the older format has them, and in an archive."""
    wanted, paths = [], []
    for number, (content, message) in enumerate(PICKLES.values()):
        kinds = ["bare", "archive"]
        for kind in kinds if len(content) < 10**6 else kinds[number % 2 :][:1]:
            path = tmp_path / f"{number}_{kind}.pt"
            if kind == "bare":
                path.write_bytes(b"\x80\x02" + content)
            else:
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("x/data.pkl", b"\x80\x02" + content)
                    archive.writestr("x/data/0", b"")
            paths.append(path)
            wanted.append(message)
    for path, line, message in zip(paths, said(net, *paths), wanted, strict=True):
        found = message in line or (message == "no state dict" and "not a readable" in line)
        assert found, (path, line)


def test_what_is_within_the_limits_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", tensors(5))
        archive.writestr("x/data/0", b"")
        archive.writestr("x/version", b"3\n")
    with open_checkpoint(tmp_path / "x.pt") as checkpoint:
        assert [t.shape for t in checkpoint.tensors.values()] == [(0,)] * 5


def test_wrappers_without_end(net, tmp_path):
    state = {"a": torch.zeros(1)}
    for _ in range(30):  # 3 ** 30 ways to the last, which is no state dict
        state = {"state_dict": state, "model": state, "model_state_dict": state, "n": 1}
    state["state_dict"]["n"] = 2
    broken = {"n": 1}
    for _ in range(30):
        broken = {"state_dict": broken, "model": broken, "model_state_dict": broken}
    own = {"n": 1}
    own["model"] = own
    for number, content in enumerate((state, broken, own)):
        torch.save(content, tmp_path / f"{number}.pt")
    for line in said(net, *(tmp_path / f"{number}.pt" for number in range(3))):
        assert "it contains no state dict" in line


def header(count, name="{:07}"):
    entry = '"%s":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    content = "{" + ",".join(entry % name.format(i) for i in range(count)) + "}"
    return struct.pack("<Q", len(content)) + content.encode()


def test_headers_of_safetensors(net, tmp_path):
    wide = json.dumps({"a": {"dtype": "F32", "shape": [2**62] * 10**5, "data_offsets": [0, 0]}})
    digits = '{"a":{"dtype":"F32","shape":[' + "9" * 10**7 + '],"data_offsets":[0,0]}}'
    deep = "[" * 3 * 10**7
    cases = {
        "tensors": (header(100_001), "at most 100,000 tensors"),
        "more tensors": (header(600_000), "at most 32 MiB"),
        "axes": (struct.pack("<Q", len(wide)) + wide.encode(), "is not described by"),
        "digits": (struct.pack("<Q", len(digits)) + digits.encode(), "it is not JSON"),
        "depth": (struct.pack("<Q", len(deep)) + deep.encode(), "it is not JSON"),
    }
    paths = [tmp_path / f"{name}.safetensors" for name in cases]
    for path, (content, _) in zip(paths, cases.values()):
        path.write_bytes(content)
    for line, (_, message) in zip(said(net, *paths), cases.values(), strict=True):
        assert message in line


def directory(count, claim=None):
    """An archive's list of parts and its end, of no part at all."""
    part = struct.pack("<4s6H3L5H2L", b"PK\1\2", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    listed = (part + b"a") * count
    long = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(listed), 0
    ) + struct.pack("<4sLQL", b"PK\6\7", 0, len(listed), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    if claim is not None:
        long, end = b"", struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, claim, 0, 0)
    return listed + long + end


def test_parts_of_archives(net, tmp_path):
    cases = {
        "parts": (directory(100_001), "at most 100,000 tensors"),
        "more parts": (directory(1_000_000), "at most 32 MiB"),
        "behind a part": (b"PK\3\4" + directory(1_000_000), "at most 32 MiB"),
        "a claim": (directory(1, claim=2**31), "at most 32 MiB"),
    }
    paths = []
    for name, (content, _) in cases.items():
        for suffix in (".pt", ".keras"):
            paths.append(tmp_path / f"{name}{suffix}")
            paths[-1].write_bytes(content)
    messages = [message for _, message in cases.values() for _ in range(2)]
    for line, message in zip(said(net, *paths), messages, strict=True):
        assert message in line


def read_names(path):
    with open_checkpoint(path) as checkpoint:
        return list(checkpoint.tensors)


def test_groups_and_tensors_of_h5(tmp_path, monkeypatch):
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        for i in range(4):
            group = file.create_group(f"layers/dense_{i}/vars")
            group.attrs["name"] = f"dense_{i}"
            group["0"] = np.zeros(1, np.float32)
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == 4
    rows = {"CHECKPOINT_ENTRIES": 3, "H5_GROUPS": 5}
    for row, largest in rows.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"compiler.weights.keras_files.{row}", Limit(largest, "The row."))
            with pytest.raises(CompileError, match=f"is {largest + 1}, above the limit of"):
                read_names(path)


def test_what_has_no_end_or_no_content(net, tmp_path):
    cases = {}
    for suffix in SUFFIXES:
        for name, make, message in (
            ("zero", lambda p: p.symlink_to("/dev/zero"), "it is not a regular file"),
            ("pipe", os.mkfifo, "it is not a regular file"),
            ("folder", Path.mkdir, "it is a folder, not a checkpoint"),
            ("sparse", lambda p: p.touch() or os.truncate(p, 20 << 30), "error: "),
            ("loop", lambda p: p.symlink_to(p), "cannot read it: Too many levels"),
        ):
            path = tmp_path / (name + suffix)
            make(path)
            cases[path] = message
    for line, (path, message) in zip(said(net, *cases), cases.items(), strict=True):
        assert message in line and line != "no error", (path, line)
