"""Networks and places as the page has them: by name or as a spec, and in no folder."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ..arguments import spell_options
from ..errors import CompileError
from ..model import Model
from ..options import BY_NAME

SPEC_NAME = "net.toml"  # what the page calls the spec of a network


def without_folder(error: CompileError, folder: str) -> CompileError:
    """The error with the names of files alone, where they are in the folder."""
    prefix = folder + os.sep
    return CompileError(
        *(
            replace(p, message=p.message.replace(prefix, ""), at=p.at.replace(prefix, ""))
            for p in error.problems
        )
    )


def network_of(model: Model) -> dict[str, Any]:
    """The state of the page that makes a model: its name with options, or its spec."""
    if model.encoder.custom:
        from ..spec.writing import spec_text

        return {"spec": spec_text(model, SPEC_NAME), "options": {}}
    options = {
        name: True if value is True else BY_NAME[name].typed(value)
        for name, value in spell_options(model).items()
    }
    return {"model": model.encoder.name, "options": options}
