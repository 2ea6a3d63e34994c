"""Emitted Keras files under the settings that a Keras user changes: precision, formats, names."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import torch

import compiler

from .harness import build_pair, compare, constructor, image, ledger_of, load

TINY = "resnet18"
SMALL_VIT = {"vit_layers": 1, "embed_dim": 16, "heads": 2, "queries": 4, "mlp_dim": 16}
KINDS = {
    "classifier": {"classifier_activation": "softmax", "num_classes": 4},
    "features": {"features_only": True, "pooling": "avg"},
    "unet": {"segmentor": "unet", "classifier_activation": "sigmoid", "encoder_depth": 3},
    "unet_plus_plus": {"segmentor": "unet_plus_plus", "encoder_depth": 3},
    "attention_unet": {
        "segmentor": "attention_unet",
        "decoder_block": "transpose",
        "encoder_depth": 3,
    },
    "trans_unet": {"segmentor": "trans_unet", "encoder_depth": 3, **SMALL_VIT},
}
HEADS = [kind for kind in KINDS if kind != "features"]


def emitted(kind: str, shape: tuple[int, ...], encoder: str = TINY) -> str:
    return compiler.emit(encoder, target="keras", input_shape=shape, **KINDS[kind])


def levels_by_name(model, count: int):
    """What the docstring of every file shows."""
    levels = {f"P{i}": model.get_layer(f"encoder_P{i}").output for i in range(1, count + 1)}
    return keras.Model(model.input, levels)


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_found_after_loading_and_cloning(kind, tmp_path):
    shape = (33, 40, 1)
    build = constructor(emitted(kind, shape))
    assert "encoder_P{i}" in build.__doc__
    model = build(input_shape=shape, name="mine")
    assert model.name == "mine"
    x = image(shape, batch=1)
    names = model.pyramid_outputs
    expected = keras.Model(model.input, names)(x, training=False)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for found in (loaded, clone):
        levels = levels_by_name(found, len(names))(x, training=False)
        assert list(levels) == list(names)
        for level, value in levels.items():
            np.testing.assert_array_equal(
                *map(keras.ops.convert_to_numpy, (value, expected[level]))
            )


@contextlib.contextmanager
def configured(setter, value, usual):
    setter(value)
    try:
        yield
    finally:
        setter(usual)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", HEADS)
def test_output_is_float32_under_mixed_precision(kind, policy):
    shape = (32, 32, 1)
    build = constructor(emitted(kind, shape))
    with configured(keras.config.set_dtype_policy, policy, "float32"):
        model = build(input_shape=shape)
        y = model(image(shape, batch=1), training=False)
    assert keras.backend.standardize_dtype(y.dtype) == "float32" == model.output.dtype
    assert policy.endswith(model.get_layer("encoder_conv1").compute_dtype)
    assert model.get_layer("head").compute_dtype == "float32"  # not only the cast after it
    assert np.isfinite(keras.ops.convert_to_numpy(y)).all()


@pytest.mark.parametrize("kind", [*KINDS, "pre_activation", "averaged"])
def test_a_global_data_format_changes_nothing(kind):
    encoder = {"pre_activation": "resnet50v2", "averaged": "resnet18d"}.get(kind, "seresnet18")
    shape = (32, 40, 2)
    options = KINDS.get(kind, KINDS["classifier"])
    options = {**options, **({"dialect": "timm"} if kind == "averaged" else {})}
    build = constructor(compiler.emit(encoder, target="keras", input_shape=shape, **options))
    usual = build(input_shape=shape)
    setter = keras.config.set_image_data_format
    with configured(setter, "channels_first", "channels_last"):
        model = build(input_shape=shape)
    model.set_weights(usual.get_weights())
    x = image(shape, batch=1)
    values = [keras.ops.convert_to_numpy(m(x, training=False)) for m in (usual, model)]
    np.testing.assert_array_equal(*values)


def operations(model) -> list[str]:
    return [type(layer).__name__ for layer in model.operations]


@pytest.mark.parametrize("dialect", ["medicai", "cadene"])
def test_odd_sizes_are_sliced_and_only_unknown_ones_gathered(dialect):
    options = {"segmentor": "attention_unet", "encoder_depth": 3, "dialect": dialect}
    shape = (37, 46, 1)  # cadene's pool rounds 19 down to 9: the level is a pixel short
    texts = [
        compiler.emit("seresnet50", target=target, input_shape=shape, **options)
        for target in ("torch", "keras")
    ]
    ledger = ledger_of("seresnet50", input_shape=shape, **options)
    torch_model, known = build_pair(texts, ledger, shape)
    assert compare(torch_model, known, ledger, image(shape, batch=1)) is None
    found = operations(known)
    assert "Take" not in found and "CumSum" not in found and "GetItem" in found
    unknown = constructor(texts[1])(input_shape=(None, None, 1))
    assert "Take" in operations(unknown)
    unknown.set_weights(known.get_weights())
    x = image(shape, batch=1)
    values = [keras.ops.convert_to_numpy(m(x, training=False)) for m in (known, unknown)]
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


def test_strides_may_differ_by_axis():
    module = load(emitted("classifier", (32, 32, 32, 1)))
    x = image((9, 8, 7, 2), batch=1)
    tensor = keras.Input(x.shape[1:])
    model = keras.Model(tensor, module.conv(tensor, 3, 3, stride=(1, 2, 2), name="c"))
    kernel, *_ = model.get_weights()
    expected = torch.nn.functional.conv3d(
        torch.from_numpy(x).movedim(-1, 1),
        torch.from_numpy(np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2))),
        stride=(1, 2, 2),
        padding=1,
    ).movedim(1, -1)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(x)), expected.numpy(), rtol=1e-4, atol=1e-5
    )
