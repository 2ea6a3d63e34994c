"""Dialects: the same encoders as other libraries publish them."""

import pytest

import compiler
from compiler.blocks import BASIC, BOTTLENECK
from compiler.catalog import ENCODERS, dialects_of
from compiler.errors import CompileError
from compiler.ir import Conv, Norm
from compiler.options import SEGMENTORS
from compiler.passes import specialize as passes
from tests.harness import build_pair, compare, constructor, emit_pair, image, ledger_of

# Trainable parameters (2D, 3 channels, 1000 classes) read off the libraries' own models.
COUNTS = {
    ("seresnet18", "timm"): 11_779_624,
    ("seresnet34", "timm"): 21_960_416,
    ("seresnet50", "timm"): 28_088_024,
    ("seresnext50", "timm"): 27_559_896,
    ("seresnext101", "timm"): 93_569_048,
    ("seresnext101d_32x8d", "timm"): 93_588_280,
    ("resnet50", "timm"): 25_557_032,
    ("seresnet18", "cadene"): 11_778_592,
    ("seresnet50", "cadene"): 28_088_024,
    ("seresnext50", "cadene"): 27_559_896,
    ("seresnext101_32x4d", "cadene"): 48_955_416,
    ("resnet50", "torchvision"): 25_557_032,
    ("resnext50", "torchvision"): 25_028_904,
}


# The same in millions, as timm's tables of results round it.
MILLIONS = {
    ("resnet18d", "timm"): 11.71,
    ("resnet34d", "timm"): 21.82,
    ("resnet26", "timm"): 16.00,
    ("resnet26d", "timm"): 16.01,
    ("resnet101d", "timm"): 44.57,
    ("resnet152d", "timm"): 60.21,
    ("resnet200d", "timm"): 64.69,
    ("resnext50d_32x4d", "timm"): 25.05,
    ("seresnet152d", "timm"): 66.84,
    ("seresnext26d_32x4d", "timm"): 16.81,
    ("seresnext26_32x4d", "cadene"): 16.79,
}


@pytest.mark.parametrize(("encoder", "dialect"), MILLIONS)
def test_counts_in_millions(encoder, dialect):
    count = compiler.describe(encoder, dialect=dialect)["parameters"]["trainable"]
    assert round(count / 1e6, 2) == MILLIONS[encoder, dialect]


@pytest.mark.parametrize(("encoder", "dialect"), COUNTS)
def test_counts(encoder, dialect):
    described = compiler.describe(encoder, dialect=dialect)
    assert described["parameters"]["trainable"] == COUNTS[encoder, dialect]
    assert described["dialect"] == dialect


def test_lines():
    gated = passes.insert_squeeze_excite(BOTTLENECK, after_norm=True)
    assert gated.body[3] == "x = se(bn3(conv3(x)))"
    strides = {
        c.name: c.stride for c in passes.stride_first(BOTTLENECK).layers if isinstance(c, Conv)
    }
    assert strides == {"conv1": "stride", "conv2": 1, "conv3": 1}
    assert passes.stride_first(BASIC) == BASIC
    zeros = [
        n.name
        for n in passes.start_as_shortcut(BASIC).layers
        if isinstance(n, Norm) and n.zero_init
    ]
    assert zeros == ["bn2"]


TINY = {
    "blocks": (1, 2, 1, 1),
    "filters": (8, 8, 16, 16),
    "stem_filters": (8,),
    "stem_kernels": (3,),
}
KINDS = {
    "basic": {"block": "basic", "se_ratio": 2},
    "bottleneck": {"block": "bottleneck", "se_ratio": 4},
    "grouped": {"block": "bottleneck", "groups": 4, "width_per_group": 32, "se_ratio": 16},
    "plain": {"block": "bottleneck"},
}
CASES = [
    (kind, dialect)
    for kind in KINDS
    for dialect in (("timm", "torchvision") if kind == "plain" else ("timm", "cadene"))
]
cases = pytest.mark.parametrize(("kind", "dialect"), CASES)


def _agree(kind, shape, **options):
    encoder = compiler.custom_encoder("tiny", **TINY, **KINDS[kind])
    ledger = ledger_of(encoder, input_shape=shape, **options)
    models = build_pair(emit_pair(encoder, input_shape=shape, **options), ledger, shape)
    return compare(*models, ledger, image(shape))


@pytest.mark.parametrize("shape", [(64, 64, 2), (65, 97, 2), (33, 40, 47, 1)], ids=str)
@cases
def test_targets_agree(kind, dialect, shape):
    assert _agree(kind, shape, dialect=dialect) is None


VIT = {"vit_layers": 1, "heads": 2, "queries": 5, "embed_dim": 32, "mlp_dim": 24}


@pytest.mark.parametrize("shape", [(64, 64, 2), (65, 97, 2), (66, 70, 1), (33, 40, 46, 1)], ids=str)
@pytest.mark.parametrize("block", ["upsampling", "transpose"])
@pytest.mark.parametrize("segmentor", [name for name in SEGMENTORS if name != "trans_unet"])
def test_segmentors_agree_where_the_pool_rounds_down(segmentor, block, shape):
    options = {"segmentor": segmentor, "decoder_block": block, "dialect": "cadene"}
    assert _agree("bottleneck", shape, **options) is None


def test_trans_unet_agrees():
    options = {"segmentor": "trans_unet", "num_classes": 2, **VIT}
    assert _agree("bottleneck", (64, 96, 1), dialect="cadene", **options) is None
    assert _agree("basic", (65, 50, 1), dialect="timm", **options) is None


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_blocks_start_as_their_shortcut(target):
    model = constructor(compiler.emit("resnet18", target=target, dialect="timm"))()
    if target == "torch":
        scales = [model.encoder.stages[0][0].bn2.weight, model.encoder.stages[0][0].bn1.weight]
    else:
        names = ("encoder_stages_0_0_bn2", "encoder_stages_0_0_bn1")
        scales = [model.get_layer(name).gamma.value for name in names]
    assert [float(scale.abs().max()) for scale in scales] == [0.0, 1.0]


def test_every_row_exists_somewhere():
    for name, encoder in ENCODERS.items():
        assert encoder.dialect in dialects_of(encoder), name
    assert dialects_of(ENCODERS["seresnet50"]) == ("medicai", "timm", "cadene")
    assert dialects_of(ENCODERS["resnet50"]) == ("medicai", "timm", "torchvision")
    assert dialects_of(ENCODERS["seresnext101_32x4d"]) == ("timm", "cadene")
    assert dialects_of(ENCODERS["seresnet50v2"]) == ("medicai",)


WRONG = [
    (
        "seresnet50v2",
        {"dialect": "timm"},
        "error: seresnet50v2 does not exist in the dialect timm\n  hint it exists in medicai",
    ),
    (
        "resnet50",
        {"dialect": "cadene"},
        "error: resnet50 does not exist in the dialect cadene\n"
        "  hint it exists in medicai, timm, torchvision",
    ),
    (
        "resnet50",
        {"dialect": "tim"},
        "error: --dialect is 'tim'. Did you mean 'timm'?\n"
        "  hint one of medicai, timm, cadene, torchvision",
    ),
    (
        "seresnet50",
        {"dialect": "cadene", "segmentor": "trans_unet", "input_shape": (66, 64, 3)},
        "error: --input-shape has the size 66, which gives P1 an odd size: the pool of the"
        " dialect cadene rounds it down\n  hint use 68",
    ),
]


@pytest.mark.parametrize(("encoder", "options", "message"), WRONG)
def test_errors(encoder, options, message):
    with pytest.raises(CompileError) as raised:
        compiler.emit(encoder, target="torch", **options)
    assert str(raised.value) == message
