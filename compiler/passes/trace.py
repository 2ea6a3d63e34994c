"""Network -> Ledger: the parts of a network in the order in which they are wired.

Shapes, counts, weight names and MACs are folds over the rows: one definition, many answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..axes import spread
from ..errors import CompileError, Problem
from ..ir import AUX_HEADS, Axes, Shape
from ..model import Features
from ..network import Network
from ..operations import OPERATIONS
from .interpret import Tracer
from .rows import Row, below, path_of
from .steps import Step, Turn, steps_of
from .wires import Flow, Tensor


@dataclass(frozen=True)
class Ledger:
    """Everything known of a network before any framework sees it.

    `rows` stand in the order in which PyTorch registers their weights. The steps are what a person
    sees, in the order in which they run: those of the encoder, the last of which are the levels of
    the pyramid; those of the decoder; and the head, where it does anything. Those of auxiliary
    heads come last.
    """

    rows: tuple[Row, ...]
    encoder: tuple[Step, ...]
    stages: tuple[Step, ...]
    head: Step
    levels: tuple[str, ...]
    flow: Flow
    aux: tuple[Step, ...] = ()

    @property
    def pyramid(self) -> tuple[tuple[str, Shape], ...]:
        """The levels by name."""
        return tuple((name, step.output) for name, step in self.level_steps.items())

    @property
    def level_steps(self) -> dict[str, Step]:
        """The steps whose outputs are the levels: all of the encoder's, or all but the stem."""
        return dict(zip(self.levels, self.encoder[-len(self.levels) :], strict=True))

    @property
    def decoder(self) -> tuple[tuple[str, Shape], ...]:
        """The decoder's stages by name."""
        return tuple((step.name, step.output) for step in self.stages)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, the head where it has weights or changes the shape."""
        steps = (*self.encoder, *self.stages)
        ends = self.head.rows or self.head.output != steps[-1].output
        return (*steps, self.head, *self.aux) if ends else steps

    @property
    def output(self) -> Shape:
        return self.head.output


@lru_cache(maxsize=64)
def trace(network: Network) -> Ledger:
    """Run the network over the shape of its image."""
    tracer = Tracer(network.model.dims, network.all_blocks, constants_of(network))
    return run(network, tracer, Tensor(network.model.image))


def constants_of(network: Network) -> dict[str, object]:
    """The named numbers of a network, as its programs read them."""
    constants = (*network.constants, *network.more_constants)
    return {"STAGES": network.stages, **{c.name: c.value for c in constants}}


def run(network: Network, tracer: Tracer, image: Tensor) -> Ledger:
    """Run the network with this tracer over its image."""
    model = network.model
    encoder, pyramid = run_encoder(network, tracer, image)
    tracer.wires.clear()  # a step stands for those of the stem
    names = {} if isinstance(model.head, Features) else {"num_classes": model.head.num_classes}
    rows = [row for step in encoder for row in step.rows]
    x: Any = pyramid[-1]  # a tensor, or with deep supervision the decoder's stages
    turns: list[Turn] = []
    labels: list[str] = []
    for module in network.modules:
        first = module.inputs[0][0]  # what the module before it has put out, or the pyramid
        inputs = {first: x, "image": image, "pyramid": tuple(pyramid)}
        tracer.around = (image, *pyramid)
        more, found, x = tracer.module(module, names, inputs)
        rows += more
        turns += found
        labels += [module.step] if module.step else [f"block {i}" for i in range(len(found))]
    outputs = x if isinstance(x, list) else [turn.output for turn in turns]
    output_name = "stages" if isinstance(x, list) else "x"
    tracer.around = (image, *outputs) if network.supervised else (image,)
    more, output = tracer.run(network.head, names, {output_name: x, "image": image})
    rows += more
    tracer.step_ends()
    aux = _aux(network, tracer, names, outputs)
    rows += [row for step in aux for row in step.rows]
    _check_unique(rows)
    head = Step("head", output.shape, tuple(more))
    stages = steps_of(labels, turns, tracer.entered)
    flow = Flow(image, tuple(pyramid), tuple(tracer.wires), output)
    return Ledger(tuple(rows), tuple(encoder), stages, head, model.trunk.levels, flow, aux)


def _aux(
    network: Network, tracer: Tracer, names: dict[str, int], stages: list[Tensor]
) -> tuple[Step, ...]:
    """The auxiliary heads: a step for each, the finest first."""
    head = network.aux_head
    if head is None:
        return ()
    steps = []
    for i, x in enumerate(stages[head.first : -1][::-1]):
        rows, output = tracer.run(head.fragment, {**names, "filters": x.shape[0]}, {"x": x})
        tracer.step_ends()
        at = (AUX_HEADS, i)
        own = tuple(replace(row, path=path_of(at), at=at) for row in rows)
        steps.append(Step(f"aux {i}", output.shape, own))
    return tuple(steps)


def _check_unique(rows: list[Row]) -> None:
    """Keras names are paths with `_` for `.`: two paths must not meet in one name."""
    seen: dict[str, str] = {}
    for row in rows:
        name = "_".join(map(str, row.at))
        if name in seen:
            both = f"{seen[name]} and {row.path}"
            raise CompileError(Problem(f"{both} would both be {name} in Keras"))
        seen[name] = row.path


def run_encoder(network: Network, tracer: Tracer, image: Tensor) -> tuple[list[Step], list[Tensor]]:
    """The stem, the pool and the stages: a step for each, and the levels P1, P2, ..."""
    model = network.model
    names = {"in_channels": model.in_channels}
    tracer.around = (image,)
    again = model.memory != "standard"
    with tracer.recomputed(again and bool(network.stem.body), (image,)):
        rows, x = tracer.run(network.stem, names, {"x": image})
    steps = [Step("stem", x.shape, tuple(below(("encoder",), rows)))] if rows else []
    if rows:
        tracer.step_ends()
    x = replace(x, row=())
    pyramid = [x] if model.trunk.first_level == 2 else []
    per_axis = network.residual.per_axis
    if network.pool:
        pool = spread(model.encoder.stem.pool, model.dims)
        tracer.around = (image, x)
        x = tracer.applied(network.pool, (x, pool), OPERATIONS[network.pool].shape(x.shape, pool))
    for s, stage in enumerate(model.trunk.stages):
        rows = []
        with tracer.recomputed(again, (x,)):
            before = (image, *pyramid, x)
            for i in range(stage.depth):
                arguments: dict[str, Axes] = {
                    "in_channels": x.shape[0],
                    "width": stage.width,
                    "channels": stage.channels,
                    "stride": stage.stride if i == 0 else 1,
                    "kernel": stage.kernel,
                }
                args = tuple(
                    spread(arguments[arg], model.dims) if arg in per_axis else arguments[arg]
                    for arg in network.residual.args
                )
                tracer.around = (*before, x)
                more, x = tracer.call(network.residual.name, args, (x,))
                rows += below(("encoder", "stages", s, i), more)
        x = replace(x, row=())
        steps.append(Step(f"stage {s}", x.shape, tuple(rows)))
        tracer.step_ends()
        pyramid.append(x)
    return steps, pyramid
