"""Published checkpoints: every name of a layout has its place, and the numbers hold."""

import json
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import compiler
from compiler import layouts
from compiler.options import BY_NAME
from compiler.weights import convert
from tests.harness import constructor, ledger_of, ledger_shapes

ORACLE = json.loads((Path(__file__).parent / "oracle" / "timm_layouts.json").read_text())["models"]
MODELS = {  # timm's name -> ours, layout, dialect
    "seresnet50": ("seresnet50", "timm", "timm"),
    "seresnext50_32x4d": ("seresnext50", "timm", "timm"),
    "resnet50": ("resnet50", "torchvision", "torchvision"),
    "resnet50d": ("resnet50vd", "timm", "timm"),
    "resnext50_32x4d": ("resnext50", "torchvision", "torchvision"),
    "legacy_seresnet50": ("seresnet50", "cadene", "cadene"),
    "legacy_seresnext50_32x4d": ("seresnext50", "cadene", "cadene"),
}
PLAIN = tuple(name for name, (encoder, _, _) in MODELS.items() if not encoder.startswith("se"))
DIALECTS = "dialect" in BY_NAME


def weight(name, shape):
    """The tensor that the oracle's README makes of a name."""
    g = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        value = g.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        value = 0.1 * g.standard_normal(shape)
    else:
        value = g.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return value.astype(np.float32)


def published(name):
    """The checkpoint of one of timm's models, as the oracle makes it."""
    return {key: weight(key, shape) for key, shape in ORACLE[name]["keys"]}


def in_dialect(monkeypatch, dialect):
    """Options for a dialect; until there are any, it is only pretended to the layouts."""
    if DIALECTS:
        return {"dialect": dialect}
    monkeypatch.setattr(layouts, "dialect_of", lambda model: dialect)
    return {}


def logits(path, encoder, target, x, **options):
    """The emitted model's, with the weights in a file, for an image with channels first."""
    model = constructor(compiler.emit(encoder, target=target, **options))
    if target == "torch":
        model = model().eval()
        model.load_state_dict({n: torch.from_numpy(v) for n, v in load_file(path).items()})
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()
    model = model(input_shape=(None, None, 3))
    model.load_weights(path)
    return keras.ops.convert_to_numpy(model(np.moveaxis(x, 1, -1), training=False))


@pytest.mark.parametrize("name", MODELS)
def test_every_name_has_its_place(name, tmp_path, monkeypatch):
    encoder, layout, dialect = MODELS[name]
    options = in_dialect(monkeypatch, dialect)
    state = published(name)
    save_file(state, tmp_path / "in.safetensors")
    out = tmp_path / "out.safetensors"
    done = convert(tmp_path / "in.safetensors", out, encoder, layout=layout, **options)
    assert not done.notes
    ours = load_file(out)
    counters = [n for n in ours if n.endswith("num_batches_tracked")]
    assert {n: v.shape for n, v in ours.items() if n not in counters} == ledger_shapes(
        ledger_of(encoder, **options)
    )
    assert len(ours) == len(state)
    total = sum(v.astype(np.float64).sum() for v in state.values())  # each once, none twice
    assert np.isclose(sum(v.astype(np.float64).sum() for v in ours.values()), total)


@pytest.mark.parametrize("target", ["torch", "keras"])
@pytest.mark.parametrize("name", MODELS if DIALECTS else PLAIN)
def test_recorded_logits(name, target, tmp_path):
    encoder, layout, dialect = MODELS[name]
    options = {"dialect": dialect} if DIALECTS else {}
    save_file(published(name), tmp_path / "in.safetensors")
    out = tmp_path / {"torch": "w.safetensors", "keras": "w.weights.h5"}[target]
    convert(tmp_path / "in.safetensors", out, encoder, layout=layout, **options)
    for run in ORACLE[name]["runs"]:
        x = np.random.default_rng(0).standard_normal(run["input_shape"]).astype(np.float32)
        found = logits(out, encoder, target, x, **options)[0, :32]
        wanted = np.array(run["logits_first_32"])
        assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()
