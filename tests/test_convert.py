"""`convert`: weights between the frameworks, bit by bit, and into models that they were not of."""

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import compiler
from compiler import convert
from compiler.commands.cli import main
from compiler.emitter import source
from compiler.errors import CompileError
from compiler.passes.validate import resolve
from tests.harness import (
    channels_first,
    constructor,
    difference,
    image,
    ledger_of,
    ledger_shapes,
    tiny,
)
from tests.sampling import by_kind, half_of


def state_of(encoder, dtype=np.float32, seed=0, **options):
    """Random weights by PyTorch's names, counters of batches included."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in ledger_shapes(ledger_of(encoder, **options)).items():
        if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = 0.1 * rng.standard_normal(shape)
        else:
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        state[name] = value.astype(dtype)
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            state[counter] = np.zeros((), np.int64)
    return state


def assert_same(a, b):
    """Bit by bit, types included."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert value.dtype == b[name].dtype and value.shape == b[name].shape, name
        assert value.tobytes() == b[name].tobytes(), name


def in_torch(path, encoder, **options):
    model = constructor(compiler.emit(encoder, target="torch", **options))().eval()
    state = load_file(path)
    model.load_state_dict({n: torch.from_numpy(v.astype("float32")) for n, v in state.items()})
    return model


def run(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()


SMALL = {2: (32, 32, 3), 3: (32, 32, 32, 1)}
DEEP = {"stem_filters": (4, 4, 8), "stem_kernels": (3, 3, 3), "block": "bottleneck_vd"}
BLOCKS = {
    "basic": {"block": "basic"},
    "bottleneck": {},
    "no gate": {"se_ratio": None},
    "grouped": {"groups": 4, "width_per_group": 16},
    "vd": DEEP,
    "basic v2": {"block": "basic", "pre_activation": True},
    "bottleneck v2": {"pre_activation": True},
    "vd v2": {**DEEP, "pre_activation": True},
}
SLIM = {"decoder_filters": "16,16,8,8,8"}
VIT = {"vit_layers": 1, "embed_dim": 32, "heads": 4, "mlp_dim": 32, "queries": 4}
KINDS = {
    **{f"{name} {dims}D": (e, {"dims": dims}) for name, e in BLOCKS.items() for dims in SMALL},
    "features": ({}, {"features_only": True}),
    "features v2": ({"pre_activation": True}, {"features_only": True, "pooling": "avg"}),
    "unet": ({}, {"segmentor": "unet", **SLIM}),
    "unet 3D": ({}, {"segmentor": "unet", "dims": 3, "num_classes": 2, **SLIM}),
    "unet group": ({}, {"segmentor": "unet", "decoder_normalization": "group", **SLIM}),
    "unet layer": ({}, {"segmentor": "unet", "decoder_normalization": "layer", **SLIM}),
    "unet instance": ({}, {"segmentor": "unet", "decoder_normalization": "instance", **SLIM}),
    "unet bare": ({}, {"segmentor": "unet", "decoder_normalization": "none", **SLIM}),
    "unet transpose": ({}, {"segmentor": "unet", "decoder_block": "transpose", "dims": 3, **SLIM}),
    "unet++": ({}, {"segmentor": "unet_plus_plus", **SLIM}),
    "unet++ 3D": ({}, {"segmentor": "unet_plus_plus", "decoder_block": "transpose", "dims": 3}),
    "attention unet": ({}, {"segmentor": "attention_unet", "dims": 3, **SLIM}),
    "trans unet": ({}, {"segmentor": "trans_unet", "num_classes": 2, **VIT}),
    "trans unet 3D": ({}, {"segmentor": "trans_unet", "dims": 3, **VIT}),
    "trans unet compat": ({}, {"segmentor": "trans_unet", "compat": "medicai", **VIT}),
}


def _block(kind, dtype):
    name, _, _ = kind.rpartition(" ")
    return name if name in BLOCKS else kind


# Each block in one of the ranks, each network in one of the types; then the rest.
TURNS = [(kind, ("float32", "float16")[i % 2]) for i, kind in enumerate(KINDS)]
TURNS = TURNS[1:16:4] + TURNS
TURNS += itertools.product(KINDS, ("float32", "float16"))


@pytest.mark.parametrize(("kind", "dtype"), by_kind(dict.fromkeys(TURNS), _block))
def test_round_trip(kind, dtype, tmp_path):
    options = {**KINDS[kind][1]}
    encoder = tiny(**KINDS[kind][0])
    options["input_shape"] = SMALL[options.get("dims", 2)]
    state = state_of(encoder, dtype, **options)
    first, back = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(state, first)
    middle = tmp_path / ("a.weights.h5" if dtype == "float32" else "a.keras")
    there = convert(first, middle, encoder, to="keras", **options)
    again = convert(middle, back, encoder, to="torch", **options)
    assert there.notes == again.notes == ()
    assert_same(load_file(back), state)
    with pytest.raises(CompileError, match="exists"):
        convert(back, middle, encoder, **options)


@pytest.mark.parametrize(
    ("kind", "suffix"), half_of(["basic 2D", "unet 3D", "trans unet"], [".weights.h5", ".keras"])
)
def test_keras_takes_the_file_and_gives_the_numbers(kind, suffix, tmp_path):
    options = {**KINDS[kind][1]}
    encoder = tiny(**KINDS[kind][0])
    shape = options["input_shape"] = SMALL[options.get("dims", 2)]
    first, result = tmp_path / "a.safetensors", tmp_path / f"a{suffix}"
    save_file(state_of(encoder, **options), first)
    convert(first, result, encoder, **options)
    build = constructor(compiler.emit(encoder, target="keras", **options))
    if suffix == ".keras":
        model = keras.saving.load_model(result)
    else:
        model = build()
        model.load_weights(result)
    x = image(shape, batch=1)
    found = channels_first(model(x, training=False))
    wanted = run(in_torch(first, encoder, **options), x)
    assert difference(found.reshape(wanted.shape), wanted) < 1e-5


def test_bfloat16(tmp_path):
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = {
        n: torch.from_numpy(v).to(torch.bfloat16 if v.dtype == np.float32 else torch.int64)
        for n, v in state_of(tiny(), **options).items()
    }
    torch.save(state, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "a.weights.h5", tiny(), **options)
    convert(tmp_path / "a.weights.h5", tmp_path / "b.pth", tiny(), **options)
    again = torch.load(tmp_path / "b.pth", weights_only=True)
    assert all(torch.equal(again[n], v) and again[n].dtype == v.dtype for n, v in state.items())
    model = constructor(compiler.emit(tiny(), target="keras", **options))()
    model.load_weights(tmp_path / "a.weights.h5")


def test_a_file_of_training(tmp_path):
    options = {"input_shape": SMALL[2], "num_classes": 1, "segmentor": "trans_unet", **VIT}
    model = constructor(compiler.emit(tiny(), target="keras", **options))()
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    x = image(SMALL[2], batch=2)
    model.fit(x, np.zeros((2, *SMALL[2][:2], 1), "float32"), verbose=0)
    model.save(tmp_path / "a.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    for name in ("a.keras", "a.weights.h5"):
        done = convert(tmp_path / name, tmp_path / "a.safetensors", tiny(), force=True, **options)
        assert not done.notes
        found = run(in_torch(tmp_path / "a.safetensors", tiny(), **options), x)
        assert difference(channels_first(model(x, training=False)), found) < 1e-4


WRAPPED = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
    "model": lambda s: {"model": {f"module.{n}": v for n, v in s.items()}},
    "model_state_dict": lambda s: {"model_state_dict": {f"_orig_mod.{n}": v for n, v in s.items()}},
    "none": lambda s: {"state_dict": None, "model_state_dict": s},
    "both": lambda s: {f"module._orig_mod.{n}": v for n, v in s.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_wrapped(wrapping, tmp_path, capsys):
    state = state_of(tiny(), input_shape=SMALL[2], num_classes=3)
    torch.save(
        WRAPPED[wrapping]({n: torch.from_numpy(v) for n, v in state.items()}), tmp_path / "a.pt"
    )
    (tmp_path / "net.py").write_text(
        source(resolve(tiny(), {"input_shape": SMALL[2], "num_classes": 3}), "torch")
    )
    arguments = ["--model", str(tmp_path / "net.py"), "-o", str(tmp_path / "b.safetensors")]
    assert main(["convert", str(tmp_path / "a.pt"), *arguments]) == 0
    assert_same(load_file(tmp_path / "b.safetensors"), state)
    said = capsys.readouterr().out
    for word in ("state_dict", "model", "model_state_dict"):
        under = {"none": "model_state_dict"}.get(wrapping, wrapping)
        assert (f"used the weights under {word!r}" in said) == (under == word)
    assert ("'module.'" in said) == (wrapping in ("model", "both"))
    assert ("'_orig_mod.'" in said) == (wrapping in ("model_state_dict", "both"))


@pytest.mark.parametrize("wrapper", ["state_dict_ema", "model_ema"])
@pytest.mark.parametrize("prefix", ["_fsdp_wrapped_module.", "ema_model.", "network.", "net."])
def test_other_wrappers(prefix, wrapper, tmp_path):
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = state_of(tiny(), **options)
    inner = {f"{prefix}{name}": torch.from_numpy(value) for name, value in state.items()}
    torch.save({wrapper: inner}, tmp_path / "a.pt")
    done = convert(tmp_path / "a.pt", tmp_path / "b.safetensors", tiny(), **options)
    assert_same(load_file(tmp_path / "b.safetensors"), state)
    assert done.notes == (
        f"used the weights under {wrapper!r}",
        f"stripped the prefix {prefix!r} from every name",
    )


TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def test_aliased_strided_and_mixed_tensors(tmp_path):
    """Each keeps its own type and values, whatever lies beside it in memory."""
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = {n: torch.from_numpy(v) for n, v in state_of(tiny(), **options).items()}
    weights = [name for name, value in state.items() if value.is_floating_point()]
    for index, name in enumerate(weights):
        state[name] = state[name].to(TYPES[index % len(TYPES)])
    state["encoder.bn1.bias"] = state["encoder.bn1.weight"]
    last = state["head.weight"]
    state["head.weight"] = last.T.contiguous().T
    torch.save(state, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "b.pt", tiny(), **options)
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


def test_a_checkpoint_of_lightning(tmp_path):
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = state_of(tiny(), **options)
    inner = {f"model.{name}": torch.from_numpy(value) for name, value in state.items()}
    torch.save({"state_dict": inner, "epoch": 3, "global_step": 7}, tmp_path / "a.ckpt")
    done = convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors", tiny(), **options)
    assert_same(load_file(tmp_path / "b.safetensors"), state)
    assert "state_dict" in done.notes[0] and "'model.'" in done.notes[1]


def _of_training_module(path, others):
    """Save a Lightning checkpoint of a tiny network and other tensors; the network's state."""
    state = state_of(tiny(), input_shape=SMALL[2], num_classes=3)
    inner = {f"model.{name}": torch.from_numpy(value) for name, value in state.items()}
    torch.save({"state_dict": inner | others}, path)
    return state


def test_metrics_beside_the_weights_are_omitted_by_name(tmp_path):
    """As torchmetrics saves them: counts, and not below the prefix of the network."""
    metrics = {"val_acc.tp": torch.zeros(3, dtype=torch.int64), "criterion.weight": torch.ones(3)}
    state = _of_training_module(tmp_path / "a.ckpt", metrics)
    done = convert(
        *(tmp_path / name for name in ("a.ckpt", "b.safetensors")),
        tiny(),
        input_shape=SMALL[2],
        num_classes=3,
    )
    assert_same(load_file(tmp_path / "b.safetensors"), state)
    assert done.notes[1:] == (
        "omitted 2 tensors outside 'model.': 'val_acc.tp', 'criterion.weight'",
        "stripped the prefix 'model.' from every other name",
    )


@pytest.mark.parametrize("name", ["head.weight", "ema_model.module.encoder.conv1.weight"])
def test_parts_and_copies_of_the_network_are_not_omitted(name, tmp_path):
    """A head of its own would stay at initial values; of a copy, nobody knows which to take."""
    _of_training_module(tmp_path / "a.ckpt", {name: torch.zeros(3)})
    message = f"'{name}' is outside the network, but has the name of one of its weights"
    with pytest.raises(CompileError, match=re.escape(message)):
        convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors", tiny(), input_shape=SMALL[2])
    assert not (tmp_path / "b.safetensors").exists()


def test_an_average_of_weights(tmp_path, capsys):
    """And what is said, for machines."""
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = state_of(tiny(), **options)
    save_file(state, tmp_path / "a.safetensors")
    model = in_torch(tmp_path / "a.safetensors", tiny(), **options)
    average = torch.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    torch.save(average.state_dict(), tmp_path / "a.pt")
    (tmp_path / "net.py").write_text(source(resolve(tiny(), options), "torch"))
    arguments = ["--model", str(tmp_path / "net.py"), "-o", str(tmp_path / "b.safetensors")]
    assert main(["convert", str(tmp_path / "a.pt"), *arguments, "--json"]) == 0
    assert_same(load_file(tmp_path / "b.safetensors"), state)
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(tmp_path / "b.safetensors") and said["target"] == "torch"
    assert "'n_averaged'" in said["notes"][0] and "'module.'" in said["notes"][1]


@pytest.mark.parametrize(
    ("segmentor", "source_of"),
    half_of(["unet", "unet_plus_plus", "attention_unet", "trans_unet"], ["classifier", "features"]),
)
def test_into_a_segmentor(segmentor, source_of, tmp_path):
    shape = SMALL[2]
    given = {"num_classes": 7} if source_of == "classifier" else {"features_only": True}
    options = {"input_shape": shape, "segmentor": segmentor, "encoder_depth": 4}
    options |= VIT if segmentor == "trans_unet" else SLIM
    state = state_of(tiny(), "float16", input_shape=shape, **given)
    save_file(state, tmp_path / "a.safetensors")
    outputs = [tmp_path / n for n in ("a.weights.h5", "b.safetensors", "c.safetensors")]
    done = convert(tmp_path / "a.safetensors", outputs[0], tiny(), **options)
    convert(tmp_path / "a.safetensors", outputs[1], tiny(), **options)
    convert(outputs[0], outputs[2], tiny(), **options)
    said = "\n".join(done.notes)
    assert ("head" in said.split("left at")[0]) == (source_of == "classifier")
    assert "omitted" in said and "encoder.stages.3" in said
    assert "left at initial values" in said
    for path in outputs[1:]:
        found = load_file(path)
        assert {v.dtype.name for v in found.values()} == {"float16", "int64"}
        shared = {n: v for n, v in state.items() if n.startswith("encoder.") and n in found}
        assert_same(shared, {n: found[n] for n in shared})
        assert found[
            "decoder.blocks.0.weight" if segmentor == "trans_unet" else "head.weight"
        ].any()
        in_torch(path, tiny(), **options)  # loads, strictly
    again = tmp_path / "d.safetensors"
    convert(tmp_path / "a.safetensors", again, tiny(), **options)
    assert again.read_bytes() == outputs[1].read_bytes()  # the initial values are seeded


def test_another_number_of_classes(tmp_path):
    state = state_of(tiny(), input_shape=SMALL[2], num_classes=7)
    save_file(state, tmp_path / "a.safetensors")
    options = {"input_shape": SMALL[2], "num_classes": 3}
    done = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tiny(), **options)
    assert done.notes == (
        "omitted the checkpoint's head, which has 7 classes",
        "left at initial values: head (2 tensors)",
    )
    found = load_file(tmp_path / "b.safetensors")
    assert found["head.weight"].shape == (3, 64) and found["head.weight"].any()


@pytest.mark.parametrize(
    ("dropped", "initial"),
    [("head", "head (2 tensors)"), (("head", "post_bn"), "post_bn, head (6 tensors)")],
)
def test_an_encoder_without_a_head(dropped, initial, tmp_path):
    encoder = tiny(pre_activation=True)
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = {n: v for n, v in state_of(encoder, **options).items() if not n.startswith(dropped)}
    save_file(state, tmp_path / "a.safetensors")
    done = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", encoder, **options)
    assert done.notes == (f"left at initial values: {initial}",)


@pytest.mark.parametrize("classes", [3, 5])
def test_what_stands_before_a_head_must_be_there(classes, tmp_path):
    encoder = tiny(pre_activation=True)
    options = {"input_shape": SMALL[2], "num_classes": classes}
    state = state_of(encoder, **{**options, "num_classes": 3})
    state = {n: v for n, v in state.items() if not n.startswith("post_bn")}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CompileError, match="missing tensor 'post_bn"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", encoder, **options)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("dims", SMALL)
def test_another_number_of_channels(channels, dims, tmp_path):
    small = SMALL[dims][:-1]
    options = {"dims": dims, "num_classes": 3}
    given = {**options, "input_shape": (*small, 3)}
    save_file(state_of(tiny(), **given), tmp_path / "a.safetensors")
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    done = convert(*paths, tiny(), in_channels=channels, **options)
    plural = "channel" if channels == 1 else "channels"
    assert done.notes == (f"adapted encoder.conv1.weight from 3 to {channels} input {plural}",)
    x = np.repeat(image((*small, 1), batch=1), 3, axis=-1)
    wanted = run(in_torch(tmp_path / "a.safetensors", tiny(), **given), x)
    options["input_shape"] = (*small, channels)
    y = np.repeat(x[..., :1], channels, axis=-1)
    assert (
        difference(run(in_torch(tmp_path / "b.safetensors", tiny(), **options), y), wanted) < 1e-4
    )


def test_sums_beyond_half_precision(tmp_path):
    state = state_of(tiny(), "float16", input_shape=SMALL[2], num_classes=3)
    state["encoder.conv1.weight"][:] = 30_000
    save_file(state, tmp_path / "a.safetensors")
    options = {"input_shape": (32, 32, 1), "num_classes": 3}
    with pytest.raises(CompileError, match="adapting the stem to 1 channel overflows float16"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tiny(), **options)


def test_channels_are_adapted_only_when_asked(tmp_path):
    save_file(
        state_of(tiny(), dims=3, input_shape=SMALL[3], num_classes=3), tmp_path / "a.safetensors"
    )
    with pytest.raises(
        CompileError, match="takes 1 input channel, but the model takes 4"
    ) as raised:
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tiny(), dims=3)
    assert "--in-channels 4 adapts the stem" in str(raised.value)


def circular(model):
    """Without borders: what is constant along an axis stays so."""
    for module in model.modules():
        if hasattr(module, "padding_mode") and any(module.padding):
            module.padding_mode = "circular"
    return model


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("how", ["mean", "center"])
def test_inflated(how, axis, tmp_path):
    """A volume that is constant along the axis has the features of its plane, gates included."""
    flat = {"input_shape": (48, 40, 3), "features_only": True}
    full = [48, 40]
    full.insert(axis, 64)
    options = {"dims": 3, "input_shape": (*full, 3), "features_only": True}
    save_file(state_of(tiny(), **flat), tmp_path / "a.safetensors")
    done = convert(
        tmp_path / "a.safetensors",
        tmp_path / "b.safetensors",
        tiny(),
        inflate=how,
        axis=axis,
        **options,
    )
    assert len(done.notes) == 1 and "inflated" in done.notes[0]
    x = torch.randn(1, 3, 48, 40, generator=torch.manual_seed(1))
    volume = x.unsqueeze(2 + axis).expand(1, 3, *full)
    plane = circular(in_torch(tmp_path / "a.safetensors", tiny(), **flat))
    solid = circular(in_torch(tmp_path / "b.safetensors", tiny(), **options))
    with torch.no_grad():
        for level, wanted in plane.pyramid(x).items():
            found = solid.pyramid(volume)[level]
            wanted = wanted.unsqueeze(2 + axis).expand(found.shape)
            assert difference(found.numpy(), wanted.numpy()) < 1e-4, level


def test_inflated_has_the_same_interior(tmp_path):
    """With zeros at the borders, as it is: away from them, and without gates, which see them."""
    encoder = tiny(se_ratio=None, blocks=(1, 1), filters=(8, 8), strides=(1, 2))
    flat = {"input_shape": (32, 32, 3), "features_only": True}
    options = {"dims": 3, "input_shape": (96, 32, 32, 3), "features_only": True}
    save_file(state_of(encoder, **flat), tmp_path / "a.safetensors")
    convert(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", encoder, inflate="mean", **options
    )
    x = torch.randn(1, 3, 32, 32, generator=torch.manual_seed(1))
    plane = in_torch(tmp_path / "a.safetensors", encoder, **flat)
    solid = in_torch(tmp_path / "b.safetensors", encoder, **options)
    with torch.no_grad():
        there = solid.pyramid(x.unsqueeze(2).expand(1, 3, 96, 32, 32))
        for level, wanted in plane.pyramid(x).items():
            found = there[level]
            middle = found[:, :, found.shape[2] // 2]
            assert difference(middle.numpy(), wanted.numpy()) < 1e-4, level


def test_inflated_decoder(tmp_path):
    """Transposed convolutions reach a plane with half of their slices."""
    options = {"segmentor": "unet", "decoder_block": "transpose", **SLIM}
    flat = {"input_shape": (32, 32, 3), **options}
    full = {"dims": 3, "input_shape": (64, 32, 32, 3), **options}
    save_file(state_of(tiny(), **flat), tmp_path / "a.safetensors")
    value = load_file(tmp_path / "a.safetensors")["decoder.ups.0.conv.weight"]
    for how in ("mean", "center", "repeat"):
        path = tmp_path / f"{how}.safetensors"
        convert(tmp_path / "a.safetensors", path, tiny(), inflate=how, **full)
        found = load_file(path)["decoder.ups.0.conv.weight"]
        taps = 2 if how == "repeat" else 1
        assert np.allclose(found[:, :, 0::2].sum(2), taps * value)
        assert np.allclose(found[:, :, 1::2].sum(2), taps * value)


ERRORS = {
    "2D into 3D": ({"dims": 3, "input_shape": (32, 32, 32, 3)}, "--inflate center, mean or"),
    "inflated 2D": ({"inflate": "mean"}, "--inflate is for a 3D model"),
    "unknown inflation": ({"inflate": "means"}, "Did you mean 'mean'?"),
    "unknown axis": ({"axis": 3}, "--axis is 3."),
    "unknown layout": ({"layout": "tim"}, "Did you mean 'timm'?"),
    "other dialect": (
        {"layout": "timm"},
        "have the dialect timm, but the model has the dialect medicai",
    ),
    "no gates": ({"layout": "torchvision"}, "torchvision has no networks with SE"),
    "wrong end": (
        {"to": "keras"},
        "'b.safetensors' is the name of a torch file, but --to is keras",
    ),
    "not one way": ({"inflate": ["mean"]}, "--inflate is ['mean']."),
    "unknown framework": ({"to": "kera"}, "Did you mean 'keras'?"),
}


def test_choices_are_case_insensitive_and_accept_titles(tmp_path):
    options = {"num_classes": 3, "dialect": "timm", "input_shape": SMALL[2]}
    save_file(state_of(tiny(), **options), tmp_path / "a.safetensors")
    written = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path, to in zip(written, ("torch", "PyTorch", " TORCH"), strict=True):
        convert(tmp_path / "a.safetensors", path, tiny(), to=to, **options)
    assert len({path.read_bytes() for path in written}) == 1
    with pytest.raises(CompileError, match="is the name of a torch file"):
        convert(tmp_path / "a.safetensors", written[0], tiny(), to="Keras 3", **options)
    options |= {"dims": 3, "input_shape": SMALL[3]}
    ways = [tmp_path / f"way{i}.safetensors" for i in range(2)]
    for path, how, axis in zip(ways, ("mean", "Mean"), (1, " 1 "), strict=True):
        convert(tmp_path / "a.safetensors", path, tiny(), inflate=how, axis=axis, **options)
    assert ways[0].read_bytes() == ways[1].read_bytes()
    with pytest.raises(CompileError) as raised:  # the names are ours, and the layout was understood
        convert(
            tmp_path / "a.safetensors",
            tmp_path / "b.pt",
            tiny(),
            layout="TIMM",
            inflate="mean",
            **options,
        )
    assert "--layout is" not in str(raised.value)


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case, tmp_path):
    options, message = ERRORS[case]
    save_file(state_of(tiny(), input_shape=SMALL[2], num_classes=3), tmp_path / "a.safetensors")
    options = {"input_shape": SMALL[2], "num_classes": 3, **options}
    with pytest.raises(CompileError) as raised:
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tiny(), **options)
    assert message in str(raised.value)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_nothing_to_inflate(tmp_path):
    options = {"dims": 3, "input_shape": SMALL[3], "num_classes": 3}
    save_file(state_of(tiny(), **options), tmp_path / "a.safetensors")
    with pytest.raises(CompileError, match="the checkpoint has no 2D kernels to inflate"):
        convert(
            tmp_path / "a.safetensors",
            tmp_path / "b.safetensors",
            tiny(),
            inflate="mean",
            **options,
        )


def test_the_file_says_its_dialect(tmp_path, monkeypatch):
    """Tensors of another dialect can fit in every shape."""
    state = state_of(tiny(), input_shape=SMALL[2], num_classes=3)
    options = {"input_shape": SMALL[2], "num_classes": 3}
    save_file(state, tmp_path / "a.safetensors", {"plainnet_dialect": "timm"})
    with pytest.raises(CompileError, match="its dialect is timm, but the model's is medicai"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tiny(), **options)
    save_file(state, tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "b.weights.h5", tiny(), **options)
    monkeypatch.setattr("compiler.weights.matching.dialect_of", lambda model: "cadene")
    with pytest.raises(CompileError, match="its dialect is medicai, but the model's is cadene"):
        convert(tmp_path / "b.weights.h5", tmp_path / "c.safetensors", tiny(), **options)


def test_without_gates_dialects_are_one_network(tmp_path):
    """They differ in initial values alone: what one dialect's file holds is the other's."""
    options = {"input_shape": SMALL[2], "num_classes": 3}
    state = state_of("resnet18", **options)
    save_file(state, tmp_path / "a.safetensors", {"plainnet_dialect": "torchvision"})
    done = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "resnet18", **options)
    assert not done.notes
    assert_same(load_file(tmp_path / "b.safetensors"), state)


def test_names_of_another_layout_are_recognized(tmp_path):
    encoder = tiny(blocks=(1,), filters=(8,), strides=(1,), se_ratio=None)
    state = {}
    for name, value in state_of(encoder, input_shape=SMALL[2], num_classes=3).items():
        name = name.removeprefix("encoder.").replace("stages.0.", "layer1.")
        name = name.replace("shortcut.conv", "downsample.0").replace("shortcut.bn", "downsample.1")
        state[name.replace("head", "fc")] = value
    save_file(state, tmp_path / "a.safetensors")
    options = {"input_shape": SMALL[2], "num_classes": 3}
    with pytest.raises(CompileError, match="--layout timm"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", encoder, **options)
    convert(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", encoder, layout="timm", **options
    )


def test_a_file_with_other_arguments(tmp_path, capsys):
    """The constructor's arguments are the user's; what else the file is, it says."""
    (tmp_path / "net.py").write_text(
        source(resolve(tiny(), {"input_shape": (48, 48, 3), "num_classes": 3}), "keras").replace(
            "import keras\n", "import keras\n\nEDITED = True\n", 1
        )
    )
    options = {"input_shape": (48, 48, 1), "num_classes": 5}
    save_file(state_of(tiny(), **options), tmp_path / "a.safetensors")
    command = ["convert", str(tmp_path / "a.safetensors"), "--model", str(tmp_path / "net.py")]
    command += ["-o", str(tmp_path / "b.weights.h5"), "--in-channels", "1", "--num-classes", "5"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "net.py was edited: using the model that its provenance comment names" in said
    assert "tensors for keras" in said
    assert main([*command, "--force", "--dims", "3"]) == 2
    assert "--dims is determined by the file" in capsys.readouterr().err


# --- where the result goes ------------------------------------------------------------------------

OUTPUTS = ("out.safetensors", "out.pt", "out.weights.h5", "out.keras")


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    """A folder with an emitted file and a checkpoint for it."""
    folder = tmp_path_factory.mktemp("given")
    options = {"input_shape": SMALL[2], "num_classes": 3}
    (folder / "net.py").write_text(source(resolve(tiny(), options), "torch"))
    save_file(state_of(tiny(), **options), folder / "a.safetensors")
    return folder


def converting(given, output):
    """The arguments of a command that writes there."""
    model = ["--model", str(given / "net.py"), "-o", str(output)]
    return ["convert", str(given / "a.safetensors"), *model]


def emitting(given, output):
    return ["emit", "resnet18", "--target", "torch", "-o", str(output)]


LINKS = {  # what the link points to: what is there, and what both commands say ("": they write)
    "nothing yet": ("real.EXT", None, ""),
    "a file": ("real.EXT", "old", "real.EXT"),
    "no folder": ("nowhere/real.EXT", None, "there is no folder"),
    "itself": ("link.EXT", None, "cannot write: Too many levels of symbolic links"),
    "a device": ("/dev/full", None, "is not a regular file"),
}


@pytest.mark.parametrize("suffix", [".py", ".safetensors", ".pt", ".weights.h5", ".keras"])
@pytest.mark.parametrize("case", LINKS)
def test_links_are_alike_in_emit_and_convert(case, suffix, encoder_file, tmp_path, capsys):
    """A link stays a link, and stands for the file that it points to; `--force` changes nothing."""
    points_to, content, said = LINKS[case]
    link = tmp_path / f"link{suffix}"
    link.symlink_to(points_to.replace(".EXT", suffix))
    real = tmp_path / f"real{suffix}"
    if content:
        real.write_text(content)
    before = sorted(os.listdir(tmp_path))
    command = (emitting if suffix == ".py" else converting)(encoder_file, link)
    assert main(command) == (2 if said else 0)
    assert said.replace("real.EXT", f"{link.name}") in capsys.readouterr().err
    if said:
        assert sorted(os.listdir(tmp_path)) == before
        assert not content or real.read_text() == content
        assert main([*command, "--force"]) == (0 if content else 2)
    assert link.is_symlink() and os.readlink(link) == points_to.replace(".EXT", suffix)
    if content or not said:
        assert _visible(tmp_path) == [link.name, real.name]
        assert real.stat().st_size > 3000 and not real.is_symlink()


def test_a_link_to_a_folder_is_the_folder(encoder_file, tmp_path, capsys):
    """`emit` names a file in a folder; `convert` needs the name, whose end says the format."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "nets.keras").symlink_to("deep")
    assert main(emitting(encoder_file, tmp_path / "nets.keras")) == 0
    (emitted,) = _visible(tmp_path / "deep")
    for output in ("nets.keras", "deep"):
        assert main(converting(encoder_file, tmp_path / output)) == 2
        assert f"{output}' is a folder" in capsys.readouterr().err
    assert _visible(tmp_path / "deep") == [emitted]


def _visible(folder):
    """What a listing shows: not the folder with the emissions that files started from."""
    return sorted(name for name in os.listdir(folder) if name != ".plainnet")


@pytest.mark.parametrize(
    "kind", ["pipe", "device", "full", "itself", "link to itself", "unwritable"]
)
@pytest.mark.parametrize("output", OUTPUTS)
def test_where_nothing_can_be_written(output, kind, encoder_file, tmp_path, capsys, monkeypatch):
    path = tmp_path / output
    given = tmp_path / "given"
    shutil.copytree(encoder_file, given)
    message = "is not a regular file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "full"):
        path.symlink_to({"device": "/dev/zero", "full": "/dev/full"}[kind])
    elif kind == "unwritable":
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
        message = "is not writable"
    else:
        if kind == "itself":
            os.link(given / "a.safetensors", path)
        else:
            path.symlink_to("given/a.safetensors")
        message = "the output is the checkpoint itself"
    content = (given / "a.safetensors").read_bytes()
    for force in ([], ["--force"]):
        assert main([*converting(given, path), *force]) == 2
        assert message in capsys.readouterr().err
    assert (given / "a.safetensors").read_bytes() == content
    assert set(os.listdir(tmp_path)) <= {"given", output}


def test_lightning_files_are_read_but_not_written(encoder_file, tmp_path, capsys):
    assert main(converting(encoder_file, tmp_path / "a.ckpt")) == 2
    said = capsys.readouterr().err
    assert "plainnet reads Lightning's .ckpt files but does not write them" in said
    assert main(converting(encoder_file, tmp_path / "a.bin")) == 2
    assert (
        "hint use one of the suffixes .safetensors, .pt, .pth, .weights" in capsys.readouterr().err
    )
    with pytest.raises(CompileError, match=r"\.pt, \.pth, \.ckpt, \.weights\.h5"):
        convert(tmp_path / "a.bin", tmp_path / "a.pt", tiny())
    assert not os.listdir(tmp_path)


KILLED = """
import sys, time
from compiler import files
from compiler.commands import cli
def stop(descriptor):
    print(flush=True)
    time.sleep(60)
files.os.fsync = stop
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("output", ["out.pt", "out.keras"])
def test_a_killed_run_leaves_the_old_file_and_is_cleaned_up_after(output, encoder_file, tmp_path):
    path = tmp_path / output
    path.write_text("old")
    command = [*converting(encoder_file, path), "--force"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", KILLED, *command], **pipes)
    process.stdout.read(1)  # everything is written, but not yet in its place
    process.kill()
    assert process.communicate()[1] == b""  # TensorFlow, which Keras imports, is silent
    (left,) = set(os.listdir(tmp_path)) - {output}
    assert path.read_text() == "old" and os.listdir(tmp_path / left)
    assert main(command) == 0
    assert os.listdir(tmp_path) == [output] and path.stat().st_size > 3000


@pytest.mark.parametrize("output", ["out.safetensors", "out.pt"])
def test_the_same_bytes_each_time(output, encoder_file, tmp_path):
    """Whatever the file's name, the folder and the process; with initial values for the head."""
    (tmp_path / "deep").mkdir()
    paths = [tmp_path / output, tmp_path / "deep" / f"another_{output}"]
    assert main([*converting(encoder_file, paths[0]), "--num-classes", "5"]) == 0
    command = [*converting(encoder_file, paths[1]), "--num-classes", "5"]
    subprocess.run([sys.executable, "-m", "compiler", *command], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("output", ["out.weights.h5", "out.keras"])
def test_the_same_bytes_in_each_keras_session(output, encoder_file, tmp_path):
    """Keras numbers the layers without a name from the start of a session."""
    (tmp_path / "deep").mkdir()
    paths = [tmp_path / output, tmp_path / "deep" / f"another_{output}"]
    for path, seconds in zip(paths, (0, 2.1)):
        time.sleep(seconds)  # a time in a file would be in seconds, or in pairs of them
        keras.backend.clear_session()
        assert main([*converting(encoder_file, path), "--num-classes", "5"]) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("output", ["out.pt", "out.weights.h5"])
def test_random_numbers_of_the_caller_are_left_alone(output, encoder_file, tmp_path):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    model = str(encoder_file / "net.py")
    convert(encoder_file / "a.safetensors", tmp_path / output, model, num_classes=5)
    assert states() == before


def test_no_framework_for_safetensors_from_keras(tmp_path):
    """Neither Keras nor PyTorch is needed where the weights are all there."""
    options = {"input_shape": SMALL[2], "num_classes": 3}
    (tmp_path / "net.py").write_text(source(resolve(tiny(), options), "torch"))
    save_file(state_of(tiny(), **options), tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "a.keras", tiny(), **options)
    code = (
        "import sys, json; from compiler.commands.cli import main; code = main(sys.argv[1:]); "
        "frameworks = sorted(sys.modules.keys() & {'torch', 'keras', 'tensorflow'}); "
        "print(json.dumps([code, frameworks]))"
    )
    command = [sys.executable, "-c", code, "convert", str(tmp_path / "a.keras")]
    command += ["--model", str(tmp_path / "net.py"), "-o", str(tmp_path / "b.safetensors")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == [0, []]
    assert_same(load_file(tmp_path / "b.safetensors"), load_file(tmp_path / "a.safetensors"))
