"""The example learns: a short form of what it does."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "examples/blobs.py"
STEPS = {2: 60, 3: 100}
REACHED = {2: 0.7, 3: 0.6}


def _example():
    spec = importlib.util.spec_from_file_location("blobs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
def test_both_frameworks_learn_blobs(dims, monkeypatch):
    example = _example()
    monkeypatch.setitem(example.SIZES, dims, (48, 48) if dims == 2 else (24, 24, 24))
    image, truth = example.blobs(np.random.default_rng(1), 8, dims)
    assert 0.02 < truth.mean() < 0.5
    ours, theirs = example.networks(dims)
    trainers = example.TorchTrainer(ours), example.KerasTrainer(theirs)
    first = [trainer.predict(image) for trainer in trainers]
    assert np.abs(first[0] - first[1]).max() < 1e-5 * np.abs(first[0]).max()
    for trainer, logits in zip(trainers, first):
        rng = np.random.default_rng(2)
        losses = [
            trainer.step(
                *example.blobs(rng, example.BATCH[dims], dims),
                example.learning_rate(i, STEPS[dims]),
            )
            for i in range(STEPS[dims])
        ]
        assert losses[-1] < losses[0] / 2
        reached = example.dice(trainer.predict(image), truth)
        assert reached > max(REACHED[dims], example.dice(logits, truth) + 0.3)
        # Evaluation uses batch norm's moving statistics: they must have followed the training.
        assert reached > example.dice(trainer.predict(image, training=True), truth) - 0.1


def test_the_script_prints_and_draws(tmp_path):
    arguments = ["--steps", "2", "--dims", "2", "-o", str(tmp_path / "blobs.png")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [line for line in result.stdout.splitlines() if " 2D " in line]
    assert [row.split()[1] for row in rows] == ["PyTorch", "Keras"]
    assert "%" not in result.stdout + result.stderr  # no progress bar in a pipe
    with Image.open(tmp_path / "blobs.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 10


def test_the_dice_of_known_masks():
    truth = np.array([1.0, 1, 0, 0])
    dice = _example().dice
    assert dice(np.array([1.0, 1, -1, -1]), truth) == 1
    assert dice(np.array([1.0, -1, 1, -1]), truth) == 0.5
    assert dice(np.array([-1.0, -1, 1, 1]), truth) == 0
