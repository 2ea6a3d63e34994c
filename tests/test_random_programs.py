"""Random programs: what is written reads back, all readings agree, and what is wrong is rejected.

The program is a decoder over P1..P3 in the four statements, over layers and operations that the
segmentors use. `PLAINNET_FUZZ=10` runs ten times as many examples, at random.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compiler import custom_encoder, emitter
from compiler.blocks import DECODER_BLOCK
from compiler.errors import CompileError
from compiler.ir import Constant, Conv, Each, Fragment, Module
from compiler.lower import lower
from compiler.operations import OPERATIONS, PYRAMID
from compiler.parsing import check, parse
from compiler.passes.channels import declarations
from compiler.passes.declarations import Declare, Turns
from compiler.passes.specialize import specialize
from compiler.passes.trace import trace
from compiler.passes.validate import resolve
from compiler.program import Append, Assign, code_of, lines_of
from compiler.segmentors.unet import level_channels
from compiler.targets import target_named

from .test_fuzz import examples

ENCODER = custom_encoder("tiny", blocks=(1, 1), filters=(4, 6), strides=(1, 2), stem_filters=(5,))
NETWORK = specialize(
    resolve(
        ENCODER, {"segmentor": "unet", "decoder_filters": (7, 3, 2), "input_shape": (16, 24, 3)}
    )
)
MODEL = NETWORK.model
FILTERS = (7, 3, 2)
CHANGES = ["relu({0})", "sigmoid({0})", "{0} + relu({0})", "{0} * sigmoid({0})", "concat({0}, {0})"]


@st.composite
def changed(draw, value):
    """The value, some operations later; a call of a layer stands there once."""
    once = CHANGES[:2] if "layer" in value else CHANGES
    for change in draw(st.lists(st.sampled_from(once), max_size=2)):
        value = change.format(value)
    return value


@st.composite
def programs(draw):
    """A program in lines, and its layers."""
    layers = []

    def layer(value, filters, one=""):
        name = f"layer{len(layers)}"
        of = draw(st.sampled_from([Conv("", "", "", 3), Conv("", "", "", 1), "DecoderBlock"]))
        layers.append(Each(name, of, one=one and f"one{len(layers)}"))
        return f"{name}({value}, {filters})"

    lines = ["x = deepest(pyramid)", "skips = skips(pyramid)", "maps = []", "row = [x]"]
    if draw(st.booleans()):
        lines.append(f"x = {layer(draw(changed('x')), draw(st.integers(1, 9)))}")
    lines.append("for skip, filters in zip(skips, FILTERS):")
    joined = f"concat(corner_stretch({draw(changed('x'))}, skip), {draw(changed('skip'))})"
    if draw(st.booleans()):
        lines += ["    up = " + joined, f"    up = {draw(changed('up'))}"]
        joined = "up"
    turn = [f"    x = {draw(changed(layer(joined, 'filters', one='one')))}"]
    if draw(st.booleans()):
        turn.append(f"    maps.append({draw(changed('corner_stretch(x, image)'))})")
    if draw(st.booleans()):
        turn += [
            "    below = [skip]",
            "    for path in row:",
            f"        below.append({layer('corner_stretch(path, skip)', 'filters', one='one')})",
            "    row = below",
            f"    x = {layer('concat(*row)', 'filters', one='one')}",
        ]
    lines += turn
    end = draw(
        st.sampled_from(
            ["x", "corner_stretch(x, image)", "concat(corner_stretch(x, image), *maps)"]
        )
    )
    lines.append(f"return {draw(changed(layer(end, draw(st.integers(1, 9)))))}")
    return lines, tuple(layers)


def network_of(lines, layers):
    module = Module(
        "Decoder", "decoder", (DECODER_BLOCK,), layers, parse("\n".join(lines), "Decoder")
    )
    constants = (
        *level_channels(MODEL),
        Constant("FILTERS", FILTERS),
        Constant("DECODER_EPS", 1e-3),
    )
    return replace(NETWORK, modules=(module,), more_constants=constants, head=Fragment((), ()))


def checked(lines, layers):
    names = {each.name for each in layers}
    known = {"pyramid", "image", "FILTERS"}
    check(parse("\n".join(lines), "it"), "it", known, names, {*OPERATIONS, *PYRAMID})


def widths(lines, names):
    """What each layer of a module is made with, when its declarations run: its name, in and out."""
    found = []

    def value(node):
        return eval(code_of(node), {"sum": sum}, names)

    for line in lines:
        if isinstance(line, Declare):
            sizes = line.layer.args if isinstance(line.each.of, str) else None
            cin, cout = sizes or (line.layer.cin, line.layer.cout)
            found.append(
                (line.each.name, *(eval(str(n), {"sum": sum}, names) for n in (cin, cout)))
            )
        elif isinstance(line, Assign):
            names[line.target] = value(line.value)
        elif isinstance(line, Append):
            names[line.target] = [*names[line.target], value(line.value)]
        elif isinstance(line, Turns):
            for items in zip(*map(value, line.sources)):
                names |= dict(zip(line.targets, items))
                found += widths(line.body, names)
    return found


@given(programs())
@examples(40)
def test_what_is_written_reads_back(program):
    lines, layers = program
    checked(lines, layers)
    body = parse("\n".join(lines))
    assert parse("\n".join(lines_of(body))) == body


OPERANDS = st.recursive(
    st.sampled_from(["a", "b", "c[-1]", "2", "f(a)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+*"), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        inner.map(lambda x: f"f({x}, *c)"),
        inner.map(lambda x: f"(f(a) if f else {x})"),
        inner.map(lambda x: f"[{x}, c[1:], c[:-1]]"),
    ),
    max_leaves=8,
)


@given(OPERANDS)
@examples(80)
def test_what_stands_in_parentheses_keeps_them_where_they_matter(text):
    body = parse(f"x = {text}  # why\nreturn x")
    assert parse("\n".join(lines_of(body))) == body


@given(programs())
@examples(25)
def test_both_readings_meet_the_same_channels(program):
    network = network_of(*program)
    module = network.modules[0]
    ledger = trace(network)
    constants = {c.name: c.value for c in network.more_constants}
    made = widths(declarations(module, network.all_blocks), dict(constants))
    ran = []
    for step in ledger.stages:
        for row in step.rows:
            name, inside = row.role.split(".")[1], row.role.split(".")[2:]
            if row.kind == "conv" and inside in ([], ["conv1"]):  # a layer, or the first of a block
                ran.append((name, row.weights[0][1][1], row.weights[0][1][0]))
    assert made == ran


@given(programs())
@examples(12)
def test_the_emitted_file_runs_with_the_shapes_of_the_ledger(program):
    network = network_of(*program)
    ledger = trace(network)
    target = target_named("torch")
    text = emitter._file(target, target.page(lower(network, ledger)))
    names = {"__name__": "emitted"}
    exec(compile(text, "emitted", "exec"), names)
    model = names[MODEL.class_name]().eval()
    shapes = {f"{row.path}.{name}": shape for row in ledger.rows for name, shape in row.weights}
    found = {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert found == shapes and list(found) == list(shapes)
    with torch.no_grad():
        assert tuple(model(torch.zeros(1, 3, 16, 24)).shape[1:]) == ledger.output


FAULTS = {
    "    skip = relu(skip)": "is the loop's",
    "    x = unheard": "is not a name of this program",
    "    x = unheard(x)": "is not a layer of this program",
    "    x = x - x": "a program cannot say",
    "    while x:\n        x = x": "a program cannot say",
    "    if x:\n        x = x": "a program cannot say",
    "    import os": "a program cannot say",
    "    return x": "a program returns at its end",
    "    x.append(x)": "is not a list of this program",
    "    for skip in maps:\n        x = x": "a loop's variable already",
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.items(), ids=FAULTS)
@given(programs())
@examples(5)
def test_a_program_that_is_wrong_is_rejected_where_it_is(fault, message, program):
    lines, layers = program
    at = next(i for i, line in enumerate(lines) if line.startswith("for")) + 1
    lines = [*lines[:at], *fault.split("\n"), *lines[at:]]
    with pytest.raises(CompileError, match=message) as error:
        checked(lines, layers)
    assert error.value.problems[0].at == f"it, line {at + 1}"


@given(programs())
@examples(10)
def test_a_layer_runs_once(program):
    lines, layers = program
    again = f"x = {layers[-1].name}(x, 1)"
    with pytest.raises(CompileError, match="runs twice") as error:
        checked([*lines[:-1], again, lines[-1]], layers)
    assert error.value.problems[0].at == f"it, line {len(lines) + 1}"
