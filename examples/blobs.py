"""Learn to find blobs: one small UNet in 2D and in 3D, in PyTorch and in Keras.

    pip install -e '.[examples]'
    python examples/blobs.py

Emits both networks with the compiler, gives each pair the same initial weights, trains them on the
same synthetic images, prints the Dice of held-out images, and draws some of them to a PNG. Blobs
are to be found, bars of the same brightness are not; noise is added, and every image has its own
brightness and contrast. Takes about a minute on two cores.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # before keras is imported

import click
import keras
import matplotlib
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch.nn import functional as F

import compiler
from compiler.weights.keras_variables import WEIGHTS, layer_name, weight_axes

matplotlib.use("Agg")  # no display is needed for a file
from matplotlib import pyplot

SIZES = {2: (64, 64), 3: (32, 32, 32)}
BATCH = {2: 8, 3: 4}
RADII = {2: (4, 10), 3: (4, 8)}
LEARNING_RATE = 0.01
FRAMEWORKS = ("PyTorch", "Keras")


def blobs(rng: np.random.Generator, count: int, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` images and their truth, both (count, *size, 1): 1 inside a blob, 0 outside."""
    size = np.array(SIZES[dims])
    voxels = np.indices(size).reshape(dims, *size)
    images = np.empty((count, *size, 1), "float32")
    truths = np.empty_like(images)
    for image, truth in zip(images, truths):
        blob, bar = np.zeros(size, bool), np.zeros(size, bool)
        for shape in (blob,) * rng.integers(2, 5) + (bar,) * rng.integers(1, 4):
            reach = rng.uniform(*RADII[dims], dims)
            if shape is bar:
                reach[:] = 1.5
                reach[rng.integers(dims)] = size[0] / 3
            offset = (voxels.T - rng.uniform(0.1, 0.9, dims) * size) / reach
            shape |= (np.abs(offset).max(-1) < 1 if shape is bar else (offset**2).sum(-1) < 1).T
        truth[..., 0] = blob
        clean = np.where(blob | bar, 1.0, 0.0)
        noisy = clean + rng.normal(0, 0.3, size)
        image[..., 0] = rng.uniform(0.5, 2) * noisy + rng.uniform(-1, 1)
    return images, truths


def networks(dims: int, seed: int = 0) -> tuple[torch.nn.Module, keras.Model]:
    """The same UNet in both frameworks, with the same weights."""
    encoder = compiler.custom_encoder(
        "small", block="basic", blocks=(1, 1), filters=(16, 32), strides=(1, 2), stem_filters=(16,)
    )
    options = {
        "segmentor": "unet",
        "encoder_depth": 3,
        "decoder_filters": (32, 16, 8),
        "input_shape": (*SIZES[dims], 1),
    }
    torch.manual_seed(seed)
    ours = run(compiler.emit(encoder, target="torch", **options))
    theirs = run(compiler.emit(encoder, target="keras", **options))
    state = ours.state_dict()
    for row in compiler.describe(encoder, **options)["ledger"]:
        variables = {v.name: v for v in theirs.get_layer(layer_name(row["path"])).weights}
        for name in row["weights"]:
            value = state[f"{row['path']}.{name}"].numpy()
            axes = weight_axes(row["kind"], name, value.ndim)
            variables[WEIGHTS[row["kind"], name][0]].assign(value.transpose(axes))
    return ours, theirs


def run(source: str):
    """The model of an emitted file."""
    names: dict = {}
    exec(source, names)
    (constructor,) = names["__all__"]
    return names[constructor]()


def channels_first(x: np.ndarray) -> torch.Tensor:
    """(N, *size, C) as PyTorch has it: (N, C, *size)."""
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def learning_rate(step: int, steps: int) -> float:
    """Falls to 0 in a straight line, so that batch norm's statistics settle with the weights."""
    return LEARNING_RATE * (1 - step / steps)


class TorchTrainer:
    """Trains a PyTorch model on channels-last arrays."""

    def __init__(self, model: torch.nn.Module):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, eps=1e-7)

    def step(self, image: np.ndarray, truth: np.ndarray, rate: float = LEARNING_RATE) -> float:
        """Update the weights once; returns the loss before it."""
        self.model.train()
        self.optimizer.param_groups[0]["lr"] = rate
        logits = self.model(channels_first(image))
        loss = F.binary_cross_entropy_with_logits(logits, channels_first(truth))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict(self, image: np.ndarray, training: bool = False) -> np.ndarray:
        """Logits, channels last. In training mode, batch norm uses these images' statistics."""
        self.model.train(training)
        with torch.no_grad():
            return np.moveaxis(self.model(channels_first(image)).numpy(), 1, -1)


class KerasTrainer:
    """Trains a Keras model, on any backend."""

    def __init__(self, model: keras.Model):
        self.model = model
        self.model.compile(
            keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-7),
            keras.losses.BinaryCrossentropy(from_logits=True),
        )

    def step(self, image: np.ndarray, truth: np.ndarray, rate: float = LEARNING_RATE) -> float:
        """Update the weights once; returns the loss before it."""
        self.model.optimizer.learning_rate = rate
        return float(self.model.train_on_batch(image, truth))

    def predict(self, image: np.ndarray, training: bool = False) -> np.ndarray:
        """Logits, channels last. In training mode, batch norm uses these images' statistics."""
        return keras.ops.convert_to_numpy(self.model(image, training=training))


def dice(logits: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of the predicted and the true blobs: 1 is all of it, 0 is none."""
    found = logits > 0
    return float(2 * (found * truth).sum() / (found.sum() + truth.sum()))


def draw(rows: list[tuple[np.ndarray, ...]], path: Path) -> None:
    """Image, truth and both predictions of each row, side by side; of a volume, its middle."""
    titles = ("image", "truth", *FRAMEWORKS)
    size = (2 * len(titles), 2 * len(rows) + 0.3)
    figure, axes = pyplot.subplots(len(rows), len(titles), figsize=size, layout="constrained")
    for line, row in zip(axes, rows):
        for axis, values in zip(line, row):
            values = values[..., 0]
            axis.imshow(values[len(values) // 2] if values.ndim == 3 else values, cmap="gray")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles):
        axis.set_title(title)
    figure.savefig(path, dpi=100)


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--steps", default=200, show_default=True, help="Updates of each network.")
@click.option("--dims", type=click.Choice(["2", "3"]), multiple=True, default=["2", "3"])
@click.option("-o", "--output", type=click.Path(path_type=Path), default="blobs.png", help="PNG.")
def main(steps: int, dims: tuple[str, ...], output: Path) -> None:
    """Train, print the table, draw the picture."""
    console = Console()
    table = Table("framework", "dims", "parameters", "Dice", "seconds")
    rows = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for rank in map(int, dims):
            ours, theirs = networks(rank)
            image, truth = blobs(np.random.default_rng(1), 16, rank)  # held out
            drawn = [image, truth]
            for framework, trainer in zip(FRAMEWORKS, (TorchTrainer(ours), KerasTrainer(theirs))):
                start = time.perf_counter()
                rng = np.random.default_rng(2)
                for i in progress.track(range(steps), description=f"{framework}, {rank}D"):
                    trainer.step(*blobs(rng, BATCH[rank], rank), learning_rate(i, steps))
                seconds = time.perf_counter() - start
                logits = trainer.predict(image)
                drawn.append(logits > 0)
                count = sum(weights.numel() for weights in ours.parameters())
                score = dice(logits, truth)
                table.add_row(framework, f"{rank}D", f"{count:,}", f"{score:.3f}", f"{seconds:.0f}")
            rows += list(zip(*drawn))[:2]
    console.print(table)
    draw(rows, output)
    console.print(f"{output}: image, truth and predictions")


if __name__ == "__main__":
    main()
