"""Drop path and dropout: what is dropped, how often, with which scale; and nothing in inference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

import compiler
from compiler.errors import CompileError

from .harness import build_pair, channels_first, constructor, emit_pair, image, ledger_of, run

P = 0.5
DEPTHS = (1, 2, 2)
DRAWS = 4000
CASES = {
    "basic": ({"block": "basic"}, (16, 16, 3), {"num_classes": 3}),
    "v2": ({"block": "bottleneck", "pre_activation": True}, (9, 9, 9, 2), {"num_classes": 3}),
    "unet": (
        {"block": "bottleneck", "se_ratio": 4},
        (16, 16, 2),
        {"segmentor": "unet", "decoder_filters": (8, 8, 4, 4), "encoder_depth": 4},
    ),
}


def encoder(**options):
    return compiler.custom_encoder(
        "tiny", blocks=DEPTHS, filters=(8, 8, 8), strides=(1, 2, 2), **options
    )


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The emitted pair with drop path, built with the same weights; the pair without; an image."""
    block, shape, options = CASES[request.param]
    options = {**options, "input_shape": shape}
    pair = emit_pair(encoder(**block), drop_path=P, **options)
    without = emit_pair(encoder(**block), **options)
    ledger = ledger_of(encoder(**block), drop_path=P, **options)
    return build_pair(pair, ledger, shape), build_pair(without, ledger, shape), image(shape)


def rates() -> list[float]:
    return [float(rate) for rate in torch.linspace(0, P, sum(DEPTHS), dtype=torch.float64)]


def drops(model) -> list:
    """The layers that drop whole samples, in the order of the blocks."""
    if isinstance(model, keras.Model):  # which is a torch.nn.Module too, on this backend
        return [layer for layer in model.layers if getattr(layer, "noise_shape", None)]
    return [module for module in model.modules() if type(module).__name__ == "DropPath"]


def rate_of(layer) -> float:
    return layer.p if isinstance(layer, torch.nn.Dropout) else layer.rate


def test_rates_are_linear_over_depth_as_in_timm(case):
    for model in case[0]:
        np.testing.assert_allclose([rate_of(layer) for layer in drops(model)], rates(), rtol=1e-12)


def test_inference_is_that_of_the_file_without(case):
    (ours, theirs), (plain, plain_keras), x = case
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert torch.equal(ours(images), plain(images))
    a, b = (channels_first(m(x, training=False)) for m in (theirs, plain_keras))
    assert np.array_equal(a, b)


def test_what_is_dropped_is_the_branch_of_whole_samples(case):
    """In torch, of the last block; its batch norms as in inference, so that samples are alike."""
    (model, _), _, _ = case
    block = model.encoder.stages[-1][-1]
    seen = {}
    hook = block.drop_path.register_forward_hook(lambda m, i, o: seen.update(x=i[0], y=o))
    block.drop_path.train()
    rank = block.conv1.weight.ndim - 2
    x = torch.randn(64, block.conv1.in_channels, *[2] * rank)
    output = block(x)
    hook.remove()
    block.drop_path.eval()
    kept = (seen["y"] != 0).flatten(1).any(1)
    assert 0 < kept.sum() < 64  # per sample, not per batch
    torch.testing.assert_close(seen["y"][kept], seen["x"][kept] / (1 - P))
    total = seen["y"] + x
    wanted = (
        total
        if "v2" in type(model).__name__.lower() or hasattr(model, "post_bn")
        else (total.relu())
    )
    torch.testing.assert_close(output, wanted)


def test_in_keras_the_addition_takes_what_is_left_of_the_branch(case):
    (_, model), _, _ = case
    adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    firsts = [layer.input[0] for layer in adds]
    assert [id(layer.output) for layer in drops(model)] == [id(x) for x in firsts]


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_expectation_and_scale_over_many_draws(case, target):
    model = case[0][target == "keras"]
    for layer, rate in zip(drops(model), rates(), strict=True):
        if target == "torch":
            rank = len(case[2].shape) - 2
            x = torch.ones(DRAWS, 3, *[2] * rank)
            layer.train()
            y = layer(x).flatten(1).numpy()
            layer.eval()
        else:
            x = np.ones((DRAWS, *[2] * (len(case[2].shape) - 2), 3), "float32")
            y = keras.ops.convert_to_numpy(layer(x, training=True)).reshape(DRAWS, -1)
        assert (y == y[:, :1]).all()  # a sample is dropped whole
        values = np.unique(y)
        wanted = [1 / (1 - rate)] if rate == 0 else [0, 1 / (1 - rate)]
        np.testing.assert_allclose(values, wanted, rtol=1e-6)
        deviation = (rate / (1 - rate) / DRAWS) ** 0.5  # of the mean over all draws
        assert abs(y.mean() - 1) <= 5 * deviation
        assert abs((y[:, 0] == 0).mean() - rate) <= 5 * (rate * (1 - rate) / DRAWS) ** 0.5


DROP = "layers.Dropout(rate, noise_shape=(None, 1, 1, 1))"
FAULTS = {  # in Keras' text, and the test that fails
    "the rates the other way round": (
        "DROP_PATH * i / (count - 1) for i",
        "DROP_PATH - DROP_PATH * i / (count - 1) for i",
        lambda case: test_rates_are_linear_over_depth_as_in_timm(case),
    ),
    "one rate for all blocks": (
        "DROP_PATH * i / (count - 1) for i",
        "DROP_PATH for i",
        lambda case: test_rates_are_linear_over_depth_as_in_timm(case),
    ),
    "the sum is dropped": (
        f"layers.Add()([{DROP}(x), residual])",
        f"{DROP}(layers.Add()([x, residual]))",
        lambda case: test_in_keras_the_addition_takes_what_is_left_of_the_branch(case),
    ),
    "the shortcut is dropped": (
        f"layers.Add()([{DROP}(x), residual])",
        f"layers.Add()([x, {DROP}(residual)])",
        lambda case: test_in_keras_the_addition_takes_what_is_left_of_the_branch(case),
    ),
    "channels instead of samples": (
        "noise_shape=(None, 1, 1, 1)",
        "noise_shape=(None, 1, 1, None)",
        lambda case: test_expectation_and_scale_over_many_draws(case, "keras"),
    ),
    "scaled in inference": (
        f"{DROP}(x)",
        f"{DROP}(x * (1 - rate))",
        lambda case: test_inference_is_that_of_the_file_without(case),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_planted_in_keras_are_found(fault):
    right, wrong, check = FAULTS[fault]
    block, shape, options = CASES["basic"]
    options = {**options, "input_shape": shape}
    ours, theirs = emit_pair(encoder(**block), drop_path=P, **options)
    assert right in theirs
    edited = theirs.replace(right, wrong)
    if fault == "scaled in inference":
        ledger = ledger_of(encoder(**block), **options)
        plain = build_pair(emit_pair(encoder(**block), **options), ledger, shape)
        case = build_pair((ours, edited), ledger, shape), plain, image(shape)
    else:
        model = constructor(edited)()
        case = (model, model), None, image(shape)
    with pytest.raises(AssertionError):
        check(case)


@pytest.mark.parametrize("case", ["unet"], indirect=True)
def test_keras_keeps_its_rates_in_files_and_clones_and_runs_in_half_precision(case, tmp_path):
    (_, model), _, x = case
    model.save(tmp_path / "m.keras")
    for other in (keras.models.load_model(tmp_path / "m.keras"), keras.models.clone_model(model)):
        assert [(d.rate, d.noise_shape) for d in drops(other)] == [
            (d.rate, d.noise_shape) for d in drops(model)
        ]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = keras.models.clone_model(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(keras.ops.convert_to_numpy(half(x, training=True))).all()


def test_dropout_stands_between_the_average_and_the_head():
    shape = (16, 16, 3)
    given = {"input_shape": shape, "num_classes": 2, "dropout": 0.25}
    tiny = encoder(block="basic")
    ours, theirs = build_pair(emit_pair(tiny, **given), ledger_of(tiny, **given), shape)
    features = torch.randn(DRAWS, ours.head.in_features).abs() + 1
    seen = {}
    ours.dropout.register_forward_hook(lambda m, i, o: seen.update(x=i[0], y=o))
    ours.head.register_forward_hook(lambda m, i, o: seen.update(head=i[0]))
    ours.dropout.train()
    ours(torch.randn(2, 3, 16, 16))
    assert seen["head"] is seen["y"] and seen["x"].shape == (2, ours.head.in_features)
    y = ours.dropout(features)
    assert abs(float((y == 0).float().mean()) - 0.25) < 0.02
    assert abs(float(y.mean() / features.mean()) - 1) < 0.02

    *_, pool, dropout, head = theirs.layers
    assert isinstance(pool, keras.layers.GlobalAveragePooling2D) and head.name == "head"
    assert (dropout.rate, dropout.noise_shape) == (0.25, None)
    assert dropout.input is pool.output and head.input is dropout.output
    y = keras.ops.convert_to_numpy(dropout(features.numpy(), training=True))
    assert abs((y == 0).mean() - 0.25) < 0.02
    x = image(shape)
    plain = constructor(compiler.emit(tiny, target="torch", **{**given, "dropout": 0}))().eval()
    plain.load_state_dict(ours.state_dict())
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    assert torch.equal(plain(images), ours.eval()(images))


def test_off_leaves_no_trace():
    tiny = encoder(block="basic")
    for target in ("torch", "keras"):
        plain = compiler.emit(tiny, target=target)
        assert compiler.emit(tiny, target=target, drop_path=0, dropout=0.0) == plain
        text = compiler.emit(tiny, target=target, drop_path="0.1")
        assert text.count("DROP_PATH = 0.1") == 1 and text.count("DROP_PATH") == 2


BACKENDS = """
import keras, numpy as np
from emitted import Tiny as make
keras.utils.set_random_seed(0)
model = make()
x = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype("float32")
drop = [layer for layer in model.layers if getattr(layer, "noise_shape", None)][-1]
y = keras.ops.convert_to_numpy(drop(np.ones((4000, 2, 2, 3), "float32"), training=True))
assert sorted(set(y.ravel())) == [0, 2], set(y.ravel())
assert (y == y[:, :1, :1, :1]).all() and abs(y.mean() - 1) < 0.1, y.mean()
a, b = (keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
assert not np.array_equal(a, b)
a, b = (keras.ops.convert_to_numpy(model(x, training=False)) for _ in range(2))
assert np.array_equal(a, b)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_other_backends_drop_the_same(backend, tmp_path):
    given = {"input_shape": (16, 16, 3), "num_classes": 2, "drop_path": P, "dropout": 0.1}
    tiny = compiler.custom_encoder(
        "tiny", blocks=(1, 1), filters=(8, 8), strides=(1, 2), stem_filters=(4,), block="basic"
    )
    (tmp_path / "emitted.py").write_text(compiler.emit(tiny, target="keras", **given))
    run(BACKENDS, backend, tmp_path)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"drop_path": -0.1}, "--drop-path has -0.1, which is not from 0 up to, but below, 1"),
        ({"drop_path": 1}, "--drop-path has 1, which is not from 0 up to, but below, 1"),
        ({"drop_path": float("nan")}, "--drop-path has nan, which is not from 0 up to, but below"),
        ({"drop_path": "x"}, "--drop-path has 'x', which is not a number"),
        ({"dropout": 1.5}, "--dropout has 1.5, which is not from 0 up to, but below, 1"),
        ({"dropout": 0.1, "features_only": True}, "--dropout 0.1 needs the head that"),
        ({"dropout": 0.1, "segmentor": "unet"}, "--dropout is not an option of unet"),
    ],
)
def test_wrong_rates(given, message):
    with pytest.raises(CompileError) as caught:
        compiler.emit("resnet18", target="keras", **given)
    assert [p.message[: len(message)] for p in caught.value.problems] == [message]


def test_a_single_block_has_nothing_to_drop():
    single = compiler.custom_encoder("one", blocks=(1,), filters=(8,), strides=(1,), block="basic")
    with pytest.raises(CompileError, match="drops nothing: one has a single residual block"):
        compiler.emit(single, target="torch", drop_path=0.1)
