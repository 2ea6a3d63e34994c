"""The files of `generated/`: a showcase that is also the golden set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from .catalog import SEGMENTED, SHOWCASE
from .model import Model
from .options import COMPAT, RANKS
from .passes.validate import resolve
from .targets import TARGETS, target_row


@dataclass(frozen=True)
class Showpiece:
    """One file of the showcase."""

    model: Model
    target: str

    @property
    def path(self) -> PurePosixPath:
        """Below the showcase's folder: `torch/seresnext50_3d.py`."""
        return PurePosixPath(self.target) / file_name(self.model, self.target)


def file_name(model: Model, target: str) -> str:
    """`seresnext50_3d.py`: the name that a file gets where nobody says another."""
    deploy = "_deploy" * model.deploy
    return f"{model.name}_{model.dims}d{deploy}{target_row(target).suffix}"


def showcase() -> list[Showpiece]:
    """All of it, 2D and 3D, in every target: classifiers and segmentors of the reference page."""
    asked: list[tuple[str, dict[str, object]]] = [(name, {}) for name in SHOWCASE]
    asked += [(SEGMENTED, {"segmentor": segmentor}) for segmentor in COMPAT]
    return [
        Showpiece(resolve(name, {"dims": dims, **options}), target)
        for target in TARGETS
        for name, options in asked
        for dims in RANKS
    ]
