"""Model -> the patches and batches that fit into a memory, in training and in inference.

Patches are multiples of how much smaller the deepest level is than the image, axis by axis. They
grow along the axis on which they reach least far, in the proportions of the data if they are known.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..limits import AXIS, BATCH, VOXELS
from ..model import Model
from .cost import Cost, cost_of
from .lint import Note, notes_of

BATCHES = (1, 2, 4, 8)  # that training is planned for
SLACK = 20  # the margin has this part of all that is counted, for what allocators round up
FIXED = 2**25  # and these bytes, for threads and for kernels that are compiled when they are run
SMALLEST = 2  # voxels of the deepest level on each axis: norms need more than one value


@dataclass(frozen=True)
class Choice:
    """A batch of patches and its bytes.

    `tensors` is what they take at the peak beside the weights, with what is `saved` for the
    backward pass. The `margin` is for the workspace of kernels and for what allocators round up.
    """

    batch: int
    patch: tuple[int, ...]
    weights: int
    gradients: int
    optimizer_state: int
    saved: int
    tensors: int
    margin: int

    @property
    def other_tensors(self) -> int:
        """What tensors take at the peak beside those that are saved."""
        return self.tensors - self.saved

    @property
    def total(self) -> int:
        counted = self.weights + self.gradients + self.optimizer_state + self.tensors
        return counted + self.margin


@dataclass(frozen=True)
class Fit:
    """The largest choice that fits, if one does, and the next larger one, which does not.

    There is none where the patch has reached the size of the data.
    """

    largest: Choice | None
    next: Choice | None


@dataclass(frozen=True)
class Fits:
    """What fits into so many bytes of `memory`: a `Fit` for each batch size.

    `notes` are about the network at the largest patch that fits, of training if it is trained.
    """

    memory: int
    precision: str
    optimizer: str
    device: str
    divisors: tuple[int, ...]
    training: tuple[Fit, ...]
    inference: tuple[Fit, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Data:
    """What is known of the images that patches are taken from: their sizes, those of a voxel."""

    sizes: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()


@dataclass(frozen=True)
class Request:
    """What is planned: a model in so much memory. A `fixed` patch is that of the model."""

    model: Model
    memory: int
    precision: str = "fp32"
    optimizer: str = "adamw"
    device: str = "cpu"
    batches: tuple[int, ...] = ()
    fixed: bool = False
    data: Data = Data()

    def at(self, patch: tuple[int, ...]) -> Model:
        """The model for such a patch."""
        return replace(self.model, input_shape=(*patch, self.model.in_channels))

    def cost(self, patch: tuple[int, ...], batch: int) -> Cost:
        return cost_of(self.at(patch), batch, self.precision, self.optimizer, self.device)


def fits_of(request: Request) -> Fits:
    """What fits of a model: the largest patch for each batch size, or the largest batch."""
    model = request.model
    search = _batches if request.fixed else _patches
    training = () if model.deploy else search(request, training_choice, BATCHES)
    inference = search(request, inference_choice, BATCHES[:1])
    chosen = (training or inference)[0].largest
    return Fits(
        memory=request.memory,
        precision=request.precision,
        optimizer=request.optimizer,
        device=request.device,
        divisors=model.divisors[-1],
        training=training,
        inference=inference,
        notes=notes_of(request.at(chosen.patch)) if chosen else (),
    )


Chooser: TypeAlias = Callable[[Cost, tuple[int, ...]], Choice]


def training_choice(cost: Cost, patch: tuple[int, ...]) -> Choice:
    """What training takes: a step of the optimizer may take more than the passes before it."""
    counted = cost.weights + cost.gradients + cost.optimizer_state
    tensors = cost.training - counted
    margin = FIXED + cost.training_workspace + cost.training // SLACK
    state = (cost.gradients, cost.optimizer_state, cost.saved)
    return Choice(cost.batch, patch, cost.weights, *state, tensors, margin)


def inference_choice(cost: Cost, patch: tuple[int, ...]) -> Choice:
    margin = FIXED + cost.inference_workspace + cost.inference // SLACK
    tensors = cost.inference - cost.weights
    return Choice(cost.batch, patch, cost.weights, 0, 0, 0, tensors, margin)


def _batches(request: Request, choice: Chooser, _usual: Sequence[int]) -> tuple[Fit, ...]:
    """The largest batch of the model's own patch."""
    patch = request.model.input_shape[:-1]
    sizes = request.batches or range(1, BATCH.largest + 1)
    return (largest(lambda i: choice(request.cost(patch, sizes[i]), patch), sizes, request.memory),)


def _patches(request: Request, choice: Chooser, usual: Sequence[int]) -> tuple[Fit, ...]:
    """The largest patch for each batch size, up to the first for which none fits."""
    patches = patches_of(request.model, request.data)
    volumes = [math.prod(patch) for patch in patches]
    found: list[Fit] = []
    for batch in request.batches or usual:

        def at(i: int, batch: int = batch) -> Choice:
            return choice(request.cost(patches[i], batch), patches[i])

        found.append(largest(at, volumes, request.memory))
        if found[-1].largest is None:
            break
    return tuple(found)


def largest(at: Callable[[int], Choice], amounts: Sequence[int], memory: int) -> Fit:
    """The last choice that fits and the one after it, where each takes more than the one before.

    Tensors take about as much as the `amounts` say, which tells where to look next.
    """
    fits, fails = -1, len(amounts)
    found: dict[int, Choice] = {}
    guess = 0
    while fails - fits > 1:
        choice = found[guess] = at(guess)
        if choice.total <= memory:
            fits = guess
        else:
            fails = guess
        room = memory - (choice.total - choice.tensors)
        amount = amounts[guess] * room // max(1, choice.tensors)
        guess = min(max(bisect_right(amounts, amount) - 1, fits + 1), fails - 1)
    return Fit(found.get(fits), found.get(fails))


def patches_of(model: Model, data: Data = Data()) -> list[tuple[int, ...]]:
    """Patches from small to large, each with one step more on the axis that reaches least far.

    Without data, axes grow together in the proportions of the divisors. Sizes end where they cover
    those of the data.
    """
    steps = model.divisors[-1]
    ends = tuple(-(-size // step) for size, step in zip(data.sizes, steps))
    ends = ends or tuple(AXIS.largest // step for step in steps)
    counts = [min(SMALLEST, end) for end in ends]
    # How far a step reaches on each axis: in the data's unit, in shares of its size, or anyhow.
    reach: Sequence[float] = (1,) * model.dims
    if data.spacing:
        reach = [step * each for step, each in zip(steps, data.spacing)]
    elif data.sizes:
        reach = [step / size for step, size in zip(steps, data.sizes)]
    patches: list[tuple[int, ...]] = []
    while True:
        patch = tuple(count * step for count, step in zip(counts, steps))
        if math.prod(patch) > VOXELS.largest:
            return patches
        patches.append(patch)
        growing = [axis for axis in range(model.dims) if counts[axis] < ends[axis]]
        if not growing:
            return patches
        least = min(counts[axis] * reach[axis] for axis in growing)
        for axis in growing:
            if math.isclose(counts[axis] * reach[axis], least):
                counts[axis] += 1
