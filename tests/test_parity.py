"""Same weights, random norm statistics: both targets give the same numbers."""

import itertools

import pytest

from tests.harness import (
    build_pair,
    compare,
    constructor,
    copy_to_keras,
    emit_pair,
    image,
    ledger_of,
    randomize,
    tiny,
)
from tests.sampling import only

KINDS = ("seresnet18", "seresnet50", "seresnet50v2", "seresnet50vd", "seresnext50")
SHAPES = ((64, 64, 3), (65, 97, 3), (32, 32, 32, 2), (33, 40, 47, 2))


def _in_turn(encoder, shape):
    """An encoder in one rank, at a size that is even for one and odd for the next."""
    return KINDS.index(encoder) % len(SHAPES) == SHAPES.index(shape)


@pytest.mark.parametrize(
    ("encoder", "shape"),
    only(_in_turn, itertools.product(KINDS, SHAPES)),
)
def test_targets_agree(encoder, shape):
    options = {"input_shape": shape, "num_classes": 3}
    ledger = ledger_of(encoder, **options)
    models = build_pair(emit_pair(encoder, **options), ledger, shape, num_classes=3)
    assert compare(*models, ledger, image(shape)) is None


SMALL = {"blocks": (1, 2), "filters": (8, 16), "strides": (1, 2), "se_ratio": None}
OWN = {
    "pre-activation basic": {**SMALL, "block": "basic", "pre_activation": True, "se_ratio": 4},
    "basic vd": {**SMALL, "block": "basic_vd", "se_ratio": 4},
    "pre-activation basic vd": {**SMALL, "block": "basic_vd", "pre_activation": True},
    "pre-activation vd": {**SMALL, "block": "bottleneck_vd", "pre_activation": True},
    "grouped vd": {**SMALL, "block": "bottleneck_vd", "groups": 4, "width_per_group": 16},
    "one channel squeezed": {**SMALL, "se_ratio": 64},  # the widest stage has 64 channels
    "strides of its own": {**SMALL, "strides": (2, 3), "block": "bottleneck_vd"},
    "deep pre-activation stem": {
        **SMALL,
        "stem_filters": (4, 8),
        "stem_kernels": (5, 3),
        "pre_activation": True,
    },
    "one by one stem": {**SMALL, "stem_kernels": (1,)},
}
HEADS = (
    {"num_classes": 3, "classifier_activation": "softmax"},
    {"num_classes": 2, "classifier_activation": "sigmoid", "include_rescaling": True},
    {"features_only": True},
    {"features_only": True, "pooling": "avg"},
    {"features_only": True, "pooling": "max"},
)


def _own(name, **changes):
    return tiny(**{**OWN[name], **changes})


def _agree(encoder, shape, **options):
    ledger = ledger_of(encoder, input_shape=shape, **options)
    models = build_pair(emit_pair(encoder, input_shape=shape, **options), ledger, shape)
    return compare(*models, ledger, image(shape))


@pytest.mark.parametrize("shape", [(31, 32, 2), (17, 20, 23, 1)], ids=str)
@pytest.mark.parametrize("name", OWN)
def test_own_encoders_agree(name, shape):
    assert _agree(_own(name), shape) is None


@pytest.mark.parametrize("options", HEADS, ids=str)
@pytest.mark.parametrize("name", ["grouped vd", "pre-activation basic"])
def test_heads_agree(name, options):
    assert _agree(_own(name), (33, 20, 2), **options) is None


@pytest.mark.parametrize(
    "activation", ["leaky_relu", "elu", "gelu", "silu", "mish", "hard_swish", "tanh", "sigmoid"]
)
def test_activations_agree(activation):
    encoder = _own("one channel squeezed", se_ratio=2, se_activation=activation)
    assert _agree(encoder, (33, 20, 2)) is None


FAULTS = {  # what an edit to the Keras file breaks, and the ledger row that must be named
    "same padding at stride 2": (
        "    if stride != 1 and kernel > 1:",
        "    if False:",
        "encoder.conv1",
    ),
    "zeros under a signed maximum": (
        'constant_values=float("-inf")',
        "constant_values=0",
        "encoder.stages.0.0.bn1",
    ),
    "epsilon": ("epsilon=1e-5", "epsilon=1e-3", "encoder.stages.0.0.bn1"),
    "SE after the addition": (
        '    x = squeeze_excite(x, channels, name=f"{name}_se")\n'
        "    return layers.Add()([x, residual])",
        "    x = layers.Add()([x, residual])\n"
        '    return squeeze_excite(x, channels, name=f"{name}_se")',
        "encoder.stages.0.0.se.conv1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_named(fault):
    old, new, row = FAULTS[fault]
    shape = (32, 48, 2)
    encoder = _own("deep pre-activation stem", stem_filters=(8,), stem_kernels=(3,), se_ratio=4)
    torch_text, keras_text = emit_pair(encoder, input_shape=shape)
    assert old in keras_text
    broken = keras_text.replace(old, new)
    ledger = ledger_of(encoder, input_shape=shape)
    models = build_pair((torch_text, broken), ledger, shape)
    assert compare(*models, ledger, image(shape)) == row


def test_counted_padding_fails():
    encoder, shape = _own("grouped vd"), (33, 47, 2)
    torch_text, keras_text = emit_pair(encoder, input_shape=shape)
    assert "ReplicationPad2d" in torch_text
    broken = torch_text.replace("ReplicationPad2d", "ZeroPad2d")
    ledger = ledger_of(encoder, input_shape=shape)
    models = build_pair((broken, keras_text), ledger, shape)
    assert compare(*models, ledger, image(shape)) == "encoder.stages.1.0.shortcut.conv"


def test_swapped_weights_of_equal_shape_fail():
    encoder, shape = _own("pre-activation basic"), (32, 32, 2)
    texts = emit_pair(encoder, input_shape=shape)
    ledger = ledger_of(encoder, input_shape=shape)
    torch_model = constructor(texts[0])(in_channels=2).eval()
    keras_model = constructor(texts[1])(input_shape=shape)
    randomize(torch_model)
    copy_to_keras(torch_model, keras_model, ledger)
    layer = keras_model.get_layer("encoder_stages_0_0_bn1")
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    layer.gamma.assign(beta)
    layer.beta.assign(gamma)
    assert compare(torch_model, keras_model, ledger, image(shape)) == "encoder.stages.0.0.bn1"
