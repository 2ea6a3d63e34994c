"""What the page shows before Python has started: the tables of its form, and the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..api import traced
from ..drawing.gallery import gallery, thumbnail
from ..drawing.picture import usual_name
from ..model import Model, Segmentor
from ..options import RANKS
from ..passes.count import macs, trainable
from .form import form
from .networks import network_of

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
    """What the gallery says of each network of the catalog, and its drawing."""
    for dims in RANKS:
        for model in gallery(dims):
            yield _facts(model), thumbnail(model)


def _facts(model: Model) -> dict[str, Any]:
    _, ledger = traced(model)
    segments = isinstance(model.head, Segmentor)
    return {
        "group": SEGMENTATION if segments else model.encoder.family,
        "title": model.title,
        "dims": model.dims,
        "network": network_of(model),
        "drawing": f"{FOLDER}/{usual_name([model])}",
        "parameters": trainable(ledger.rows),
        "macs": macs(ledger.rows),
    }
