"""The networks of a project: `[tool.plainnet]` in `pyproject.toml`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem, raise_all, shown, suggest
from ..limits import SOURCE_BYTES, SPEC_DOTS
from ..model import Model
from ..names import plans_path, spec_path
from ..nnunet.asked import QUESTIONS
from ..options import BY_NAME
from ..passes.validate import resolve
from ..passes.values import find_target
from ..reading import read_source
from ..spec.loading import located
from ..spec.positions import KeyPath, positions
from ..targets import target_row

FILE = "pyproject.toml"
_TABLE: KeyPath = ("tool", "plainnet")
_OWN = ("file", "model", "target", "allow-edits")
_PARENTS = 50


@dataclass(frozen=True)
class Listed:
    """One network of a project: where its file is, what it holds, and whether it may be edited."""

    path: Path
    model: Model
    target: str
    allow_edits: bool


def find_project(start: Path) -> list[Listed]:
    """The networks that the nearest `pyproject.toml` with `[tool.plainnet]` lists.

    It is looked for in `start` and in the folders above. Raises one `CompileError` with every
    problem of the table, each with its line.
    """
    for folder in [start, *list(start.resolve().parents)[:_PARENTS]]:
        path = folder / FILE
        if path.is_file() and (found := _table(path)) is not None:
            return _networks(path, *found)
    message = f"no {FILE} here or in the folders above has the table [tool.plainnet]"
    raise CompileError(Problem(message, hint="docs/vendoring.md shows one"))


def _table(path: Path) -> tuple[Mapping[str, Any], Mapping[KeyPath, int]] | None:
    text = read_source(path, SOURCE_BYTES)
    at = str(path)
    for number, line in enumerate(text.splitlines(), 1):
        raise_all(SPEC_DOTS.problems("the number of dots", line.count("."), f"{at}:{number}"))
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CompileError(Problem(f"it is not TOML: {error}", at)) from None
    for key in _TABLE:
        if key not in table:
            return None
        table = table[key]
        if not isinstance(table, dict):
            raise CompileError(Problem(f"{key} is not a table", at))
    return table, positions(text)


def _networks(path: Path, table: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> list[Listed]:
    problems: list[Problem] = []

    def wrong(message: str, *keys: str | int, hint: str = "") -> None:
        problems.append(Problem(message, located(str(path), lines, (*_TABLE, *keys)), hint))

    for key in table:
        if key not in ("networks", "allow-edits"):
            known = suggest(key, ("networks", "allow-edits"))
            wrong(f"unknown key {shown(key)}.{known}", key, hint="networks, allow-edits")
    allow = table.get("allow-edits", False)
    if not isinstance(allow, bool):
        wrong(f"allow-edits is {shown(allow)}, not true or false", "allow-edits")
    rows = table.get("networks", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        wrong("networks is not a list of tables", "networks", hint="[[tool.plainnet.networks]]")
        rows = []
    elif not rows:
        wrong("it lists no network", hint="[[tool.plainnet.networks]]")
    found: list[Listed] = []
    for index, row in enumerate(rows):
        try:
            listed = _network(path, row, bool(allow))
        except CompileError as error:
            place = located(str(path), lines, (*_TABLE, "networks", index))
            problems += [p if ".toml" in p.at else replace(p, at=place) for p in error.problems]
            continue
        if any(listed.path == other.path for other in found):
            wrong(f"two networks have the file {shown(row['file'])}", "networks", index, "file")
        found.append(listed)
    raise_all(problems)
    return found


def _network(path: Path, row: Mapping[str, Any], allow_edits: bool) -> Listed:
    """One row of the table. Raises `CompileError`; a problem of a spec has its own place."""
    problems = list(_misnamed(row))
    for key in ("file", "model", "target"):
        if not isinstance(row.get(key), str) or not row[key]:
            message = f"{key} is {shown(row[key])}" if key in row else f"{key} is missing"
            hint = {"file": "nets/unet.py", "model": "a name or a spec", "target": "torch"}[key]
            problems.append(Problem(message, hint=f'{key} = "{hint}"'))
    if not isinstance(row.get("allow-edits", False), bool):
        problems.append(Problem(f"allow-edits is {shown(row['allow-edits'])}, not true or false"))
    model, file = row.get("model"), row.get("file")
    if not isinstance(model, str) or not isinstance(file, str) or "target" not in row:
        raise CompileError(*problems)
    target = find_target(row["target"], problems)
    named = {key.replace("-", "_"): value for key, value in row.items() if key not in _OWN}
    options = {name: value for name, value in named.items() if name in _names()}
    if spec_path(model) is not None or plans_path(model) is not None:
        model = str(path.parent / model)
    if isinstance(options.get("dataset"), str):
        options["dataset"] = str(path.parent / options["dataset"])
    resolved = resolve(model, options, problems)
    written = Path(os.path.normpath(path.parent / file))
    if not written.name.endswith(suffix := target_row(target).suffix):
        message = f"file is {shown(file)}, which does not end with {suffix}"
        raise CompileError(Problem(message))
    return Listed(written, resolved, target, row.get("allow-edits", allow_edits))


def _misnamed(row: Mapping[str, Any]) -> Iterator[Problem]:
    for key in row:
        if key not in _OWN and key.replace("-", "_") not in _names():
            known = suggest(key.replace("-", "_"), [*_names(), *_OWN])
            yield Problem(f"unknown key {shown(key)}.{known}", hint="keys are options of `emit`")


def _names() -> set[str]:
    return {*BY_NAME, *(question.name for question in QUESTIONS)}
