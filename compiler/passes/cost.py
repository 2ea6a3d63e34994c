"""Network -> Cost: the memory of a training step and of inference, with nothing run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..ir import Shape
from ..model import Model
from .count import macs, trainable
from .kept import FULL, Held, Storage
from .specialize import specialize
from .tape import Event, Tape, record
from .trace import Ledger, trace

OPTIMIZERS = {"adamw": 2, "sgd": 1}  # and how many numbers each keeps of a weight: sgd's momentum
COUNTERS = {"adamw": FULL, "sgd": 0}  # bytes of the count of steps that it keeps of a tensor
WORKING = {"adamw": 1, "sgd": 0}  # copies of the weights that a step of it needs meanwhile
COUNTED = 8  # bytes of `num_batches_tracked` of each batch norm

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "UpConv"})
# Operations whose gradients are views of the gradient of their output.
PASSED_ON = frozenset({"add", "concat", "total"})


@dataclass(frozen=True)
class StepCost:
    """A step that `show` prints: `macs` are of one item, `saved` are the bytes that it adds."""

    name: str
    output: Shape
    parameters: int
    macs: int
    saved: int


@dataclass(frozen=True)
class Cost:
    """What a network costs at a batch size, in bytes; `macs` are of one item.

    `saved` is what autograd keeps from the forward pass for the backward pass, weights and
    statistics aside; `activations` is the most that tensors, saved ones and gradients of tensors
    take at any moment of a training step; `training` and `inference` are the most that all of it
    takes, without the workspace of kernels. That is a bound on what a convolution takes that copies
    to another order what it reads and writes. An inference file is not trained.
    """

    batch: int
    precision: str
    optimizer: str
    device: str
    macs: int
    parameters: int
    weights: int
    gradients: int
    optimizer_state: int
    saved: int
    activations: int
    training: int
    inference: int
    training_workspace: int
    inference_workspace: int
    steps: tuple[StepCost, ...]


def cost_of(
    model: Model,
    batch: int = 1,
    precision: str = "fp32",
    optimizer: str = "adamw",
    device: str = "cpu",
) -> Cost:
    """The cost of a model's PyTorch file for images of its input shape."""
    network = specialize(model)
    ledger = trace(network)
    tape = record(network, precision, batch > 1, device=device)
    parameters = trainable(ledger.rows)
    gradients = state = activations = copies = 0
    saved = [0] * len(tape.ends)
    if not model.deploy:
        gradients = FULL * parameters
        tensors = sum(len(row.weights) for row in ledger.rows) - 2 * _batch_norms(ledger)
        state = OPTIMIZERS[optimizer] * gradients + COUNTERS[optimizer] * tensors
        saved = saved_by_step(tape, batch)
        activations = max(forward_peak(tape.events, batch), backward_peak(tape.events, batch))
        copies = WORKING[optimizer] * gradients
    steps = (*ledger.encoder, *ledger.stages, ledger.head, *ledger.aux)
    padded = saved + [0] * (len(steps) - len(saved))  # heads that nothing calls
    weights = FULL * sum(math.prod(shape) for row in ledger.rows for _, shape in row.weights)
    weights += COUNTED * _batch_norms(ledger)
    run = record(network, precision, batch > 1, training=False, device=device)
    return Cost(
        batch=batch,
        precision=precision,
        optimizer=optimizer,
        device=device,
        macs=macs(ledger.rows),
        parameters=parameters,
        weights=weights,
        gradients=gradients,
        optimizer_state=state,
        saved=sum(saved),
        activations=activations,
        training=(weights + gradients + state + max(activations, copies)) * (not model.deploy),
        inference=weights + inference_peak(run.events, batch),
        training_workspace=0 if model.deploy else _workspace(ledger, tape.events, batch, 2),
        inference_workspace=_workspace(ledger, run.events, batch, 1),
        steps=tuple(
            StepCost(step.name, step.output, trainable(step.rows), macs(step.rows), size)
            for step, size in zip(steps, padded, strict=True)
        ),
    )


def _batch_norms(ledger: Ledger) -> int:
    return sum(row.kind == "batch_norm" for row in ledger.rows)


def _workspace(ledger: Ledger, events: Sequence[Event], batch: int, passes: int) -> int:
    """Copies of a convolution's input, in the backward pass of its gradient too, and of its output,
    and two of a weight: in another order, or a gradient that is added to another."""
    weights = (math.prod(shape) for row in ledger.rows for _, shape in row.weights)
    maps = (
        passes * event.inputs[0].storage.bytes(batch) + event.output.storage.bytes(batch)
        for event in events
        if event.name in CONVOLUTIONS
    )
    return 2 * FULL * max(weights, default=0) + max(maps, default=0)


def _bytes(storages: Iterable[Storage], batch: int) -> int:
    return sum(storage.bytes(batch) for storage in storages)


def saved_by_step(tape: Tape, batch: int) -> list[int]:
    """Bytes that each step keeps for the backward pass and that no step before it keeps."""
    seen: set[Storage] = set()
    found, start = [], 0
    for end in tape.ends:
        kept = {s for event in tape.events[start:end] for s in event.at_once}
        found.append(_bytes(kept - seen, batch))
        seen |= kept
        start = end
    return found


def inference_peak(events: Sequence[Event], batch: int) -> int:
    """The most that the tensors of a run take which keeps nothing.

    `autocast` keeps its copies of weights.
    """
    copies: set[Storage] = set()
    peak = 0
    for event in events:
        copies |= {s for s in event.kept if not s.batched and s.width < FULL}
        peak = max(peak, _bytes(event.live | copies, batch))
    return peak


def forward_peak(events: Sequence[Event], batch: int) -> int:
    """The most that tensors take in the forward pass, with all that is saved."""
    saved: set[Storage] = set()
    total = peak = 0
    for event in events:
        peak = max(peak, total + _bytes(event.live - saved, batch))
        new = {*event.at_once} - saved
        total += _bytes(new, batch)
        saved |= new
    return peak


class _Backward:
    """A backward pass, event by event: what is saved still, and the gradients there are."""

    def __init__(self, events: Sequence[Event], batch: int):
        self.batch = batch
        self.saved = Counter(s for event in events for s in event.at_once)
        self.total = _bytes(self.saved, batch)
        self.gradients: dict[Storage, Storage] = {}  # of a tensor, by what holds the tensor
        self.peak = self.total

    def look(self, *more: Storage) -> None:
        """Note what there is at this moment."""
        now = self.total + _bytes({*self.gradients.values(), *more}, self.batch)
        self.peak = max(self.peak, now)

    def keep(self, storages: Iterable[Storage]) -> None:
        for storage in storages:
            if not self.saved[storage]:
                self.total += storage.bytes(self.batch)
            self.saved[storage] += 1

    def release(self, storages: Iterable[Storage]) -> None:
        for storage in storages:
            self.saved[storage] -= 1
            if not self.saved[storage]:
                self.total -= storage.bytes(self.batch)

    def run(self, event: Event) -> None:
        """The gradients of an event's inputs, made of that of its output."""
        if not event.output.grad:
            return
        output = self.gradients.get(event.output.storage) or _gradient(event.output)
        self.gradients.pop(event.output.storage, None)
        inputs = [x for x in event.inputs if x.grad and not x.storage.owned]
        for x in {x.storage: x for x in inputs}.values():
            new = output if event.name in PASSED_ON else _gradient(x)
            self.look(output, new)  # and the one that it is added to
            self.gradients.setdefault(x.storage, new)
        self.look(output)
        self.release(event.kept)


def _gradient(x: Held) -> Storage:
    return Storage(math.prod(x.shape), x.storage.width)


def backward_peak(events: Sequence[Event], batch: int) -> int:
    """The most that saved tensors and gradients of tensors take in the backward pass.

    A region runs again before its first gradient, and then holds what it keeps.
    """
    now = _Backward(events, batch)
    region = 0
    for event in reversed(events):
        if event.region != region:
            region = event.region
            inside = [e for e in events if e.region == region and not e.entry] if region else []
            now.keep(s for e in inside for s in e.kept)
            now.release(s for e in inside for s in e.at_once)  # in the hands of autograd now
        if event.entry:
            now.release(event.kept)
        elif event.output.storage not in {x.storage for x in event.inputs}:  # no view
            now.run(event)
        else:
            now.release(event.kept)
    return now.peak
