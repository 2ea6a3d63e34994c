"""The JSON Schema of specs, and docs/spec.md: both from the typed definition."""

from __future__ import annotations

from typing import Any

import msgspec

from .definition import Spec


def json_schema() -> dict[str, Any]:
    """The schema of a spec file."""
    made = msgspec.json.schema(Spec)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "plainnet spec",
    } | made
