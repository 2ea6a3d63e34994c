"""Dialects: the same encoders as other libraries publish them."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import compiler
from compiler import convert
from compiler.blocks import BASIC, BOTTLENECK
from compiler.catalog import ENCODERS
from compiler.dialects import PROOFS, dialects_of, publishers
from compiler.errors import CompileError
from compiler.ir import Conv, Norm
from compiler.passes import specialize as passes
from compiler.program import lines_of
from compiler.tables import catalog_rows
from tests.harness import build_pair, compare, constructor, emit_pair, image, ledger_of, tiny
from tests.sampling import by_kind, third_of
from tests.test_layouts import logits, weight

from .sampling import UNETS

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
    ("seresnet34", "cadene"): 21_958_868,
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
    assert lines_of(gated.body)[3] == "x = se(bn3(conv3(x)))"
    gated = passes.insert_squeeze_excite(BASIC, after_norm=True, relu_first=True)
    assert lines_of(gated.body)[2] == "x = se(relu(bn2(conv2(x))))"
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


KINDS = {
    "basic": {"block": "basic", "se_ratio": 2},
    "bottleneck": {"block": "bottleneck", "se_ratio": 4},
    "grouped": {"block": "bottleneck", "groups": 4, "width_per_group": 32, "se_ratio": 16},
    "plain": {"block": "bottleneck", "se_ratio": None},
}
CASES = [
    (kind, dialect)
    for kind in KINDS
    for dialect in (("timm", "torchvision") if kind == "plain" else ("timm", "cadene"))
]
cases = pytest.mark.parametrize(("kind", "dialect"), CASES)


def _agree(kind, shape, **options):
    encoder = tiny(**KINDS[kind])
    ledger = ledger_of(encoder, input_shape=shape, **options)
    models = build_pair(emit_pair(encoder, input_shape=shape, **options), ledger, shape)
    return compare(*models, ledger, image(shape))


@pytest.mark.parametrize("shape", [(64, 64, 2), (65, 97, 2), (33, 40, 47, 1)], ids=str)
@cases
def test_targets_agree(kind, dialect, shape):
    assert _agree(kind, shape, dialect=dialect) is None


VIT = {"vit_layers": 1, "heads": 2, "queries": 5, "embed_dim": 32, "mlp_dim": 24}


ROUNDED = [(64, 64, 2), (65, 97, 2), (66, 70, 1), (33, 40, 46, 1)]


@pytest.mark.parametrize(
    ("segmentor", "block", "shape"), third_of(UNETS, ("upsampling", "transpose"), ROUNDED)
)
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


# What the libraries' own classes gave, one block a stage and two in the second: the key is a kind
# of block, with a word more where the stem is another than usual.
PUBLISHED = json.loads((Path(__file__).parent / "oracle" / "published_blocks.json").read_text())
RUNS = [(dialect, key) for dialect, models in PUBLISHED.items() for key in models]


def of_kind(kind, deep=False, **options):
    """An encoder of one's own with blocks of that kind, at the published widths."""
    words = kind.removesuffix(", SE").split()
    grouped = {"groups": 32, "width_per_group": 4} if "grouped" in words else {}
    stem = {"stem_filters": (32, 32, 64), "stem_kernels": (3, 3, 3)} if deep else {}
    return compiler.custom_encoder(
        "own",
        blocks=(1, 2, 1, 1),
        block=f"{'basic' if 'basic' in words else 'bottleneck'}{'_vd' if 'vd' in words else ''}",
        pre_activation="v2" in words,
        se_ratio=16 if kind.endswith("SE") else None,
        **{**grouped, **stem, **options},
    )


def published(dialect, key):
    """Our encoder for a recorded network."""
    kind, _, stem = key.partition("; ")
    deep = stem == "deep stem" or ("vd" in kind and stem != "plain stem")
    wide = {"stem_filters": (64, 64, 128)} if deep and dialect == "cadene" else {}
    return of_kind(kind, deep, **wide)


@pytest.mark.parametrize(
    ("dialect", "key", "target"),
    by_kind(
        [(*run, target) for target in ("torch", "keras") for run in RUNS],
        kind=lambda dialect, key, target: (dialect, key) if dialect != "cadene" else (key, target),
    ),
)
def test_published_blocks_have_these_logits(dialect, key, target, tmp_path):
    """From the library's own names. Verifying that the targets agree is for other tests."""
    recorded, encoder = PUBLISHED[dialect][key], published(dialect, key)
    state = {name: weight(name, shape) for name, shape in recorded["keys"]}
    save_file(state, tmp_path / "in.safetensors")
    options = {"dialect": dialect, "num_classes": 10}
    out = tmp_path / {"torch": "w.safetensors", "keras": "w.weights.h5"}[target]
    convert(tmp_path / "in.safetensors", out, encoder, layout=dialect, **options)
    for run in recorded["runs"]:
        x = np.random.default_rng(0).standard_normal(run["input_shape"]).astype(np.float32)
        found, wanted = logits(out, encoder, target, x, **options)[0], np.array(run["logits"])
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_every_proof_has_a_run():
    """A combination without a recorded run is marked as unproven or missing.

    Those of medicai are run by `test_reference.py`.
    """
    for dialect, models in PUBLISHED.items():
        assert {key.partition("; ")[0] for key in models} == set(PROOFS[dialect])
        assert all(proof.reference for proof in PROOFS[dialect].values())
    unproven = [kind for kind, proof in PROOFS["medicai"].items() if not proof.reference]
    assert all(kind.startswith("basic vd") or "vd v2" in kind for kind in unproven)
    kinds = {of_kind(kind).kind for kind in PROOFS["medicai"]}
    assert kinds == set(PROOFS["medicai"])
    for name, encoder in ENCODERS.items():
        assert set(dialects_of(encoder)) <= {d for d in PROOFS if encoder.kind in PROOFS[d]}, name


def test_the_list_says_what_proves_a_dialect():
    rows = {row["model"]: row["references"] for row in catalog_rows("senet")}
    assert rows["seresnet34"] == {
        "medicai": "medicai SEResNet18",
        "timm": "timm seresnet18",
        "cadene": "timm legacy_seresnet34",
    }
    assert all(reference for row in rows.values() for reference in row.values())


def test_the_page_has_the_table_of_proofs():
    page = (Path(__file__).parents[1] / "docs" / "checkpoints.md").read_text()
    for kind in PROOFS["medicai"]:
        cells = []
        for dialect in (name for name in PROOFS if name != "nnunet"):
            proof = PROOFS[dialect].get(kind)
            cells.append("refused" if proof is None else proof.reference or "unproven")
        assert f"| {kind} | {' | '.join(cells)} |" in page
    for kind, proof in PROOFS["nnunet"].items():  # which only nnU-Net's encoders have
        assert f"| {kind} | {proof.reference or 'unproven'} |" in page


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("basic", {"dialect": "cadene"}),
        ("basic v2, SE", {"dialect": "cadene"}),
        ("basic vd, SE", {"dialect": "cadene"}),
        ("bottleneck vd, SE", {"dialect": "cadene"}),
        ("bottleneck v2", {"dialect": "timm"}),
        ("basic, SE", {"dialect": "torchvision"}),
        ("bottleneck vd", {"dialect": "torchvision"}),
    ],
)
def test_unproven_blocks_are_refused(kind, options):
    with pytest.raises(CompileError) as raised:
        compiler.emit(of_kind(kind), target="torch", **options)
    said = str(raised.value).splitlines()[0]
    assert options["dialect"] in said and "own" in said


def test_unproven_stems_are_refused():
    two = of_kind("basic, SE", stem_filters=(32, 64), stem_kernels=(3, 3))
    assert dialects_of(two) == ("medicai",)
    assert dialects_of(of_kind("basic", deep=True)) == ("medicai", "timm")


@pytest.mark.parametrize(
    ("layout", "kind", "message"),
    [
        ("monai", "basic, SE", "has basic, SE blocks, which were not proven against monai"),
        ("smp", "basic, SE", "smp checkpoints have the dialect timm, but the model has"),
        (
            "torchvision",
            "bottleneck vd",
            "has bottleneck vd blocks, which were not proven against torchvision",
        ),
        ("medicai", "basic vd", "has basic vd blocks, which were not proven against medicai"),
    ],
)
def test_unproven_layouts_are_refused(layout, kind, message, tmp_path):
    dialect = "cadene" if kind.endswith("SE") else "medicai"
    with pytest.raises(CompileError, match=message):
        convert(
            tmp_path / "a.pt",
            tmp_path / "b.pt",
            of_kind(kind, "vd" in kind),
            layout=layout,
            dialect=dialect,
        )
    assert dialect not in publishers(of_kind(kind), layout)


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
        "  hint one of medicai, timm, cadene, torchvision, nnunet",
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
