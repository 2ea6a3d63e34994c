"""plainnet: turn a network's name into one readable source file, in PyTorch or Keras 3."""

from typing import TYPE_CHECKING

from .actions import check, convert
from .api import custom_encoder, describe, emit
from .errors import CompileError, CompileWarning, Problem

if TYPE_CHECKING:
    from .actions import verify
else:
    from . import verify  # the package of that name, which can be called like the function

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "CompileWarning",
    "Problem",
    "check",
    "convert",
    "custom_encoder",
    "describe",
    "emit",
    "verify",
]
