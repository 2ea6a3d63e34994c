"""Files that medicai saved, into our weights: its models' outputs are ours.

Needs the extra `oracle`.
"""

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import compiler
from compiler import convert
from compiler.catalog import ENCODERS
from compiler.errors import CompileError
from tests.harness import channels_first, constructor, difference, image
from tests.reference import randomize_reference
from tests.sampling import by_kind, encoder_kind, half_of

medicai = pytest.importorskip("medicai.models", reason="the extra `oracle` is not installed")

SHAPES = {2: (64, 64, 3), 3: (32, 32, 32, 1)}
# Every encoder that it has with SE, by one kind of file or the other; seresnet101 has block
# indices above 9.
CASES = [
    (encoder, 2, (".keras", ".weights.h5")[i % 2])
    for i, encoder in enumerate(ENCODERS)
    if ENCODERS[encoder].se and hasattr(medicai, ENCODERS[encoder].class_name)
]
CASES += [
    ("seresnet18", 3, ".keras"),
    ("seresnet50vd", 3, ".weights.h5"),
    ("resnext50", 2, ".weights.h5"),
]
SEGMENTORS = {
    "unet": ("UNet", {}),
    "attention_unet": ("AttentionUNet", {}),
    "unet_plus_plus": ("UNetPlusPlus", {"compat": "medicai"}),
}


def saved(build, path, **arguments):
    """A model of medicai's with random weights, and its file."""
    model = build(classifier_activation=None, num_classes=2, **arguments)
    randomize_reference(model)
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


def test_all_of_its_encoders_are_here():
    assert len({encoder for encoder, _, _ in CASES if encoder.startswith("se")}) == 12


def _kind(encoder, dims, suffix):
    """Of blocks; a network in 3D; and the one whose stages have more than ten."""
    return dims == 3 or (*encoder_kind(encoder), encoder == "seresnet101")


@pytest.mark.parametrize(("encoder", "dims", "suffix"), by_kind(CASES, _kind))
def test_encoders(encoder, dims, suffix, tmp_path):
    path, shape = tmp_path / f"theirs{suffix}", SHAPES[dims]
    reference = saved(getattr(medicai, ENCODERS[encoder].class_name), path, input_shape=shape)
    notes = assert_same_numbers(
        reference, path, encoder, dims=dims, input_shape=shape, num_classes=2
    )
    assert not notes


@pytest.mark.parametrize(
    ("segmentor", "depth_and_block"), half_of(SEGMENTORS, [(5, "upsampling"), (3, "transpose")])
)
def test_segmentors(segmentor, depth_and_block, tmp_path):
    depth, block = depth_and_block
    name, more = SEGMENTORS[segmentor]
    path, shape = tmp_path / "theirs.keras", SHAPES[2]
    arguments = {"encoder_depth": depth, "decoder_block_type": block, "input_shape": shape}
    reference = saved(getattr(medicai, name), path, encoder_name="seresnet18", **arguments)
    options = {"segmentor": segmentor, "encoder_depth": depth, "decoder_block": block, **more}
    notes = assert_same_numbers(
        reference, path, "seresnet18", input_shape=shape, num_classes=2, **options
    )
    left = "omitted encoder.stages.2, encoder.stages.3, which the model does not have (66 tensors)"
    assert notes == ((left,) if depth == 3 else ())  # what it saves and never uses


NORMS = {"instance": "instance", "layer": "layer", "none": False}


@pytest.mark.parametrize(("segmentor", "norm"), half_of(["unet", "unet_plus_plus"], NORMS))
def test_norms_of_decoders(segmentor, norm, tmp_path):
    name, more = SEGMENTORS[segmentor]
    path, shape = tmp_path / "theirs.weights.h5", (32, 64, 1)
    own = {"input_shape": shape, "decoder_block_type": "transpose", "encoder_name": "seresnet18"}
    reference = saved(getattr(medicai, name), path, decoder_normalization=NORMS[norm], **own)
    ours = {"input_shape": shape, "decoder_block": "transpose", "num_classes": 2, **more}
    options = {"segmentor": segmentor, "decoder_normalization": norm, **ours}
    notes = assert_same_numbers(reference, path, "seresnet18", **options)
    bare = "medicai has no weights for instance norm: left at 1 and 0"
    assert [note.startswith(bare) for note in notes] == [True] * (norm == "instance")


THEIR_TRANS_UNET = {"num_vit_layers": 2, "num_heads": 4, "num_queries": 7}
OUR_TRANS_UNET = {"vit_layers": 2, "heads": 4, "queries": 7, "compat": "medicai"}


def _trans_unet(path, shape, **arguments):
    sizes = {"embed_dim": 64, "mlp_dim": 48}
    ours = {**OUR_TRANS_UNET, **sizes, **arguments, "input_shape": shape, "num_classes": 2}
    arguments |= {**THEIR_TRANS_UNET, **sizes, "input_shape": shape}
    reference = saved(medicai.TransUNet, path, encoder_name="seresnet18", **arguments)
    return reference, {"segmentor": "trans_unet", **ours}


@pytest.mark.parametrize(
    ("shape", "depth", "suffix"),
    [
        ((64, 96, 3), 5, ".keras"),
        ((32, 32, 32, 2), 4, ".weights.h5"),
        ((136, 128, 1), 3, ".weights.h5"),  # tokens of two by two voxels: masks are resized
    ],
)
def test_trans_unet(shape, depth, suffix, tmp_path):
    path = tmp_path / f"theirs{suffix}"
    reference, options = _trans_unet(path, shape, encoder_depth=depth)
    options["dims"] = len(shape) - 1
    assert_same_numbers(reference, path, "seresnet18", **options)


def test_what_fits_by_shape_and_has_other_numbers_is_refused(tmp_path):
    path, result = tmp_path / "theirs.weights.h5", tmp_path / "w.safetensors"
    _, options = _trans_unet(path, (64, 64, 3))
    wrong = {
        "its attention has 4 heads, but the model's has 2": {"heads": 2},
        "masks its attention differently": {"compat": None},
    }
    for message, change in wrong.items():
        with pytest.raises(CompileError, match=message):
            convert(path, result, "seresnet18", layout="medicai", **{**options, **change})
    unet = {
        "32 groups": {"decoder_normalization": "group"},
        "slope of 0.3": {"decoder_activation": "leaky_relu"},
    }
    for message, change in unet.items():
        with pytest.raises(CompileError, match=message):
            convert(path, result, "seresnet18", layout="medicai", segmentor="unet", **change)
    assert not result.exists()
