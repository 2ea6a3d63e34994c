"""What the passes write into a block: its lines before, and after."""

import dataclasses
import re

import pytest

import compiler
from compiler.blocks import BASIC, BOTTLENECK, POOLED_PROJECTION, PRE_BOTTLENECK, SQUEEZE_EXCITE
from compiler.errors import CompileError
from compiler.ir import Block, Conv, Norm
from compiler.parsing import parse
from compiler.parts import SqueezeExcite
from compiler.passes import specialize as passes
from compiler.passes.trace import trace
from compiler.passes.validate import resolve
from compiler.program import lines_of

SE_BEFORE_AND_AFTER = [
    (BASIC, "x = bn2(conv2(x))", "x = bn2(se(conv2(x)))"),
    (BOTTLENECK, "x = bn3(conv3(x))", "x = bn3(se(conv3(x)))"),
    (PRE_BOTTLENECK, "x = conv3(x)", "x = se(conv3(x))"),
]


@pytest.mark.parametrize(("block", "before", "after"), SE_BEFORE_AND_AFTER)
def test_se_follows_the_last_convolution(block, before, after):
    changed = passes.insert_squeeze_excite(block)
    lines = lines_of(block.body)
    assert before in lines
    assert lines_of(changed.body) == tuple(after if line == before else line for line in lines)
    names = [layer.name for layer in changed.layers]
    last = [layer.name for layer in block.layers if isinstance(layer, Conv)][-1]
    assert names.index("se") == names.index(last) + 1


def test_only_the_spatial_convolution_is_grouped():
    grouped = {
        layer.name: layer.groups
        for layer in passes.group(BOTTLENECK).layers
        if isinstance(layer, Conv)
    }
    assert grouped == {"conv1": 1, "conv2": "GROUPS", "conv3": 1}
    assert passes.group(BOTTLENECK).body == BOTTLENECK.body


def test_the_gate_keeps_one_channel():
    usual = passes.squeeze_excite(SqueezeExcite(16), (64,))
    small = passes.squeeze_excite(SqueezeExcite(16), (8, 64))
    assert usual.layers == SQUEEZE_EXCITE.layers
    assert [layer.cout for layer in small.layers] == ["max(1, channels // SE_RATIO)", "channels"]


def test_the_gate_takes_its_activation():
    gate = passes.squeeze_excite(SqueezeExcite(16, "silu"), (64,))
    assert lines_of(gate.body)[0] == "gate = silu(conv1(mean(x)))"


def test_a_pre_activation_projection_has_no_norm():
    projection = passes.without_norm(POOLED_PROJECTION)
    assert not [layer for layer in projection.layers if isinstance(layer, Norm)]
    assert lines_of(projection.body) == ("return conv(pool(x))",)


@pytest.mark.parametrize(
    ("encoder", "body"),
    [
        ("resnet50", ("x = relu(bn1(conv1(x)))",)),
        ("resnet50v2", ("x = conv1(x)",)),
        ("resnet50vd", tuple(f"x = relu(bn{i}(conv{i}(x)))" for i in (1, 2, 3))),
    ],
)
def test_stems(encoder, body):
    assert lines_of(passes.specialize(resolve(encoder, {})).stem.body) == body


WRONG_BODIES = [
    ("return conv(x) - x", "a program cannot say 'conv(x) - x'"),
    ("return conv(conv(x))", "the layer 'conv' runs twice"),
    ("return cnov(x)", "a program cannot say 'cnov(x)'"),
    ("x, y = x", "a program cannot say 'x, y = x': it assigns, appends, loops, returns"),
]


@pytest.mark.parametrize(("body", "message"), WRONG_BODIES)
def test_a_wrong_body_is_named(body, message):
    network = passes.specialize(resolve("resnet18", {}))
    conv = Conv("conv", "in_channels", "in_channels")
    with pytest.raises(CompileError, match=re.escape(message)):
        lines = parse(body)
        block = Block("Wrong", "", "", "", ("in_channels", "channels", "stride"), (conv,), lines)
        trace(dataclasses.replace(network, blocks=(block,)))


def test_layers_that_do_not_fit_are_named():
    network = passes.specialize(resolve("resnet18", {}))
    conv = Conv("conv1", 7, 7)
    wrong = dataclasses.replace(network.residual, layers=(conv,), body=parse("return conv1(x)"))
    with pytest.raises(CompileError, match="'conv1' takes 7 channels and gets 64"):
        trace(dataclasses.replace(network, blocks=(*network.blocks[:-1], wrong)))


def test_a_custom_encoder_is_its_catalog_twin():
    own = compiler.custom_encoder(
        "resnext101_64x4d", blocks=(3, 4, 23, 3), groups=64, width_per_group=4
    )
    ours, twin = compiler.describe(own, dims=3), compiler.describe("resnext101_64x4d", dims=3)
    for key in ("parameters", "macs", "pyramid", "output", "ledger"):
        assert ours[key] == twin[key]
