"""Files that medicai saved, into our weights: its models' outputs are ours.

Needs the extra `oracle`.
"""

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import compiler
from compiler.catalog import ENCODERS
from compiler.weights.convert import convert
from tests.harness import channels_first, constructor, difference, image

medicai = pytest.importorskip("medicai.models", reason="the extra `oracle` is not installed")

SHAPES = {2: (64, 64, 3), 3: (32, 32, 32, 1)}
CASES = (
    ("seresnet18", 3, ".keras"),
    ("seresnext50", 2, ".keras"),
    ("seresnet50v2", 2, ".weights.h5"),
    ("seresnet50vd", 3, ".weights.h5"),
    ("seresnet152", 2, ".weights.h5"),  # block indices above 9
    ("resnext50", 2, ".weights.h5"),
)
SEGMENTORS = {
    "unet": ("UNet", {}),
    "attention_unet": ("AttentionUNet", {}),
    "unet_plus_plus": ("UNetPlusPlus", {"compat": "medicai"}),
}


def saved(build, path, **arguments):
    """A model of medicai's with random weights, and its file."""
    model = build(classifier_activation=None, num_classes=2, **arguments)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = 0.1 * rng.standard_normal(shape)
        else:
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        variable.assign(value)
    model.save(path) if path.suffix == ".keras" else model.save_weights(path)
    return model


def assert_same_numbers(reference, path, encoder, **options):
    result = path.with_name("out.safetensors")
    done = convert(path, result, encoder, layout="medicai", **options)
    model = constructor(compiler.emit(encoder, target="torch", **options))().eval()
    model.load_state_dict({n: torch.from_numpy(v) for n, v in load_file(result).items()})
    x = image(options["input_shape"], batch=1)
    with torch.no_grad():
        found = model(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    wanted = reference(x, training=False)
    wanted = channels_first(wanted) if wanted.ndim > 2 else keras.ops.convert_to_numpy(wanted)
    assert difference(found, wanted) < 1e-4
    return done.notes


@pytest.mark.parametrize(("encoder", "dims", "suffix"), CASES)
def test_encoders(encoder, dims, suffix, tmp_path):
    path, shape = tmp_path / f"theirs{suffix}", SHAPES[dims]
    reference = saved(getattr(medicai, ENCODERS[encoder].class_name), path, input_shape=shape)
    notes = assert_same_numbers(
        reference, path, encoder, dims=dims, input_shape=shape, num_classes=2
    )
    assert not notes


@pytest.mark.parametrize(("depth", "block"), [(5, "upsampling"), (3, "transpose")])
@pytest.mark.parametrize("segmentor", SEGMENTORS)
def test_segmentors(segmentor, depth, block, tmp_path):
    name, more = SEGMENTORS[segmentor]
    path, shape = tmp_path / "theirs.keras", SHAPES[2]
    arguments = {"encoder_depth": depth, "decoder_block_type": block, "input_shape": shape}
    reference = saved(getattr(medicai, name), path, encoder_name="seresnet18", **arguments)
    options = {"segmentor": segmentor, "encoder_depth": depth, "decoder_block": block, **more}
    notes = assert_same_numbers(
        reference, path, "seresnet18", input_shape=shape, num_classes=2, **options
    )
    left = "left out encoder.stages.2, encoder.stages.3: the model has none (66 tensors)"
    assert notes == ((left,) if depth == 3 else ())  # what it saves and never uses
