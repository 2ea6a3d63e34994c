"""Files that were dropped on the page, and the networks in them.

A spec, a file that `emit` wrote, or plans of nnU-Net with their `dataset.json`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checker import Found, check_file
from ..errors import LONGEST, CompileError, Problem, shown
from ..names import SPEC
from ..nnunet.documents import read_json
from ..nnunet.sources import DATASET
from ..passes.validate import resolve
from ..targets import suffixes
from .networks import SPEC_NAME, network_of, without_folder

JSON = ".json"
CONFIGURATIONS = "configurations"  # the key of a plans file
SPECS = "a spec (.toml), a file that `emit` wrote, or nnUNetPlans.json with its dataset.json"


def dropped(files: Mapping[str, str]) -> dict[str, Any]:
    """The networks in the files, by their names and texts. Raises `CompileError`.

    Each network is a state of the page with a label. An emitted file also has its `state`, in the
    words of `check`, with a `note` and the `diff` of what was changed.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in files.items():
            path = Path(folder) / _plain(name)
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
            paths.append(path)
        try:
            return _read(paths)
        except CompileError as error:
            raise without_folder(error, folder) from None


def _plain(name: str) -> str:
    """The name of a file in our folder: the end of it, in characters that a file system takes."""
    last = Path(name).name[-LONGEST:]
    return "".join(c if c.isprintable() else "_" for c in last).replace("..", "_") or SPEC_NAME


def _read(paths: list[Path]) -> dict[str, Any]:
    documents = [path for path in paths if path.suffix.lower() == JSON]
    if documents and len(documents) == len(paths):
        return _plans(documents)
    if len(paths) != 1:
        raise CompileError(Problem("these files are not one network", hint=f"drop {SPECS}"))
    (path,) = paths
    name = path.name.lower()
    if name.endswith(SPEC):
        return _spec(path)
    if name.endswith(suffixes()):
        return _emitted(path)
    raise CompileError(Problem(f"{shown(path.name)} is not a network", hint=f"drop {SPECS}"))


def _spec(path: Path) -> dict[str, Any]:
    resolve(path, {})
    text = path.read_text(encoding="utf-8")
    return _found("spec", path, [("", {"spec": text, "options": {}})])


def _emitted(path: Path) -> dict[str, Any]:
    verdict = check_file(Found(path))
    if verdict.problems:
        raise CompileError(*verdict.problems)
    from ..vendoring.request import model_of

    assert verdict.details is not None
    model, target = model_of(verdict.details.provenance)
    diff = verdict.diff().replace(f"{path.parent}/", "")
    state = {"state": verdict.state, "note": verdict.note, "diff": diff}
    return _found("emitted", path, [("", {**network_of(model), "target": target})]) | state


def _plans(paths: list[Path]) -> dict[str, Any]:
    """The networks of a plans file, one for each of its configurations."""
    plans = [path for path in paths if CONFIGURATIONS in read_json(path).values]
    if len(plans) != 1 or len(paths) > 2:
        message = f"{len(plans)} of these files are plans of nnU-Net"
        raise CompileError(Problem(message, hint="drop nnUNetPlans.json with its dataset.json"))
    (path,) = plans
    for other in paths:
        if other != path:
            other.rename(path.with_name(DATASET))
    networks = []
    problems: list[Problem] = []
    for name in read_json(path).table(CONFIGURATIONS).values:
        try:
            model = resolve(path, {"configuration": name})
            networks.append((str(name), network_of(model)))
        except CompileError as error:
            problems += error.problems
    if not networks:
        raise CompileError(*problems)
    return _found("plans", path, networks)


def _found(kind: str, path: Path, networks: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    named = [{"label": label, "network": network} for label, network in networks]
    return {"kind": kind, "name": path.name, "networks": named}
