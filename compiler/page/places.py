"""Places in errors, as the page has them: its files are in no folder."""

from __future__ import annotations

import os
from dataclasses import replace

from ..errors import CompileError

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
