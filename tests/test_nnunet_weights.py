"""nnU-Net's checkpoints: read into both frameworks, written back, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from safetensors.numpy import load_file

import compiler
from compiler.commands.cli import main
from compiler.emitter import source
from compiler.errors import CompileError
from compiler.nnunet.documents import Table
from compiler.nnunet.network import model_of
from compiler.nnunet.plans import architecture, configuration
from compiler.verify.doubles import floating

from .harness import constructor
from .nnunet import ORACLE, recorded, worst_of

TINY = ORACLE / "tiny_checkpoint"
EXPECTED = json.loads((TINY / "expected.json").read_text())
IMAGE = np.random.default_rng(0).standard_normal(EXPECTED["input_shape"]).astype(np.float32)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """What nnU-Net saved, read by PyTorch."""
    saved = torch.load(TINY / "checkpoint_final.pth", weights_only=False)
    return saved["network_weights"]


def tiny(**options):
    plans = json.loads((TINY / "plans.json").read_text())
    found = configuration(Table(plans, "plans.json"), EXPECTED["configuration"])
    made = architecture(found, EXPECTED["input_channels"], EXPECTED["num_classes"])
    made = replace(made, deep_supervision=options.pop("heads", True))
    return model_of(made, tuple(EXPECTED["input_shape"][2:]), **options)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint, and the files of both targets."""
    shutil.copy(TINY / "checkpoint_final.pth", tmp_path / "checkpoint.pth")
    for target in ("torch", "keras"):
        (tmp_path / f"{target}.py").write_text(source(tiny(deep_supervision=True), target))
    return tmp_path


def converted(folder, origin="checkpoint.pth", name="w.safetensors", model="torch.py", **options):
    options = {"layout": "nnunet", **options}
    return compiler.convert(folder / origin, folder / name, folder / model, **options)


@pytest.mark.parametrize("upside_down", [False, True])
def test_outputs_of_a_checkpoint_in_torch(folder, upside_down):
    """Two lower heads take the same channels: the wrong one is seen in the numbers only."""
    done = converted(folder)
    assert done.tensors == len(EXPECTED["canonical_keys"])
    text = (folder / "torch.py").read_text()
    if upside_down:
        assert "enumerate(self.aux_heads," in text
        text = text.replace("enumerate(self.aux_heads,", "enumerate(self.aux_heads[::-1],")
    network = constructor(text)()
    state = {n: torch.from_numpy(v) for n, v in load_file(done.path).items()}
    network.load_state_dict(state)
    assert sum(p.numel() for p in network.parameters()) == EXPECTED["parameters"]
    with torch.no_grad():
        outputs = network.double()(torch.from_numpy(IMAGE).double())
    worst = worst_of([output.numpy() for output in outputs], EXPECTED["outputs"])
    assert 1e-3 < worst < float("inf") if upside_down else worst <= 1e-6


def test_the_readme_goes_from_a_checkpoint_to_onnx(tmp_path, monkeypatch):
    """Its four lines, at the size of this checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fold_0").mkdir()
    shutil.copy(TINY / "checkpoint_final.pth", "fold_0")
    readme = (ORACLE.parents[2] / "README.md").read_text()
    found = re.search(r"```sh\n([^`]*fold_0[^`]*)```\n\n```py\n([^`]*)```", readme)
    assert found and "".join(found.groups()).count("\n") == 4
    for line in found[1].splitlines():
        assert main(shlex.split(line)[1:]) == 0
    code, count = re.subn(r"torch.zeros\(.*?\)", "patches", found[2])
    assert count == 1
    network = constructor(Path("net.py").read_text())
    names = {"torch": torch, "safetensors": safetensors, network.__name__: network}
    exec(code, names | {"patches": torch.zeros(2, *IMAGE.shape[1:])})
    session = onnxruntime.InferenceSession("net.onnx")
    (entry,) = [each.name for each in session.get_inputs()]
    for count in (1, 3):  # patches in a batch
        (logits,) = session.run(None, {entry: np.tile(IMAGE, (count, 1, 1, 1, 1))})
        assert worst_of([logits[-1:]], EXPECTED["outputs"][:1]) <= 1e-4


def test_outputs_of_a_checkpoint_in_keras(folder):
    done = converted(folder, name="w.weights.h5", model="keras.py")
    with floating("float64"):
        network = constructor((folder / "keras.py").read_text())()
        network.load_weights(done.path)
        outputs = network.training_model(np.moveaxis(IMAGE, 1, -1).astype("float64"))
        arrays = [np.moveaxis(keras.ops.convert_to_numpy(y), -1, 1) for y in outputs]
    assert worst_of(arrays, EXPECTED["outputs"]) <= 1e-6


def test_there_and_back_is_the_same_file(folder, weights):
    """From torch to Keras to torch to nnU-Net, every name and every bit."""
    converted(folder, name="w.weights.h5", model="keras.py")
    converted(folder, "w.weights.h5", "back.safetensors", layout=None)
    converted(folder, "back.safetensors", "back.pth", layout=None, to="nnunet")
    back = torch.load(folder / "back.pth", weights_only=True)["network_weights"]
    assert back.keys() == weights.keys() and len(back) == EXPECTED["all_keys"]
    for name, value in weights.items():
        assert value.numpy().tobytes() == back[name].numpy().tobytes(), name
    pointers = {value.data_ptr() for value in back.values()}
    assert len(pointers) == len(EXPECTED["canonical_keys"])  # aliases share a storage


def test_lower_heads_in_keras_are_those_of_the_training_model(folder):
    """A model holds no layer that makes none of its outputs."""
    lower, supervised = (source(tiny(deep_supervision=s), "keras") for s in (False, True))
    assert lower.partition("# Written")[0] == supervised.partition("# Written")[0]
    (folder / "lower.py").write_text(lower)
    done = converted(folder, name="w.weights.h5", model="lower.py")
    assert done.tensors == len(EXPECTED["canonical_keys"])


def test_lower_heads_are_there_if_they_are_kept(folder):
    """Without deep supervision the state dict is the same; without the heads they are omitted."""
    supervised = constructor((folder / "torch.py").read_text())()
    text = source(tiny(), "torch")
    assert "nothing here calls them" in text
    kept = constructor(text)()
    assert kept.state_dict().keys() == supervised.state_dict().keys()
    (folder / "kept.py").write_text(text)
    kept.load_state_dict(torch.load(converted(folder, name="k.pth", model="kept.py").path))
    (folder / "last.py").write_text(source(tiny(heads=False), "torch"))
    done = converted(folder, name="l.pth", model="last.py")
    (note,) = (note for note in done.notes if "aux_heads" in note)
    assert note.startswith("omitted aux_heads, which the model does not have (4 tensors)")
    assert "--lower-heads" in note
    last = constructor((folder / "last.py").read_text())()
    last.load_state_dict(torch.load(done.path))
    x = torch.from_numpy(IMAGE)
    with torch.no_grad():
        outputs = [network.eval()(x) for network in (kept, last)]
        assert torch.equal(*outputs) and torch.equal(kept.train()(x), outputs[0])
    with pytest.raises(CompileError, match="has no heads for the coarser stages"):
        converted(folder, "l.pth", "b.pth", "last.py", layout=None, to="nnunet")
    assert not (folder / "b.pth").exists()


def test_names_of_one_tensor_agree(folder, weights):
    name = "decoder.encoder.stages.1.blocks.0.conv1.all_modules.1.bias"
    changed = dict(weights)
    changed[name] = weights[name] + 1
    torch.save(changed, folder / "averaged.pth")
    with pytest.raises(CompileError, match="are the same weight, but differ") as error:
        converted(folder, "averaged.pth")
    assert "'encoder.stages.1.blocks.0.conv1.norm.bias' and" in str(error.value)
    changed[name] = weights[name].clone()  # unshared, but the same
    torch.save(changed, folder / "averaged.pth")
    assert converted(folder, "averaged.pth").tensors == len(EXPECTED["canonical_keys"])


def test_a_missing_bias_is_seen_by_its_name(folder):
    """Before an instance norm it changes no output, so that no number can tell."""
    made = replace(recorded("resenc_3d_kernel1_stride2"), conv_bias=False)
    (folder / "unbiased.py").write_text(source(model_of(made), "torch"))
    with pytest.raises(CompileError, match=r"unexpected tensor '.*\.bias'"):
        converted(folder, model="unbiased.py")


def test_gates_of_volumes_are_refused(folder):
    """In 3D the library's gates average over two axes, ours over all: shapes prove nothing."""
    (folder / "gated.py").write_text(source(model_of(recorded("se_encoder_3d")), "torch"))
    with pytest.raises(CompileError, match="average over two axes of three"):
        converted(folder, model="gated.py")


def test_other_decoders_take_the_encoder(folder):
    encoder = tiny().encoder
    options = {"segmentor": "unet", "dims": 3, "input_shape": (16, 48, 48, 2), "encoder_depth": 4}
    done = compiler.convert(
        folder / "checkpoint.pth", folder / "w.pth", encoder, layout="nnunet", **options
    )
    assert any("omitted another network's decoder" in note for note in done.notes)
    network = constructor(compiler.emit(encoder, target="torch", **options))()
    network.load_state_dict(torch.load(done.path))
