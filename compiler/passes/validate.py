"""What a person asked for -> Model; or every problem in it at once."""

from __future__ import annotations

import contextlib
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler.blocks import ACTIVATIONS, PROJECTION, RESIDUAL_BLOCKS, SQUEEZE_EXCITE
from compiler.catalog import find_encoder
from compiler.errors import CompileError, Problem, raise_all, suggest
from compiler.model import Encoder, Model
from compiler.options import BY_NAME, DEFAULT_SHAPE, RANKS, TARGETS, Option
from compiler.passes.heads import resolve_head

BLOCK_KINDS = ("basic", "bottleneck", "bottleneck_vd")
LARGEST = 2**31 - 1  # beyond it no framework counts
DEEPEST = 1000
# What a file defines or imports beside the model, and a model can therefore not be called.
TAKEN = {"Encoder", "F", "GROUPS", "STAGES", "Tensor", PROJECTION.name, SQUEEZE_EXCITE.name} | {
    block.name for block, _ in RESIDUAL_BLOCKS.values()
}


def resolve(
    encoder: str | Encoder, options: Mapping[str, object], found_so_far: Iterable[Problem] = ()
) -> Model:
    """The model that a name (or an own encoder) and options describe.

    Values may be what Python has (3, (96, 96, 96, 4)) or what a person typed ("3", "96,96,96,4");
    None is an option that was not given. Raises one `CompileError` with every problem, those
    `found_so_far` first.
    """
    problems = list(found_so_far)
    found = _encoder(encoder, problems)
    given = {}
    for name, value in options.items():
        if name not in BY_NAME:
            problems.append(Problem(f"unknown option {name!r}.{suggest(name, BY_NAME)}"))
        elif value is not None and (value is not False or BY_NAME[name].kind != "flag"):
            try:
                given[name] = parse(BY_NAME[name], value)
            except CompileError as error:
                problems += error.problems
    dims, shape = _input(given, problems, rank_is_free="dims" not in given)
    encoder = _with_squeeze_excite(found, given, problems)
    unknown = options.get("segmentor") is not None and "segmentor" not in given
    head = resolve_head(given, dims, found, problems, unknown_segmentor=unknown)
    raise_all(problems)
    return Model(
        encoder,
        head,
        dims,
        shape,
        include_rescaling="include_rescaling" in given,
        compat=str(given.get("compat", "")),
    )


def validate_target(target: object) -> list[Problem]:
    """No problem, or the one that the target has."""
    if target is None:
        return [Problem("--target is missing", hint=f"one of {', '.join(TARGETS)}")]
    return [] if target in TARGETS else [_not_one_of("--target", target, TARGETS)]


def parse(option: Option, value: object) -> object:
    """The value of one option, from Python or from text. Raises `CompileError`."""
    match option.kind:
        case "count":
            return _count(option.flag, _number(value))
        case "shape" | "counts":
            items = value.split(",") if isinstance(value, str) else value
            if not isinstance(items, Sequence) or not items:
                wanted = "sizes and channels" if option.kind == "shape" else "one number per stage"
                raise CompileError(Problem(f"{option.flag} is {value!r}: {wanted} wanted"))
            numbers = tuple(map(_number, items))
            raise_all(_count_problems(option.flag, numbers))
            return numbers
        case "flag":
            if value is not True:
                raise CompileError(
                    Problem(f"{option.flag} is {value!r}", hint="it is True or False")
                )
            return True
    choices = option.choices or ACTIVATIONS
    text = str(value).strip().lower()
    if text not in choices:
        raise CompileError(_not_one_of(option.flag, value, choices))
    return text


def _number(value: object) -> object:
    """The number that a text spells; what is none is left for `_count` to name."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        with contextlib.suppress(ValueError):  # thousands of digits
            return int(value)
    return value


def _count(what: str, value: object, largest: int = LARGEST) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CompileError(Problem(f"{what} has {value!r}, which is not a whole number"))
    if not 1 <= value <= largest:
        limit = "below 1" if value < 1 else f"above {largest:,}"
        shown = f"{value}, which is" if abs(value) < 10**20 else "a number"
        raise CompileError(Problem(f"{what} has {shown} {limit}"))
    return value


def _not_one_of(what: str, value: object, choices: Iterable[str]) -> Problem:
    names = tuple(choices)
    return Problem(
        f"{what} is {value!r}.{suggest(str(value), names)}", hint=f"one of {', '.join(names)}"
    )


def _encoder(encoder: str | Encoder, problems: list[Problem]) -> Encoder | None:
    if isinstance(encoder, Encoder):
        return encoder
    if not isinstance(encoder, str):
        problems.append(
            Problem(f"{encoder!r} is no encoder", hint="a name, or what custom_encoder() returned")
        )
        return None
    try:
        return find_encoder(encoder)
    except CompileError as error:
        problems += error.problems
        return None


def _input(
    given: dict[str, object], problems: list[Problem], rank_is_free: bool
) -> tuple[int, tuple[int, ...]]:
    """Dimensions and input shape, each from the other where only one is given."""
    shape = given.get("input_shape")
    channels = given.get("in_channels")
    asked = given.get("dims")
    dims = int(str(asked)) if asked else 2
    if not isinstance(shape, tuple):
        shape = DEFAULT_SHAPE[dims]
        if isinstance(channels, int):
            shape = (*shape[:-1], channels)
        return dims, shape
    rank = len(shape) - 1
    typed = ",".join(map(str, shape))
    if rank_is_free and rank in RANKS:
        dims = rank
    elif rank != dims:
        problems.append(
            Problem(
                f"--input-shape {typed} has {max(rank, 0)} sizes and the channels, but a {dims}D"
                f" network takes {dims}",
                hint=f"as in {','.join(map(str, DEFAULT_SHAPE[dims]))}",
            )
        )
    if isinstance(channels, int) and channels != shape[-1]:
        problems.append(
            Problem(
                f"--input-shape {typed} has {shape[-1]} channels, but --in-channels is {channels}",
                hint="the last number of --input-shape is the channels; give one of the two",
            )
        )
    return dims, shape


def _with_squeeze_excite(
    encoder: Encoder | None, given: dict[str, object], problems: list[Problem]
) -> Encoder:
    """The encoder with its SE options. The stand-in for an unknown one is never used."""
    asked: dict[str, Any] = {
        field: given[name]
        for name, field in (("se_ratio", "ratio"), ("se_activation", "activation"))
        if name in given
    }
    if encoder is None:
        return Encoder("", "", "", "", "basic", ())
    if asked and encoder.se is None:
        problems.append(
            Problem(
                f"{encoder.name} has no squeeze-and-excitation to set an option of",
                hint="" if encoder.custom else f"use se{encoder.name}",
            )
        )
    elif asked and encoder.se:
        return replace(encoder, se=replace(encoder.se, **asked))
    return encoder


def validate_encoder(encoder: Encoder) -> list[Problem]:
    """Every problem of an encoder that somebody described by hand."""
    problems: list[Problem] = []

    def counts(fields: Mapping[str, object]) -> bool:
        before = len(problems)
        for field, values in fields.items():
            problems.extend(_count_problems(field, values))
        return len(problems) == before

    problems += _name_problems(encoder)
    if encoder.block not in BLOCK_KINDS:
        problems.append(_not_one_of("block", encoder.block, BLOCK_KINDS))
    fields = {"blocks": encoder.depths, "filters": encoder.filters, "strides": encoder.strides}
    if counts(fields):
        problems += _same_length(fields)
        problems += _count_problems("blocks", encoder.depths, DEEPEST)
    fields = {"stem_filters": encoder.stem.filters, "stem_kernels": encoder.stem.kernels}
    if counts(fields):
        problems += _same_length(fields)
        for kernel in encoder.stem.kernels:
            if kernel % 2 == 0:
                problems.append(
                    Problem(
                        f"stem_kernels has {kernel}, which is even: it cannot be padded alike on"
                        " both sides",
                        hint=f"use {kernel - 1} or {kernel + 1}",
                    )
                )
    if not isinstance(encoder.pre_activation, bool):
        problems.append(
            Problem(f"pre_activation is {encoder.pre_activation!r}", hint="it is True or False")
        )
    counts({"groups": (encoder.groups,), "width_per_group": (encoder.width_per_group,)})
    if encoder.se:
        counts({"se_ratio": (encoder.se.ratio,)})
        if encoder.se.activation not in ACTIVATIONS:
            problems.append(_not_one_of("se_activation", encoder.se.activation, ACTIVATIONS))
    return problems or _validate_widths(encoder)


def _name_problems(encoder: Encoder) -> list[Problem]:
    for name in (encoder.name, encoder.class_name):
        if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
            return [
                Problem(
                    f"name {encoder.name!r} cannot name a class",
                    hint="letters, digits and _, no digit first, as in my_resnext",
                )
            ]
    if encoder.class_name in TAKEN:
        return [
            Problem(
                f"name {encoder.name!r} is taken: the file has another {encoder.class_name}",
                hint="as in my_resnext",
            )
        ]
    return []


def _count_problems(field: str, values: object, largest: int = LARGEST) -> list[Problem]:
    if not isinstance(values, tuple) or not values:
        return [Problem(f"{field} is {values!r}", hint="a tuple of whole numbers")]
    problems: list[Problem] = []
    for value in values:
        try:
            _count(field, value, largest)
        except CompileError as error:
            problems += error.problems
    return problems


def _same_length(fields: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    if len({len(values) for values in fields.values()}) == 1:
        return []
    lengths = ", ".join(f"{field} has {len(values)}" for field, values in fields.items())
    return [Problem(f"{lengths}: one entry each is wanted")]


def _validate_widths(encoder: Encoder) -> list[Problem]:
    if encoder.block == "basic" and (encoder.groups, encoder.width_per_group) != (1, 64):
        return [
            Problem(
                f"a basic block has no groups: groups={encoder.groups},"
                f" width_per_group={encoder.width_per_group}",
                hint="use block='bottleneck', or leave both out",
            )
        ]
    return [
        Problem(
            f"width_per_group={encoder.width_per_group} leaves no channel in the {filters} filters"
            f" of stage {s}",
            at=f"filters[{s}]",
            hint=f"use {-(-64 // filters)} or more",
        )
        for s, (filters, stage) in enumerate(zip(encoder.filters, encoder.stages))
        if stage.width == 0
    ]
