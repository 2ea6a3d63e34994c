"""Both targets start from the distributions that the IR states, layer by layer."""

import math
import re
import sys

import keras
import numpy as np
import pytest
import torch

from compiler import custom_encoder
from compiler.weights.keras_variables import WEIGHTS, layer_name
from tests.harness import channels_first, constructor, emit_pair, ledger_of

WIDE = {"blocks": (1, 1), "strides": (1, 2), "filters": (64, 128), "stem_filters": (64,)}
ENCODERS = {
    "plain": {"block": "basic"},
    "grouped": {"block": "bottleneck", "groups": 4},
    "se": {"block": "basic", "se_ratio": 2},
    "vd": {"block": "basic_vd"},
}
UNET = {"segmentor": "unet", "encoder_depth": 3, "decoder_filters": (64, 64, 64)}
VOLUME = {**UNET, "input_shape": (16, 16, 16, 4)}
KINDS = {
    "plain": {},
    "grouped": {},
    "se": {},
    "vd": {},
    "zero_gamma": {"encoder": "resnet18", "dialect": "timm"},
    "unet": UNET,
    "unet_none": {**UNET, "decoder_normalization": "none"},
    "unet_transposed": {**UNET, "decoder_block": "transpose"},
    "unet_transposed_none": {
        **UNET,
        "decoder_block": "transpose",
        "decoder_normalization": "none",
    },
    "he": {"init": "he"},
    "he_unet": {**UNET, "decoder_block": "transpose", "deep_supervision": True, "init": "he"},
    "unet_none_3d": {**VOLUME, "decoder_normalization": "none"},
    "unet_transposed_none_3d": {
        **VOLUME,
        "decoder_block": "transpose",
        "decoder_normalization": "none",
    },
    "attention_unet": {**UNET, "segmentor": "attention_unet"},
    "trans_unet": {
        "segmentor": "trans_unet",
        "encoder_depth": 3,
        "num_classes": 3,
        "vit_layers": 1,
        "embed_dim": 64,
        "mlp_dim": 128,
        "heads": 2,
    },
}


def _built(kind: str, emitted=emit_pair):
    """Models of both targets as their constructors leave them, and the ledger."""
    options = {"input_shape": (32, 32, 4), **KINDS[kind]}
    encoder = options.pop("encoder", None) or custom_encoder(
        "wide", **WIDE, **ENCODERS.get(kind, ENCODERS["se"])
    )
    ours, theirs = map(constructor, emitted(encoder, **options))
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    return ours(), theirs(), ledger_of(encoder, **options)


def _projection(row) -> str:
    """`.query` of an attention's row: in Keras the whole attention is one layer."""
    return f".{row.path.split('.')[-1]}" if row.kind.startswith("attention") else ""


def _variance(row, kind: str, shape: tuple[int, ...]) -> float:
    """That of a weight in PyTorch's layout, as docs/initialization.md has it."""
    fan_in, fan_out = math.prod(shape[1:]), shape[0]
    biased = any(name == "bias" for name, _ in row.weights)
    if row.kind == "table":
        return 0.02**2
    if KINDS[kind].get("init") == "he":
        if "head" in row.path:
            return 0.01**2
        if row.kind == "conv_transpose":
            return 2 / (shape[0] * 2**2)
        return 2 / (shape[0] * math.prod(shape[2:]))
    if row.path == "head":
        return 1 / (3 * fan_in)
    if row.kind == "conv_transpose" and "none" in kind:
        return 2 / (shape[0] * 2 ** (len(shape) - 2))
    if row.kind in ("conv", "conv_transpose"):
        return (2 if biased and row.kind == "conv" else 1 / 3) / fan_in
    return 2 / (fan_in + fan_out)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_start_from_one_distribution(kind):
    ours, theirs, ledger = _built(kind)
    state, checked = ours.state_dict(), set()
    for row in ledger.rows:
        whole = getattr(theirs, "training_model", theirs)  # with auxiliary heads
        owner = whole.get_layer(layer_name(row.path.removesuffix(_projection(row))))
        layer = {v.path: v for v in owner.weights}
        for name, shape in row.weights:
            key = row.path if row.kind == "table" else f"{row.path}.{name}"
            mine = state[key].numpy()
            part = WEIGHTS[row.kind, name][0]
            end = f"{_projection(row).replace('.', '/')}/{part}"
            theirs_is = [v for path, v in layer.items() if path.endswith(end)]
            yours = keras.ops.convert_to_numpy(theirs_is[0])
            assert mine.size == yours.size
            if (name != "weight" and row.kind != "table") or "norm" in row.kind:
                assert np.ptp(mine) == np.ptp(yours) == 0, key
                assert mine.flat[0] == yours.flat[0], key
                continue
            std = math.sqrt(_variance(row, kind, shape))
            normal = row.kind == "table" or "he" in kind.split("_")
            limit = 6 if normal else math.sqrt(3) * (1 + 1e-5)
            for values in (mine, yours):
                few = 5 / math.sqrt(2 * values.size)  # five standard errors and more
                assert abs(values.mean()) < few * 2 * std, key
                assert values.std() == pytest.approx(std, rel=few), key
                assert np.abs(values).max() < limit * std, key
            checked.add(row.kind)
    assert "conv" in checked


@pytest.mark.parametrize("kind", ["grouped", "trans_unet"])
def test_equal_layers_differ(kind):
    for model in _built(kind)[:2]:
        weights = (
            [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
            if isinstance(model, keras.Model)
            else [w.detach().numpy() for w in model.parameters()]
        )
        drawn = [w.ravel()[:50] for w in weights if np.ptp(w) > 0]
        assert len(drawn) > 5
        first = {tuple(np.sort(values / np.abs(values).max())) for values in drawn}
        assert len(first) == len(drawn)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "none" in kind])
def test_a_decoder_without_norm_keeps_its_signal(kind):
    """Each block's output is about as large as its input, and the last one's as the first one's."""
    ours, theirs, _ = _built(kind)
    x = np.random.default_rng(0).normal(size=(2, *theirs.input_shape[1:])).astype("float32")
    names = [f"decoder.blocks.{i}" for i in range(3)]
    sizes = {name: [] for name in names}
    for name in names:
        block = ours.get_submodule(name)
        block.register_forward_hook(
            lambda _, inputs, output, name=name: sizes[name].extend(
                (inputs[0].std().item(), output.std().item())
            )
        )
    ours.train()(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    mine = [sizes[name] for name in names]
    for before, after in mine:
        assert 1 / 3 < after / before < 3, mine
    assert mine[-1][1] > mine[0][0] / 3, mine
    last = "conv" if "transposed" in kind else "conv2"
    layers = [theirs.get_layer(f"decoder_blocks_{i}_{last}") for i in range(3)]
    probe = keras.Model(theirs.input, [layer.output for layer in layers])
    outputs = [channels_first(keras.ops.relu(y)).std() for y in probe(x, training=True)]
    for yours, (_, after) in zip(outputs, mine, strict=True):
        assert 1 / 2 < yours / after < 2, (outputs, mine)


FAULTS = {  # what is planted in the text of one target
    "norm follows": (
        "se",
        "keras",
        "VarianceScaling(1 / 3,",
        "VarianceScaling(2 / 3,",
        "conv1.weight",
    ),
    "gate": ("se", "keras", '"he_uniform"', '"lecun_uniform"', "se.conv1.weight"),
    "gate in torch": ("se", "torch", "kaiming_uniform_", "xavier_uniform_", "se.conv1.weight"),
    "bias": ("se", "torch", "zeros_(module.bias)", "ones_(module.bias)", "se.conv1.bias"),
    "head": ("unet", "keras", '"kernel_initializer": pytorch_uniform(), ', "", "head.weight"),
    "transposed": (
        "unet_transposed_none",
        "keras",
        "(2.0 * 2**2,",
        "(2.0,",
        "decoder.ups.0.conv.weight",
    ),
    "attention": ("trans_unet", "keras", "(3 / EMBED)", "(6 / EMBED)", "query.weight"),
    "dense": (
        "trans_unet",
        "torch",
        "xavier_uniform_",
        "kaiming_uniform_",
        "attention.query.weight",
    ),
    "table": ("trans_unet", "keras", "stddev=0.02", "stddev=0.03", "positions"),
    "table in torch": (
        "trans_unet",
        "torch",
        "0.02 * torch.randn",
        "0.03 * torch.randn",
        "positions",
    ),
    "scale": ("zero_gamma", "keras", 'gamma="zeros"', 'gamma="ones"', "bn2.weight"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_another_distribution_is_seen(fault, monkeypatch):
    kind, target, right, wrong, where = FAULTS[fault]

    def planted(encoder, **options):
        texts = dict(zip(("torch", "keras"), emit_pair(encoder, **options)))
        assert right in texts[target]
        return {**texts, target: texts[target].replace(right, wrong)}.values()

    models = _built(kind, planted)
    monkeypatch.setattr(sys.modules[__name__], "_built", lambda kind: models)
    with pytest.raises(AssertionError, match=re.escape(where)):
        test_weights_start_from_one_distribution(kind)
