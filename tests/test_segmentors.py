"""Every segmentor on every encoder: weights, counts, and the same numbers in both frameworks."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import compiler
from compiler.catalog import ENCODERS, SHOWCASE
from compiler.segmentors import segmentor_named
from tests.harness import (
    build_pair,
    compare,
    constructor,
    emit_pair,
    image,
    keras_shapes,
    ledger_of,
    ledger_shapes,
    tiny,
    torch_shapes,
)
from tests.sampling import block_kind, by_kind, half_of, only

from .sampling import ANYWHERE, MEDICAI, UNETS

ORACLE = json.loads((Path(__file__).parent / "oracle/medicai_0.0.4.json").read_text())
SIZES = {2: (64, 96, 3), 3: (32, 64, 48, 2)}
FIVE = ("seresnet18", "resnet50", "seresnet50v2", "seresnet50vd", "seresnext50")
OWN = [name for name, encoder in ENCODERS.items() if encoder.dialect == "medicai"]
BLOCKS = {
    "basic": {"block": "basic"},
    "bottleneck": {"block": "bottleneck", "se_ratio": None},
    "pre-activation": {"block": "bottleneck", "pre_activation": True},
    "vd": {"block": "bottleneck_vd", "stem_filters": (4, 4, 8), "stem_kernels": (3, 3, 3)},
    "grouped": {"block": "bottleneck", "groups": 4, "width_per_group": 16},
}
# Each kind of block in 2D and in 3D, the depths in turn; then the catalog.
EVERY = [(kind, dims, 3 + (i + dims) % 3) for i, kind in enumerate(BLOCKS) for dims in SIZES]
REST = [(encoder, dims, 5) for encoder in OWN for dims in SIZES]
REST += [(encoder, dims, depth) for depth in (3, 4) for encoder in FIVE for dims in SIZES]
every = pytest.mark.parametrize(
    ("encoder", "dims", "depth"),
    EVERY + [pytest.param(*case, marks=pytest.mark.full) for case in REST],
)
segmentors = pytest.mark.parametrize("segmentor", UNETS)


def _built(target):
    """Every case with every segmentor; by default one of two, as random specs are built as well."""
    turn = ("torch", "keras").index(target)
    chosen = [
        (*case, segmentor)
        for i, case in enumerate(EVERY)
        for j, segmentor in enumerate(ANYWHERE)
        if (i // 2 + i + j + turn) % 2 == 0
    ]
    every = [(*case, segmentor) for case in EVERY + REST for segmentor in ANYWHERE]
    marked = only(lambda *case: case in chosen, every)
    return pytest.mark.parametrize(("encoder", "dims", "depth", "segmentor"), marked)


all_segmentors = pytest.mark.parametrize("segmentor", ANYWHERE)


def _options(segmentor, dims, depth, **more):
    return {
        "segmentor": segmentor,
        "input_shape": SIZES[dims],
        "encoder_depth": depth,
        "num_classes": 2,
        **more,
    }


def _encoder(kind):
    """A small encoder of a kind of block, or one of the catalog by its name."""
    return _tiny(**BLOCKS[kind]) if kind in BLOCKS else kind


@_built("torch")
def test_torch_holds_the_ledger(encoder, segmentor, dims, depth):
    encoder, options = _encoder(encoder), _options(segmentor, dims, depth)
    ledger = ledger_of(encoder, **options)
    with torch.device("meta"):
        model = constructor(compiler.emit(encoder, target="torch", **options))().eval()
        x = torch.zeros((1, SIZES[dims][-1], *SIZES[dims][:-1]))
        with FlopCounterMode(display=False) as counter:
            output = model(x)
    assert list(torch_shapes(model).items()) == list(ledger_shapes(ledger).items())
    assert layer_flops(counter) == 2 * sum(row.macs for row in ledger.rows)
    assert tuple(output.shape[1:]) == ledger.output == (2, *SIZES[dims][:-1])


@pytest.mark.parametrize("every_depth", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize("encoder", by_kind(OWN, block_kind))
@all_segmentors
def test_every_file_is_tidy(encoder, segmentor, every_depth, tmp_path):
    """One public name; imports of its framework and the standard library; short."""
    # Each depth and rank on some block, and the others under the mark `full`.
    turn = OWN.index(encoder) + ANYWHERE.index(segmentor)
    for dims in (2, 3) if every_depth else [2 + turn % 2]:
        for depth in (3, 4, 5) if every_depth else [3 + (turn + dims) % 3]:
            described = compiler.describe(encoder, **_options(segmentor, dims, depth))
            assert list(described["pyramid"]) == [f"P{i + 1}" for i in range(depth)]
            for target in ("torch", "keras"):
                options = {"segmentor": segmentor, "encoder_depth": depth, "dims": dims}
                text = compiler.emit(encoder, target=target, **options)
                lines = text.splitlines()
                assert len(lines) <= 300  # with the provenance
                assert max(map(len, lines)) <= 100
                imported = [
                    line.split()[1].split(".")[0]
                    for line in lines
                    if line.startswith(("import ", "from "))
                ]
                assert set(imported) - sys.stdlib_module_names == {target}
                assert f'__all__ = ["{described_class(encoder, segmentor)}"]' in lines
                (tmp_path / f"{target}_{dims}_{depth}.py").write_text(text)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=100"]
    result = subprocess.run(
        [*command, "--select=E,F,W,I,B,PIE,C4,RET501,RET502", "--ignore=B905", tmp_path],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


def described_class(encoder, segmentor):
    return ENCODERS[encoder].class_name + segmentor_named(segmentor).head.__name__


def layer_flops(counter) -> int:
    """Of convolutions and dense layers: attention's own products (bmm) have no weights."""
    counts = counter.get_flop_counts()["Global"]
    return sum(n for op, n in counts.items() if op.__name__ in ("convolution", "addmm", "mm"))


@_built("keras")
def test_keras_holds_the_ledger(encoder, segmentor, dims, depth):
    encoder, options = _encoder(encoder), _options(segmentor, dims, depth)
    ledger = ledger_of(encoder, **options)
    with keras.device("meta"):
        model = constructor(compiler.emit(encoder, target="keras", **options))()
    assert keras_shapes(model, ledger) == ledger_shapes(ledger)
    assert len(model.weights) == len(ledger_shapes(ledger))
    assert model.output.shape[1:] == (*SIZES[dims][:-1], 2)


def _figures():
    for entry, kept in ORACLE.items():
        for name in kept["models"]:
            segmentor, _, depth = name.partition("/depth")
            if segmentor.removesuffix("_by_level") in MEDICAI:
                yield entry, name, segmentor, int(depth)


FIGURES = list(_figures())


def test_the_oracle_is_whole():
    assert {entry for entry, *_ in FIGURES} == {f"{e}/{d}d" for e in SHOWCASE for d in (2, 3)}
    assert len(FIGURES) == 24 * 3 * (len(MEDICAI) + 1)


@pytest.mark.parametrize(("entry", "name", "segmentor", "depth"), FIGURES)
def test_ledger_hits_the_figures(entry, name, segmentor, depth):
    figure = ORACLE[entry]["models"][name]
    described = compiler.describe(
        entry.split("/")[0],
        segmentor=segmentor.removesuffix("_by_level"),
        encoder_depth=depth,
        input_shape=ORACLE[entry]["input_shape"],
        num_classes=ORACLE[entry]["num_classes"],
        compat="medicai" if segmentor == "unet_plus_plus" else None,
    )
    assert described["parameters"] == {
        "trainable": figure["trainable"],
        "non_trainable": figure["non_trainable"],
    }
    assert described["output"] == figure["output"]
    levels = [f"P{i + 1}" for i in range(depth)]
    assert described["pyramid"] == {level: ORACLE[entry]["pyramid"][level] for level in levels}


DECODER = {"decoder_filters": (16, 16, 8, 8, 4)}
SHAPES = ((64, 32, 2), (65, 97, 2), (16, 130, 1), (32, 48, 32, 1), (33, 40, 47, 1))


def _tiny(**changes):
    return tiny(**{"blocks": (1, 1, 1, 1), "block": "basic", **changes})


def _agree(encoder, shape, **options):
    options = {"input_shape": shape, "num_classes": 2, **DECODER, **options}
    ledger = ledger_of(encoder, **options)
    models = build_pair(emit_pair(encoder, **options), ledger, shape)
    return compare(*models, ledger, image(shape))


@pytest.mark.parametrize(
    ("segmentor", "block", "shape"), half_of(UNETS, ("upsampling", "transpose"), SHAPES)
)
def test_targets_agree(segmentor, block, shape):
    assert _agree(_tiny(), shape, segmentor=segmentor, decoder_block=block) is None


@pytest.mark.parametrize(
    ("segmentor", "block", "norm"),
    half_of(UNETS, ("upsampling", "transpose"), ("instance", "group", "layer", "none")),
)
def test_norms_agree(segmentor, block, norm):
    options = {"decoder_normalization": norm, "decoder_activation": "leaky_relu"}
    shape = (65, 64, 2)
    assert _agree(_tiny(), shape, segmentor=segmentor, decoder_block=block, **options) is None


@pytest.mark.parametrize(
    ("segmentor", "shape", "depth"), half_of(UNETS, [(35, 37, 2), (33, 20, 18, 1)], (3, 4))
)
def test_depths_agree(segmentor, shape, depth):
    encoder = _tiny(block="bottleneck_vd", stem_filters=(4, 8), stem_kernels=(3, 3))
    assert _agree(encoder, shape, segmentor=segmentor, encoder_depth=depth) is None
    encoder = _tiny(block="bottleneck", pre_activation=True)
    activation = {"classifier_activation": "softmax"}
    assert _agree(encoder, shape, segmentor=segmentor, encoder_depth=depth, **activation) is None


@pytest.mark.parametrize("kind", BLOCKS)
@segmentors
def test_kinds_of_blocks_agree(kind, segmentor):
    options = {"segmentor": segmentor, "encoder_depth": 4, "decoder_filters": (16, 16, 8, 4)}
    assert _agree(_tiny(**BLOCKS[kind]), (33, 47, 40, 1), **options) is None


@pytest.mark.parametrize(
    ("encoder", "segmentor"),  # one on one: a small encoder of each kind is compared above
    only(lambda *case: case == ("seresnext50", "unet_plus_plus"), itertools.product(FIVE, UNETS)),
)
def test_catalog_encoders_agree(encoder, segmentor):
    shape = (33, 47, 40, 1)
    options = {"segmentor": segmentor, "input_shape": shape, "num_classes": 2, "encoder_depth": 4}
    ledger = ledger_of(encoder, **options)
    models = build_pair(emit_pair(encoder, **options), ledger, shape)
    assert compare(*models, ledger, image(shape, batch=1)) is None


def test_compat_widths_agree():
    options = {"segmentor": "unet_plus_plus", "compat": "medicai"}
    for block in ("upsampling", "transpose"):
        assert _agree(_tiny(), (40, 64, 2), decoder_block=block, **options) is None


@all_segmentors
def test_the_encoder_is_the_classifiers(segmentor):
    """The same text, and the same names: a classifier's `encoder.*` loads as it is."""
    for target in ("torch", "keras"):
        plain = compiler.emit("seresnet50", target=target)
        whole = compiler.emit("seresnet50", target=target, segmentor=segmentor)
        start = "class SqueezeExcite" if target == "torch" else "def squeeze_excite"
        end = "        return pyramid\n" if target == "torch" else "    return pyramid\n"
        assert _between(plain, start, end) == _between(whole, start, end)
    classifier = constructor(compiler.emit("seresnet18", target="torch"))()
    segmenter = constructor(compiler.emit("seresnet18", target="torch", segmentor=segmentor))()
    weights = {n: v for n, v in classifier.state_dict().items() if n.startswith("encoder.")}
    missing, unexpected = segmenter.load_state_dict(weights, strict=False)
    assert not unexpected
    assert not [name for name in missing if name.startswith("encoder.")]


def _between(text, start, end):
    return text[text.index(start) : text.index(end)]


@pytest.mark.parametrize("shape", [(33, 40, 2), (32, 17, 24, 1)], ids=str)
@segmentors
def test_gradients_of_the_image_agree(segmentor, shape):
    """In float64: in float32 ReLUs flip on rounding."""
    options = {"segmentor": segmentor, "input_shape": shape, "num_classes": 2, **DECODER}
    ledger = ledger_of(_tiny(), **options)
    keras.config.set_floatx("float64")
    try:
        texts = emit_pair(_tiny(), **options)
        torch_model, keras_model = build_pair(texts, ledger, shape, dtype=torch.float64)
    finally:
        keras.config.set_floatx("float32")
    x = image(shape).astype("float64")
    first = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
    last = torch.from_numpy(x).requires_grad_()
    weights = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 2, *shape[:-1])))
    (torch_model(first) * weights).sum().backward()
    (keras_model(last, training=False) * weights.movedim(1, -1)).sum().backward()
    ours, theirs = first.grad, last.grad.movedim(-1, 1)
    assert ours.abs().max() > 0
    assert (ours - theirs).abs().max() / ours.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("segmentor", "block", "compat"),
    half_of(UNETS, ("upsampling", "transpose"), (None, "medicai")),
)
def test_batch_norm_of_decoders(segmentor, block, compat):
    """Moving statistics follow within tens of steps, except as in medicai; eps is medicai's."""
    momentum = 0.01 if compat else 0.1
    options = {"segmentor": segmentor, "decoder_block": block, "compat": compat}
    texts = emit_pair(_tiny(), input_shape=(32, 32, 1), **options)
    with torch.device("meta"):
        model = constructor(texts[0])()
    norms = [m for m in model.decoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(m.momentum, m.eps) for m in norms} == {(momentum, 1e-3)}
    with keras.device("meta"):
        model = constructor(texts[1])()
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name.startswith("decoder")
    ]
    assert {(layer.momentum, layer.epsilon) for layer in norms} == {(1 - momentum, 1e-3)}


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "layer", "none"])
@pytest.mark.parametrize("target", ["torch", "keras"])
def test_the_file_says_the_eps_of_its_decoder(target, norm):
    """Larger than the encoder's, for medicai's weights: a constant that says why."""
    text = compiler.emit("resnet18", target=target, segmentor="unet", decoder_normalization=norm)
    stated = "\nDECODER_EPS = 1e-3  # as in medicai, whose weights were trained with it" in text
    assert stated == (norm not in ("instance", "none"))
    assert text.count("DECODER_EPS") == (3 if stated else 0)


FAULTS = {
    "the skip before x": (
        "torch.cat((upsample(x, skip), skip), 1)",
        "torch.cat((skip, upsample(x, skip)), 1)",
    ),
    "linear upsampling": ('mode="nearest"', 'mode="bilinear"'),
    "epsilon": ("eps=DECODER_EPS", "eps=1e-5"),
    "one ReLU less": ("return F.relu(self.bn2(self.conv2(x)))", "return self.bn2(self.conv2(x))"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_fail(fault):
    old, new = FAULTS[fault]
    shape = (33, 40, 2)
    encoder = _tiny(block="bottleneck")
    options = {"segmentor": "unet", "input_shape": shape, "num_classes": 2, **DECODER}
    options["decoder_filters"] = (64, 32, 32, 8, 4)
    torch_text, keras_text = emit_pair(encoder, **options)
    head, mark, decoder = torch_text.partition("def upsample")
    assert old in decoder
    ledger = ledger_of(encoder, **options)
    models = build_pair((head + mark + decoder.replace(old, new), keras_text), ledger, shape)
    diverged = compare(*models, ledger, image(shape))
    assert diverged is not None
    assert diverged.startswith("decoder.blocks.")
