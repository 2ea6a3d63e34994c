"""JSON files of nnU-Net, and the dictionaries of a checkpoint, which hold the same.

Every table knows where it stands, so that a problem names its file and key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CompileError, Problem, shown
from ..limits import JSON_BYTES
from ..reading import read_source


@dataclass(frozen=True)
class Table:
    """A JSON object: `file`, and its path of keys there, "" for the whole file."""

    values: Mapping[str, Any]
    file: str
    path: str = ""

    def at(self, key: str = "") -> str:
        """`plans.json, configurations.2d.patch_size`."""
        return ", ".join(filter(None, [self.file, ".".join(filter(None, [self.path, key]))]))

    def refuse(self, key: str, message: str, hint: str = "") -> NoReturn:
        raise CompileError(Problem(message, self.at(key), hint))

    def need(self, key: str) -> Any:
        """The value of a key. Raises `CompileError` if it is not there."""
        if key not in self.values:
            self.refuse("", f"it has no {shown(key)}")
        return self.values[key]

    def table(self, key: str) -> Table:
        """The table of a key. Raises `CompileError` if there is none."""
        value = self.need(key)
        if not isinstance(value, Mapping):
            self.refuse(key, f"{key} is {shown(value)}, which is not a table")
        path = ".".join(filter(None, [self.path, key]))
        return Table(_with_text_keys(value, self.file, path), self.file, path)


def read_json(path: Path) -> Table:
    """The object in a JSON file. Raises `CompileError`."""
    at = str(path)
    text = read_source(path, JSON_BYTES)
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        message = f"it is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise CompileError(Problem(message, f"{at}:{error.lineno}")) from None
    except RecursionError:
        raise CompileError(Problem("its objects and lists nest too deeply", at)) from None
    except ValueError as error:  # ours, or a number of too many digits
        reason = str(error) if isinstance(error, _Unusable) else "a number has too many digits"
        raise CompileError(Problem(f"it is not usable JSON: {reason}", at)) from None
    if not isinstance(value, dict):
        raise CompileError(Problem("it is not a JSON object", at))
    return Table(value, at)


def _with_text_keys(value: Mapping[Any, Any], file: str, path: str) -> Mapping[str, Any]:
    """The mapping itself. In a checkpoint, keys can be of any type."""
    for key in value:
        if not isinstance(key, str):
            raise CompileError(Problem(f"the key {shown(key)} is not text", f"{file}, {path}"))
    return value


class _Unusable(ValueError):
    """JSON as Python reads it, but as no two programs do."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Unusable(f"the key {shown(key)} is there twice")
        found[key] = value
    return found


def _no_number(constant: str) -> NoReturn:
    raise _Unusable(f"{constant} is not a number of JSON")
