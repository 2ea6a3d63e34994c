"""FPN and LinkNet as segmentation_models.pytorch has them: whole checkpoints, and their numbers."""

import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import compiler
from compiler import convert
from compiler.errors import CompileError
from tests.harness import (
    build_pair,
    compare,
    constructor,
    difference,
    emit_pair,
    image,
    ledger_of,
    tiny,
)
from tests.sampling import half_of, only
from tests.test_layouts import logits, weight

FOLDER = Path(__file__).parent / "oracle"
ORACLE = {}
for file in ("smp_fpn.json", "smp_linknet.json"):
    ORACLE |= json.loads((FOLDER / file).read_text())["models"]
SEGMENTORS = {"FPN": "fpn", "Linknet": "linknet"}
every = pytest.mark.parametrize("name", ORACLE)
segmentors = pytest.mark.parametrize("segmentor", SEGMENTORS.values())


def asked(name):
    """The encoder and the options of one of the reference's models."""
    arch, encoder, classes = name.split(":")
    options = {"segmentor": SEGMENTORS[arch], "num_classes": int(classes)}
    if encoder.startswith("se_"):
        options["dialect"] = "cadene"
    return encoder.replace("se_", "se").removesuffix("_32x4d"), options


def published(name, folder, **changes):
    """The checkpoint of one of the reference's models, without the tensors changed to None."""
    state = {key: weight(key, shape) for key, shape in ORACLE[name]["keys"]} | changes
    path = folder / "in.safetensors"
    save_file({key: value for key, value in state.items() if value is not None}, path)
    return path


@every
def test_counts(name):
    encoder, options = asked(name)
    assert compiler.describe(encoder, **options)["parameters"]["trainable"] == (
        ORACLE[name]["trainable"]
    )


# Encoders with gates are read into Keras in `test_layouts.py`, too.
WHOLE = only(
    lambda name, target: target == "torch" or "se_" not in name,
    itertools.product(ORACLE, ["torch", "keras"]),
)


@pytest.mark.parametrize(("name", "target"), WHOLE)
def test_whole_checkpoints_give_their_numbers(name, target, tmp_path):
    """Every tensor has its place, and the outputs are the reference's."""
    encoder, options = asked(name)
    out = tmp_path / {"torch": "out.safetensors", "keras": "out.weights.h5"}[target]
    done = convert(published(name, tmp_path), out, encoder, layout="smp", **options)
    assert not done.notes
    for run in ORACLE[name]["runs"]:
        x = np.random.default_rng(0).standard_normal(run["input_shape"]).astype(np.float32)
        output = logits(out, encoder, target, x, **options)
        output = output if target == "torch" else np.moveaxis(output, -1, 1)
        assert list(output.shape) == run["output_shape"]
        where = np.linspace(0, output.size - 1, 64).astype("int64")
        assert difference(output.reshape(-1)[where], np.array(run["strided_64"])) < 1e-4


def test_the_reference_decoder_is_met(tmp_path):
    """What the decoder returns has the reference's mean."""
    name = next(iter(ORACLE))
    encoder, options = asked(name)
    out = tmp_path / "out.safetensors"
    convert(published(name, tmp_path), out, encoder, layout="smp", **options)
    model = constructor(compiler.emit(encoder, target="torch", **options))().eval()
    model.load_state_dict({n: torch.from_numpy(v) for n, v in load_file(out).items()})
    for run in ORACLE[name]["runs"]:
        x = np.random.default_rng(0).standard_normal(run["input_shape"]).astype(np.float32)
        with torch.no_grad():
            found = model.decoder(model.encoder(torch.from_numpy(x)))
        assert list(found.shape) == run["decoder_shape"]
        assert float(found.abs().mean()) == pytest.approx(run["decoder_mean_abs"], rel=1e-4)


def test_a_tensor_too_few_or_too_many_is_an_error(tmp_path):
    name = next(iter(ORACLE))
    encoder, options = asked(name)
    lost = "decoder.seg_blocks.1.block.1.block.0.weight"
    extra = "decoder.seg_blocks.1.block.2.block.0.weight"
    for change, message in (
        ({lost: None}, f"missing tensor '{lost}'"),
        ({extra: np.zeros((128, 128, 3, 3), np.float32)}, f"unexpected tensor '{extra}'"),
    ):
        path = published(name, tmp_path, **change)
        with pytest.raises(CompileError, match=message.replace(".", r"\.")):
            convert(path, tmp_path / "out.safetensors", encoder, layout="smp", **options)


def test_another_decoder_is_left_out(tmp_path):
    """An encoder of a checkpoint fills another segmentor: its decoder and head are not ours."""
    name = next(iter(ORACLE))
    encoder, options = asked(name)
    decoder = [key for key, _ in ORACLE[name]["keys"] if key.startswith("decoder.")]
    changes = dict.fromkeys(decoder) | {
        "decoder.blocks.0.conv1.0.weight": np.zeros((256, 768, 3, 3), np.float32),
        "segmentation_head.0.weight": np.zeros((3, 16, 3, 3), np.float32),
    }
    path = published(name, tmp_path, **changes)
    out = tmp_path / "out.safetensors"
    done = convert(path, out, encoder, layout="smp", **options)
    assert "omitted another network's decoder (3 tensors)" in done.notes
    out = tmp_path / "unet.safetensors"
    done = convert(published(name, tmp_path), out, encoder, layout="smp", segmentor="unet")
    assert any(note.startswith("omitted another network's decoder") for note in done.notes)


SIZES = {2: (61, 90, 3), 3: (37, 52, 33, 2)}


@pytest.mark.parametrize(
    ("segmentor", "dims", "depth"), half_of(SEGMENTORS.values(), SIZES, (3, 4, 5))
)
def test_both_targets_agree_at_odd_sizes(segmentor, dims, depth):
    """Row by row, with sizes known and unknown, also where the pool rounds odd sizes down."""
    dialect = {3: "medicai", 4: "timm", 5: "cadene"}[depth]
    options = {
        "segmentor": segmentor,
        "encoder_depth": depth,
        "input_shape": SIZES[dims],
        "num_classes": 2,
        "classifier_activation": "softmax",
        "dialect": dialect,
    }
    encoder = tiny(blocks=(1, 1, 1, 1))
    ledger = ledger_of(encoder, **options)
    pair = build_pair(emit_pair(encoder, **options), ledger, SIZES[dims])
    x = image(SIZES[dims])
    assert compare(*pair, ledger, x) is None
    unknown = constructor(compiler.emit(encoder, target="keras", **options))(
        input_shape=(*(None,) * dims, SIZES[dims][-1])
    )
    unknown.set_weights(pair[1].get_weights())
    outputs = [keras.ops.convert_to_numpy(model(x, training=False)) for model in (pair[1], unknown)]
    assert difference(*outputs) < 1e-5


@segmentors
def test_a_saved_model_loads_without_the_file(segmentor, tmp_path):
    """Its operations are Keras' own, also where sizes are unknown."""
    options = {"segmentor": segmentor, "encoder_depth": 3, "num_classes": 2}
    model = constructor(compiler.emit(tiny(), target="keras", **options))(
        input_shape=(None, None, 3)
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = image((33, 50, 3))
    outputs = [keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, loaded)]
    assert np.array_equal(*outputs)


def test_a_single_row_is_repeated():
    """Where a level has one row, there is nothing to interpolate."""
    options = {"segmentor": "fpn", "input_shape": (2, 40, 3)}
    ledger = ledger_of(tiny(), **options)
    pair = build_pair(emit_pair(tiny(), **options), ledger, (2, 40, 3))
    assert compare(*pair, ledger, image((2, 40, 3))) is None


def test_fpn_drops_whole_channels_in_training():
    text = compiler.emit(tiny(), target="torch", segmentor="fpn", dropout=0.5)
    model = constructor(text)().train()
    merged = model.decoder(model.encoder(torch.randn(2, 3, 64, 64)))
    dead = (merged == 0).flatten(2).all(2)
    assert 0.3 < dead.float().mean() < 0.7
    text = compiler.emit(tiny(), target="keras", segmentor="fpn", dropout=0.5)
    (layer,) = (
        layer
        for layer in constructor(text)((64, 64, 3)).layers
        if isinstance(layer, keras.layers.SpatialDropout2D)
    )
    assert layer.rate == 0.5


def test_options_of_fpn():
    """Its widths, and what its group norms cannot divide."""
    options = {"pyramid_channels": 48, "segmentation_channels": 64, "dropout": 0.0}
    text = compiler.emit("resnet18", target="torch", segmentor="fpn", **options)
    command = "--dropout 0.0 --pyramid-channels 48 --segmentation-channels 64"
    assert command in " ".join(text.replace("\\\n#", "").split())
    model = constructor(text)()
    assert model.decoder.top.weight.shape[0] == 48
    assert model.head.weight.shape[1] == 64
    with pytest.raises(CompileError, match="--segmentation-channels 100 is not a multiple of 32"):
        compiler.emit(
            "resnet18", target="torch", segmentor="fpn", segmentation_channels=100, dims=3
        )
    with pytest.raises(CompileError, match="--compat is not an option of fpn"):
        compiler.emit("resnet18", target="torch", segmentor="fpn", compat="medicai")
