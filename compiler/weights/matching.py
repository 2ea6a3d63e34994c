"""Match every tensor of a checkpoint to a weight of a model, or raise an error."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import CompileError, Problem, counted, escaped, raise_all, suggest
from ..ir import AUX_HEADS, Shape
from ..model import Model, Segmentor
from .adapt import adapt_channels, inflate, inflated_shape
from .checkpoints import Checkpoint, Tensor, shown, told
from .layouts import (
    LAYOUT_NAMES,
    LAYOUTS,
    dialect_in,
    dialect_of,
    one_network,
    variants,
)
from .naming import Names, Place, places_of

KEPT = ": --lower-heads or --deep-supervision emits a model that has them"
LISTED = 10  # problems of each kind; a wrong checkpoint has hundreds


@dataclass(frozen=True)
class Adapting:
    """How weights may be adapted: `inflate` is "" or a method, `channels` adapts the stem."""

    inflate: str = ""
    axis: int = 0
    channels: bool = False


@dataclass
class Match:
    """Values for a model's weights: functions that read them, by PyTorch name, in its shapes.

    Weights in `initial` have no value here. `notes` reports what was omitted or changed.
    """

    places: tuple[Place, ...]
    values: dict[str, Callable[[], Any]] = field(default_factory=dict)
    initial: tuple[Place, ...] = ()
    notes: list[str] = field(default_factory=list)
    dtype: str = "float32"  # of most weights


def match(checkpoint: Checkpoint, model: Model, layout: str | None, adapting: Adapting) -> Match:
    """Match every tensor to a weight. `layout` is the library that named them; None means ours.

    The checkpoint of an encoder or classifier fills the encoder of a segmentor, and a head with
    another number of classes is omitted. Raises a `CompileError` that lists every unexpected
    tensor, missing tensor and mismatched shape.
    """
    places = places_of(model)
    dialects = {checkpoint.dialect or dialect_of(model), dialect_of(model)}
    if not one_network(dialects, model):
        theirs = escaped(checkpoint.dialect, longest=80)
        message = f"its dialect is {theirs}, but the model's is {dialect_of(model)}"
        hint = f"--dialect {checkpoint.dialect}"
        raise CompileError(Problem(message, str(checkpoint.path), hint))
    tables = [Names(None, model, checkpoint)]
    if layout:
        tables = [Names(variant, model, checkpoint) for variant in variants(layout, model)]
    names = max(tables, key=lambda table: len(table.places.keys() & table.tensors.keys()))
    result = Match(places)
    found = {names.places[n]: t for n, t in names.tensors.items() if n in names.places}
    extra = {n: t for n, t in names.tensors.items() if n not in names.places}
    left = _left_out(names, found, extra, result)
    missing = [place for place in places if place not in found]
    bare = [p for p in missing if names.layout and p.kind in names.layout.bare]
    missing = [place for place in missing if place not in bare]
    initial = _initial(model, missing, found, left)
    problems = _beside(names) + _unlike(names)
    problems += _unplaced(names, extra, [p for p in missing if p not in initial], layout)
    problems += _fit(found, names, adapting, result)
    raise_all(problems)
    result.initial = (*initial, *bare)
    if bare:
        kinds = ", ".join(dict.fromkeys(place.kind.replace("_", " ") for place in bare))
        note = f"{layout} has no weights for {kinds}: left at 1 and 0 ({_tensors(bare)})"
        result.notes.append(note)
    if initial:
        groups = ", ".join(dict.fromkeys(p.group for p in initial))
        result.notes.append(f"left at initial values: {groups} ({_tensors(initial)})")
    if found:
        types = [t.dtype for t in found.values()]
        result.dtype = max(dict.fromkeys(types), key=types.count)
    return result


def _left_out(
    names: Names, found: dict[Place, Tensor], extra: dict[str, Tensor], result: Match
) -> set[Place]:
    """Omit tensors that the model does not need. Returns the places left without a value."""
    heads = {p: t for p, t in found.items() if p.path == "head"}
    shapes = {p.weight: (p, names.shape(p, t)) for p, t in heads.items()}
    emptied: set[Place] = set()
    if "weight" in shapes and _of_other_classes(*shapes["weight"]):
        emptied = set(heads)
        classes = shapes["weight"][1][0]
        words = counted(classes, "class", "classes")
        result.notes.append(f"omitted the checkpoint's head, which has {words}")
        for place in heads:
            del found[place]
    known = {n: names.known[n] for n in extra if n in names.known}
    for name in known:
        del extra[name]
    if known:
        parts = dict.fromkeys(place.part for place in known.values())
        words = f"{', '.join(parts)}, which the model does not have ({_tensors(known)})"
        result.notes.append(f"omitted {words}{KEPT * (AUX_HEADS in parts)}")
    if names.others:
        result.notes.append(f"omitted another network's decoder ({_tensors(names.others)})")
    return emptied


def _of_other_classes(place: Place, shape: Shape) -> bool:
    if len(shape) != len(place.shape):
        return len(shape) == 2 < len(place.shape)  # a classifier's head, in a segmentor
    return shape[0] != place.shape[0] and shape[1:2] == place.shape[1:2]


def _tensors(items: Iterable[object]) -> str:
    return counted(len(list(items)), "tensor")


def _initial(
    model: Model, missing: list[Place], found: Mapping[Place, Tensor], left: set[Place]
) -> list[Place]:
    """The weights that may keep their initial values.

    In a segmentor, that is everything but the encoder, if the checkpoint has nothing of it. In a
    classifier, it is the head if the checkpoint has none, and layers in front of it only together
    with the head.
    """
    rest = [place for place in missing if place.group != "encoder"]
    there = {place.group for place in found}
    if isinstance(model.head, Segmentor):
        return rest if not there - {"encoder"} else [p for p in rest if p in left]
    if there | {place.group for place in left} >= {"head"}:
        return [place for place in rest if place in left]
    return [place for place in rest if place.group not in there]


def _unplaced(
    names: Names, extra: Mapping[str, Tensor], missing: list[Place], layout: str | None
) -> list[Problem]:
    """Errors for unexpected and missing tensors, with the nearest names."""
    at = str(names.checkpoint.path)
    there = {place: name for name, place in names.places.items()}
    wanted = [there.get(place, place.name) for place in missing]
    problems = []
    for name, tensor in list(extra.items())[:LISTED]:
        near = suggest(name[:200], wanted)
        size = "x".join(map(str, tensor.shape)) or "scalar"
        problems.append(Problem(f"unexpected tensor {shown(name)} ({size}).{near}", at))
    short = [name[:200] for name in list(extra)[:1000]]
    for name in wanted[:LISTED]:
        near = _nearest(name, short)
        problems.append(Problem(f"missing tensor {name!r}.{near}", at))
    if problems:
        message = f"{counted(len(extra), 'unexpected tensor')}, {len(missing)} missing"
        problems.append(Problem(message, at, _hint(names, layout)))
    return problems


def _beside(names: Names) -> list[Problem]:
    """Errors for tensors outside the network that could be its weights, parts of it or copies."""
    hint = "save the weights of the network alone"
    message = "{} is outside the network, but has the name of one of its weights"
    at = str(names.checkpoint.path)
    return [Problem(message.format(shown(n)), at, hint) for n in names.beside()[:LISTED]]


def _unlike(names: Names) -> list[Problem]:
    """Errors for names of one tensor under which the checkpoint holds different values."""
    hint = "they are one tensor in the network: save its state dict again"
    message = "{} and {} are the same weight, but differ"
    at = str(names.checkpoint.path)
    return [
        Problem(message.format(*map(shown, pair)), at, hint) for pair in names.unlike()[:LISTED]
    ]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" The nearest name is {shown(near[0])}." if near else ""


def _hint(names: Names, layout: str | None) -> str:
    """Suggest the layout or dialect that the names belong to, if another one fits."""
    for other in (None, *LAYOUT_NAMES):
        for table in _tables(other, names):
            encoder = {name for name, place in table.places.items() if place.group == "encoder"}
            if not encoder or not encoder <= table.tensors.keys():
                continue
            if other != layout:
                if not other:
                    return "the names are plainnet's own: leave out --layout"
                return f"the names are from {other}: use --layout {other}"
            dialect = dialect_in(table.layout, names.model)
            if dialect:
                return f"the names fit the dialect {dialect}: use --dialect {dialect}"
    return "is it a checkpoint of this model? `plainnet show MODEL --json` lists its weights"


def _tables(layout: str | None, names: Names) -> list[Names]:
    framework = names.checkpoint.framework
    if layout is None:
        return [Names(None, names.model, names.checkpoint)]
    return [
        Names(variant, names.model, names.checkpoint)
        for variant in LAYOUTS
        if variant.name == layout and variant.framework == framework
    ]


def _fit(
    found: Mapping[Place, Tensor], names: Names, adapting: Adapting, result: Match
) -> list[Problem]:
    """Adapt the values found to the model's shapes, and report shapes that cannot be adapted."""
    at = str(names.checkpoint.path)
    flat: list[Place] = []
    stem: list[Place] = []
    other: list[str] = []
    solid = False
    heads, attention = getattr(names.model.head, "heads", None), set()
    for place, tensor in found.items():
        shape = given = names.shape(place, tensor)
        steps: list[Callable[[Any], Any]] = [_in_our_layout(names, place, shape)]
        if names.layout and names.layout.linear and place.kind == "conv" and len(shape) == 2:
            shape = (*shape, *(1 for _ in place.shape[2:]))
            steps.append(_reshaped(shape))
        if place.kind.startswith("conv") and len(shape) == 4 and len(place.shape) == 5:
            flat.append(place)
            depth = place.shape[2 + adapting.axis]
            shape = inflated_shape(shape, place.shape, adapting.axis)
            steps.append(_inflated(adapting, place.kind, depth))
        same_rank = len(shape) == len(place.shape)
        if place.name == "encoder.conv1.weight" and same_rank and 0 != shape[1] != place.shape[1]:
            stem.append(place)
            if adapting.channels:
                channels = f"{shape[1]} to {counted(place.shape[1], 'input channel')}"
                result.notes.append(f"adapted {place.name} from {channels}")
                shape = (shape[0], place.shape[1], *shape[2:])
                steps.append(_for_channels(place.shape[1]))
        if place.kind.startswith("conv") and len(shape) == 5 and len(place.shape) == 4:
            solid = True
        elif shape != place.shape and (place not in stem or adapting.channels):
            sizes = ["x".join(map(str, s)) or "scalar" for s in (given, place.shape)]
            other.append(
                f"{place.name!r} is {sizes[0]} in the checkpoint, but {sizes[1]} in the model"
            )
        result.values[place.name] = _value(names.checkpoint, tensor, steps)
        there = names.heads(place, tensor)
        if there not in (None, heads):
            attention.add(there)
    problems = [Problem(message, at) for message in other[:LISTED]]
    if len(other) > LISTED:
        problems.append(Problem(f"{len(other)} tensors have another shape", at))
    for there in attention:  # merged as in PyTorch, the shapes would be equal
        message = f"its attention has {there} heads, but the model's has {heads}"
        problems.append(Problem(message, at, f"use --heads {there}"))
    if solid:
        problems.append(Problem("the checkpoint is 3D, but the model is 2D", at, "use --dims 3"))
    if flat and not adapting.inflate:
        hint = "use --inflate center, mean or repeat"
        problems.append(Problem("the checkpoint is 2D, but the model is 3D", at, hint))
    if adapting.inflate and not flat:
        message = "the checkpoint has no 2D kernels to inflate"
        problems.append(Problem(message, at, "leave out --inflate"))
    if stem and not adapting.channels:
        there, wanted = names.shape(stem[0], found[stem[0]])[1], stem[0].shape[1]
        takes = counted(there, "input channel")
        message = f"the checkpoint takes {takes}, but the model takes {wanted}"
        problems.append(Problem(message, at, f"--in-channels {wanted} adapts the stem"))
    if flat and adapting.inflate:
        kernels = counted(len(flat), "kernel")
        how = f"{adapting.inflate}, axis {adapting.axis}"
        result.notes.append(f"inflated {kernels} from 2D to 3D ({how})")
    return problems


def _in_our_layout(names: Names, place: Place, shape: Shape) -> Callable[[Any], Any]:
    return lambda value: names.files.value(place, value, shape)


def _reshaped(shape: Shape) -> Callable[[Any], Any]:
    return lambda value: value.reshape(shape)


def _inflated(adapting: Adapting, kind: str, depth: int) -> Callable[[Any], Any]:
    return lambda value: inflate(value, adapting.inflate, kind, adapting.axis, depth)


def _for_channels(channels: int) -> Callable[[Any], Any]:
    return lambda value: adapt_channels(value, channels)


def _value(
    checkpoint: Checkpoint, tensor: Tensor, steps: list[Callable[[Any], Any]]
) -> Callable[[], Any]:
    def value() -> Any:
        with told(checkpoint.path):
            result = tensor.load()
        for step in steps:
            result = step(result)
        return result

    return value
