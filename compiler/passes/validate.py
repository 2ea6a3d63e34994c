"""What a person asked for -> Model; or every problem in it at once."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..blocks import ACTIVATIONS
from ..catalog import dialects_of, find_encoder
from ..errors import CompileError, Problem, raise_all, suggest
from ..model import Encoder, Model
from ..options import BY_NAME, DEFAULT_SHAPE, RANKS, TARGETS, Option
from .heads import resolve_head

LARGEST = 2**31 - 1  # beyond it no framework counts


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
    encoder = _with_dialect(_with_squeeze_excite(found, given, problems), given, problems)
    unknown = options.get("segmentor") is not None and "segmentor" not in given
    head = resolve_head(given, shape, found, problems, unknown_segmentor=unknown)
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
    return [] if target in TARGETS else [not_one_of("--target", target, TARGETS)]


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
            raise_all(count_problems(option.flag, numbers))
            return numbers
        case "share":
            return _share(option.flag, value)
        case "flag":
            if value is not True:
                raise CompileError(
                    Problem(f"{option.flag} is {value!r}", hint="it is True or False")
                )
            return True
    choices = option.choices or ACTIVATIONS
    text = str(value).strip().lower()
    if text not in choices:
        raise CompileError(not_one_of(option.flag, value, choices))
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


def _share(what: str, value: object) -> float:
    """A number from 0 up to, but not including, 1."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CompileError(Problem(f"{what} has {value!r}, which is not a number"))
    if not 0 <= value < 1:
        raise CompileError(Problem(f"{what} has {value}, which is not from 0 up to 1"))
    return float(value)


def not_one_of(what: str, value: object, choices: Iterable[str]) -> Problem:
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


def _with_dialect(
    encoder: Encoder, given: Mapping[str, object], problems: list[Problem]
) -> Encoder:
    """The encoder in the dialect that was asked for, where there is one of it."""
    asked = str(given.get("dialect", encoder.dialect))
    known = dialects_of(encoder)
    if asked not in known and encoder.name:
        problems.append(
            Problem(
                f"--dialect {asked} has no {encoder.name}",
                hint=f"{encoder.name} exists in {', '.join(known)}",
            )
        )
    return replace(encoder, dialect=asked)


def count_problems(field: str, values: object, largest: int = LARGEST) -> list[Problem]:
    if not isinstance(values, tuple) or not values:
        return [Problem(f"{field} is {values!r}", hint="a tuple of whole numbers")]
    problems: list[Problem] = []
    for value in values:
        try:
            _count(field, value, largest)
        except CompileError as error:
            problems += error.problems
    return problems
