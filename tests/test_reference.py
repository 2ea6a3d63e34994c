"""The reference library itself: its weights, copied into our files, give its numbers.

Needs the extra `oracle`; `.ci/run` installs it.
"""

import itertools
import re

import keras
import numpy as np
import pytest
import torch

import compiler
from compiler.catalog import ENCODERS, SHOWCASE
from compiler.dialects import PROOFS
from compiler.passes.validate import resolve
from tests.harness import (
    channels_first,
    constructor,
    copy_to_keras,
    difference,
    emit_pair,
    image,
    ledger_of,
)
from tests.reference import live_variables, place_of, randomize_reference, weights_of_reference
from tests.sampling import by_kind, encoder_kind, half_of, only, third_of
from tests.test_dialects import of_kind
from tests.undrawn import undrawn

medicai = pytest.importorskip("medicai.models", reason="the extra `oracle` is not installed")

TOLERANCE = 1e-4
SHAPES = {2: (64, 96, 3), 3: (32, 32, 32, 2)}
FOUR = ("seresnet18", "seresnet50v2", "seresnet50vd", "seresnext50")
PLAIN = ("resnet18", "resnet50", "resnet50v2", "resnet50vd", "resnext50")
SEGMENTORS = {
    "unet": "UNet",
    "attention_unet": "AttentionUNet",
    "unet_plus_plus": "UNetPlusPlus",
}
SLIM = (40, 32, 24, 16, 12)  # decoder filters
segmentors = pytest.mark.parametrize("segmentor", SEGMENTORS)
BLOCKS = ("upsampling", "transpose")
blocks = pytest.mark.parametrize("block", BLOCKS)


def reference_classifier(encoder, shape, **arguments):
    """Theirs, or its backbone, with random weights."""
    arguments = {"num_classes": 2, "classifier_activation": None, **arguments}
    build = getattr(medicai, ENCODERS[encoder].class_name)
    with undrawn():
        return _randomized(build(input_shape=shape, **arguments))


def reference_segmentor(segmentor, encoder, shape, **arguments):
    """Theirs on an encoder's name or on a backbone of theirs, with random weights."""
    if isinstance(encoder, str):
        build = getattr(medicai, ENCODERS[encoder].class_name)
        with undrawn():
            encoder = build(input_shape=shape, include_top=False)
    arguments = {"num_classes": 2, "classifier_activation": None, **arguments}
    build = getattr(medicai, SEGMENTORS.get(segmentor, "TransUNet"))
    with undrawn():
        return _randomized(build(encoder=encoder, input_shape=shape, **arguments))


def _randomized(model):
    randomize_reference(model)
    return model


def our_options(segmentor, **options):
    """Options of our segmentor that make it the reference's."""
    compat = {"compat": "medicai"} if segmentor == "unet_plus_plus" else {}
    return {"segmentor": segmentor, "num_classes": 2, **compat, **options}


def differences(reference, encoder, shape, change=None, **options):
    """Level, or "output" -> how far our two files are from the reference, given its weights.

    `change` may spoil the weights on their way.
    """
    options["input_shape"] = shape
    ledger = ledger_of(encoder, **options)
    trunk = resolve(encoder, options).encoder
    place = place_of(trunk.pre_activation, options.get("segmentor"), len(ledger.pyramid))
    weights = weights_of_reference(reference, ledger, place)
    if change:
        change(weights)
    texts = emit_pair(encoder, **options)
    with undrawn():
        ours, ours_in_keras = (constructor(text)() for text in texts)
    ours.eval()
    counters = {n: v for n, v in ours.state_dict().items() if n.endswith("num_batches_tracked")}
    ours.load_state_dict({**weights, **counters})  # strict: all of them, and no other
    copy_to_keras(ours, ours_in_keras, ledger)

    x = image(shape, batch=2 if len(shape) == 3 else 1)
    levels = getattr(reference, "encoder", reference).pyramid_outputs
    wanted = {level: levels[level] for level, _ in ledger.pyramid} | {"output": reference.output}
    wanted = keras.Model(reference.inputs[0], wanted)(x, training=False)
    found = {**ours_in_keras.pyramid_outputs, "output": ours_in_keras.output}
    found = keras.Model(ours_in_keras.inputs[0], found)(x, training=False)
    with torch.no_grad():
        first = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
        in_torch = {**ours.pyramid(first), "output": ours(first)}
    assert list(in_torch) == list(found) == list(wanted)
    return {
        name: max(
            difference(in_torch[name].numpy(), channels_first(value)),
            difference(channels_first(found[name]), channels_first(value)),
        )
        for name, value in wanted.items()
    }


def assert_agree(reference, encoder, shape, **options):
    """The same numbers at each level and at the end, and nothing unused but deeper stages."""
    found = differences(reference, encoder, shape, **options)
    assert max(found.values()) <= TOLERANCE, found
    weights = [v for v in reference.variables if v.name != "seed_generator_state"]
    dead = len(weights) - len(live_variables(reference))
    assert dead == _deeper_weights(encoder, shape, options)


def _deeper_weights(encoder, shape, options):
    """Weights of the encoder that a segmentor of this depth has no use for."""
    if "segmentor" not in options:
        return 0
    whole = ledger_of(encoder, input_shape=shape, features_only=True)
    used = ledger_of(encoder, input_shape=shape, **options)
    used = {row.path for row in used.rows}
    return sum(len(row.weights) for row in whole.rows if row.path not in used)


HEADS = {  # the reference's arguments, and ours
    "classifier": ({}, {"num_classes": 2}),
    "features": (
        {"include_top": False, "include_rescaling": True},
        {"features_only": True, "include_rescaling": True},
    ),
    "average": (
        {"include_top": False, "pooling": "avg"},
        {"features_only": True, "pooling": "avg"},
    ),
    "maximum": (
        {"include_top": False, "pooling": "max"},
        {"features_only": True, "pooling": "max"},
    ),
}
IN_2D = [(encoder, 2, "classifier") for encoder in SHOWCASE]
IN_3D = [(encoder, 3, "classifier") for encoder in (*FOUR, "seresnet50")]
# The end does not depend on the block, but for the norm at the end of a pre-activation encoder.
ENDS = (
    ("seresnet18", 2, "average"),
    ("seresnet18", 3, "features"),
    ("seresnet18", 3, "maximum"),
    ("seresnet50v2", 2, "features"),
    ("seresnet50v2", 2, "maximum"),
)
OTHER_HEADS = only(
    lambda *case: case in ENDS,
    [
        (encoder, dims, head)
        for encoder, dims, head in itertools.product(FOUR, SHAPES, list(HEADS)[1:])
        if dims == 2 or encoder in ("seresnet18", "seresnet50v2")
    ],
)


def _kind(encoder, dims, head):
    return *encoder_kind(encoder), dims


@pytest.mark.parametrize(("encoder", "dims", "head"), by_kind(IN_2D + IN_3D, _kind) + OTHER_HEADS)
def test_encoders(encoder, dims, head):
    theirs, ours = HEADS[head]
    reference = reference_classifier(encoder, SHAPES[dims], **theirs)
    assert_agree(reference, encoder, SHAPES[dims], **ours)


@pytest.mark.parametrize(("encoder", "dims"), half_of(PLAIN, SHAPES))
def test_encoders_without_squeeze_excite(encoder, dims):
    reference = reference_classifier(encoder, SHAPES[dims], classifier_activation="softmax")
    options = {"num_classes": 2, "classifier_activation": "softmax"}
    assert_agree(reference, encoder, SHAPES[dims], **options)


@pytest.mark.parametrize(
    ("encoder", "shape"), third_of(FOUR, [(33, 47, 1), (70, 100, 3), (17, 40, 33, 1)])
)
def test_encoders_at_odd_sizes(encoder, shape):
    assert_agree(reference_classifier(encoder, shape), encoder, shape, num_classes=2)


# A segmentor's depth in 2D and in 3D, each with its block. Every two of depth, rank and block meet.
CHOSEN = {
    "unet": {2: (3, "upsampling"), 3: (5, "upsampling")},
    "attention_unet": {2: (5, "transpose"), 3: (3, "transpose")},
    "unet_plus_plus": {2: (3, "transpose"), 3: (5, "upsampling")},
}


def _is_chosen(segmentor, encoder, depth, dims, block):
    turn = 2 * tuple(SEGMENTORS).index(segmentor) + dims
    return CHOSEN[segmentor][dims] == (depth, block) and FOUR[turn % 4] == encoder


SEGMENTED = only(_is_chosen, itertools.product(SEGMENTORS, FOUR, (3, 5), SHAPES, BLOCKS))


@pytest.mark.parametrize(("segmentor", "encoder", "depth", "dims", "block"), SEGMENTED)
def test_segmentors(segmentor, encoder, depth, dims, block):
    arguments = {"encoder_depth": depth}
    if dims == 3:
        arguments["decoder_filters"] = SLIM  # UNet++ with 256 in its top row takes minutes
    reference = reference_segmentor(
        segmentor, encoder, SHAPES[dims], decoder_block_type=block, **arguments
    )
    options = our_options(segmentor, decoder_block=block, **arguments)
    assert_agree(reference, encoder, SHAPES[dims], **options)


TRANS_UNET = [  # a token at depth 3 and 136 x 128 is two voxels wide
    ("seresnet18", (64, 96, 3), {"encoder_depth": 5}),
    ("seresnet50v2", (64, 64, 3), {"encoder_depth": 4}),
    ("seresnet50vd", (32, 32, 32, 2), {"encoder_depth": 4}),
    ("seresnext50", (32, 32, 32, 2), {"encoder_depth": 3, "num_classes": 1}),
    ("seresnet18", (136, 128, 1), {"encoder_depth": 3}),
]


@pytest.mark.parametrize(("encoder", "shape", "options"), TRANS_UNET)
def test_trans_unet(encoder, shape, options):
    """Masks the reference's way, its softmax over one class, its dense layer over the tokens."""
    sizes = {"embed_dim": 64, "mlp_dim": 48}
    theirs = {"num_vit_layers": 2, "num_heads": 4, "num_queries": 7, **sizes, **options}
    ours = {"vit_layers": 2, "heads": 4, "queries": 7, **sizes, "compat": "medicai"}
    reference = reference_segmentor("trans_unet", encoder, shape, **theirs)
    assert_agree(reference, encoder, shape, **our_options("trans_unet", **ours, **options))


# One block a stage, in both words.
OWN = {
    "64 groups of 4": {"block": "bottleneck", "groups": 64, "width_per_group": 4, "se_ratio": 16},
    "pre-activation basic": {"block": "basic", "pre_activation": True, "se_ratio": 8},
    "grouped vd, deep stem": {
        "block": "bottleneck_vd",
        "stem_filters": (24, 40),
        "stem_kernels": (5, 3),
        "groups": 4,
        "width_per_group": 16,
    },
    "pre-activation, deep stem": {
        "block": "bottleneck",
        "pre_activation": True,
        "stem_filters": (8, 16, 24),
        "stem_kernels": (3, 5, 3),
        "filters": (64, 32, 48, 64),
        "se_ratio": 256,  # of 256, 128, 192 and 256 channels: one everywhere
        "se_activation": "silu",
    },
}
THEIR_NAMES = {
    "stem_filters": "conv_filters",
    "stem_kernels": "conv_kernel_sizes",
    "pre_activation": "use_pre_activation",
    "filters": "num_filters",
    "strides": "num_strides",
}


def _own(name, shape, **changes):
    """An encoder of one's own, and the reference's backbone with the same table."""
    table = {"blocks": (1, 1, 2, 1), **OWN[name], **changes}
    theirs = {THEIR_NAMES.get(key, key): value for key, value in table.items()}
    theirs["num_blocks"] = theirs.pop("blocks")
    theirs["block_type"] = theirs.pop("block").replace("neck_vd", "neck_block_vd")
    if not theirs["block_type"].endswith("_vd"):
        theirs["block_type"] += "_block"
    backbone = medicai_backbone(input_shape=shape, se_block="se_ratio" in table, **theirs)
    return compiler.custom_encoder("own", **table), backbone


def medicai_backbone(**arguments):
    from medicai.models.resnet import ResNetBackbone

    return ResNetBackbone(**arguments)


@pytest.mark.parametrize(("name", "dims"), half_of(OWN, SHAPES))
def test_encoders_of_ones_own(name, dims):
    encoder, backbone = _own(name, SHAPES[dims])
    assert_agree(_randomized(backbone), encoder, SHAPES[dims], features_only=True)


@pytest.mark.parametrize("kind", [k for k, proof in PROOFS["medicai"].items() if proof.reference])
def test_blocks_of_the_reference(kind):
    """medicai's backbone of the same table, with weights of its own."""
    small = {"filters": (64, 32, 32, 64)}
    encoder = of_kind(kind, "vd" in kind, **small)
    theirs = medicai_backbone(
        input_shape=SHAPES[2],
        num_blocks=encoder.depths,
        num_filters=encoder.filters,
        num_strides=encoder.strides,
        conv_filters=encoder.stem.filters,
        conv_kernel_sizes=encoder.stem.kernels,
        block_type=encoder.block.replace("neck_vd", "neck_block_vd")
        + ("" if encoder.pooled_shortcut else "_block"),
        use_pre_activation=encoder.pre_activation,
        groups=encoder.groups,
        width_per_group=encoder.width_per_group,
        se_block=encoder.se is not None,
    )
    assert_agree(_randomized(theirs), encoder, SHAPES[2], features_only=True)


def test_strides_of_ones_own():
    for name in OWN:
        encoder, backbone = _own(name, (65, 50, 2), strides=(1, 3, 1, 2))
        assert_agree(_randomized(backbone), encoder, (65, 50, 2), features_only=True)


DECODERS = {  # the reference's arguments, and ours
    "layer norm": ({"decoder_normalization": "layer"},) * 2,
    "instance norm": ({"decoder_normalization": "instance"},) * 2,
    "no norm": ({"decoder_normalization": False}, {"decoder_normalization": "none"}),
    "odd filters": ({"decoder_filters": (13, 12, 7, 5, 3)},) * 2,
    "one filter": ({"decoder_filters": (1, 1, 1, 1, 1)},) * 2,
    "softmax": ({"classifier_activation": "softmax"},) * 2,
    "sigmoid": ({"classifier_activation": "sigmoid", "num_classes": 1},) * 2,
}


def _assert_decoders_agree(segmentor, block, shape, theirs, ours):
    encoder, backbone = _own("pre-activation basic", shape)
    arguments = {"decoder_block_type": block, "decoder_filters": SLIM, **theirs}
    options = {"decoder_block": block, "decoder_filters": SLIM, **ours}
    reference = reference_segmentor(segmentor, backbone, shape, **arguments)
    assert_agree(reference, encoder, shape, **our_options(segmentor, **options))


def _one_of_six(block, decoder, segmentor):
    """Each option of a decoder, the kinds of block and the segmentors in turn."""
    turn = list(DECODERS).index(decoder)
    return (BLOCKS.index(block), list(SEGMENTORS).index(segmentor)) == (turn % 2, turn % 3)


@pytest.mark.parametrize(
    ("block", "decoder", "segmentor"),
    only(_one_of_six, itertools.product(BLOCKS, DECODERS, SEGMENTORS)),
)
def test_decoders(block, decoder, segmentor):
    _assert_decoders_agree(segmentor, block, (32, 64, 1), *DECODERS[decoder])


@pytest.mark.parametrize("norm", ["layer", pytest.param("instance", marks=pytest.mark.full)])
def test_norms_in_3d(norm):
    options = {"decoder_normalization": norm}
    _assert_decoders_agree("unet", "transpose", (32, 32, 64, 1), options, options)


ACTIVATIONS = ("elu", "gelu", "silu", "mish", "hard_swish", "tanh")


@pytest.mark.parametrize(("block", "activation"), half_of(BLOCKS, ACTIVATIONS))
def test_activations(block, activation):
    options = {"decoder_activation": activation}
    _assert_decoders_agree("unet", block, (32, 64, 1), options, options)


@blocks
def test_leaky_relu_differs_by_its_slope(block, monkeypatch):
    """Keras' default there, PyTorch's here; with theirs written into our files, nothing differs."""
    options = {"decoder_activation": "leaky_relu"}
    with pytest.raises(AssertionError):
        _assert_decoders_agree("unet", block, (32, 64, 1), options, options)

    emit = emit_pair

    def with_their_slope(*arguments, **keywords):
        texts = emit(*arguments, **keywords)
        slope = re.compile(r"(leaky_relu\(.*, |negative_slope=)0\.01\)")
        assert all(slope.search(text) for text in texts)
        return tuple(slope.sub(r"\g<1>0.3)", text) for text in texts)

    monkeypatch.setattr(f"{__name__}.emit_pair", with_their_slope)
    _assert_decoders_agree("unet", block, (32, 64, 1), options, options)


@pytest.mark.parametrize(("name", "segmentor"), third_of(tuple(OWN), tuple(SEGMENTORS)))
def test_segmentors_on_encoders_of_ones_own(segmentor, name):
    shape = (48, 32, 16, 1)
    encoder, backbone = _own(name, shape)
    arguments = {"encoder_depth": 4, "decoder_filters": SLIM}
    reference = reference_segmentor(segmentor, backbone, shape, **arguments)
    assert_agree(reference, encoder, shape, **our_options(segmentor, **arguments))


def _swap(weights):
    first, second = "encoder.stages.0.1.conv2.weight", "encoder.stages.0.2.conv2.weight"
    weights[first], weights[second] = weights[second], weights[first]


def _swap_statistics(weights):
    first, second = (f"decoder.blocks.1.bn2.{name}" for name in ("weight", "running_var"))
    weights[first], weights[second] = weights[second], weights[first]


@pytest.mark.parametrize(
    ("swap", "diverged"),
    [(_swap, {"P2", "P3", "P4", "output"}), (_swap_statistics, {"output"})],
)
def test_swapped_weights_of_equal_shape_are_seen(swap, diverged):
    shape, options = SHAPES[2], our_options("unet", encoder_depth=4)
    reference = reference_segmentor("unet", "seresnext50", shape, encoder_depth=4)
    found = differences(reference, "seresnext50", shape, change=swap, **options)
    assert {name for name, value in found.items() if value > TOLERANCE} == diverged


def test_another_activation_in_the_gate_is_seen():
    shape = SHAPES[2]
    reference = reference_classifier("seresnet18", shape, se_activation="silu")
    found = differences(reference, "seresnet18", shape, num_classes=2)
    assert min(found[level] for level in ("P2", "P5", "output")) > TOLERANCE
    assert_agree(reference, "seresnet18", shape, num_classes=2, se_activation="silu")


def test_weights_without_a_place_are_named():
    shape = SHAPES[2]
    reference = reference_classifier("seresnet18", shape)
    with pytest.raises(AssertionError, match=r"no place in ours for .*stack3_block1_squeeze"):
        differences(reference, "resnet18", shape, num_classes=2)
    with pytest.raises(KeyError, match="stack0_block2_1_conv/kernel"):
        differences(reference, "seresnet34", shape, num_classes=2)
    with pytest.raises(LookupError, match=r"decoder\.gates\.0\.theta has no place"):
        place_of(False, "unet_plus_plus", 5)("decoder.gates.0.theta")
