"""plainnet: turn a network's name into one readable source file, in PyTorch or Keras 3."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from .actions import check, convert
from .api import custom_encoder, describe, draw, emit
from .costs import cost, lint, plan
from .errors import CompileError, CompileWarning, Problem

if TYPE_CHECKING:
    from .actions import verify
else:
    from . import actions, verify

    class _Verify(ModuleType):
        """Python binds a package as an attribute of its parent: this one is the function too."""

        def __call__(self, *models: Any, **options: Any) -> Any:
            return actions.verify(*models, **options)

    verify.__class__ = _Verify

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "CompileWarning",
    "Problem",
    "check",
    "convert",
    "cost",
    "custom_encoder",
    "describe",
    "draw",
    "emit",
    "lint",
    "plan",
    "verify",
]
