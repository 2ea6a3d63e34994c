"""The options `--strides` and `--kernels`: an encoder with other strides and kernels, per axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..axes import entry
from ..catalog import ENCODERS
from ..errors import Problem
from ..ir import Axes
from ..model import Encoder

Spelled = dict[str, tuple[Axes, ...]]


def with_axes(
    encoder: Encoder | None, given: Mapping[str, object], dims: int, problems: list[Problem]
) -> Encoder | None:
    """The encoder with the strides and kernels that the options ask for."""
    if not encoder:
        return None
    for name, change in (("strides", _with_strides), ("kernels", _with_kernels)):
        values = given.get(name)
        if isinstance(values, tuple):
            changed = change(encoder, values)
            if isinstance(changed, Problem):
                problems.append(changed)
            else:
                encoder = changed
                if name == "strides":
                    problems += pool_problems("--strides", encoder.stem.pool)
                else:
                    problems += even_problems("--kernels", values)
    found = rank_problems(encoder, dims)
    problems += found
    return None if found else encoder


def _with_strides(encoder: Encoder, values: tuple[Axes, ...]) -> Encoder | Problem:
    stages = len(encoder.depths)
    if encoder.units:
        wrong = _of_stages("--strides", encoder, values)
        return wrong or replace(encoder, strides=values)
    if len(values) == stages + 1:  # one for each level: the pool takes P2's, stage 0 none
        values = (*values[:2], 1, *values[2:])
    if len(values) != stages + 2:
        levels = ", ".join(encoder.levels)
        return Problem(
            f"--strides has {_entries(values)}, but {encoder.name} has {stages + 1} levels and"
            f" {stages} stages",
            hint=f"give {stages + 1}, for {levels}; or {stages + 2}, for the stem, its pool and"
            " each stage",
        )
    stem, pool, *strides = values
    stem_of = replace(encoder.stem, stride=stem, pool=pool)
    return replace(encoder, stem=stem_of, strides=tuple(strides))


def _with_kernels(encoder: Encoder, values: tuple[Axes, ...]) -> Encoder | Problem:
    stages = len(encoder.depths)
    if encoder.units:
        wrong = _of_stages("--kernels", encoder, values)
        windows = values[:1] * len(encoder.stem.filters)
        return wrong or replace(
            encoder, stem=replace(encoder.stem, kernels=windows), kernels=values
        )
    if len(values) != stages + 1:
        return Problem(
            f"--kernels has {_entries(values)}, but {encoder.name} has a stem and {stages} stages",
            hint=f"give {stages + 1}: the stem's, then one for each stage",
        )
    stem, *kernels = values
    stem_of = replace(encoder.stem, kernels=(stem,) * len(encoder.stem.filters))
    return replace(encoder, stem=stem_of, kernels=tuple(kernels))


def _of_stages(flag: str, encoder: Encoder, values: tuple[Axes, ...]) -> Problem | None:
    """The problem of too few or too many values for stages whose stem goes with the first."""
    stages = len(encoder.depths)
    if len(values) == stages:
        return None
    message = f"{flag} has {_entries(values)}, but {encoder.name} has {stages} stages"
    return Problem(message, hint=f"give {stages}: one for each stage")


def _entries(values: tuple[Axes, ...]) -> str:
    return f"{len(values)} entries" if len(values) > 1 else "1 entry"


def axes_options(encoder: Encoder) -> Spelled:
    """The options that give an encoder of the catalog its strides and kernels."""
    usual = ENCODERS[encoder.name]
    stem, options = encoder.stem, Spelled()
    if encoder.units:
        if encoder.strides != usual.strides:
            options["strides"] = encoder.strides
        if encoder.kernels != usual.kernels:
            options["kernels"] = encoder.kernels
        return options
    strides = (stem.stride, stem.pool, *encoder.strides)
    if strides != (usual.stem.stride, usual.stem.pool, *usual.strides):
        by_level = (*strides[:2], *strides[3:])
        options["strides"] = by_level if encoder.strides[0] == 1 else strides
    if (stem.kernels, encoder.kernels) != (usual.stem.kernels, usual.kernels):
        options["kernels"] = (stem.kernels[0], *encoder.kernels)
    return options


# -- what is wrong with them -----------------------------------------------------------------------


def even_problems(what: str, kernels: Sequence[Axes]) -> list[Problem]:
    """Problems of even kernels, which change the size when both sides have the same padding."""
    problems = []
    for i, kernel in enumerate(kernels):
        numbers = kernel if isinstance(kernel, tuple) else (kernel,)
        for k in dict.fromkeys(k for k in numbers if isinstance(k, int) and k % 2 == 0):
            message = f"{what} has {k}, which is even: it cannot be padded alike on both sides"
            hint = f"use {k - 1} or {k + 1}"
            problems.append(Problem(message, hint=hint, field=f"{what}[{i}]"))
    return problems


def pool_problems(what: str, pool: Axes) -> list[Problem]:
    """Problems of a pool that would skip voxels, since its window covers only three."""
    largest = max(pool) if isinstance(pool, tuple) else pool
    if not isinstance(largest, int) or largest <= 2:
        return []
    return [
        Problem(
            f"{what} has the stride {largest} for the stem's pool, which strides by 1 or 2",
            hint="stride over the rest in the stem or in stage 0",
        )
    ]


def rank_problems(encoder: Encoder, dims: int | None = None) -> list[Problem]:
    """Problems of kernels and strides whose number of axes is not `dims`, or is not the same."""
    stem = encoder.stem
    values = {"stem_stride": stem.stride, "stem_pool": stem.pool}
    values |= {f"stem_kernels[{i}]": kernel for i, kernel in enumerate(stem.kernels)}
    values |= {f"strides[{i}]": stride for i, stride in enumerate(encoder.strides)}
    values |= {f"kernels[{i}]": kernel for i, kernel in enumerate(encoder.kernels)}
    for field, value in values.items():
        if isinstance(value, tuple):
            if dims is None:
                dims = len(value)
            if len(value) != dims:
                return [
                    Problem(
                        f"{entry(value)} has {len(value)} axes, but the network is {dims}D",
                        hint=f"add --dims {len(value)}, or give one number for all axes",
                        field=field,
                    )
                ]
    return []
