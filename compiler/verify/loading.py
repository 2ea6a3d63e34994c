"""Files as networks: a backend chosen, a text run, its constructor called."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..model import Features, Model
from ..segmentors.trans_head import TransUNet

BACKENDS = ("tensorflow", "torch", "jax")
_INSTALL = {"jax": "pip install jax"}


@dataclass(frozen=True)
class Source:
    """The text of a file, its path if it is on disk, and its target; "" is the usual one."""

    text: str
    path: Path | None = None
    target: str = ""


def use_backend(backend: str) -> None:
    """Import torch, and Keras on this backend. Keras chooses it once in a process.

    Raises `CompileError` if one of them is not installed, or Keras already runs on another one.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    imported(("torch", backend, "keras"), backend)
    import keras

    if keras.backend.backend() != backend:
        raise CompileError(
            Problem(
                f"Keras runs on {keras.backend.backend()} already: a process has one backend",
                at=f"--backend {backend}",
                hint="start a new process",
            )
        )
    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)


def imported(libraries: Sequence[str], backend: str) -> None:
    """Import the libraries. Raises `CompileError` if one is not installed."""
    for library in dict.fromkeys(libraries):
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise CompileError(
                Problem(
                    f"{library} cannot be imported: {error}",
                    at=f"--backend {backend}",
                    hint=_INSTALL.get(library, "pip install 'plainnet[torch,keras]'"),
                )
            ) from None


def load(text: str, name: str = "emitted", path: Path | None = None) -> types.ModuleType:
    """Run the text and return it as a module. Like a script, a file can import its neighbours.

    They are removed from `sys.modules`: another folder may hold neighbours of the same names.
    """
    module = types.ModuleType(name)
    folder = str(path.resolve().parent) if path else None
    if path:
        module.__file__ = str(path)
    if folder:
        sys.path.insert(0, folder)
    before = set(sys.modules)
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # no __pycache__ beside somebody else's files
    sys.modules[name] = module  # where dataclasses look for it
    try:
        code = compile(text, str(path or f"<{name}>"), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except ImportError as error:
        if "relative import" not in str(error):
            raise
        raise ImportError(
            "verify runs each file as a script: import neighbours without the leading dot"
        ) from None
    finally:
        sys.dont_write_bytecode = writes
        if folder in sys.path:
            sys.path.remove(str(folder))
        for new in set(sys.modules) - before:
            origin = getattr(sys.modules[new], "__file__", None)
            if folder and new != name and origin and Path(origin).is_relative_to(folder):
                del sys.modules[new]
    return module


def constructor(source: Source, class_name: str, framework: str) -> Any:
    """The constructor of that name in the file, or its only public name. Raises `NameError`."""
    module = load(source.text, f"emitted_{framework}", source.path)
    public = list(getattr(module, "__all__", []))
    name = class_name if hasattr(module, class_name) or len(public) != 1 else public[0]
    if not callable(getattr(module, name, None)):
        listed = f"`__all__` lists {', '.join(map(str, public))}" if public else "no `__all__`"
        raise NameError(f"the {framework} file defines no {name} ({listed})")
    return getattr(module, name)


def build_torch(source: Source, model: Model) -> Any:
    """The file's network in PyTorch, at the model's size and channels."""
    arguments: dict[str, Any] = {"in_channels": model.in_channels, **_classes(model)}
    if isinstance(model.head, TransUNet):
        arguments["image_size"] = model.input_shape[:-1]
    return _call(constructor(source, model.class_name, "torch"), arguments)


def build_keras(source: Source, model: Model) -> Any:
    """The file's network in Keras, at the model's size and channels."""
    arguments = {"input_shape": model.input_shape, **_classes(model)}
    return _call(constructor(source, model.class_name, "keras"), arguments)


def _call(make: Any, arguments: dict[str, Any]) -> Any:
    """Call a constructor with those arguments that it takes: an edited file may have fewer."""
    taken = inspect.signature(make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        arguments = {name: value for name, value in arguments.items() if name in taken}
    return make(**arguments)


def _classes(model: Model) -> dict[str, int]:
    return {} if isinstance(model.head, Features) else {"num_classes": model.head.num_classes}
