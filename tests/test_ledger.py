"""Every encoder, built by both frameworks without memory: its weights are the ledger's."""

import ast
import subprocess
import sys

import black
import keras
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import compiler
from compiler.catalog import ENCODERS
from tests.harness import constructor, keras_shapes, ledger_of, ledger_shapes, torch_shapes
from tests.sampling import by_kind, encoder_kind, only

SIZES = {2: (64, 96, 3), 3: (32, 64, 96, 4)}
EVERY = by_kind(
    [(name, dims) for name in ENCODERS for dims in SIZES],
    lambda encoder, dims: (*encoder_kind(encoder), dims),
)
every = pytest.mark.parametrize(("encoder", "dims"), EVERY)


def _in_turn(turn):
    """By default every other one of those, as random specs are built in both targets as well."""
    chosen = [case.values for case in EVERY if not case.marks]
    chosen = [case for i, case in enumerate(chosen) if (i // 2 + i + turn) % 2 == 0]
    marked = only(lambda *case: case in chosen, (case.values for case in EVERY))
    return pytest.mark.parametrize(("encoder", "dims"), marked)


@_in_turn(0)
def test_torch_holds_the_ledger(encoder, dims):
    ledger = ledger_of(encoder, input_shape=SIZES[dims])
    text = compiler.emit(encoder, target="torch", input_shape=SIZES[dims])
    with torch.device("meta"):
        model = constructor(text)().eval()
        x = torch.zeros((1, SIZES[dims][-1], *SIZES[dims][:-1]))
        with FlopCounterMode(display=False) as counter:
            output = model(x)
        levels = model.pyramid(x)
    assert list(torch_shapes(model).items()) == list(ledger_shapes(ledger).items())
    assert counter.get_total_flops() == 2 * sum(row.macs for row in ledger.rows)
    assert {name: tuple(level.shape[1:]) for name, level in levels.items()} == dict(ledger.pyramid)
    assert tuple(output.shape[1:]) == ledger.output


@_in_turn(1)
def test_keras_holds_the_ledger(encoder, dims):
    ledger = ledger_of(encoder, input_shape=SIZES[dims])
    text = compiler.emit(encoder, target="keras", input_shape=SIZES[dims])
    with keras.device("meta"):
        model = constructor(text)()
    assert keras_shapes(model, ledger) == ledger_shapes(ledger)
    assert len(model.weights) == len(ledger_shapes(ledger))
    levels = {name: level.shape[1:] for name, level in model.pyramid_outputs.items()}
    assert levels == {name: (*shape[1:], shape[0]) for name, shape in ledger.pyramid}
    assert model.output.shape[1:] == (*ledger.output[1:], ledger.output[0])


@every
@pytest.mark.parametrize("target", ["torch", "keras"])
def test_files_are_tidy(encoder, dims, target, tmp_path):
    text = compiler.emit(encoder, target=target, dims=dims)
    assert black.format_str(text, mode=black.Mode(line_length=100)) == text
    roots = {
        alias.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (
            [node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
        )
    }
    whole = encoder.startswith("nnunet")  # with a decoder
    assert roots - ({"typing"} if whole else set()) == {target}
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) <= (200 if whole else 150)


KINDS = list({encoder_kind(name): name for name in reversed(ENCODERS)}.values())


@pytest.mark.parametrize(
    "encoders", [KINDS, pytest.param(list(ENCODERS), marks=pytest.mark.full)], ids=["kinds", "all"]
)
def test_no_unused_name(encoders, tmp_path):
    options = (
        {},
        {"features_only": True},
        {"features_only": True, "pooling": "max", "include_rescaling": True},
        {
            "classifier_activation": "softmax",
            "num_classes": 9,
            "se_ratio": 500,
            "se_activation": "gelu",
        },
    )
    for encoder in encoders:
        for target in ("torch", "keras"):
            for i, chosen in enumerate(options):
                kept = chosen if encoder.startswith("se") else _without_se(chosen)
                text = compiler.emit(encoder, target=target, **kept)
                (tmp_path / f"{encoder}_{target}_{i}.py").write_text(text)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=100"]
    rules = "--select=E,F,W,I,B,PIE,C4,RET501,RET502"
    result = subprocess.run(
        [*command, rules, "--ignore=B905", tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def _without_se(options):
    return {name: value for name, value in options.items() if not name.startswith("se_")}
