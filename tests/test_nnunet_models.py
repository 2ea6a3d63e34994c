"""nnU-Net's networks as models like any other: specs, provenance, sizes, export, other decoders."""

from __future__ import annotations

import importlib
import math

import keras
import numpy as np
import pytest
import torch

import compiler
from compiler.emitter import source
from compiler.errors import CompileError
from compiler.passes.validate import resolve
from compiler.spec.writing import spec_text
from compiler.verify.gradients import keras_values

from .harness import (
    build_pair,
    channels_first,
    compare,
    constructor,
    emit_pair,
    image,
    in_onnxruntime,
    ledger_of,
    randomize,
)
from .nnunet import NETWORKS, made
from .sampling import ANYWHERE, by_kind, half_of

KINDS = {
    "plain": compiler.custom_encoder(
        "tiny", block="plain", blocks=(2, 1, 1, 1), filters=(8, 8, 10, 12), kernels=(5, 3, 3, 3)
    ),
    "basic_d": compiler.custom_encoder(
        "tiny", block="basic_d", blocks=(1, 2, 1, 1), filters=(8, 10, 10, 12), se_ratio=2
    ),
    "bottleneck_d": compiler.custom_encoder(
        "tiny",
        block="bottleneck_d",
        blocks=(1, 1, 1, 1),
        filters=(8, 10, 10, 12),
        widths=(6, 6, 8, 8),
        unit_bias=False,
        unit_dropout=0.25,
    ),
}
SMALL = {"trans_unet": {"vit_layers": 1, "heads": 2, "queries": 3, "embed_dim": 8, "mlp_dim": 8}}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_network_can_be_said_in_a_spec(name, tmp_path):
    for kept in ({}, {"deep_supervision": True}):
        model = made(name, **kept)
        path = tmp_path / "net.toml"
        path.write_text(spec_text(model))
        assert resolve(str(path), {}) == model


@pytest.mark.parametrize("target", ["torch", "keras"])
@pytest.mark.parametrize("name", ["plain_2d_nonlin_first", "resenc_2d_bottleneck", "se_encoder_3d"])
def test_a_file_is_emitted_again_from_its_provenance(name, target, tmp_path):
    path = tmp_path / "net.py"
    path.write_text(source(made(name), target))
    (verdict,) = compiler.check(path)
    assert verdict.state == "clean"


@pytest.mark.parametrize(("kind", "segmentor"), half_of(KINDS, ANYWHERE))
def test_other_decoders_run_on_these_encoders(kind, segmentor):
    shape = (32, 48, 2)
    options = {"segmentor": segmentor, "input_shape": shape, "encoder_depth": 4, "num_classes": 2}
    options |= SMALL.get(segmentor, {})
    ledger = ledger_of(KINDS[kind], **options)
    models = build_pair(emit_pair(KINDS[kind], **options), ledger, shape)
    assert compare(*models, ledger, image(shape)) is None


@pytest.mark.parametrize("name", ["nnunet_plain", "nnunet_resenc"])
def test_gates_are_an_option_of_these_encoders(name):
    plain, gated = (ledger_of(name, dims=3, **se) for se in ({}, {"se_ratio": 16}))
    assert not [row for row in plain.rows if ".se." in row.path]
    gates = {row.path: row.weights[0][1] for row in gated.rows if ".se." in row.path}
    assert gates["encoder.stages.2.0.se.conv1"] == (8, 128, 1, 1, 1)
    assert len(gates) == 2 * sum(resolve(name, {}).encoder.depths)


def test_an_image_that_the_strides_do_not_divide():
    encoder, options = KINDS["basic_d"], {"segmentor": "nnunet", "input_shape": (16, 24, 1)}
    with pytest.raises(CompileError, match="must be multiples of 8x8") as error:
        compiler.emit(encoder, target="torch", segmentor="nnunet", input_shape=(16, 23, 1))
    assert "--input-shape 16,24,1" in str(error.value)
    ours, theirs = map(constructor, emit_pair(encoder, **options))
    with pytest.raises(ValueError, match=r"multiples of \[8, 8\], got \[16, 23\]"):
        ours()(torch.zeros(1, 1, 16, 23))
    with pytest.raises(ValueError, match=r"multiples of \(8, 8\), got \(16, 23\)"):
        theirs(input_shape=(16, 23, 1))
    assert theirs(input_shape=(None, 32, 1)).output.shape == (None, None, 32, 1)
    anisotropic = compiler.describe("nnunet_plain", dims=3, strides="1/1,2,2/2/2/2/2")
    assert anisotropic["divisors"]["P6"] == [16, 32, 32]


def test_residual_encoders_say_so_under_any_decoder():
    """Their shortcuts would not fit: a convolution rounds sizes up, a pool down."""
    with pytest.raises(CompileError, match="must be multiples of 8x8"):
        compiler.emit(KINDS["basic_d"], target="torch", features_only=True, input_shape=(20, 16, 1))
    text = compiler.emit(
        KINDS["plain"], target="torch", features_only=True, input_shape=(20, 16, 1)
    )
    assert "multiples" not in text


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("resnet18", {"segmentor": "nnunet"}, "is for its own encoders, not resnet18"),
        ("nnunet_plain", {"decoder_convs": "2,2"}, "has 2 entries, but the decoder of"),
        ("nnunet_plain", {"strides": "2/2/2/2/2/2"}, "logits would be smaller than the image"),
        ("nnunet_plain", {"strides": "1/2/2"}, "--strides has 3 entries, but nnunet_plain has 6"),
        ("nnunet_plain", {"encoder_depth": 4}, "--encoder-depth is not an option of nnunet"),
        ("nnunet_plain", {"dialect": "timm"}, "does not exist in the dialect timm"),
        ("resnet18", {"dialect": "nnunet"}, "does not exist in the dialect nnunet"),
    ],
)
def test_errors(encoder, options, message):
    with pytest.raises(CompileError, match=message):
        compiler.emit(encoder, target="torch", **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"block": "basic", "unit_bias": False}, "unit_bias is for blocks of nnU-Net"),
        ({"unit_eps": 0}, "unit_eps is 0"),
        ({"unit_slope": "steep"}, "unit_slope is 'steep'"),
        ({"unit_dropout": 1.0}, "unit_dropout is 1.0"),
        ({"unit_bias": 1}, "unit_bias is 1"),
        ({"block": "basic_d", "unit_activation_first": True}, "is for plain blocks"),
        ({"groups": 2}, "basic blocks have no groups"),
    ],
)
def test_errors_of_custom_encoders(given, message):
    arguments = {"block": "plain", "blocks": (1, 1), "filters": (4, 4), "strides": (1, 2), **given}
    with pytest.raises(CompileError, match=message):
        compiler.custom_encoder("my_net", **arguments)


@pytest.mark.parametrize("kind", by_kind(KINDS, lambda kind: kind == "plain"))
def test_it_exports_with_any_batch(kind):
    """To ONNX with a fixed patch, as onnxruntime runs it; and to TorchScript."""
    options = {"segmentor": "nnunet", "input_shape": (16, 24, 16, 2), "deep_supervision": True}
    model = constructor(compiler.emit(KINDS[kind], target="torch", **options))().eval()
    randomize(model)
    x, other = (torch.from_numpy(channels_first(image((16, 24, 16, 2), n))) for n in (2, 3))
    exported = in_onnxruntime(model, x, ({0: torch.export.Dim("batch", min=2)},))
    with torch.no_grad():
        torch.testing.assert_close(exported(other), model(other), rtol=1e-4, atol=1e-5)


def test_it_scripts(tmp_path, monkeypatch):
    """A script checks the sizes too."""
    text = compiler.emit(KINDS["basic_d"], target="torch", segmentor="nnunet", dims=2)
    (tmp_path / "scripted_nnunet.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("scripted_nnunet")
    model = getattr(module, module.__all__[0])().eval()
    script = torch.jit.script(model)
    x = torch.randn(2, 3, 24, 16)
    with torch.no_grad():
        torch.testing.assert_close(script(x), model(x))
    with pytest.raises(torch.jit.Error, match="multiples of"):
        script(x[..., :15])


@pytest.mark.parametrize("kind", KINDS)
def test_both_start_as_nnunet_does(kind):
    """He over fan-in for all convolutions, the last norm of a residual block at zero."""
    wide = {"filters": (64, 64), "blocks": (1, 1), "strides": (1, 2)}
    wide |= {"widths": (64, 64)} if kind == "bottleneck_d" else {}
    encoder = compiler.custom_encoder("wide", block=kind, **wide)
    options = {"segmentor": "nnunet", "input_shape": (8, 8, 2), "num_classes": 64}
    texts, ledger = emit_pair(encoder, **options), ledger_of(encoder, **options)
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    ours = {name: value.numpy() for name, value in constructor(texts[0])().state_dict().items()}
    theirs = dict(keras_values(constructor(texts[1])(), ledger))
    for name, value in ours.items():
        if value.ndim > 1:
            wanted = math.sqrt(2 / (1 + 0.01**2) / math.prod(value.shape[1:]))
            for found in (value.std(), theirs[name].std()):
                assert abs(found / wanted - 1) < 0.1, name
        else:
            zero = name.endswith("bias") or (kind != "plain" and _last_norm(name, kind))
            assert np.array_equal(value, theirs[name])
            assert np.array_equal(value, np.zeros_like(value) + (not zero)), name


def _last_norm(name: str, kind: str) -> bool:
    last = {"basic_d": "norm2", "bottleneck_d": "norm3"}[kind]
    return name.startswith("encoder.stages.") and name.endswith(f".{last}.weight")


def test_files_with_lower_heads_are_the_same_network(tmp_path):
    """Keras' file calls them in its training model, PyTorch's not at all."""
    options = {"segmentor": "nnunet", "input_shape": (32, 32, 1), "lower_heads": True}
    for target, text in zip(("torch", "keras"), emit_pair(KINDS["plain"], **options)):
        (tmp_path / f"{target}.py").write_text(text)
    report = compiler.verify(tmp_path / "torch.py", tmp_path / "keras.py")
    assert report.passed, report


def test_a_size_that_is_too_small_is_told_the_next_that_fits():
    options = {"segmentor": "nnunet", "input_shape": (8, 8, 1)}
    with pytest.raises(CompileError, match="--size 16 is the smallest that works"):
        compiler.verify(KINDS["basic_d"], size=8, **options)
