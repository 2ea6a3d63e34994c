"""What the page shows before Python has started: the tables of its form, and the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..api import traced
from ..catalog import ENCODERS, FAMILIES, SEGMENTED
from ..drawing.picture import picture, usual_name
from ..options import RANKS
from ..passes.count import macs, trainable
from ..passes.validate import resolve
from ..segmentors import SEGMENTORS
from .form import form

SEGMENTATION = "segmentation"  # the group of networks with a decoder


FOLDER = "gallery"  # of the drawings
CATALOG = "catalog.json"


def write(folder: Path) -> None:
    """Write the tables of the form with the gallery as JSON, and the gallery's drawings."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    shown = []
    for facts, drawing in pieces():
        (folder / facts["drawing"]).write_text(drawing, encoding="utf-8")
        shown.append(facts)
    text = json.dumps({"form": form(), "gallery": shown})
    (folder / CATALOG).write_text(text, encoding="utf-8")


def pieces() -> Iterator[tuple[dict[str, Any], str]]:
    """What the gallery says of each network, and its drawing.

    Every segmentor on one encoder, nnU-Net's networks, and every encoder as a classifier.
    """
    decoders = [name for name, row in SEGMENTORS.items() if not row.head.exact]
    for dims in RANKS:
        for segmentor in decoders:
            yield _piece(SEGMENTATION, SEGMENTED, dims, {"segmentor": segmentor})
        for family in reversed(FAMILIES):
            for encoder in ENCODERS.values():
                if encoder.family == family:
                    group = SEGMENTATION if encoder.units else family
                    yield _piece(group, encoder.name, dims, {})


def _piece(
    group: str, encoder: str, dims: int, options: dict[str, str]
) -> tuple[dict[str, Any], str]:
    model, ledger = traced(resolve(encoder, {"dims": dims, **options}))
    facts = {
        "drawing": f"{FOLDER}/{usual_name([model])}",
        "group": group,
        "title": model.title,
        "dims": dims,
        "network": {"model": encoder, "options": {"dims": str(dims), **options}},
        "parameters": trainable(ledger.rows),
        "macs": macs(ledger.rows),
    }
    return facts, picture([model])
