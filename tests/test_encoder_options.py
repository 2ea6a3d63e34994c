"""Norms and activations of the encoder: against networks written by hand, and across targets."""

import json

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import compiler
from compiler import CompileError, custom_encoder
from compiler.passes.validate import resolve
from compiler.provenance import parse_command, read
from compiler.verify.compare import compile_pair, verify
from compiler.verify.loading import Source
from compiler.verify.report import Quantity, Report, as_dict
from compiler.verify.settings import Settings
from tests.harness import (
    build_pair,
    compare,
    constructor,
    difference,
    emit_pair,
    image,
    ledger_of,
    randomize,
    tiny,
)

TINY = {"blocks": (1, 2), "filters": (16, 24), "strides": (1, 2), "stem_filters": (16,)}
V2 = {"block": "bottleneck", "pre_activation": True, "se_ratio": 4}
CASES = {  # each norm, each block, each rule for the stem's pool
    "instance, silu": (
        {"block": "basic", "se_ratio": 4},
        {"norm": "instance", "activation": "silu"},
    ),
    "group, grouped, leaky_relu": (
        {"block": "bottleneck", "groups": 4},
        {"norm": "group", "activation": "leaky_relu"},
    ),
    "layer, v2, gelu": (V2, {"norm": "layer", "activation": "gelu"}),
    "group, v2": (V2, {"norm": "group"}),
    "batch, vd, elu": ({"block": "basic_vd"}, {"activation": "elu"}),
    "group, starts as its shortcut": (
        {"block": "basic", "se_ratio": 2},
        {"norm": "group", "dialect": "timm"},
    ),
    "layer, starts as its shortcut": (
        {"block": "basic", "se_ratio": 2},
        {"norm": "layer", "dialect": "timm"},
    ),
    "instance, unpadded pool": (
        {"block": "bottleneck", "se_ratio": 4},
        {"norm": "instance", "activation": "leaky_relu", "dialect": "cadene"},
    ),
    "ReLU and unpadded pool": (
        {"block": "basic", "se_ratio": 4},
        {"norm": "group", "dialect": "cadene"},
    ),
    "linknet": (
        {"block": "basic"},
        {"norm": "group", "segmentor": "linknet", "encoder_depth": 3},
    ),
    "unet": (
        {"block": "basic"},
        {"norm": "instance", "segmentor": "unet", "decoder_filters": (16, 8, 8)},
    ),
}


class Block(nn.Module):
    """A basic block with instance norm and a gate before its last norm."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv3d(cin, cout, 3, stride, 1, bias=False)
        self.norm1 = nn.InstanceNorm3d(cout, affine=True)
        self.conv2 = nn.Conv3d(cout, cout, 3, 1, 1, bias=False)
        self.norm2 = nn.InstanceNorm3d(cout, affine=True)
        self.squeeze, self.excite = nn.Linear(cout, cout // 16), nn.Linear(cout // 16, cout)
        self.short = cin != cout
        if self.short:
            self.conv = nn.Conv3d(cin, cout, 1, stride, bias=False)
            self.norm = nn.InstanceNorm3d(cout, affine=True)

    def forward(self, x):
        y = self.conv2(F.leaky_relu(self.norm1(self.conv1(x)), 0.01))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3, 4))))))
        y = self.norm2(y * gate[:, :, None, None, None])
        return F.leaky_relu(y + (self.norm(self.conv(x)) if self.short else x), 0.01)


class ByHand(nn.Module):
    """SE-ResNet-18 in 3D with instance norm and leaky ReLU."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(2, 64, 7, 2, 3, bias=False)
        self.norm = nn.InstanceNorm3d(64, affine=True)
        widths = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        self.blocks = nn.Sequential(
            *(b for i, o, s in widths for b in (Block(i, o, s), Block(o, o, 1)))
        )
        self.head = nn.Linear(512, 3)

    def forward(self, x):
        x = F.max_pool3d(F.leaky_relu(self.norm(self.conv(x)), 0.01), 3, 2, 1)
        return self.head(self.blocks(x).mean((2, 3, 4)))


def _by_hand(state):
    """Our names -> those of `ByHand`, in its own order of modules."""
    names = {"se.conv1": "squeeze", "se.conv2": "excite", "shortcut.": ""}
    named = {}
    for key, value in state.items():
        key = key.removeprefix("encoder.")
        if key.startswith("stages"):
            _, stage, block, rest = key.split(".", 3)
            key = f"blocks.{2 * int(stage) + int(block)}.{rest}"
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        key = key.replace("norm1", "norm").replace("conv1", "conv") if "blocks" not in key else key
        named[key] = value.flatten(1) if ".squeeze.w" in key or ".excite.w" in key else value
    return named


@pytest.mark.parametrize("fault", [(), ("eps=1e-5", "eps=1e-2"), ("0.01)", "0.2)")])
def test_instance_norm_against_a_network_by_hand(fault):
    options = {"norm": "instance", "activation": "leaky_relu", "dims": 3, "in_channels": 2}
    text = compiler.emit("seresnet18", target="torch", **options)
    ours = constructor(text.replace(*fault) if fault else text)().double().eval()
    randomize(ours)
    theirs = ByHand().double()
    theirs.load_state_dict(_by_hand(ours.state_dict()))
    x = torch.randn(1, 2, 33, 33, 40, dtype=torch.float64)
    with torch.no_grad():
        found = difference(ours(x).numpy(), theirs(x).numpy())
    assert (found > 1e-3) if fault else (found < 1e-9), found


@pytest.mark.parametrize("name", CASES)
def test_targets_agree(name):
    custom, options = CASES[name]
    encoder = custom_encoder("tiny", **TINY, **custom)
    shape = (33, 20, 24, 2) if name.startswith(("instance", "layer")) else (33, 48, 2)
    options = {**options, "input_shape": shape}
    texts, ledger = emit_pair(encoder, **options), ledger_of(encoder, **options)
    kinds = {row.kind for row in ledger.rows if row.kind.endswith("norm")}
    assert kinds == {f"{options.get('norm', 'batch')}_norm"}
    ours, theirs = build_pair(texts, ledger, shape)
    assert compare(ours, theirs, ledger, image(shape)) is None


NORM, GATE = 'norm(x, name=f"{name}_bn3")', 'squeeze_excite(x, channels, name=f"{name}_se")'
SHAPES = {  # of blocks that no catalog entry has, and a fault in Keras' text that each shows
    "a gate after the norm": (
        {"block": "bottleneck", "se_ratio": 3, "se_position": "after_norm"},
        (
            f"    x = {NORM}\n    x = {GATE}\n",
            f"    x = {GATE}\n    x = {NORM}\n",
        ),
    ),
    "a rounded gate": (
        {"block": "basic", "se_ratio": 3, "se_divisor": 4, "se_position": "before_norm"},
        ("SE_RATIO = 3", "SE_RATIO = 6"),
    ),
    "widths and channels": (
        {"block": "bottleneck", "groups": 2, "widths": (6, 10), "channels": (20, 14)},
        ("layers.Add()([x, residual])", "layers.Add()([x, 2 * residual])"),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_blocks_of_other_shapes_agree(name):
    custom, fault = SHAPES[name]
    encoder, shape = custom_encoder("tiny", **TINY, **custom), (33, 24, 2)
    mine, theirs = emit_pair(encoder, input_shape=shape)
    ledger = ledger_of(encoder, input_shape=shape)
    assert compare(*build_pair((mine, theirs), ledger, shape), ledger, image(shape)) is None
    assert fault[0] in theirs
    faulty = theirs.replace(*fault)
    with pytest.raises(AssertionError):
        models = build_pair((mine, faulty), ledger, shape)  # where widths differ
        assert compare(*models, ledger, image(shape)) is None


@pytest.mark.parametrize(
    "fault",
    [
        ("epsilon=1e-5", "epsilon=1e-2"),
        ("slope=0.01", "slope=0.1"),
        ("-inf", "0"),
        ("gcd(32", "gcd(2"),
    ],
)
def test_planted_faults_are_named(fault):
    encoder = custom_encoder("tiny", **TINY, block="bottleneck", se_ratio=4)
    options = {"norm": "group", "activation": "leaky_relu", "input_shape": (33, 48, 2)}
    mine, theirs = emit_pair(encoder, **options)
    assert fault[0] in theirs
    ledger = ledger_of(encoder, **options)
    models = build_pair((mine, theirs.replace(*fault)), ledger, (33, 48, 2))
    assert compare(*models, ledger, image((33, 48, 2)))


def test_the_decoder_follows_where_it_has_no_choice_of_its_own():
    def norms(**options):
        rows = ledger_of("resnet18", norm="instance", **options).rows
        return {r.kind for r in rows if r.kind.endswith("norm") and r.path.startswith("decoder")}

    assert norms(segmentor="unet") == norms(segmentor="linknet") == {"instance_norm"}
    assert norms(segmentor="unet", decoder_normalization="batch") == {"batch_norm"}
    assert norms(segmentor="fpn") == {"group_norm"}  # as its paper's implementation has it


@pytest.mark.parametrize("encoder", ["seresnet18", custom_encoder("tiny", **TINY)])
@pytest.mark.parametrize("decoder", [None, "batch", "group"])
def test_a_file_says_how_to_write_it_again(encoder, decoder):
    options = {"norm": "group", "activation": "silu", "dims": 3}
    if decoder:
        options |= {"segmentor": "unet", "decoder_normalization": decoder, "encoder_depth": 3}
    text = compiler.emit(encoder, target="torch", **options)
    request = parse_command(read(text).command)
    again = custom_encoder(request.name, **request.custom) if request.custom else request.name
    assert compiler.emit(again, target=request.target, **request.options) == text


def test_a_published_layout_has_batch_norm_and_relu():
    for options in ({"norm": "group"}, {"activation": "silu"}):
        model = resolve("seresnet50", {"dialect": "timm", **options})
        from compiler.weights.layouts import validate_layout

        assert validate_layout("timm", model), options
        text = compiler.emit("seresnet50", target="torch", dialect="timm", **options)
        assert "Matches timm checkpoints" not in text


@pytest.mark.parametrize("options", [{"norm": "bach"}, {"activation": "rely"}, {"norm": 3}])
def test_other_values_are_refused(options):
    with pytest.raises(CompileError, match=r"one of|Did you mean"):
        compiler.emit("resnet18", target="torch", **options)


# -- verify of what amplifies rounding -------------------------------------------------------------


def test_float32_is_held_against_its_own_rounding():
    report = Report(resolve("resnet18", {}), Settings())
    for float32, rounding, ok in (
        (3e-4, 0.0, False),
        (3e-4, 2e-4, True),
        (9e-4, 2e-4, False),
        (float("nan"), 1.0, False),
    ):
        assert report.ok(Quantity("P5", float32=float32, rounding=rounding)) is ok
    report.amplifies = True
    report.quantities.append(Quantity("P5", float32=0.0, rounding=float("inf")))
    json.loads(json.dumps(as_dict(report), allow_nan=False))


def test_a_fault_of_float32_alone_is_found():
    """In one framework: the other one's rounding is the measure."""
    encoder = custom_encoder("tiny", **TINY)
    model = resolve(encoder, {"norm": "instance", "input_shape": (33, 48, 2)})
    ours, theirs = compile_pair(model)
    assert verify(model, Settings(), (ours, theirs)).passed
    line = "return F.relu(x + residual)"
    fault = f"x = x * (1.001 if x.dtype == torch.float32 else 1)\n        {line}"
    edited = ours.text.replace(line, fault).replace(
        "from torch import", "import torch\nfrom torch import"
    )
    report = verify(model, Settings(), (Source(edited), theirs))
    assert not report.passed and "float32" in report.why
    assert all(np.isfinite(q.rounding) for q in report.quantities)


def test_an_instance_norm_of_the_encoder_does_what_the_warning_says():
    encoder, options = tiny(), {"norm": "instance", "input_shape": (16, 16, 2)}
    with pytest.warns(compiler.CompileWarning, match="PyTorch raises an error, Keras returns a"):
        torch_text, keras_text = emit_pair(encoder, **options)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        constructor(torch_text)().eval()(torch.zeros(1, 2, 16, 16))
    ones, noise = (
        constructor(keras_text)()(image)
        for image in (np.ones((1, 16, 16, 2)), image((16, 16, 2), 1))
    )
    assert np.array_equal(*map(keras.ops.convert_to_numpy, (ones, noise)))
