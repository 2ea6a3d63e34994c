"""Damaged checkpoints: an error, or the weights that were saved, and never others."""

import io
import json
import pickle
import pickletools
import random
import struct
import zipfile

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from compiler.errors import CompileError
from compiler.weights.formats import open_checkpoint

LEGACY = {"_use_new_zipfile_serialization": False}


def weights():
    draw = np.random.default_rng(0)
    shapes = {"a.weight": (6, 3, 3), "a.bias": (6,), "b.weight": (2, 6), "b.bias": (2,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def read(path):
    with open_checkpoint(path) as checkpoint:
        return {name: np.array(tensor.load()) for name, tensor in checkpoint.tensors.items()}


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


def tensors():
    return {name: torch.from_numpy(value) for name, value in weights().items()}


def split(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(change):
    """A change of the entry of one tensor."""

    def write(path):
        header, data = split(path)
        change(header["a.weight"])
        joined(path, header, data)

    return write


def raw(change):
    """A change of the header as text."""

    def write(path):
        header, data = split(path)
        joined(path, change(json.dumps(header).encode()), data)

    return write


def swap_ends(header):
    a, b = header["a.weight"], header["a.bias"]
    a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]


def share(header):
    header["b.bias"]["data_offsets"] = [0, 8]


def whole(change):
    def write(path):
        header, data = split(path)
        change(header)
        joined(path, header, data)

    return write


HEADERS = {
    "a length of zero": (lambda p: p.write_bytes(bytes(100)), "declares a header of 0 bytes"),
    "a length behind the end": (
        lambda p: p.write_bytes(b"\xff" * 7 + b"\x00{}"),
        "declares a header of 72,057,594,037,927,935 bytes, but the file has 10",
    ),
    "no JSON": (raw(lambda text: text[:-1]), "its header cannot be read: it is not JSON"),
    "nested": (raw(lambda text: b"[" * 100_000), "its header cannot be read: it is not JSON"),
    "a list": (raw(lambda text: b"[]"), "its header is not a JSON object"),
    "twice": (
        raw(lambda text: text.replace(b'"a.bias"', b'"b.bias"')),
        "two tensors share a name",
    ),
    "a longer shape": (
        entry(lambda e: e.update(shape=[7, 3, 3])),
        "but its shape and dtype need 252",
    ),
    "another type": (
        entry(lambda e: e.update(dtype="F16")),
        "has 216 bytes, but its shape and dtype",
    ),
    "an unknown type": (entry(lambda e: e.update(dtype="F31")), "has the unknown dtype 'F31'"),
    "a negative shape": (entry(lambda e: e.update(shape=[-6, -3, 3])), "is not described by"),
    "a huge shape": (entry(lambda e: e.update(shape=[2**62] * 3)), "but its shape and dtype need "),
    "a shape of text": (entry(lambda e: e.update(shape=["6", 3, 3])), "is not described by"),
    "a shape of yes": (entry(lambda e: e.update(shape=[True, 18, 3])), "is not described by"),
    "no offsets": (entry(lambda e: e.pop("data_offsets")), "is not described by"),
    "backwards": (
        entry(lambda e: e["data_offsets"].reverse()),
        "ends at byte 24, before it begins at 240",
    ),
    "overlapping": (whole(share), "the one before it"),
    "exchanged": (whole(swap_ends), "bytes, but its shape and dtype need"),
    "a gap": (
        lambda p: joined(p, {"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"ab"),
        "the tensor 'a' leaves a gap before it",
    ),
    "bytes behind": (lambda p: p.write_bytes(p.read_bytes() + b"x"), "it has 297"),
    "bytes missing": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "it has 295"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_does_not_fit(case, tmp_path):
    change, message = HEADERS[case]
    path = tmp_path / "x.safetensors"
    save_file(weights(), path)
    change(path)
    with pytest.raises(CompileError) as caught:
        read(path)
    assert message in str(caught.value) and len(str(caught.value)) < 500


def pickled(path):
    """The bytes of a file that say what its tensors are."""
    if path.suffix == ".safetensors":
        return range(8 + struct.unpack("<Q", path.read_bytes()[:8])[0])
    content = path.read_bytes()
    return range(content.rindex(b"]q") + 40)  # up to the list of the storages, about


WRITERS = {
    "x.safetensors": lambda path: save_file(weights(), path),
    "legacy.pt": lambda path: torch.save(tensors(), path, **LEGACY),
}


@pytest.mark.parametrize("name", WRITERS)
def test_mutations_of_what_describes_the_tensors(name, tmp_path):
    """Neither format has checksums: a changed bit in a name is another name, and one in a stride
    another view. But what is read is what was saved of one tensor, and nothing from beside it.
    """
    path, draw = tmp_path / name, random.Random(0)
    WRITERS[name](path)
    good, refused = path.read_bytes(), 0
    for place in draw.sample(pickled(path), 150):
        content = bytearray(good)
        content[place] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            found = read(path)
        except CompileError as error:
            refused += 1
            assert "Traceback" not in str(error)
            continue
        assert len(found) == 4
        for value in found.values():
            assert any(np.isin(value, v).all() for v in weights().values()), place
    assert refused > 30


def renamed(content, change):
    """A legacy file with its list of storages changed."""
    stream = io.BytesIO(content)
    for _ in range(4):  # the magic number, the protocol, the system, the tensors
        list(pickletools.genops(stream))

    start = stream.tell()
    keys = pickle.load(stream)
    return content[:start] + pickle.dumps(change(keys), 2) + content[stream.tell() :]


def storages(change):
    def write(path):
        path.write_bytes(renamed(path.read_bytes(), change))

    return write


def shorter(path):
    path.write_bytes(path.read_bytes()[:-20])


def smaller(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<q", 54), struct.pack("<q", 50)))


def claimed(count):
    def write(path):
        content = path.read_bytes()
        assert content.count(b"K6Nt") == 1
        path.write_bytes(content.replace(b"K6Nt", b"J" + struct.pack("<i", count) + b"Nt"))

    return write


def torn(path, before, after):
    content = path.read_bytes()
    assert content.count(before) >= 1
    path.write_bytes(content.replace(before, after, 1))


STORAGES = {
    "cut": (shorter, "bytes, but its tensors need "),
    "a storage said shorter": (smaller, "has 200 bytes, but its tensors need 216"),
    "a storage said longer": (
        claimed(1 << 30),
        "has 216 bytes, but its tensors need 4,294,967,296",
    ),
    "a storage said negative": (claimed(-1), "refers to something other than a storage"),
    "a storage that is not listed": (storages(lambda keys: keys[1:]), "list of storages"),
    "a storage that is listed twice": (
        storages(lambda keys: [keys[0], *keys[:-1]]),
        "list of storages",
    ),
    "a storage too many": (storages(lambda keys: [*keys, "1"]), "list of storages"),
    "a shape above the storage": (
        lambda path: torn(path, b"K\x06K\x03K\x03\x87", b"K\x09K\x03K\x03\x87"),
        "its tensors need ",
    ),
    "a stride above the storage": (
        lambda path: torn(path, b"K\tK\x03K\x01\x87", b"K\x1bK\x03K\x01\x87"),
        "its tensors need ",
    ),
    "an offset behind the storage": (
        lambda path: torn(path, b"QK\x00K\x06K\x03", b"QK\x01K\x06K\x03"),
        "its tensors need ",
    ),
    "no list": (storages(lambda keys: 3), "list of storages"),
}


@pytest.mark.parametrize("case", STORAGES)
def test_storages_of_the_legacy_format(case, tmp_path):
    change, message = STORAGES[case]
    path = tmp_path / "x.pt"
    torch.save(tensors(), path, **LEGACY)
    assert same(read(path), weights())
    change(path)
    with pytest.raises(CompileError) as caught:
        read(path)
    assert message in str(caught.value)


def test_files_without_checksums_are_read_with_a_note(tmp_path):
    path = tmp_path / "x.pt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensors(), path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read(path), weights())
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.notes == [
            "the file has no checksums, so damaged values would go unnoticed"
        ]


def test_checkpoints_of_every_day_are_read(tmp_path):
    """What optimizers, parameters, views and types of other kinds put into a pickle."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(net.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    net(torch.zeros(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    whole = {
        "epoch": 3,
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "best": 0.5,
        "seen": {1, 2},
        "rng": torch.get_rng_state(),
    }
    parameters = {name: torch.nn.Parameter(value) for name, value in tensors().items()}
    marked = tensors()
    marked["a.bias"].note = "kept"
    storage = torch.arange(20, dtype=torch.float32)
    views = {"a": storage[2:8].view(2, 3), "b": storage[::2], "c": storage[:4].bfloat16()}
    for how in ({}, LEGACY):
        path = tmp_path / "x.pt"
        torch.save(whole, path, **how)
        found = read(path)
        assert same(found, {k: v.numpy() for k, v in net.state_dict().items()})
        for content in (parameters, marked):
            torch.save(content, path, **how)
            assert same(read(path), weights())
        torch.save(views, path, **how)
        found = read(path)
        assert all(np.array_equal(found[k].astype("f"), v.float()) for k, v in views.items())
    path = tmp_path / "p.pt"
    torch.save(tensors(), path, pickle_protocol=3)
    assert same(read(path), weights())


def test_archives_that_libraries_read_differently(tmp_path):
    def write(change):
        torch.save(tensors(), tmp_path / "good.pt")
        good, bad = tmp_path / "good.pt", tmp_path / "x.pt"
        with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
            for part in old.infolist():
                for name in change(part.filename):
                    new.writestr(name, old.read(part))
        with pytest.raises(CompileError) as caught:
            read(tmp_path / "x.pt")
        return str(caught.value)

    capitals = write(lambda name: [name, *([name.upper()] if name.endswith("data.pkl") else [])])
    assert "two parts of the archive share a name" in capitals
    assert "where `torch.save` puts it" in write(lambda name: [name, f"other/{name}"])
    assert "where `torch.save` puts it" in write(lambda name: [name.partition("/")[2]])
    program = write(
        lambda name: [name, name.replace("data.pkl", "constants.pkl")][: 1 + name.endswith("l")]
    )
    assert "it is a TorchScript program" in program


def layer(path, make, name="dense"):
    """A file of Keras with one layer, whose weight `make` puts into a group."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        if name is not None:
            group.attrs["name"] = name
        make(group)
    return path


def of(dtype, **how):
    return lambda group: group.create_dataset("0", (2, 3), dtype, **how)


def reference(kind):
    def make(group):
        group.create_dataset("0", (2,), kind)[0] = (
            group.ref if kind is h5py.ref_dtype else group.create_dataset("1", (3,)).regionref[:2]
        )

    return make


ODD = {
    "text": of(h5py.string_dtype()),
    "short text": of("S5"),
    "a record": of([("a", "f4"), ("b", "i4")]),
    "opaque": of(h5py.opaque_dtype("M8[s]")),
    "void": of("V2"),
    "void that says float": lambda g: of("V2")(g).attrs.update({"dtype": "float32"}),
    "references": reference(h5py.ref_dtype),
    "references to regions": reference(h5py.regionref_dtype),
    "an enumeration": of(h5py.enum_dtype({"a": 0, "b": 1})),
    "yes and no": of("bool"),
    "lists": of(h5py.vlen_dtype("f4")),
    "long floats": of("f16"),
    "complex numbers": of("c8"),
    "whole numbers": of("i8"),
    "whole numbers, other order": of(">u4"),
    "small arrays": of(("f4", (3,))),
    "nothing": lambda group: group.create_dataset("0", data=h5py.Empty("f4")),
}


@pytest.mark.parametrize("case", ODD)
def test_a_dataset_of_an_odd_type(case, tmp_path):
    path = layer(tmp_path / "x.weights.h5", ODD[case])
    with pytest.raises(CompileError) as caught:
        read(path)
    assert "the tensor 'dense/0' is " in str(caught.value)


def test_floats_in_the_other_order_of_bytes(tmp_path):
    value = weights()["b.weight"]
    for kind in (">f4", ">f8", "<f4"):
        path = layer(tmp_path / "x.weights.h5", of(kind))
        with h5py.File(path, "r+") as file:
            file["layers/dense/vars/0"][()] = value.reshape(-1)[:6].reshape(2, 3)
        found = read(path)["dense/0"]
        assert found.dtype.isnative
        assert np.array_equal(found, value.reshape(-1)[:6].reshape(2, 3))


def test_weights_of_a_group_without_a_name(tmp_path):
    for name in (None, ""):
        path = layer(tmp_path / "x.weights.h5", of("f4"), name)
        with pytest.raises(
            CompileError, match="group '/layers/dense' has weights, but no layer name"
        ):
            read(path)
