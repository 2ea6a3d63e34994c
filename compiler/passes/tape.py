"""Network -> Tape: every operation of a run in its order, with the memory that it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from .. import ir
from ..dialect import DIALECTS
from ..ir import Each, Layer, Shape
from ..network import Network
from ..program import Apply, Expression
from .interpret import Frame, Tracer
from .joined import CONCAT, own_join
from .kept import FULL, HALF, Held, Outcome, Setting, Storage, rule_of, tensors
from .kept_layers import layer_outcome
from .rows import At, Row
from .trace import constants_of, run
from .wires import Tensor

CONVOLUTIONS = (ir.Conv.__name__, ir.ConvTranspose.__name__)
DEVICES = ("cpu", "cuda")
PRECISIONS = {"fp32": FULL, "bf16": HALF, "fp16": HALF}


@dataclass(frozen=True, slots=True)
class Event:
    """One operation of a run: its tensors, what it keeps, and all that lives while it runs.

    Its `name` is that of an operation, or the kind of a layer.

    With checkpoints, the operations of a `region` keep nothing until it runs again in the backward
    pass; its first event, which is its `entry`, keeps what goes in. Outside of them, it is 0. What
    is kept from the forward pass on is `at_once`: with `--training-memory lean`, also what the
    convolutions of a region return.
    """

    name: str
    inputs: tuple[Held, ...]
    output: Held
    kept: tuple[Storage, ...]
    live: frozenset[Storage]
    region: int = 0
    entry: bool = False
    lean: bool = False

    @property
    def at_once(self) -> tuple[Storage, ...]:
        if self.entry or not self.region:
            return self.kept
        return (self.output.storage,) if self.lean and self.name in CONVOLUTIONS else ()


@dataclass(frozen=True)
class Tape:
    """The events of a run, and how many have run at the end of each of its steps."""

    events: tuple[Event, ...]
    ends: tuple[int, ...]


class Recorder(Tracer):
    """Runs a network and notes each operation. Nothing is remembered, as each tensor counts."""

    def __init__(
        self,
        rank: int,
        blocks: Mapping[str, ir.Block],
        constants: Mapping[str, object],
        how: Setting,
        lean: bool = False,
    ):
        super().__init__(rank, blocks, constants)
        self.how = how
        self.lean = lean
        self.events: list[Event] = []
        self.ends: list[int] = []
        self.regions = self.region = 0

    def call(
        self, name: str, args: tuple[object, ...], inputs: Sequence[Tensor]
    ) -> tuple[list[Row], Tensor]:
        with self.recomputed(self.blocks[name].recomputed, inputs):
            return self.run_block(name, args, inputs)

    def called(self, frame: Frame, layer: Layer | Each, args: Sequence[Expression]) -> Tensor:
        found = own_join(layer, args, self.blocks)
        if found is None:
            return super().called(frame, layer, args)
        _, join = found
        given = frame.operands((*join.maps, *join.others))
        frame.pending.append(given)
        with self.recomputed(True, given):
            maps, others = given[: len(join.maps)], given[len(join.maps) :]
            x = maps[0]
            if join.upsampling:
                up = Apply(join.upsampling, ())
                x = frame.operation(up, [*maps, *frame.operands(join.scale)])
            if others:
                x = frame.operation(Apply(CONCAT, ()), [x, *others])
            output = frame.layer(layer, [x, *frame.operands(args[1:])])
        frame.pending.pop()
        return output

    @contextmanager
    def recomputed(self, again: bool, inputs: Sequence[Tensor]) -> Iterator[None]:
        if not again or self.region:  # which it is a part of
            yield
            return
        given = tuple(tensors(inputs))
        kept = tuple(x.storage for x in given if not x.storage.owned)
        self.regions += 1
        self.region = self.regions
        self.events.append(Event("", given, given[0], kept, self.live(), self.region, entry=True))
        yield
        self.region = 0

    def step_ends(self) -> None:
        self.ends.append(len(self.events))

    def applied(self, function: str, values: Sequence[Any], shape: Shape) -> Tensor:
        plain = super().applied(function, values, shape)
        outcome = rule_of(function)(values, shape, self.how)
        return self.noted(function, tensors(values), outcome, plain.row)

    def made(
        self, layer: Layer, at: At, names: Mapping[str, object], inputs: list[Tensor]
    ) -> tuple[list[Row], Tensor]:
        rows, output = super().made(layer, at, names, inputs)
        if isinstance(layer, ir.Call):
            return rows, output
        given = tensors(inputs)
        outcome = layer_outcome(layer, rows, given, output.shape, names, self.how)
        return rows, self.noted(type(layer).__name__, given, outcome, output.row)

    def noted(self, name: str, inputs: Sequence[Held], outcome: Outcome, row: At) -> Held:
        """The output of an operation, which is put on the tape."""
        output = replace(outcome.output, row=row)
        kept = tuple(s for s in outcome.kept if not s.owned) if output.grad else ()
        storages = {output.storage, *outcome.kept, *outcome.meanwhile}
        storages |= {x.storage for x in inputs}
        live = self.live() | {s for s in storages if not s.owned}
        event = Event(name, tuple(inputs), output, kept, live, self.region, lean=self.lean)
        self.events.append(event)
        return output

    def live(self) -> frozenset[Storage]:
        """The memory of all that the running programs hold, their callers included."""
        found: set[Storage] = set()

        def add(value: object) -> None:
            if isinstance(value, Held):
                found.add(value.storage)
            elif isinstance(value, list | tuple):
                for item in value:
                    add(item)

        add(self.around)
        for frame in self.frames:
            add((frame.given, *frame.values.values(), *frame.pending))
        return frozenset(storage for storage in found if not storage.owned)


@lru_cache(maxsize=16)
def record(
    network: Network,
    precision: str = "fp32",
    several: bool = True,
    training: bool = True,
    device: str = "cpu",
) -> Tape:
    """Run the network over its image and note every operation, for a batch of `several` or one."""
    model = network.model
    extends = DIALECTS[model.encoder.dialect].ceil_pool
    how = Setting(PRECISIONS[precision], several, extends, training, device)
    lean = model.memory == "lean"
    recorder = Recorder(model.dims, network.all_blocks, constants_of(network), how, lean)
    image = Held(model.image, storage=Storage(math.prod(model.image)), grad=False)
    run(replace(network, aux_head=network.supervised), recorder, image)
    return Tape(_needed(recorder.events), tuple(recorder.ends))


def _needed(events: Sequence[Event]) -> tuple[Event, ...]:
    """The events without what is kept for an output from which no gradient comes back.

    What nothing else reads is an output of the network.
    """
    read = {x.storage for event in events for x in event.inputs if not event.entry}
    needed = {event.output.storage for event in events} - read
    found = []
    for event in reversed(events):
        if event.entry or (event.output.grad and event.output.storage in needed):
            needed |= {x.storage for x in event.inputs if x.grad}
            found.append(event)
        else:
            found.append(replace(event, kept=()))
    return tuple(reversed(found))
