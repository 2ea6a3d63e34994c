"""Deep supervision: what training returns, that inference is untouched, and weights in files."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

import compiler
from compiler.errors import CompileError
from compiler.verify.gradients import keras_gradients, torch_gradients

from .harness import (
    build_pair,
    channels_first,
    constructor,
    difference,
    emit_pair,
    image,
    ledger_of,
)

# No fewer than 8 channels: oneDNN 3.12 writes past its buffers in the weights' gradient of a
# strided 1x1 convolution of up to 4 channels in Keras' layout, on processors without AVX-512.
TINY = compiler.custom_encoder("tiny", blocks=(1, 1, 1, 1), block="basic", filters=(8, 8, 8, 8))
FILTERS = {"decoder_filters": (8, 8, 6, 6, 4), "num_classes": 2}
CASES = [
    ("unet", "upsampling", (33, 40, 3), [(17, 20), (9, 10), (5, 5)]),
    ("unet", "transpose", (17, 24, 33, 2), [(9, 12, 17), (5, 6, 9), (3, 3, 5)]),
    ("attention_unet", "upsampling", (17, 24, 33, 2), [(9, 12, 17), (5, 6, 9), (3, 3, 5)]),
    ("unet_plus_plus", "upsampling", (33, 40, 3), [(9, 10), (5, 5)]),
    ("unet_plus_plus", "transpose", (33, 40, 3), [(17, 20), (9, 10), (5, 5)]),
]


def options(segmentor: str, block: str, shape: tuple[int, ...]) -> dict:
    return {"segmentor": segmentor, "decoder_block": block, "input_shape": shape, **FILTERS}


def stages_of(model, x) -> list[torch.Tensor]:
    """The outputs of a decoder's stages, seen where it returns them one by one: at its blocks."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda m, i, output, name=name: seen.update({name: output}))
        for name, module in model.decoder.named_modules()
        if type(module).__name__ in ("DecoderBlock", "Up")
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    rows = {}
    for name, output in seen.items():  # the last block of a stage is its output
        if name.startswith("blocks."):
            rows[int(name.split(".")[1])] = output
    return [rows[i] for i in sorted(rows)]


@pytest.mark.parametrize("segmentor, block, shape, sizes", CASES)
def test_training_returns_the_heads_of_every_stage_but_the_lowest(segmentor, block, shape, sizes):
    given = options(segmentor, block, shape)
    with_heads = constructor(compiler.emit(TINY, target="torch", deep_supervision=True, **given))
    without = constructor(compiler.emit(TINY, target="torch", **given))
    torch.manual_seed(0)
    model = with_heads()
    torch.manual_seed(0)
    plain = without()
    x = torch.from_numpy(np.moveaxis(image(shape), -1, 1).copy())
    for name, value in plain.state_dict().items():  # one seed, the same initial weights
        assert torch.equal(value, model.state_dict()[name])
    assert torch.equal(model.eval()(x), plain.eval()(x))

    main, *coarser = model.train()(x)
    assert [tuple(output.shape) for output in coarser] == [(2, 2, *size) for size in sizes]
    plain.train()
    torch.testing.assert_close(main, plain(x), rtol=0, atol=0)
    *_, last = stages = stages_of(model, x)
    if segmentor == "unet_plus_plus" and block == "transpose":
        stages = [*stages, last]  # the last upsampling is a stage after the rows
    for i, (output, stage) in enumerate(zip(coarser, stages[-2::-1])):
        head = model.aux_heads[i]
        weight = head.weight.flatten(1)
        by_hand = torch.einsum("oc,nc...->no...", weight, stage) + head.bias.view(
            -1, *[1] * (len(shape) - 1)
        )
        torch.testing.assert_close(output, by_hand, rtol=1e-4, atol=1e-5)
    for i, output in enumerate(model(x)):  # a loss on one output reaches its head, and no other
        model.zero_grad()
        output.square().sum().backward(retain_graph=True)
        reached = [
            h.weight.grad is not None and h.weight.grad.abs().sum() > 0
            for h in (model.head, *model.aux_heads)
        ]
        assert reached == [k == i for k in range(len(sizes) + 1)]
        assert model.encoder.conv1.weight.grad.abs().sum() > 0


def outputs_agree(texts, ledger, shape, count):
    """Both models, the image, and every output in training and inference, which are the same."""
    ours, theirs = build_pair(texts, ledger, shape)
    x = image(shape)
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    inference = ours(images).detach().numpy()
    ours.training = True  # its batch norms still use their moving statistics
    outputs = [output.detach().numpy() for output in ours(images)]
    found = [channels_first(value) for value in theirs.training_model(x, training=False)]
    assert len(found) == len(outputs) == count
    for output, value in zip(outputs, found):
        assert output.shape == value.shape and difference(value, output) < 1e-5
    assert np.array_equal(inference, outputs[0])
    assert np.array_equal(channels_first(theirs(x, training=False)), found[0])
    return ours, theirs, x, outputs, found


FAULTS = {  # in Keras' text
    "another stage": ("stages[-2:0:-1]", "stages[-3::-1]"),
    "the coarsest first": ("stages[-2:0:-1]", "stages[1:-1]"),
    "heads in another order": ('name=f"aux_heads_{i}"', 'name=f"aux_heads_{2 - i}"'),
    "the stage before its block": (
        "        stages.append(x)",
        "        stages.append(layers.ReLU()(x - 0.1))",
    ),
    "the main output last": ("outputs.append(aux)", "outputs.insert(0, aux)"),
    "inference from a coarser stage": ("Model(image, x,", "Model(image, aux,"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_planted_in_keras_are_found(fault):
    segmentor, block, _, _ = CASES[0]
    shape = (32, 32, 3)
    filters = {"decoder_filters": (8, 6, 6, 6, 4)}  # heads of one shape can be confused
    given = {**options(segmentor, block, shape), **filters, "deep_supervision": True}
    (ours, theirs), ledger = emit_pair(TINY, **given), ledger_of(TINY, **given)
    right, wrong = FAULTS[fault]
    assert right in theirs
    with pytest.raises(AssertionError):
        outputs_agree((ours, theirs.replace(right, wrong)), ledger, shape, 4)


@pytest.mark.parametrize("segmentor, block, shape, sizes", CASES)
def test_targets_agree_on_every_output_and_gradient(segmentor, block, shape, sizes, tmp_path):
    given = options(segmentor, block, shape)
    texts = emit_pair(TINY, deep_supervision=True, **given)
    ledger = ledger_of(TINY, deep_supervision=True, **given)
    ours, theirs, x, outputs, found = outputs_agree(texts, ledger, shape, len(sizes) + 1)

    cotangents = [np.ones_like(output) * (i + 1) for i, output in enumerate(outputs)]
    ours.eval()
    one = torch_gradients(ours, ledger, x, cotangents).weights
    other = keras_gradients(theirs, ledger, x, cotangents)[0].weights
    for i in range(len(sizes)):
        name = f"aux_heads.{i}.weight"
        assert one[name] is not None and difference(other[name], one[name]) < 1e-3

    theirs.training_model.save(tmp_path / "t.keras")  # loaded without the file
    loaded = keras.models.load_model(tmp_path / "t.keras")
    for value, again in zip(found, loaded(x, training=False), strict=True):
        assert np.array_equal(channels_first(again), value)
    model = keras.Model(loaded.input, loaded.output[0])
    assert np.array_equal(channels_first(model(x, training=False)), found[0])
    theirs.save_weights(tmp_path / "w.weights.h5")  # holds the auxiliary heads too
    fresh = constructor(texts[1])()
    fresh.load_weights(tmp_path / "w.weights.h5")
    again = fresh.training_model(x, training=False)
    assert all(np.array_equal(channels_first(a), b) for a, b in zip(again, found, strict=True))


def test_keras_trains_all_heads():
    text = compiler.emit(
        TINY, target="keras", deep_supervision=True, **options("unet", "upsampling", (32, 32, 1))
    )
    model = constructor(text)()
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    training = model.training_model
    training.compile("sgd", loss=["mse"] * 4, loss_weights=[8 / 15, 4 / 15, 2 / 15, 1 / 15])
    targets = [np.ones((2, 32 // 2**i, 32 // 2**i, 2)) for i in range(4)]
    training.fit(image((32, 32, 1)), targets, verbose=0)
    for value, variable in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(value, keras.ops.convert_to_numpy(variable)), variable.path


def test_weights_are_converted(tmp_path):
    given = {**options("unet", "upsampling", (32, 32, 3)), "dims": 2, "deep_supervision": True}
    given |= {"decoder_filters": (8, 8, 6, 6, 4)}
    torch_model = constructor(compiler.emit("resnet18", target="torch", **given))().eval()
    torch.save(torch_model.state_dict(), tmp_path / "a.pt")
    compiler.convert(tmp_path / "a.pt", tmp_path / "b.weights.h5", model="resnet18", **given)
    keras_model = constructor(compiler.emit("resnet18", target="keras", **given))()
    keras_model.load_weights(tmp_path / "b.weights.h5")
    x = image((32, 32, 3))
    torch_model.training = True
    ours = torch_model(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    theirs = keras_model.training_model(x, training=False)
    for a, b in zip(ours, theirs, strict=True):
        assert difference(channels_first(b), a.detach().numpy()) < 1e-4
    compiler.convert(tmp_path / "b.weights.h5", tmp_path / "c.pt", model="resnet18", **given)
    again = torch.load(tmp_path / "c.pt", weights_only=True)
    for name, value in torch_model.state_dict().items():
        assert "num_batches" in name or torch.equal(again[name], value)


@pytest.mark.parametrize(
    "given, message, hint",
    [
        ({}, "--deep-supervision is an option of segmentors only", "unet or unet_plus_plus"),
        ({"segmentor": "fpn"}, "--deep-supervision is not an option of fpn", "attention_unet"),
        ({"segmentor": "trans_unet"}, "--deep-supervision is not an option of trans_unet", "unet"),
        (
            {"segmentor": "unet_plus_plus", "encoder_depth": 3},
            "--deep-supervision adds nothing to unet_plus_plus at depth 3",
            "--encoder-depth 4",
        ),
        ({"segmentor": "unet", "deep_supervision": 1}, "--deep-supervision is 1", "True or False"),
    ],
)
def test_what_cannot_be_supervised(given, message, hint):
    with pytest.raises(CompileError) as caught:
        compiler.emit("resnet18", target="torch", **{"deep_supervision": True, **given})
    (problem,) = caught.value.problems
    assert problem.message.startswith(message) and hint in problem.hint
