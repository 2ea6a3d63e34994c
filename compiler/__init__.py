"""plainnet: from the name of a network to one readable source file, in PyTorch or Keras 3."""

from .api import custom_encoder, describe, emit
from .errors import CompileError, Problem

__version__ = "0.1.0"
__all__ = ["CompileError", "Problem", "custom_encoder", "describe", "emit"]
