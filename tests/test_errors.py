"""Exact messages for wrong input. A new case is a line of input and the lines that it answers."""

from __future__ import annotations

import ast

import pytest

import compiler
from compiler.blocks import BLOCK_KINDS
from compiler.catalog import ENCODERS
from compiler.segmentors import SEGMENTORS

from .sampling import ANYWHERE, UNETS

TARGET_HINT = "  hint one of torch, keras"
LIST_HINT = "  hint `plainnet list` shows all encoders"
DIMS_HINT = "  hint one of 2, 3"
CHANNELS_HINT = "  hint the last number of --input-shape is the channels; give one of the two"
CHANNELS_LIMIT = "  hint A tensor has at most 1,048,576 channels."
FLAG_HINT = "  hint it is True or False"
TUPLE_HINT = "  hint a tuple of whole numbers"
DEPTH_HINT = "  hint one of 3, 4, 5"
SEGMENTOR_HINT = f"  hint one of {', '.join(SEGMENTORS)}"
UNETS_HINT = f"  hint add --segmentor {' or '.join(UNETS)}"
BLOCK_HINT = f"  hint one of {', '.join(BLOCK_KINDS)}"
ANY_HINT = f"  hint add --segmentor {' or '.join(ANYWHERE)}"
NORM_HINT = "  hint one of batch, instance, group, layer, none"
ACTIVATION_HINT = "  hint one of relu, leaky_relu, elu, gelu, silu, mish, hard_swish, tanh, sigmoid"
FILTERS_HINT = "  hint one for each stage, deepest first"
NAME_HINT = "  hint use letters, digits and _, and no digit first, as in my_resnext"

# fmt: off
MODELS = {
    "seresnxt50": (
        "error: unknown encoder 'seresnxt50'. Did you mean 'seresnext50' or 'seresnet50' or"
        " 'seresnet50d'?", LIST_HINT),
    "SEResNet5": (
        "error: unknown encoder 'SEResNet5'. Did you mean 'seresnet50' or 'seresnext50' or"
        " 'seresnet50d'?", LIST_HINT),
    "efficientdet": ("error: unknown encoder 'efficientdet'.", LIST_HINT),
    "": ("error: unknown encoder ''.", LIST_HINT),
    "сереснет": ("error: unknown encoder 'сереснет'.", LIST_HINT),
    "resnet18; rm -rf /": ("error: unknown encoder 'resnet18; rm -rf /'. Did you mean 'resnet18'?",
                           LIST_HINT),
    None: ("error: None is not an encoder", "  hint a name, or what custom_encoder() returned"),
    7: ("error: 7 is not an encoder", "  hint a name, or what custom_encoder() returned"),
}

TARGETS = {
    None: ("error: --target is missing", TARGET_HINT),
    "": ("error: --target is ''.", TARGET_HINT),
    "torhc": ("error: --target is 'torhc'. Did you mean 'torch'?", TARGET_HINT),
    "flax": ("error: --target is 'flax'.", TARGET_HINT),
}

OPTIONS = [
    ({"dims": 1}, "error: --dims is 1.", DIMS_HINT),
    ({"dims": 4}, "error: --dims is 4.", DIMS_HINT),
    ({"dims": 0}, "error: --dims is 0.", DIMS_HINT),
    ({"dims": 2.0}, "error: --dims is 2.0.", DIMS_HINT),
    ({"dims": True}, "error: --dims is True.", DIMS_HINT),
    ({"dims": ""}, "error: --dims is ''.", DIMS_HINT),
    ({"dims": "3d"}, "error: --dims is '3d'. Did you mean '3'?", DIMS_HINT),
    ({"dims": 3, "input_shape": (64, 64, 3)},
     "error: --input-shape 64,64,3 has 3 numbers, but a 3D network takes 3 sizes plus channels",
     "  hint as in 96,96,96,4"),
    ({"dims": 2, "input_shape": "64,64,64,3"},
     "error: --input-shape 64,64,64,3 has 4 numbers, but a 2D network takes 2 sizes plus channels",
     "  hint as in 224,224,3"),
    ({"input_shape": (64,)},
     "error: --input-shape 64 has 1 number, but a 2D network takes 2 sizes plus channels",
     "  hint as in 224,224,3"),
    ({"input_shape": (8, 8, 8, 8, 3)},
     "error: --input-shape 8,8,8,8,3 has 5 numbers, but a 2D network takes 2 sizes plus channels",
     "  hint as in 224,224,3"),
    ({"input_shape": (64, 64, 3), "in_channels": 4},
     "error: --input-shape 64,64,3 has 3 channels, but --in-channels is 4", CHANNELS_HINT),
    ({"input_shape": "64,64,64,1", "in_channels": "2"},
     "error: --input-shape 64,64,64,1 has 1 channel, but --in-channels is 2", CHANNELS_HINT),
    ({"input_shape": (0, 64, 3)}, "error: --input-shape has 0, which is below 1"),
    ({"input_shape": "64,-64,3"}, "error: --input-shape has -64, which is below 1"),
    ({"input_shape": "64,x,3"}, "error: --input-shape has 'x', which is not a whole number"),
    ({"input_shape": "64,64.5,3"}, "error: --input-shape has '64.5', which is not a whole number"),
    ({"input_shape": "64,1e2,3"}, "error: --input-shape has '1e2', which is not a whole number"),
    ({"input_shape": "1_0,64,3"}, "error: --input-shape has '1_0', which is not a whole number"),
    ({"input_shape": "٦٤,64,3"}, "error: --input-shape has '٦٤', which is not a whole number"),
    ({"input_shape": "64,64,3,"}, "error: --input-shape has '', which is not a whole number"),
    ({"input_shape": ","}, "error: --input-shape has '', which is not a whole number"),
    ({"input_shape": ""}, "error: --input-shape has '', which is not a whole number"),
    ({"input_shape": "0,x,-3"},
     "error: --input-shape has 0, which is below 1",
     "error: --input-shape has 'x', which is not a whole number",
     "error: --input-shape has -3, which is below 1"),
    ({"input_shape": (64.0, 64, 3)}, "error: --input-shape has 64.0, which is not a whole number"),
    ({"input_shape": (True, 64, 3)}, "error: --input-shape has True, which is not a whole number"),
    ({"input_shape": ((64, 64), 3)},
     "error: --input-shape has (64, 64), which is not a whole number"),
    ({"input_shape": 64}, "error: --input-shape is 64, but takes sizes and channels"),
    ({"input_shape": ()}, "error: --input-shape is (), but takes sizes and channels"),
    ({"input_shape": {64}}, "error: --input-shape is {64}, but takes sizes and channels"),
    ({"in_channels": 0}, "error: --in-channels has 0, which is below 1"),
    ({"in_channels": "-1"}, "error: --in-channels has -1, which is below 1"),
    ({"in_channels": "RGB"}, "error: --in-channels has 'RGB', which is not a whole number"),
    ({"in_channels": 2**31},
     "error: --in-channels has 2147483648, which is above 1,048,576", CHANNELS_LIMIT),
    ({"in_channels": 10**5000},
     "error: --in-channels has a number of more than 20 digits, which is above 1,048,576",
     CHANNELS_LIMIT),
    ({"in_channels": "9" * 400}, "error: --in-channels has a number of 400 digits",
     "  hint A number is spelled with at most 20 digits."),
    ({"in_channels": "9" * 4000},
     "error: the length of --in-channels is 4,000, above the limit of 1,000",
     "  hint The value of an option has at most 1,000 characters."),
    ({"num_classes": 0}, "error: --num-classes has 0, which is below 1"),
    ({"num_classes": -3}, "error: --num-classes has -3, which is below 1"),
    ({"num_classes": "many"}, "error: --num-classes has 'many', which is not a whole number"),
    ({"num_classes": 2.0}, "error: --num-classes has 2.0, which is not a whole number"),
    ({"num_classes": True}, "error: --num-classes has True, which is not a whole number"),
    ({"se_ratio": 0}, "error: --se-ratio has 0, which is below 1"),
    ({"se_ratio": -16}, "error: --se-ratio has -16, which is below 1"),
    ({"se_ratio": 0.5}, "error: --se-ratio has 0.5, which is not a whole number"),
    ({"se_activation": "rely"}, "error: --se-activation is 'rely'. Did you mean 'relu'?",
     "  hint one of relu, leaky_relu, elu, gelu, silu, mish, hard_swish, tanh, sigmoid"),
    ({"pooling": "avg"}, "error: --pooling avg is for a network without a head",
     "  hint add --features-only; the classifier averages on its own"),
    ({"pooling": "max"}, "error: --pooling max is for a network without a head",
     "  hint add --features-only; the classifier averages on its own"),
    ({"pooling": "mean", "features_only": True}, "error: --pooling is 'mean'.",
     "  hint one of avg, max"),
    ({"classifier_activation": "relu"}, "error: --classifier-activation is 'relu'.",
     "  hint one of none, sigmoid, softmax"),
    ({"classifier_activation": "softmax", "features_only": True},
     "error: --classifier-activation softmax needs the head that --features-only leaves out",
     "  hint give one of the two"),
    ({"features_only": "yes"}, "error: --features-only is 'yes'", FLAG_HINT),
    ({"features_only": 0}, "error: --features-only is 0", FLAG_HINT),
    ({"include_rescaling": 255}, "error: --include-rescaling is 255", FLAG_HINT),
    ({"num_clases": 3}, "error: unknown option 'num_clases'. Did you mean 'num_classes'?"),
    ({"frobnicate": None}, "error: unknown option 'frobnicate'."),
]

UNET = {"segmentor": "unet"}
SEGMENTOR_OPTIONS = [
    ({"segmentor": "unett"}, "error: --segmentor is 'unett'. Did you mean 'unet' or 'nnunet'?",
     SEGMENTOR_HINT),
    ({"segmentor": "attention-unit"},
     "error: --segmentor is 'attention-unit'. Did you mean 'attention_unet'?", SEGMENTOR_HINT),
    ({"segmentor": "deeplab"}, "error: --segmentor is 'deeplab'.", SEGMENTOR_HINT),
    ({"segmentor": False}, "error: --segmentor is False.", SEGMENTOR_HINT),
    ({"segmentor": "deeplab", "encoder_depth": 4, "decoder_filters": (1,)},
     "error: --segmentor is 'deeplab'.", SEGMENTOR_HINT),
    *(({**UNET, "encoder_depth": depth}, f"error: --encoder-depth is {depth!r}.", DEPTH_HINT)
      for depth in (2, 6, 0, -1, 4.0, True, "five", "3,4")),
    ({**UNET, "decoder_filters": (256, 128, 64, 32)},
     "error: --decoder-filters 256,128,64,32 has 4 entries, but unet at depth 5 has 5 stages",
     FILTERS_HINT),
    ({"segmentor": "attention_unet", "decoder_filters": "8,8", "encoder_depth": "3"},
     "error: --decoder-filters 8,8 has 2 entries, but attention_unet at depth 3 has 3 stages",
     FILTERS_HINT),
    ({"segmentor": "unet_plus_plus", "decoder_filters": (8, 8, 8)},
     "error: --decoder-filters 8,8,8 has 3 entries, but unet_plus_plus at depth 5 has 4 stages",
     FILTERS_HINT),
    ({"segmentor": "unet_plus_plus", "decoder_filters": (8,), "encoder_depth": 4,
      "compat": "medicai"},
     "error: --decoder-filters 8 has 1 entry, but unet_plus_plus at depth 4 has 3 stages",
     "  hint one for each stage, the top row first"),
    ({**UNET, "decoder_filters": "16,x,0,8,-1"},
     "error: --decoder-filters has 'x', which is not a whole number",
     "error: --decoder-filters has 0, which is below 1",
     "error: --decoder-filters has -1, which is below 1"),
    ({**UNET, "decoder_filters": 16},
     "error: --decoder-filters is 16, but takes one number per stage"),
    ({**UNET, "decoder_filters": ()},
     "error: --decoder-filters is (), but takes one number per stage"),
    ({**UNET, "decoder_normalization": "bach"},
     "error: --decoder-normalization is 'bach'. Did you mean 'batch'?", NORM_HINT),
    ({**UNET, "decoder_normalization": "batch_norm"},
     "error: --decoder-normalization is 'batch_norm'. Did you mean 'batch'?", NORM_HINT),
    ({**UNET, "decoder_normalization": False}, "error: --decoder-normalization is False.",
     NORM_HINT),
    ({**UNET, "decoder_activation": "rely"},
     "error: --decoder-activation is 'rely'. Did you mean 'relu'?", ACTIVATION_HINT),
    ({**UNET, "decoder_activation": "leekyrelu"},
     "error: --decoder-activation is 'leekyrelu'. Did you mean 'leaky_relu' or 'relu'?",
     ACTIVATION_HINT),
    ({**UNET, "decoder_activation": "softplus"}, "error: --decoder-activation is 'softplus'.",
     ACTIVATION_HINT),
    ({**UNET, "decoder_block": "transposed"},
     "error: --decoder-block is 'transposed'. Did you mean 'transpose'?",
     "  hint one of upsampling, transpose"),
    ({**UNET, "compat": "keras"}, "error: --compat is 'keras'.", "  hint one of medicai"),
    ({**UNET, "num_classes": 0}, "error: --num-classes has 0, which is below 1"),
    ({**UNET, "classifier_activation": "relu"}, "error: --classifier-activation is 'relu'.",
     "  hint one of none, sigmoid, softmax"),
    ({"encoder_depth": 4}, "error: --encoder-depth is an option of segmentors only", ANY_HINT),
    ({"features_only": True, "encoder_depth": 4},
     "error: --encoder-depth is an option of segmentors only", ANY_HINT),
    ({"decoder_filters": (8, 8), "decoder_activation": "gelu", "decoder_normalization": "none",
      "decoder_block": "transpose"},
     "error: --decoder-filters is an option of segmentors only", UNETS_HINT,
     "error: --decoder-activation is an option of segmentors only", UNETS_HINT,
     "error: --decoder-normalization is an option of segmentors only", UNETS_HINT,
     "error: --decoder-block is an option of segmentors only", UNETS_HINT),
    ({**UNET, "features_only": True},
     "error: --features-only leaves out the decoder that --segmentor unet asks for",
     "  hint give one of the two; a segmentor has a pyramid too"),
    ({**UNET, "pooling": "avg"}, "error: --pooling avg is for a network without a head",
     "  hint leave it out: a segmentor keeps the size of the image"),
    ({"segmentor": "unet_plus_plus", "features_only": True, "pooling": "max",
      "classifier_activation": "softmax", "decoder_filters": (1,), "encoder_depth": 3},
     "error: --decoder-filters 1 has 1 entry, but unet_plus_plus at depth 3 has 2 stages",
     FILTERS_HINT,
     "error: --features-only leaves out the decoder that --segmentor unet_plus_plus asks for",
     "  hint give one of the two; a segmentor has a pyramid too",
     "error: --classifier-activation softmax needs the head that --features-only leaves out",
     "  hint give one of the two"),
    ({**UNET, "encoder_depth": 7, "decoder_activation": "rely", "decoder_filters": "8,x",
      "decoder_normalization": "bach", "num_classes": 0, "pooling": "avg", "dims": 4},
     "error: --encoder-depth is 7.", DEPTH_HINT,
     "error: --decoder-activation is 'rely'. Did you mean 'relu'?", ACTIVATION_HINT,
     "error: --decoder-filters has 'x', which is not a whole number",
     "error: --decoder-normalization is 'bach'. Did you mean 'batch'?", NORM_HINT,
     "error: --num-classes has 0, which is below 1",
     "error: --dims is 4.", DIMS_HINT,
     "error: --pooling avg is for a network without a head",
     "  hint leave it out: a segmentor keeps the size of the image"),
]

STEPS = "upsamples by 1 or 2 from level to level"
STEPS_HINT = "  hint use strides that make 1 or 2 of each axis, as 2 or (1, 2)"
DECODED = [  # stages and strides of an encoder, and what a segmentor answers
    (1, (1,), {}, "error: my_net ends at P2, but unet at depth 3 needs P1..P3",
     "  hint add a stage: the smallest depth is 3"),
    (1, (1,), {"encoder_depth": 4}, "error: my_net ends at P2, but unet at depth 4 needs P1..P4",
     "  hint add a stage: the smallest depth is 3"),
    (2, (1, 2), {"encoder_depth": 5}, "error: my_net ends at P3, but unet at depth 5 needs P1..P5",
     "  hint --encoder-depth 3"),
    (3, (1, 2, 2), {"encoder_depth": 5, "decoder_filters": (8,), "segmentor": "attention_unet"},
     "error: --decoder-filters 8 has 1 entry, but attention_unet at depth 5 has 5 stages",
     FILTERS_HINT,
     "error: my_net ends at P4, but attention_unet at depth 5 needs P1..P5",
     "  hint --encoder-depth 4"),
    (4, (2, 2, 2, 2), {}, "error: the pool and stage 0 of my_net make P2 4 times smaller than P1,"
     f" but unet {STEPS}", STEPS_HINT),
    (4, (1, 2, (1, 4), 3), {"segmentor": "unet_plus_plus"},
     "error: stage 2 of my_net makes P4 1,4 times smaller than P3, but unet_plus_plus " + STEPS,
     STEPS_HINT,
     "error: stage 3 of my_net makes P5 3 times smaller than P4, but unet_plus_plus " + STEPS,
     STEPS_HINT),
    (4, (1, 2, 3, 3), {"encoder_depth": 4},
     f"error: stage 2 of my_net makes P4 3 times smaller than P3, but unet {STEPS}", STEPS_HINT),
]

PLAIN_RESNETS = [
    ({"se_ratio": 8},
     "error: resnet50 has no squeeze-and-excitation gates, so it takes no --se-ratio",
     "  hint use seresnet50"),
    ({"se_activation": "silu"},
     "error: resnet50 has no squeeze-and-excitation gates, so it takes no --se-activation",
     "  hint use seresnet50"),
]

CUSTOM = [
    ({"blocks": (1, 1, 1)}, "error: there are 3 blocks, 4 filters, 4 strides: give one of each per"
     " stage"),
    ({"filters": (64,)}, "error: there are 4 blocks, 1 filters, 4 strides: give one of each per"
     " stage"),
    ({"strides": (1, 2)}, "error: there are 4 blocks, 4 filters, 2 strides: give one of each per"
     " stage"),
    ({"stem_filters": (32, 64)},
     "error: there are 2 stem_filters, 1 stem_kernels: give one of each per"
     " convolution"),
    ({"stem_kernels": (4,)},
     "error: stem_kernels has 4, which is even: it cannot be padded alike on both sides",
     "  hint use 3 or 5"),
    ({"stem_filters": (), "stem_kernels": ()},
     "error: stem_filters is ()", TUPLE_HINT, "error: stem_kernels is ()", TUPLE_HINT),
    ({"blocks": ()}, "error: blocks is ()", TUPLE_HINT),
    ({"blocks": "3463"}, "error: blocks is '3463'", TUPLE_HINT),
    ({"blocks": 3}, "error: blocks is 3", TUPLE_HINT),
    ({"blocks": (1, 0, 1, 1)}, "error: blocks has 0, which is below 1"),
    ({"blocks": (1, 1, 1, 1.5)}, "error: blocks has 1.5, which is not a whole number"),
    ({"blocks": (1, 1, 1, "1")}, "error: blocks has '1', which is not a whole number"),
    ({"blocks": (1, 1, 1, 10**8)}, "error: blocks has 100000000, which is above 1,000",
     "  hint A stage has at most 1,000 blocks."),
    ({"filters": (64, -1, 64, 0)}, "error: filters has -1, which is below 1",
     "error: filters has 0, which is below 1"),
    ({"strides": (0, 2, 2, 2)}, "error: strides has 0, which is below 1"),
    ({"groups": 0}, "error: groups has 0, which is below 1"),
    ({"groups": "4"}, "error: groups has '4', which is not a whole number"),
    ({"width_per_group": 0}, "error: width_per_group has 0, which is below 1"),
    ({"block": "basic", "groups": 32, "width_per_group": 4},
     "error: basic blocks have no groups, but groups=32 and width_per_group=4",
     "  hint use block='bottleneck', or leave both out"),
    ({"block": "basic", "groups": 2},
     "error: basic blocks have no groups, but groups=2 and width_per_group=64",
     "  hint use block='bottleneck', or leave both out"),
    ({"block": "bottelneck"}, "error: block is 'bottelneck'. Did you mean 'bottleneck' or"
     " 'bottleneck_d' or 'bottleneck_vd'?", BLOCK_HINT),
    ({"block": None}, "error: block is None.",
     BLOCK_HINT),
    ({"filters": (8, 64, 128, 256), "groups": 4, "width_per_group": 4},
     "error: width_per_group=4 leaves no channel for the 8 filters of stage 0",
     "  at   filters[0]", "  hint use 8 or more"),
    ({"pre_activation": "yes"}, "error: pre_activation is 'yes'", FLAG_HINT),
    ({"se_ratio": 0}, "error: se_ratio has 0, which is below 1"),
    ({"se_ratio": 16, "se_activation": "silly"}, "error: se_activation is 'silly'. Did you mean"
     " 'silu'?",
     "  hint one of relu, leaky_relu, elu, gelu, silu, mish, hard_swish, tanh, sigmoid"),
    ({"name": "my net"}, "error: name 'my net' cannot name a class", NAME_HINT),
    ({"name": 7}, "error: name is 7, which is not a string"),
    ({"name": "n" * 61}, "error: the length of name is 61, above the limit of 60",
     "  hint A name has at most 60 characters, so that a class statement fits its line."),
    ({"name": ""}, "error: name '' cannot name a class", NAME_HINT),
    ({"name": "2net"}, "error: name '2net' cannot name a class", NAME_HINT),
    ({"name": "class"}, "error: name 'class' cannot name a class", NAME_HINT),
    ({"name": "none"}, "error: name 'none' cannot name a class", NAME_HINT),
    ({"name": "_"}, "error: name '_' cannot name a class", NAME_HINT),
    ({"name": "_1"}, "error: name '_1' cannot name a class", NAME_HINT),
    ({"name": "réseau"}, "error: name 'réseau' cannot name a class", NAME_HINT),
    ({"name": "net\nimport os"}, "error: name 'net\\nimport os' cannot name a class", NAME_HINT),
    ({"name": "encoder"}, "error: name 'encoder' is taken: the emitted file defines another"
     " Encoder", "  hint choose another, as in my_resnext"),
    ({"name": "a b", "block": "x", "blocks": (1,), "stem_kernels": (2,), "groups": 0,
      "pre_activation": 1, "se_ratio": 0},
     "error: name 'a b' cannot name a class", NAME_HINT,
     "error: block is 'x'.", BLOCK_HINT,
     "error: there are 1 blocks, 4 filters, 4 strides: give one of each per stage",
     "error: stem_kernels has 2, which is even: it cannot be padded alike on both sides",
     "  hint use 1 or 3",
     "error: pre_activation is 1", FLAG_HINT,
     "error: groups has 0, which is below 1",
     "error: se_ratio has 0, which is below 1"),
]
# fmt: on


def message_of(function, *arguments, **keywords) -> str:
    with pytest.raises(compiler.CompileError) as caught:
        function(*arguments, **keywords)
    return str(caught.value)


def shown(case: object) -> str:
    try:
        return str(case[0] if isinstance(case, tuple) else case)[:60]
    except ValueError:  # an integer too large to print
        return "huge"


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_model(model):
    assert message_of(compiler.emit, model, target="torch") == "\n".join(MODELS[model])
    assert message_of(compiler.describe, model) == "\n".join(MODELS[model])


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_target(target):
    assert message_of(compiler.emit, "resnet18", target=target) == "\n".join(TARGETS[target])


@pytest.mark.parametrize("case", OPTIONS, ids=shown)
def test_options(case):
    options, *lines = case
    assert message_of(compiler.emit, "seresnet18", target="torch", **options) == "\n".join(lines)
    assert message_of(compiler.describe, "seresnet18", **options) == "\n".join(lines)


@pytest.mark.parametrize("case", SEGMENTOR_OPTIONS, ids=shown)
def test_segmentor_options(case):
    test_options(case)


@pytest.mark.parametrize("case", DECODED, ids=lambda case: str(case[:3])[:60])
def test_encoders_that_a_segmentor_cannot_decode(case):
    stages, strides, options, *lines = case
    encoder = compiler.custom_encoder(
        "my_net", blocks=(1,) * stages, filters=(8,) * stages, strides=strides
    )
    options = {**UNET, **options}
    assert message_of(compiler.emit, encoder, target="keras", **options) == "\n".join(lines)
    assert message_of(compiler.describe, encoder, **options) == "\n".join(lines)


def test_what_a_segmentor_has_no_use_for_may_be_anything():
    """Strides and levels below its depth, filters beyond it, and a shallow encoder's own depth."""
    encoder = compiler.custom_encoder(
        "my_net", blocks=(1, 1, 1), filters=(8,) * 3, strides=(1, 2, 3)
    )
    assert compiler.describe(encoder, **UNET, encoder_depth=3)["output"] == [224, 224, 1]
    encoder = compiler.custom_encoder("my_net", blocks=(1, 1), filters=(8,) * 2, strides=(1, 2))
    assert list(compiler.describe(encoder, **UNET)["pyramid"]) == ["P1", "P2", "P3"]
    for segmentor in ANYWHERE:
        options = {"segmentor": segmentor.upper(), "encoder_depth": "3", "compat": None}
        assert compiler.describe("seresnet18", **options)["output"] == [224, 224, 1]


@pytest.mark.parametrize("case", PLAIN_RESNETS, ids=shown)
def test_squeeze_excite_of_a_plain_resnet(case):
    options, *lines = case
    assert message_of(compiler.emit, "resnet50", target="keras", **options) == "\n".join(lines)


@pytest.mark.parametrize("case", CUSTOM, ids=shown)
def test_custom_encoder(case):
    given, *lines = case
    arguments = {"name": "my_net", "blocks": (1, 1, 1, 1), **given}
    assert message_of(compiler.custom_encoder, **arguments) == "\n".join(lines)


def test_squeeze_excite_of_a_custom_encoder_without():
    encoder = compiler.custom_encoder("my_net", blocks=(1, 1, 1, 1))
    assert message_of(compiler.emit, encoder, target="torch", se_ratio=8) == (
        "error: my_net has no squeeze-and-excitation gates, so it takes no --se-ratio\n"
        "  hint give se_ratio to custom_encoder()"
    )


def test_several_problems_make_one_report():
    message = message_of(
        compiler.emit,
        "seresnext5O",
        target="jax",
        dims=4,
        input_shape="96,0,x,4",
        in_channels=0,
        num_classes=-1,
        se_ratio=0,
        pooling="avg",
        colour="red",
    )
    assert message.splitlines() == [
        "error: --target is 'jax'.",
        TARGET_HINT,
        "error: unknown encoder 'seresnext5O'. Did you mean 'seresnext50' or 'seresnet50' or"
        " 'seresnet50d'?",
        LIST_HINT,
        "error: --dims is 4.",
        DIMS_HINT,
        "error: --input-shape has 0, which is below 1",
        "error: --input-shape has 'x', which is not a whole number",
        "error: --in-channels has 0, which is below 1",
        "error: --num-classes has -1, which is below 1",
        "error: --se-ratio has 0, which is below 1",
        "error: unknown option 'colour'.",
        "error: --pooling avg is for a network without a head",
        "  hint add --features-only; the classifier averages on its own",
    ]


def test_every_problem_is_in_the_exception_too():
    with pytest.raises(compiler.CompileError) as caught:
        compiler.emit("seresnet18", target="torch", dims=4, num_classes=0)
    assert [problem.message for problem in caught.value.problems] == [
        "--dims is 4.",
        "--num-classes has 0, which is below 1",
    ]


@pytest.mark.parametrize("target", ["torch", "keras"])
@pytest.mark.parametrize("block", ["basic", "basic_vd", "bottleneck", "bottleneck_vd"])
def test_no_model_takes_a_name_of_its_file(target, block):
    grouped = {} if block.startswith("basic") else {"groups": 32, "width_per_group": 4}
    encoder = compiler.custom_encoder(
        "my_net", blocks=(1, 1, 1, 1), block=block, se_ratio=16, **grouped
    )
    tree = ast.parse(compiler.emit(encoder, target=target, features_only=True))
    names = set()
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
    # A model's class begins with a capital letter and has no underscore.
    taken = {name for name in names - {"MyNet"} if name[0].isupper() and "_" not in name}
    assert {"Encoder", "STAGES"} & taken
    for name in taken:
        message = message_of(compiler.custom_encoder, name, blocks=(1, 1, 1, 1))
        assert message.startswith(f"error: name {name!r} is taken")


def test_what_is_close_to_wrong_is_right():
    """The cases above are errors, and their neighbours are not."""
    for options in (
        {"dims": "3"},
        {"dims": 2, "input_shape": [65, 97, 1]},
        {"input_shape": " 96, 96,96 ,4 ", "in_channels": 4},
        {"num_classes": 1, "se_ratio": 1, "se_activation": "GELU"},
        {"features_only": True, "pooling": "max"},
        {"num_classes": None, "pooling": None, "features_only": False},
    ):
        assert "Written by plainnet" in compiler.emit("seresnet18", target="torch", **options)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("SEResNeXt50", "seresnext50"),
        ("seresnext50_32x4d", "seresnext50"),
        ("SE-ResNeXt-50_32x4d", "seresnext50"),
        ("seresnext101_32x8d", "seresnext101"),
        ("seresnext101_64x4d", "seresnext101_64x4d"),
        ("seresnet50_v2", "seresnet50v2"),
        ("seresnet50_vd", "seresnet50vd"),
        *((name.upper(), name) for name in ENCODERS),
    ],
)
def test_spellings(spelling, name):
    assert compiler.describe(spelling)["model"] == name


def test_an_error_holds_nothing_that_a_terminal_obeys():
    problem = compiler.Problem("a\x1b[2J\nb\ud800", "nets/\x1b]0;x\x07\nerror.py", "c\r")
    text = str(problem)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.split("\n")[:2] == ["error: a\\x1b[2J", "b\\ud800"]
    assert "  at   nets/\\x1b]0;x\\x07\\nerror.py" in text
