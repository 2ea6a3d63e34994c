"""Counts and shapes that were measured on other people's code (see oracle/README.md)."""

import json
from pathlib import Path

import keras
import pytest
import torch

import compiler
from tests.harness import constructor
from tests.sampling import block_kind, by_kind

ORACLE = json.loads((Path(__file__).parent / "oracle/medicai_0.0.4.json").read_text())
HEADS = {"classifier": {"num_classes": 3}, "backbone": {"features_only": True}}
FIGURES = [(entry, head) for entry in ORACLE for head in HEADS]
figures = pytest.mark.parametrize(("entry", "head"), FIGURES)
# Each kind of block in each rank: as a backbone in 2D, as a classifier in 3D.
IN_TURN = FIGURES[1::4] + FIGURES[2::4] + FIGURES
built_figures = pytest.mark.parametrize(
    ("entry", "head"),
    by_kind(dict.fromkeys(IN_TURN), lambda entry, head: (block_kind(entry[:-3]), entry[-2:])),
)


def _asked(entry, head):
    return entry.split("/")[0], {"input_shape": ORACLE[entry]["input_shape"], **HEADS[head]}


def _expected(entry, head):
    figure = ORACLE[entry]["models"][head]
    return figure["trainable"], figure["non_trainable"], figure["output"]


def test_the_oracle_is_whole():
    assert len(ORACLE) == 24
    assert all({"classifier", "backbone"} <= set(entry["models"]) for entry in ORACLE.values())


@figures
def test_ledger_hits_the_figures(entry, head):
    encoder, options = _asked(entry, head)
    described = compiler.describe(encoder, **options)
    counts = described["parameters"]
    assert described["pyramid"] == ORACLE[entry]["pyramid"]
    found = counts["trainable"], counts["non_trainable"], described["output"]
    assert found == _expected(entry, head)


@built_figures
def test_torch_hits_the_figures(entry, head):
    encoder, options = _asked(entry, head)
    with torch.device("meta"):
        model = constructor(compiler.emit(encoder, target="torch", **options))().eval()
        shape = options["input_shape"]
        x = torch.zeros((1, shape[-1], *shape[:-1]))
        output, levels = model(x), model.pyramid(x)
    parameters = sum(p.numel() for p in model.parameters())
    statistics = sum(b.numel() for b in model.buffers() if b.is_floating_point())
    assert (parameters, statistics, _last(output)) == _expected(entry, head)
    assert {name: _last(level) for name, level in levels.items()} == ORACLE[entry]["pyramid"]


@built_figures
def test_keras_hits_the_figures(entry, head):
    encoder, options = _asked(entry, head)
    with keras.device("meta"):
        model = constructor(compiler.emit(encoder, target="keras", **options))()
    parameters = sum(w.value.numel() for w in model.trainable_weights)
    statistics = sum(w.value.numel() for w in model.non_trainable_weights)
    assert (parameters, statistics, list(model.output.shape[1:])) == _expected(entry, head)
    levels = {name: list(level.shape[1:]) for name, level in model.pyramid_outputs.items()}
    assert levels == ORACLE[entry]["pyramid"]


def _last(tensor):
    """Channels last, without the batch axis."""
    _, channels, *sizes = tensor.shape
    return [*sizes, channels]
