"""What the page shows before Python has started: the tables of its form, and the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..api import traced
from ..catalog import ENCODERS, FAMILIES, SEGMENTED
from ..options import RANKS
from ..passes.count import macs, trainable
from ..passes.validate import resolve
from ..segmentors import SEGMENTORS
from .form import form

SEGMENTATION = "segmentation"  # the group of networks with a decoder


def catalog() -> str:
    """The tables of the form and the gallery, as JSON."""
    return json.dumps({"form": form(), "gallery": [*_pieces()]})


def _pieces() -> Iterator[dict[str, Any]]:
    """Every segmentor on one encoder, nnU-Net's networks, and every encoder as a classifier."""
    decoders = [name for name, row in SEGMENTORS.items() if not row.head.exact]
    for dims in RANKS:
        for segmentor in decoders:
            yield _piece(SEGMENTATION, SEGMENTED, dims, {"segmentor": segmentor})
        for family in reversed(FAMILIES):
            for encoder in ENCODERS.values():
                if encoder.family == family:
                    group = SEGMENTATION if encoder.units else family
                    yield _piece(group, encoder.name, dims, {})


def _piece(group: str, encoder: str, dims: int, options: dict[str, str]) -> dict[str, Any]:
    model, ledger = traced(resolve(encoder, {"dims": dims, **options}))
    return {
        "group": group,
        "title": model.title,
        "dims": dims,
        "network": {"model": encoder, "options": {"dims": str(dims), **options}},
        "parameters": trainable(ledger.rows),
        "macs": macs(ledger.rows),
    }
