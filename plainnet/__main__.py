"""The command line: the console script `plainnet`, and `python -m plainnet`."""

import importlib

from . import _compiler


def run() -> None:
    """Run the command line and end the process with its exit code."""
    importlib.import_module(f"{_compiler.__name__}.__main__").run()


if __name__ == "__main__":
    run()
