"""The files of `generated/`: a showcase that is also the golden set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from compiler.catalog import SHOWCASE
from compiler.model import Model
from compiler.options import RANKS, TARGETS
from compiler.passes.validate import resolve


@dataclass(frozen=True)
class Showpiece:
    """One file of the showcase."""

    model: Model
    target: str

    @property
    def path(self) -> PurePosixPath:
        """Below the showcase's folder: `torch/seresnext50_3d.py`."""
        return PurePosixPath(self.target) / file_name(self.model)


def file_name(model: Model) -> str:
    """`seresnext50_3d.py`: the name that a file gets where nobody says another."""
    return f"{model.name}_{model.dims}d.py"


def showcase() -> list[Showpiece]:
    """All of it: the encoders of the reference page, 2D and 3D, in every target."""
    return [
        Showpiece(resolve(name, {"dims": dims}), target)
        for target in TARGETS
        for name in SHOWCASE
        for dims in RANKS
    ]
