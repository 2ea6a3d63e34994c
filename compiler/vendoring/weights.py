"""Weights survive: what an update or an edit does to the names and shapes of tensors."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from ..api import traced
from ..errors import CompileError, Problem, counted
from ..ir import Shape
from ..model import Model
from ..provenance import Provenance, read
from ..reading import decoded
from ..syntax import parsed
from ..verify.parity import ledger_shapes
from ..verify.shapes import shapes_of
from ..weights.checkpoints import Checkpoint, Tensor
from ..weights.convert import matched
from ..weights.formats import open_checkpoint
from ..weights.matching import Adapting
from ..weights.naming import Names
from ..weights.renaming import renamed_names
from .request import model_of
from .state import State, is_known_emission
from .updating import CONFLICTS, UPDATED, Update

LISTED = 12  # tensors of each kind
CANDIDATES = 200  # new names that an old one is compared with


@dataclass(frozen=True)
class Changes:
    """Tensors that are called otherwise, have another shape, are new, or are gone."""

    renamed: Mapping[str, str]
    reshaped: Mapping[str, tuple[Shape, Shape]]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.renamed or self.reshaped or self.added or self.removed)

    def lines(self) -> list[str]:
        """What has changed, in words: a summary, and the first tensors of each kind."""
        kinds = {
            "renamed": [f"{old} -> {new}" for old, new in self.renamed.items()],
            "reshaped": [f"{name}: {_x(a)} -> {_x(b)}" for name, (a, b) in self.reshaped.items()],
            "added": list(self.added),
            "removed": list(self.removed),
        }
        counts = [f"{len(found)} {kind}" for kind, found in kinds.items() if found]
        lines = [f"the weights change: {', '.join(counts)}"]
        for kind, found in kinds.items():
            lines += [f"  {kind:<8}  {line}" for line in found[:LISTED]]
            if len(found) > LISTED:
                lines.append(f"  {kind:<8}  ... and {len(found) - LISTED} more")
        return lines


def _x(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "?"


def changes(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> Changes:
    """Compare weights by name. Those that are gone are renamed if each finds a new one like it."""
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    pairs = list(_pairs(before, gone, after, new))
    if len(pairs) < len(gone):  # another network, rather than other names
        pairs = []
    renamed = dict(sorted(pairs, key=lambda pair: gone.index(pair[0])))
    new = [name for name in new if name not in renamed.values()]
    same = [name for name in before if name in after and before[name] != after[name]]
    return Changes(
        renamed,
        {name: (before[name], after[name]) for name in same},
        tuple(new),
        tuple(name for name in gone if name not in renamed),
    )


def _pairs(
    before: Mapping[str, Shape], gone: list[str], after: Mapping[str, Shape], new: list[str]
) -> Iterator[tuple[str, str]]:
    """Old and new names of the same shape and kind, those with the most alike paths first."""
    free: dict[tuple[str, Shape], list[str]] = {}
    for name in new:
        free.setdefault((name.rpartition(".")[2], after[name]), []).append(name)
    scores = [
        (-_likeness(old, name), abs(gone.index(old) - new.index(name)), old, name)
        for old in gone
        for name in free.get((old.rpartition(".")[2], before[old]), ())[:CANDIDATES]
    ]
    taken: set[str] = set()
    for _, _, old, name in sorted(scores):
        if f"old {old}" not in taken and f"new {name}" not in taken:
            taken |= {f"old {old}", f"new {name}"}
            yield old, name


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.split("."), other.split("."), autojunk=False).ratio()


def report(update: Update) -> list[str]:
    """What an update does to weights, in lines; none if they stay as they are.

    Where names and shapes cannot be known without running the file, it is built, in a process of
    its own; where that fails, the report says so.
    """
    if update.state is None or update.outcome not in (UPDATED, CONFLICTS):
        return []
    text = decoded(update.content, str(update.path))
    if declarations(update.state.text) == declarations(text):
        return []
    if update.outcome == CONFLICTS:
        return ["weights may change: `plainnet check FILE --weights` tells once it is resolved"]
    path = update.state.path
    try:
        before, after = weights_of(update.state.text, path), weights_of(text, path)
    except CompileError as error:
        return [f"weights may change: {error.problems[0].message}"]
    found = changes(before, after)
    fresh = read(text)
    assert fresh is not None
    return [*found.lines(), *_advice(found, before, after, path, fresh)] if found else []


def _advice(
    found: Changes,
    before: Mapping[str, Shape],
    after: Mapping[str, Shape],
    path: Path,
    provenance: Provenance,
) -> list[str]:
    """The command that carries a checkpoint over, or why there is none."""
    model, target = model_of(provenance)
    old, new = ("w.safetensors", "new.safetensors")
    if target == "keras":
        old, new = ("w.weights.h5", "new.weights.h5")
    start = f"plainnet convert {old} -o {new}"
    if found.renamed and not (found.reshaped or found.added or found.removed):
        if target != "torch":
            return ["to carry a checkpoint over, load it before the update and save it after"]
        return [f"to carry a checkpoint over: {start} {_renames(found.renamed, before)}"]
    if dict(after) != shapes(model):
        return ["no command carries a checkpoint over: the file has weights of your own"]
    stem = [each.get("encoder.conv1.weight", ()) for each in (before, after)]
    channels = stem[0][1:2] != stem[1][1:2]
    inflate = "center" if len(stem[0]) < len(stem[1]) else ""
    tensors = {n: Tensor(n, s, "float32", lambda: None) for n, s in before.items()}
    checkpoint = Checkpoint(Path(old), "torch", tensors)
    try:
        found_places = matched(checkpoint, model, None, Adapting(inflate, channels=channels))
    except CompileError as error:
        why = error.problems[0].message.partition(" Did you mean ")[0]
        return [f"no command carries a checkpoint over: {why}"]
    more = f" --inflate {inflate}" if inflate else ""
    more += f" --in-channels {model.in_channels}" if channels else ""
    return [f"to carry a checkpoint over: {start} --model {path}{more}", *found_places.notes]


def _renames(renamed: Mapping[str, str], names: Iterable[str]) -> str:
    """The options that rename these of the names and no others, as few as they can be."""
    short: dict[str, str] = {}
    for old, new in renamed.items():
        a, b = old.split("."), new.split(".")
        while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
            a.pop()
            b.pop()
        short[".".join(a)] = ".".join(b)
    wanted = {name: renamed.get(name, name) for name in names}
    with contextlib.suppress(CompileError):
        if renamed_names(list(wanted), short.items()) == wanted:
            return " ".join(f"--rename {old}={new}" for old, new in short.items())
    # Layer by layer, with the counters of norms, which are no weights.
    short = {o.rpartition(".")[0] or o: n.rpartition(".")[0] or n for o, n in renamed.items()}
    return " ".join(f"--rename {old}={new}" for old, new in short.items())


def shapes(model: Model) -> dict[str, Shape]:
    """The weights of a network as this compiler emits it."""
    return dict(ledger_shapes(traced(model)[1]))


def weights_of(text: str, path: Path) -> dict[str, Shape]:
    """The weights of a file. It is run unless this compiler emits it. Raises `CompileError`."""
    provenance = read(text)
    if provenance is not None and is_known_emission(provenance):
        return shapes(model_of(provenance)[0])
    return shapes_of(text, path)


def declarations(text: str) -> list[str]:
    """The code in which a file may say which weights it has; all of it if it cannot be told.

    Methods other than `__init__` are left out, and so are comments, docstrings and annotations.
    """
    tree = parsed(text)
    if tree is None:
        return [text]
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found.append(f"{node.name} {[ast.unparse(base) for base in node.bases]}")
            methods = [n for n in node.body if not isinstance(n, ast.FunctionDef)]
            methods += [
                n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"
            ]
            for each in methods:
                found += _code(each)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            found += _code(node)
    return found


def _code(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return []
    if not isinstance(node, ast.FunctionDef):
        return [ast.unparse(node)]
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    defaults = [ast.unparse(d) for d in (*arguments.defaults, *arguments.kw_defaults) if d]
    lines = [line for each in node.body for line in _code(each)]
    return [f"{node.name} {names} {defaults}", *lines]


def unfit(state: State, checkpoint: Path) -> list[str]:
    """Why the weights in a checkpoint do not fit a file.

    Raises `CompileError` if the checkpoint or the file cannot be read, or the file not be built.
    """
    model, target = model_of(state.provenance)
    plain = not state.edited and not state.stale
    wanted = shapes(model) if plain else shapes_of(state.text, state.path)
    with open_checkpoint(checkpoint) as opened:
        if opened.framework != target:
            message = f"it is a checkpoint for {opened.framework}, but the file is for {target}"
            hint = f"plainnet convert {checkpoint} --to {target} --model {state.path}"
            raise CompileError(Problem(message, str(checkpoint), hint))
        names = Names(None, model, opened)
        there: dict[str, Shape] = {}
        for name, tensor in names.tensors.items():
            if place := names.places.get(name):
                there[place.name] = names.shape(place, tensor)
            else:
                there[name] = tensor.shape
    found = changes(there, wanted)
    problems = [f"{old} is called {new} in the file" for old, new in found.renamed.items()]
    problems += [
        f"{name} is {_x(a)}, but {_x(b)} in the file" for name, (a, b) in found.reshaped.items()
    ]
    problems += [f"{name} is missing" for name in found.added]
    problems += [f"{name} is not in the file" for name in found.removed]
    if len(problems) > LISTED:
        problems = [*problems[:LISTED], counted(len(problems) - LISTED, "more tensor")]
    if target == "torch" and found.renamed and not (found.reshaped or found.added or found.removed):
        command = (
            f"plainnet convert {checkpoint} -o NEW.safetensors {_renames(found.renamed, there)}"
        )
        problems.append(f"to carry it over: {command}")
    return problems
