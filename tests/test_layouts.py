"""Published checkpoints: every name of a layout has its place, and the numbers hold."""

import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import compiler
from compiler import convert
from compiler.api import traced
from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.passes.validate import resolve
from compiler.weights import layouts
from compiler.weights.keras_variables import weight_axes
from compiler.weights.naming import places_of
from compiler.weights.patterns import names_by_role
from tests.harness import constructor, ledger_of, ledger_shapes, tiny
from tests.sampling import by_kind
from tests.undrawn import undrawn

ORACLE = {}
for file in ("timm_layouts.json", "timm_legacy34.json"):
    ORACLE |= json.loads((Path(__file__).parent / "oracle" / file).read_text())["models"]
MODELS = {  # timm's name -> ours, layout, dialect
    "seresnet50": ("seresnet50", "timm", "timm"),
    "seresnext50_32x4d": ("seresnext50", "timm", "timm"),
    "resnet50": ("resnet50", "torchvision", "torchvision"),
    "resnet50d": ("resnet50vd", "timm", "timm"),
    "resnext50_32x4d": ("resnext50", "torchvision", "torchvision"),
    "legacy_seresnet34": ("seresnet34", "cadene", "cadene"),
    "legacy_seresnet50": ("seresnet50", "cadene", "cadene"),
    "legacy_seresnext50_32x4d": ("seresnext50", "cadene", "cadene"),
}


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


def logits(path, encoder, target, x, **options):
    """The emitted model's, with the weights in a file, for an image with channels first."""
    model = constructor(compiler.emit(encoder, target=target, **options))
    if target == "torch":
        with undrawn():
            model = model().eval()
        model.load_state_dict({n: torch.from_numpy(v) for n, v in load_file(path).items()})
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()
    with undrawn():
        model = model(input_shape=(*(None,) * (x.ndim - 2), x.shape[1]))
    model.load_weights(path)
    return keras.ops.convert_to_numpy(model(np.moveaxis(x, 1, -1), training=False))


@pytest.mark.parametrize("name", MODELS)
def test_every_name_has_its_place(name, tmp_path):
    encoder, layout, dialect = MODELS[name]
    options = {"dialect": dialect}
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


@pytest.mark.parametrize(
    ("name", "target"),
    by_kind(  # every checkpoint in PyTorch, every layout in Keras
        [(name, target) for target in ("torch", "keras") for name in MODELS],
        kind=lambda name, target: name if target == "torch" else MODELS[name][1:],
    ),
)
def test_recorded_logits(name, target, tmp_path):
    encoder, layout, dialect = MODELS[name]
    options = {"dialect": dialect}
    save_file(published(name), tmp_path / "in.safetensors")
    out = tmp_path / {"torch": "w.safetensors", "keras": "w.weights.h5"}[target]
    convert(tmp_path / "in.safetensors", out, encoder, layout=layout, **options)
    for run in ORACLE[name]["runs"]:
        x = np.random.default_rng(0).standard_normal(run["input_shape"]).astype(np.float32)
        found = logits(out, encoder, target, x, **options)[0, :32]
        wanted = np.array(run["logits_first_32"])
        assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()


def head_of(name):
    return name.startswith(("fc.", "last_linear."))


def in_monai(name, value):
    """A Cadene tensor as MONAI has it: its SE weights are those of dense layers."""
    name = re.sub(r"^(layer[1-4]\.\d+)\.bn(\d)\.", r"\1.conv\2.adn.N.", name)
    name = re.sub(r"^(layer[1-4]\.\d+)\.conv(\d)\.weight", r"\1.conv\2.conv.weight", name)
    name = name.replace("downsample.0", "project.conv").replace("downsample.1", "project.adn.N")
    name = name.replace("se_module.fc1", "se_layer.fc.0").replace("se_module.fc2", "se_layer.fc.2")
    return name, value.reshape(value.shape[:2]) if "se_layer" in name else value


OTHER_NAMES = {  # layout: timm's model, how its tensors are called and shaped there
    "monai": ("legacy_seresnext50_32x4d", in_monai),
    "smp": ("legacy_seresnet50", lambda n, v: (None if head_of(n) else f"encoder.{n}", v)),
    "smp, plain": ("resnext50_32x4d", lambda n, v: (None if head_of(n) else f"encoder.{n}", v)),
    "smp, tu-": ("seresnet50", lambda n, v: (None if head_of(n) else f"encoder.model.{n}", v)),
}


@pytest.mark.parametrize("case", OTHER_NAMES)
def test_other_names_of_the_same(case, tmp_path):
    """The result is that of timm's names; without a head, it is told that there is none."""
    name, rename = OTHER_NAMES[case]
    encoder, layout, dialect = MODELS[name]
    options = {"num_classes": 1000, "dialect": dialect}
    state = published(name)
    renamed = dict(rename(n, v) for n, v in state.items())
    renamed.pop(None, None)
    other = case.split(",")[0]
    if other == "smp":
        renamed["decoder.blocks.0.conv1.0.weight"] = np.zeros((256, 3072, 3, 3), np.float32)
        renamed["segmentation_head.0.bias"] = np.zeros(1, np.float32)
    save_file(state, tmp_path / "a.safetensors")
    save_file(renamed, tmp_path / "b.safetensors")
    out = [tmp_path / "out_a.safetensors", tmp_path / "out_b.safetensors"]
    convert(tmp_path / "a.safetensors", out[0], encoder, layout=layout, **options)
    done = convert(tmp_path / "b.safetensors", out[1], encoder, layout=other, **options)
    first, second = (load_file(path) for path in out)
    assert first.keys() == second.keys()
    told = "left at initial values: head (2 tensors)"
    assert (told in done.notes) == (other == "smp")
    assert ("omitted another network's decoder (2 tensors)" in done.notes) == (other == "smp")
    for key, value in first.items():
        assert np.array_equal(value, second[key]) or (other == "smp" and key.startswith("head"))


@pytest.mark.parametrize("layout", ["timm", "cadene", "smp", "monai"])
def test_another_dialect_is_refused_by_name(layout, tmp_path):
    """Their tensors fit, shape by shape; the numbers would be off by a third."""
    save_file(published("seresnet50"), tmp_path / "a.safetensors")
    with pytest.raises(CompileError, match="the model has the dialect medicai") as raised:
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "seresnet50", layout=layout)
    hint = "timm" if layout == "timm" else "cadene"
    assert f"--dialect {hint}" in str(raised.value)


@pytest.mark.parametrize(
    ("prefix", "options", "hint"),
    [
        (
            "encoder.model.",
            {"layout": "smp", "dialect": "cadene"},
            "fit the dialect timm: use --dialect timm",
        ),
        ("encoder.model.", {"dialect": "timm"}, "are from smp: use --layout smp"),
        ("", {"layout": "smp", "dialect": "timm"}, "are from timm: use --layout timm"),
    ],
)
def test_names_say_the_layout_without_a_head(prefix, options, hint, tmp_path):
    state = {f"{prefix}{n}": v for n, v in published("seresnet50").items() if not head_of(n)}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CompileError) as raised:
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "seresnet50", **options)
    assert f"hint the names {hint}" in str(raised.value)


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_into_a_3d_segmentor_with_one_channel(target, tmp_path):
    """ImageNet's weights where they are wanted: a 3D UNet on images of one channel."""
    save_file(published("resnet50"), tmp_path / "a.safetensors")
    out = tmp_path / {"torch": "w.safetensors", "keras": "w.weights.h5"}[target]
    options = {"dims": 3, "segmentor": "unet", "in_channels": 1}
    done = convert(
        tmp_path / "a.safetensors",
        out,
        "resnet50",
        layout="torchvision",
        inflate="center",
        **options,
    )
    assert done.notes == (
        "omitted the checkpoint's head, which has 1,000 classes",
        "adapted encoder.conv1.weight from 3 to 1 input channel",
        "inflated 53 kernels from 2D to 3D (center, axis 0)",
        "left at initial values: decoder, head (52 tensors)",
    )
    if target == "torch":
        found = load_file(out)
        stem = published("resnet50")["conv1.weight"].sum(axis=1, keepdims=True)
        assert np.allclose(found["encoder.conv1.weight"][:, :, 3], stem, atol=1e-6)
        assert not found["encoder.conv1.weight"][:, :, :3].any()
        found = {n: torch.from_numpy(v) for n, v in found.items()}
        constructor(compiler.emit("resnet50", target=target, **options))().load_state_dict(found)


@pytest.mark.parametrize("segmentor", ["fpn", "linknet"])
def test_medicai_has_an_encoder_for_them_and_no_decoder(segmentor, tmp_path):
    """Of a decoder that medicai does not have, no tensor is taken for another's."""
    encoder, file = tiny(), tmp_path / "a.weights.h5"
    model = resolve(encoder, {"segmentor": segmentor})
    layout = layouts.variants("medicai", model)[0]
    options = {"segmentor": segmentor, "layout": "medicai"}
    with h5py.File(file, "w") as opened:
        for place in places_of(model):
            if there := layouts.name_there(layout, model, place.row):
                assert place.group == "encoder"
                layer = opened.require_group(f"layers/{there}/vars")
                layer.attrs["name"] = there
                axes = weight_axes(place.kind, place.weight, len(place.shape))
                shape = [place.shape[axis] for axis in axes]
                layer[str(place.index)] = np.ones(shape, np.float32)
    done = convert(file, tmp_path / "b.safetensors", encoder, **options)
    assert done.tensors and any("left at initial values: decoder" in note for note in done.notes)
    with h5py.File(file, "a") as opened:
        layer = opened.require_group("layers/decoder/vars")
        layer.attrs["name"] = "decoder_stage1_conv_1_conv"
        layer["0"] = np.ones((3, 3, 8, 8), np.float32)
    with pytest.raises(CompileError, match="decoder_stage1_conv_1_conv"):
        convert(file, tmp_path / "c.safetensors", encoder, **options)
    assert not (tmp_path / "c.safetensors").exists()


def test_names_follow_from_what_a_layer_is_and_not_from_its_path():
    model = resolve("seresnet18", {"segmentor": "unet_plus_plus"})
    layout = layouts.variants("medicai", model)[0]
    row = next(r for r in traced(model)[1].rows if r.path == "decoder.blocks.2.1.bn2")
    assert (row.role, row.turn) == ("decoder.blocks.bn2", (2, 1))
    for path in (row.path, "renamed"):
        there = layouts.name_there(layout, model, replace(row, path=path))
        assert there == "x_1_2_conv2_norm"


def test_a_row_of_a_table_is_one_name_for_each_of_its_words():
    names = names_by_role((("a.{norm}{n}", "{s}_{n}"), ("a.bn2", "never"), ("a.b", "{row}.b")))
    assert names["a.bn2"] == names["a.norm2"] == "{s}_2"
    assert names["a.b"] == "{row}.b"
    assert len(names) == 7


def test_other_strides_and_kernels_are_said(tmp_path, capsys):
    """Weights fit a network with other strides, whose outputs are others."""
    save_file(published("resnet50"), tmp_path / "a.safetensors")
    given = {"dialect": "timm", "num_classes": 10}
    fits = "Published checkpoints of timm fit, but were trained with other strides."
    strides, out = "2/1/2/2/2", tmp_path / "b.safetensors"
    done = convert(
        tmp_path / "a.safetensors", out, "resnet50", layout="timm", strides=strides, **given
    )
    assert fits in done.notes
    out.unlink()
    assert (
        fits
        not in convert(tmp_path / "a.safetensors", out, "resnet50", layout="timm", **given).notes
    )
    others = {
        fits: {"strides": strides},
        "checkpoints of timm have other kernels.": {"kernels": "7/3/5/3/3"},
        "other strides and kernels": {"strides": strides, "kernels": "5/3/3/3/3"},
        "Matches timm checkpoints": {"strides": "2/2/2/2/2", "kernels": "7/3/3/3/3"},
    }
    for said, options in others.items():
        for target in ("torch", "keras"):
            text = " ".join(compiler.emit("resnet50", target=target, **given, **options).split())
            assert said in text
            assert ("Matches timm" in text) == ("Matches timm" in said)
    assert main(["show", "resnet50", "--dialect", "timm", "--strides", strides]) == 0
    assert fits in capsys.readouterr().out
    assert main(["show", "resnet50", "--dialect", "timm"]) == 0
    assert "ublished" not in capsys.readouterr().out
