"""`verify`: a network in both frameworks, built from source, compared number for number.

Python binds a submodule as an attribute of its package, and `compiler.verify` is also a function of
the public API. So this package can be called like that function.
"""

import sys
from types import ModuleType
from typing import Any


class _Verify(ModuleType):
    def __call__(self, *models: Any, **options: Any) -> Any:
        from ..actions import verify

        return verify(*models, **options)


sys.modules[__name__].__class__ = _Verify
