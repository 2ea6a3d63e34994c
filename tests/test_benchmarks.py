"""The comparison with other libraries runs, on networks so small that its figures mean nothing."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks/networks.py"
PEER = (
    "from torch import nn\n"
    "model = nn.Sequential(nn.Conv3d({channels}, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(),"
    " nn.Conv3d(8, 2, 1))"
)


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("networks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "networks", module)  # dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    torch.set_flush_denormal(False)
    sys.modules.pop("net", None)


def test_pairs_are_compared_and_missing_libraries_named(script, capsys, monkeypatch):
    monkeypatch.setattr(script, "ROUNDS", 1)
    pair = script.Pair("resnet18", "nobody", "torch", PEER, 32, 3, "unet", batch=2)
    missing = replace(pair, peer="somebody", package="not-there")
    script.main(["--seconds", "0", "--threads", "1", "--markdown"], (pair, missing))
    machine, skipped, _, title, _, *table = capsys.readouterr().out.splitlines()
    assert "1 threads" in machine and f"torch {torch.__version__}" in machine
    assert skipped == "skipped: somebody is not installed"
    assert title == "resnet18 unet, 32^3, batch 2, against nobody"
    rows = dict(line.strip("| ").split(" | ") for line in table[2:])
    for row in ("import and build", "training step", "inference", "inference, inference file"):
        assert float(rows[row]) > 0
    assert float(rows["parameters"]) > 100
    plain, lean = (
        float(rows[f"saved bytes of a training step{more}"])
        for more in ("", ", --training-memory lean")
    )
    assert lean < plain
    with pytest.raises(SystemExit):
        script.main([], (missing,))


def test_saved_bytes_of_both_are_counted_alike(script):
    """Ours come from the ledger, theirs from hooks: on our own network they are equal."""
    pair = script.Pair("resnet18", "", "torch", "", 33, 2)
    model = script.made(*pair.ours()[::-1])
    measured = script.saved(model, torch.randn(1, 3, 33, 33))
    assert measured == script.compiler.cost("resnet18", **pair.options()).saved


def test_what_is_compared_can_be_emitted(script):
    for pair in script.PAIRS:
        compile(pair.theirs(), pair.title, "exec")
        script.resolve(pair.encoder, pair.options())
