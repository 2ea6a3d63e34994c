"""plainnet: turn a network's name into one readable source file, in PyTorch or Keras 3.

    import plainnet

    source = plainnet.emit("seresnext50", target="torch", dims=3)

The implementation is the package `compiler` beside this one. A repository that uses plainnet may
well have a `compiler` of its own, so this package never takes that name away from it: see `_load`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

_IMPLEMENTATION = Path(__file__).resolve().parent.parent / "compiler" / "__init__.py"


def _load() -> ModuleType:
    """Return our `compiler`: the module of that name if it is ours, else one under a private name.

    `import compiler` keeps its meaning in both cases. If it means ours, `plainnet.CompileError` is
    `compiler.CompileError`.
    """
    if "compiler" in sys.modules:
        spec = getattr(sys.modules["compiler"], "__spec__", None)
    else:
        spec = importlib.util.find_spec("compiler")
    if spec is not None and spec.origin and Path(spec.origin).resolve() == _IMPLEMENTATION:
        return importlib.import_module("compiler")
    name = f"{__name__}._compiler"
    private = importlib.util.spec_from_file_location(
        name, _IMPLEMENTATION, submodule_search_locations=[str(_IMPLEMENTATION.parent)]
    )
    assert private is not None and private.loader is not None
    module = importlib.util.module_from_spec(private)
    sys.modules[name] = module
    try:
        private.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


_compiler = _load()

if TYPE_CHECKING:
    from compiler import *  # noqa: F403
    from compiler import __all__
    from compiler import __version__ as __version__
else:
    __all__ = _compiler.__all__
    __version__ = _compiler.__version__
    globals().update({name: getattr(_compiler, name) for name in __all__})
    verify = _compiler.actions.verify  # the function itself: `compiler.verify` is also a package
