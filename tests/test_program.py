"""The language of wiring: what it takes, what it rejects with its line, and that readings agree."""

import re
from dataclasses import replace

import pytest

from compiler.blocks import DECODER_BLOCK
from compiler.errors import CompileError
from compiler.ir import Conv, Dropout, Each
from compiler.operations import OPERATIONS, PYRAMID
from compiler.parsing import check, parse
from compiler.passes.channels import declarations
from compiler.passes.declarations import Declare, Turns
from compiler.passes.specialize import check_block, specialize
from compiler.passes.trace import trace
from compiler.passes.validate import resolve
from compiler.program import lines_of, renamed
from compiler.segmentors import SEGMENTORS
from tests.sampling import host

OUTSIDE = [
    ("x = 1\nif x:\n    y = 2", 2, "a program cannot say 'if x:'"),
    ("while True:\n    x = 1", 1, "a program cannot say 'while True:'"),
    ("x = [a for a in b]", 1, "a program cannot say '[a for a in b]'"),
    ("x, y = z", 1, "a program cannot say 'x, y = z'"),
    ("x = y - z", 1, "a program cannot say 'y - z'"),
    ("x = f(a=1)", 1, "a program cannot say 'f(a=1)'"),
    ("x = y\nfor a in range(3):\n    x = a", 2, "a loop runs over a name or a zip of them"),
    ("x = 'text'", 1, "a program cannot say"),
    ("x = y[a]", 1, "'a' is not an index"),
    ("x = (", 1, "this is not Python"),
]
WRONG = [
    ("y = cnov(x)\nreturn y", 1, "'cnov' is not a layer of this program"),
    ("y = conv(x)\nreturn z", 2, "'z' is not a name of this program"),
    ("y = conv(x)\ny = conv(y)\nreturn y", 2, "the layer 'conv' runs twice"),
    ("for a in xs:\n    a = conv(a)\nreturn x", 2, "'a' is the loop's"),
    (
        "for a in xs:\n    for a in xs:\n        y = conv(a)\nreturn x",
        2,
        "a loop's variable already",
    ),
    ("y = x\ny.append(x)\nreturn x", 2, "'y' is not a list"),
    ("return x\ny = x", 1, "a program returns at its end"),
    ("y = conv(x)", 1, "a program returns at its end"),
]


@pytest.mark.parametrize(("source", "line", "message"), OUTSIDE)
def test_what_is_not_in_the_language_is_rejected_with_its_line(source, line, message):
    with pytest.raises(CompileError, match=re.escape(message)) as error:
        parse(source, "a test")
    assert error.value.problems[0].at == f"a test, line {line}"


@pytest.mark.parametrize(("source", "line", "message"), WRONG)
def test_a_program_that_means_nothing_is_rejected_with_its_line(source, line, message):
    with pytest.raises(CompileError, match=re.escape(message)) as error:
        check(parse(source), "a test", {"x", "xs"}, {"conv"}, OPERATIONS)
    assert error.value.problems[0].at == f"a test, line {line}"


def test_a_call_is_renamed_and_nothing_that_contains_its_name():
    body = parse("x = leaky_relu(relu(x))\nreturn relu(x)")
    assert lines_of(renamed(body, {"relu": "gelu"})) == (
        "x = leaky_relu(gelu(x))",
        "return gelu(x)",
    )


def _declared(lines):
    for line in lines:
        if isinstance(line, Declare):
            yield line.each.name
        elif isinstance(line, Turns):
            yield from _declared(line.body)


@pytest.mark.parametrize("segmentor", SEGMENTORS)
def test_readings_meet_the_same_layers(segmentor):
    network = specialize(resolve(host(segmentor, "resnet18"), {"segmentor": segmentor}))
    ledger = trace(network)
    for module in network.modules:
        layers = {each.name for each in module.layers}
        assert {*_declared(declarations(module, network.all_blocks))} == layers
        paths = {r.path.split(".")[1] for r in ledger.rows if r.path.startswith(f"{module.path}.")}
        weightless = {each.name for each in module.layers if isinstance(each.of, Dropout)}
        assert paths == layers - weightless


@pytest.mark.parametrize("segmentor", SEGMENTORS)
def test_each_row_of_a_decoder_is_of_one_step(segmentor):
    ledger = trace(specialize(resolve(host(segmentor, "resnet18"), {"segmentor": segmentor})))
    rows = [row.path for step in ledger.steps for row in step.rows]
    assert sorted(rows) == sorted(row.path for row in ledger.rows)
    for step in ledger.stages:
        assert step.seen[0] in rows


def test_pyramid_and_operations_have_no_name_in_common():
    assert not OPERATIONS.keys() & PYRAMID.keys()


READINGS = [
    ("x = deepest(pyramid)\nreturn concat(x, image)", "joins the shapes"),
    ("x = deepest(pyramid)\nreturn cnov(x)", "a program cannot say 'cnov(x)'"),
    ("x = deepest(pyramid)\nreturn unheard", "'unheard' is not a name"),
    ("skips = skips(pyramid)\nreturn skips[9]", "'skips' has 4 items"),
    ("x = deepest(pyramid)\nreturn conv(x)", "the layer 'conv' takes 1 tensors and 1 numbers"),
    ("x = deepest(pyramid)\nreturn conv(2, 3)", "the layer 'conv' takes a tensor"),
    ("x = deepest(pyramid)\nreturn upsample(x)", "missing 1 required positional argument"),
]


@pytest.mark.parametrize(("source", "message"), READINGS, ids=[text for _, text in READINGS])
def test_what_a_reading_cannot_make_sense_of_has_its_line(source, message):
    network = specialize(resolve("resnet18", {"segmentor": "unet"}))
    layers = (Each("conv", Conv("", "", "", 3)),)
    module = replace(network.modules[0], layers=layers, body=parse(source))
    with pytest.raises(CompileError, match=re.escape(message)) as error:
        trace(replace(network, modules=(module,)))
    assert error.value.problems[0].at == "Decoder, line 2"


def test_the_reading_of_channels_says_the_line_too():
    module = specialize(resolve("resnet18", {"segmentor": "unet"})).modules[0]
    for source in ("x = image\nx = cnov(x)\nreturn x", "x = [image]\nx = x[4]\nreturn x"):
        with pytest.raises(CompileError) as error:
            declarations(replace(module, body=parse(source)), {})
        assert error.value.problems[0].at == "Decoder, line 2"


def test_a_block_is_checked_when_it_is_specialized():
    block = replace(DECODER_BLOCK, body=parse("x = relu(cnov(x))\nreturn x"))
    with pytest.raises(CompileError, match="'cnov' is not a layer") as error:
        check_block(block)
    assert error.value.problems[0].at == "DecoderBlock, line 1"
