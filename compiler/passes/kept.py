"""What PyTorch keeps for the backward pass: a rule for each operation, as autograd saves tensors.

A rule takes an operation's operands and says what it puts out, what it keeps, and what it needs
meanwhile. Memory is counted by storage: a view shares that of its operand, and what two operations
keep is kept once. The rules are those of PyTorch in the memory order that it chooses on a CPU; on
CUDA, `autocast` leaves other operations in 32 bits, and dropout and attention keep less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ..errors import CompileError, Problem
from ..ir import Shape
from ..operations import IN_PLACE
from .wires import Tensor

FULL, HALF, INDEX, BOOLEAN = 4, 2, 8, 1  # bytes of a number


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Memory of so many numbers, for each item of the batch or once."""

    numbers: int
    width: int = FULL
    batched: bool = True
    owned: bool = False  # by the model: its weights and statistics

    def bytes(self, batch: int) -> int:
        return self.numbers * self.width * (batch if self.batched else 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Held(Tensor):
    """A tensor with its memory, and whether gradients flow through it.

    A map is `swapped` if its channels are its innermost axis in memory, and tokens are if their
    channels are not.
    """

    storage: Storage
    grad: bool = True
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The output of an operation, what it keeps for the backward pass, what it needs meanwhile."""

    output: Held
    kept: tuple[Storage, ...] = ()
    meanwhile: tuple[Storage, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network runs.

    Numbers that `autocast` narrows have `narrow` bytes. A batch has `several` items or one. Where
    a pool rounds down, the decoder `extends` maps by a voxel.
    """

    narrow: int = FULL
    several: bool = True
    extends: bool = False
    training: bool = True
    device: str = "cpu"

    def wide(self, x: Held, device: str) -> Storage:
        """What an operation keeps of its input that `autocast` leaves in 32 bits on this device."""
        if self.device != device or x.storage.width >= FULL:
            return x.storage
        return made(x.shape, x, FULL).storage


Rule: TypeAlias = Callable[[Sequence[Any], Shape, Setting], Outcome]


def made(shape: Shape, like: Held, width: int = 0) -> Held:
    """A new tensor of this shape, in the order and by default with the numbers of another."""
    storage = Storage(math.prod(shape), width or like.storage.width)
    return Held(shape, storage=storage, grad=like.grad, swapped=like.swapped)


def tensors(values: Sequence[Any]) -> list[Held]:
    return [value for value in values if isinstance(value, Held)]


def joint(values: Sequence[Any], shape: Shape) -> Held:
    """A new tensor of what several are joined to: its numbers are as wide as the widest."""
    given = tensors(values)
    output = made(shape, given[0], max(x.storage.width for x in given))
    return replace(output, grad=any(x.grad for x in given))


def _new(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    return Outcome(joint(values[:1], shape))


def _keeps_input(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    return Outcome(made(shape, values[0]), (values[0].storage,))


def _keeps_output(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    output = made(shape, values[0])
    return Outcome(output, (output.storage,))


def _softmax(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    output = made(shape, values[0], how.wide(values[0], "cuda").width)
    return Outcome(output, (output.storage,))


def _keeps_both(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    output = made(shape, values[0])
    return Outcome(output, (values[0].storage, output.storage))


def _view(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    return Outcome(replace(values[0], shape=shape, row=()))


def _tokens(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """`x.flatten(2).mT`: in memory, the channels of a map come first unless it is swapped."""
    return Outcome(replace(values[0], shape=shape, row=(), swapped=not values[0].swapped))


def _sum(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    return Outcome(joint(values, shape))


def _joined(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    swapped = all(x.swapped for x in tensors(values))
    return Outcome(replace(joint(values, shape), swapped=swapped))


def _product(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """Each factor is kept for the gradient of the other."""
    a, b = values
    kept = [x.storage for x, other in ((a, b), (b, a)) if other.grad]
    return Outcome(joint(values, shape), tuple(kept))


def narrowed(x: Held, how: Setting, copied: bool = False) -> Storage:
    """What a product of matrices keeps of an operand: itself, or a copy in 16 bits or in order."""
    if x.storage.width <= how.narrow and not copied:
        return x.storage
    batched = x.storage.batched or not x.storage.owned
    return Storage(math.prod(x.shape), min(x.storage.width, how.narrow), batched)


def _matrices(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """`x @ y`, or with one of them transposed."""
    a, b = values
    kept = [narrowed(x, how) for x, other in ((a, b), (b, a)) if other.grad]
    output = made(shape, a, min(a.storage.width, how.narrow))
    return Outcome(replace(output, grad=a.grad or b.grad, swapped=False), tuple(kept))


def _pool(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """A max-pool keeps its input and, in 64 bits, where each maximum was."""
    x = values[0]
    storage = how.wide(x, "cpu") if len(shape) > 3 else x.storage
    output = made(shape, x, storage.width)
    return Outcome(output, (storage, Storage(math.prod(shape), INDEX)))


def _crop(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    x = values[0]
    if not how.extends:
        return _new(values, shape, how)
    wide = how.wide(x, "cpu")  # for `replicate`
    longer = made((x.shape[0], *(n + 1 for n in x.shape[1:])), x, wide.width)
    return Outcome(made(shape, x, wide.width), (wide,), (longer.storage,))


def _upsample(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """Nearest: to the size at once, or by a factor and then cropped or extended."""
    if not how.extends:
        return _new(values, shape, how)
    resized = _resized(values[0], values[2] if len(values) > 2 else 2)
    cropped = _crop((resized,), shape, how)
    return replace(cropped, meanwhile=(*cropped.meanwhile, resized.storage))


def _linear_upsample(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """Linear, by a factor, and then a view of the first voxels."""
    return Outcome(replace(_resized(values[0], values[2] if len(values) > 2 else 2), shape=shape))


def _resized(x: Held, scale: int | Shape) -> Held:
    by = (scale,) * (len(x.shape) - 1) if isinstance(scale, int) else scale
    return made((x.shape[0], *(n * s for n, s in zip(x.shape[1:], by, strict=True))), x)


def _mask(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    """Booleans: no gradient flows through them."""
    return Outcome(replace(made(shape, values[0], BOOLEAN), grad=False, swapped=False))


def _bias(values: Sequence[Any], shape: Shape, how: Setting) -> Outcome:
    return Outcome(replace(made(shape, values[0]), grad=False, swapped=False))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("relu", "tanh", "sigmoid"), _keeps_output),
    "output_sigmoid": _keeps_output,
    **dict.fromkeys(("output_softmax", "class_softmax"), _softmax),
    **dict.fromkeys(("leaky_relu", "steep_leaky_relu", "elu", "gelu"), _keeps_input),
    **dict.fromkeys(("silu", "mish", "hard_swish"), _keeps_input),
    **dict.fromkeys(IN_PLACE.values(), _view),  # in inference files only
    "rescale": _new,
    "add": _sum,
    "total": _sum,
    "multiply": _product,
    "concat": _joined,
    **dict.fromkeys(
        ("max_pool", "signed_max_pool", "ceil_max_pool", "signed_ceil_max_pool"), _pool
    ),
    **dict.fromkeys(("mean", "global_average"), _new),
    "global_max": _keeps_both,
    "crop": _crop,
    **dict.fromkeys(("upsample", "upsample_by", "upsample_past"), _upsample),
    **dict.fromkeys(("linear_upsample", "linear_upsample_by"), _linear_upsample),
    **dict.fromkeys(("stretch", "corner_stretch"), _new),
    "tokens": _tokens,
    **dict.fromkeys(("as_map", "as_tokens"), _view),
    **dict.fromkeys(("similarity", "scores", "mix", "mix_scores"), _matrices),
    **dict.fromkeys(("attention_mask", "patch_attention_mask", "flat_attention_mask"), _mask),
    "flat_attention_bias": _bias,
}


def rule_of(operation: str) -> Rule:
    """The rule of an operation. Raises `CompileError` for one without."""
    if operation not in RULES:
        raise CompileError(Problem(f"it is not known what the operation {operation!r} keeps"))
    return RULES[operation]
