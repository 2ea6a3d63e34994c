"""The weights of an inference file, made from those of the training file.

The steps are those that the passes noted when they changed the network (`deployment`). They are
taken in float64, on values that are read on demand, and what comes out is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias, assert_never

from ..deployment import Fold, Fuse, Rescale, Settle, Step
from ..errors import CompileError, Problem, counted
from ..ir import AUX_HEADS
from ..model import Model
from ..passes.instances import instances
from ..passes.rows import At, path_of
from ..passes.specialize import specialize
from ..passes.trace import trace
from ..targets.runtime import files_of
from .checkpoints import Checkpoint
from .matching import Match
from .naming import places_of

Read: TypeAlias = Callable[[], Any]


def deployed(match: Match, model: Model) -> Match:
    """The weights of the inference file of `model`, where `match` holds those of training.

    Raises `CompileError` if the checkpoint does not hold all of them: what is missing would have
    no values that mean anything.
    """
    check_whole(match)
    places = places_of(model)
    shapes = {place.name: place.shape for place in places}
    found = fold_weights(model, match.values, shapes)
    values = {name: _rounded(found[name], match.dtype) for name in shapes}
    kept = {name: match.values[name] for name in shapes if found[name] is match.values.get(name)}
    values |= kept
    trained = sum(name.startswith(AUX_HEADS) for name in match.values)
    notes = [f"omitted aux_heads, which only train ({counted(trained, 'tensor')})"] * bool(trained)
    note = f"folded {counted(len(match.values) - trained, 'tensor')} into {len(values)}"
    return replace(match, places=places, values=values, notes=[*match.notes, *notes, note])


def check_whole(match: Match) -> None:
    """Raise `CompileError` unless a checkpoint holds every weight of the training file."""
    if match.initial:
        groups = ", ".join(dict.fromkeys(place.group for place in match.initial))
        raise CompileError(
            Problem(
                f"the checkpoint has no weights for {groups}"
                f" ({counted(len(match.initial), 'tensor')}), which an inference file needs",
                hint="train first, and convert the checkpoint of the whole network",
            )
        )


def training_of(checkpoint: Checkpoint, model: Model) -> Model:
    """The training model of a checkpoint: with auxiliary heads if it holds some."""
    head = model.head
    named = {field.name for field in fields(head)}
    if "deep_supervision" in named and any(n.startswith(AUX_HEADS) for n in checkpoint.tensors):
        head = replace(head, deep_supervision=True)  # type: ignore[call-arg]
    return replace(model.training, head=head)


def holds_deployed(checkpoint: Checkpoint, model: Model) -> bool:
    """Whether a checkpoint holds weights of the inference file itself."""
    files = files_of(checkpoint.framework)
    ours, theirs = (
        {files.place_name(place) for place in places_of(one)} for one in (model, model.training)
    )
    named = checkpoint.tensors.keys()
    return bool(named & (ours - theirs)) and not named & (theirs - ours)


def check_fused(checkpoint: Checkpoint, model: Model) -> None:
    """Raise `CompileError` for weights of the inference file that is fused where this one is not.

    What is summed for a fused upsampling, and rounded, does not come apart again.
    """
    files = files_of(checkpoint.framework)
    other = replace(model, fuse="no" if model.fuse == "yes" else "yes")
    ours, theirs = ({files.place_name(p) for p in places_of(m)} for m in (model, other))
    if ours != theirs and checkpoint.tensors.keys() == theirs:
        what = "not fused" if model.fuse == "yes" else "fused"
        raise CompileError(
            Problem(
                f"the checkpoint is of an inference file whose upsampling is {what}",
                hint="convert the checkpoint of the training file, or emit with --fuse"
                f" {other.fuse}",
            )
        )


def fold_weights(
    model: Model, weights: Mapping[str, Read], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Read]:
    """Functions that make the weights of the inference file of `model`, in float64.

    `weights` are those of training, by their names in PyTorch, and `shapes` what is made. Weights
    that no step changes are among the results as they are.
    """
    training = specialize(model.training)
    steps = specialize(model).steps
    made = _Weights(weights, shapes)
    for owner, prefixes in instances(training, trace(training)).items():
        for step in steps:
            if step.owner == owner:
                for prefix in _places(step, prefixes, steps):
                    made.take(step, prefix)
    return {name: made.values[name] for name in shapes}


class _Weights:
    def __init__(self, weights: Mapping[str, Read], shapes: Mapping[str, tuple[int, ...]]):
        self.values: dict[str, Read] = dict(weights)
        self.shapes = shapes

    def take(self, step: Step, prefix: At) -> None:
        """Carry out a step for one place of its owner."""
        match step:
            case Fold():
                self.fold(step, prefix)
            case Settle():
                self.settle(step, prefix)
            case Rescale(conv=conv, factor=factor):
                name = _name(prefix, conv, "weight")
                self.values[name] = _times(self.values[name], factor)
            case Fuse():
                self.fuse(step, prefix)
            case _:
                assert_never(step)

    def affine(self, prefix: At, norm: str, eps: float) -> tuple[Read, Read]:
        """The scale and the shift that a batch norm is in inference. The norm is gone then."""
        names = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, var = (self.values.pop(_name(prefix, norm, name)) for name in names)

        def scale() -> Any:
            return _wide(weight) / (_wide(var) + eps) ** 0.5

        return scale, lambda: _wide(bias) - _wide(mean) * scale()

    def settle(self, step: Settle, prefix: At) -> None:
        scale, shift = self.affine(prefix, step.norm, step.eps)
        self.values[_name(prefix, step.to, "weight")] = scale
        self.values[_name(prefix, step.to, "bias")] = shift

    def fold(self, step: Fold, prefix: At) -> None:
        scale, shift = self.affine(prefix, step.norm, step.eps)
        weight, bias = (_name(prefix, step.conv, name) for name in ("weight", "bias"))
        kernel, before = self.values[weight], self.values.get(bias)
        axis = 1 if step.transposed else 0

        def scaled() -> Any:
            value = _wide(kernel)
            return value * scale().reshape(*(-1 if i == axis else 1 for i in range(value.ndim)))

        self.values[weight] = scaled
        self.values[bias] = shift
        if before is not None:
            self.values[bias] = lambda: shift() + scale() * _wide(before)

    def fuse(self, step: Fuse, prefix: At) -> None:
        if step.to:
            before, prefix = prefix, (step.path, step.to)
            for name in [n for n in self.values if n.startswith(f"{path_of(before)}.")]:
                new = f"{path_of(prefix)}{name.removeprefix(path_of(before))}"
                self.values[new] = self.values.pop(name)
        conv, bias = (_name(prefix, step.conv, name) for name in ("weight", "bias"))
        up = _name(prefix, step.up, "weight")
        kernel, shape = self.values.pop(conv), self.shapes[up]
        self.values[up] = lambda: _taps(_wide(kernel)[:, : shape[0]], shape)
        if step.skip:
            self.values[conv] = lambda: _wide(kernel)[:, shape[0] :]
        elif bias in self.values:
            self.values[_name(prefix, step.up, "bias")] = self.values.pop(bias)


def _taps(kernel: Any, shape: tuple[int, ...]) -> Any:
    """The kernel of a transposed convolution that is this 3x3 kernel, (out, in, ...), on the
    upsampled map: in `shape`, (in, out, ...), 4 along an axis that is doubled.

    Taps (w0, w1, w2) of an axis are (w2, w1 + w2, w0 + w1, w0) where it is doubled, as two of the
    three read the same value, and (w2, w1, w0) where it is not.
    """
    for axis, size in enumerate(shape[2:], start=2):
        taps = kernel.take((2, 1, 1, 0) if size == 4 else (2, 1, 0), axis)
        if size == 4:
            inner = (*(slice(None),) * axis, slice(1, 3))
            taps[inner] += kernel.take((2, 0), axis)
        kernel = taps
    return kernel.swapaxes(0, 1)


def _places(step: Step, prefixes: tuple[At, ...], steps: tuple[Step, ...]) -> tuple[At, ...]:
    """The places of its owner that a step is about: of a module, the last turn or the others."""
    if not isinstance(step, Fuse):
        return prefixes
    here = tuple(at for at in prefixes if at[:2] == (step.path, step.each))
    ends = any(isinstance(x, Fuse) and x.last and x.owner == step.owner for x in steps)
    return here[-1:] if step.last else here[:-1] if ends else here


def _name(prefix: At, layer: str, weight: str) -> str:
    return path_of((*prefix, layer, weight))


def _wide(read: Read) -> Any:
    return read().astype("float64")


def _times(read: Read, factor: float) -> Read:
    return lambda: _wide(read) * factor


def _rounded(read: Read, dtype: str) -> Read:
    def rounded() -> Any:
        import numpy as np

        kind: Any = dtype
        if dtype == "bfloat16":
            import ml_dtypes

            kind = ml_dtypes.bfloat16
        with np.errstate(all="ignore"):  # what is not finite is reported where it is written
            return read().astype(kind)

    return rounded
