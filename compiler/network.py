"""A model with its blocks and programs, which passes read and targets write."""

from __future__ import annotations

from dataclasses import dataclass

from .axes import spread
from .deployment import Step
from .ir import AuxHead, Block, Constant, Fragment, Module
from .model import Model, Stage


@dataclass(frozen=True)
class Network:
    """A model with every choice written into its blocks, as the later passes read it.

    `blocks` are in the order of definition, each after those that it calls; the last is the
    residual block of the stages. `constants` are the encoder's named numbers and `more_constants`
    those of the modules above it. `modules` run one after the other, each on the output of the one
    before it; the `head` runs last. With deep supervision, the last module returns `stages`, and
    the model has one `aux_head` for each of `AUX_FILTERS`, which runs in training. A network for
    inference has the `steps` that make its weights from those of training.
    """

    model: Model
    constants: tuple[Constant, ...]
    blocks: tuple[Block, ...]
    stem: Fragment
    pool: str
    head: Fragment
    more_constants: tuple[Constant, ...] = ()
    modules: tuple[Module, ...] = ()
    aux_head: AuxHead | None = None
    steps: tuple[Step, ...] = ()

    @property
    def residual(self) -> Block:
        return self.blocks[-1]

    @property
    def stages(self) -> tuple[tuple[int | tuple[int, ...], ...], ...]:
        """The table of stages: the depth, and the arguments of the residual block."""
        args = self.residual.args[1:]  # the first is in_channels, which the loop carries
        return tuple(
            (stage.depth, *(self._cell(stage, arg) for arg in args))
            for stage in self.model.trunk.stages
        )

    def _cell(self, stage: Stage, arg: str) -> int | tuple[int, ...]:
        value: int | tuple[int, ...] = getattr(stage, arg)
        return spread(value, self.model.dims) if arg in self.residual.per_axis else value

    @property
    def supervised(self) -> AuxHead | None:
        """The auxiliary head that runs in training."""
        return self.aux_head if self.aux_head and self.aux_head.used else None

    @property
    def all_blocks(self) -> dict[str, Block]:
        """Every block by its name."""
        above = (block for module in self.modules for block in module.blocks)
        return {block.name: block for block in (*self.blocks, *above)}
