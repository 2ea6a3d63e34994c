"""The encoder's part of `validate`: the dialect, gates, norm and activation asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..dialects import dialects_of
from ..errors import CompileError, Problem
from ..model import Encoder, Model
from ..options import BY_NAME
from ..parts import SqueezeExcite
from .values import parse


def with_dialect(
    encoder: Encoder | None, given: Mapping[str, object], problems: list[Problem]
) -> Encoder | None:
    """The encoder in the dialect that was asked for, if it exists there."""
    if not encoder:
        return None
    asked = str(given.get("dialect", encoder.dialect))
    known = dialects_of(encoder)
    if asked not in known:
        problems.append(
            Problem(
                f"{encoder.name} does not exist in the dialect {asked}",
                hint=f"it exists in {', '.join(known)}",
                field="dialect",
            )
        )
        return encoder
    if asked != "medicai" and encoder.se and encoder.se.own:
        field = "se_position" if encoder.se.position else "se_divisor"
        problems.append(
            Problem(
                f"the dialect {asked} says where the gate stands and how its width is rounded, but"
                f" {field} is given",
                hint="leave out one of the two",
                field=field,
            )
        )
    return replace(encoder, dialect=asked)


def with_squeeze_excite(
    encoder: Encoder | None, given: dict[str, object], problems: list[Problem]
) -> Encoder | None:
    """The encoder with its SE options."""
    asked: dict[str, Any] = {
        field: given[name]
        for name, field in (("se_ratio", "ratio"), ("se_activation", "activation"))
        if name in given
    }
    if not encoder or not asked:
        return encoder
    if encoder.se or encoder.units:
        return replace(encoder, se=replace(encoder.se or SqueezeExcite(), **asked))
    flags = " and ".join(BY_NAME[name].flag for name in given if name.startswith("se_"))
    problems.append(
        Problem(
            f"{encoder.name} has no squeeze-and-excitation gates, so it takes no {flags}",
            hint="give se_ratio to custom_encoder()" if encoder.custom else f"use se{encoder.name}",
        )
    )
    return encoder


def with_norm_and_activation(
    encoder: Encoder | None, given: Mapping[str, object], problems: list[Problem]
) -> Encoder | None:
    """The encoder with the norm and activation that were asked for, or those it has already."""
    if not encoder:
        return None
    read = {}
    for name in ("norm", "activation"):
        try:
            read[name] = str(parse(BY_NAME[name], given.get(name, getattr(encoder, name))))
        except CompileError as error:  # of an encoder whose fields somebody has replaced
            problems += error.problems
    return replace(encoder, **read)  # type: ignore[arg-type]


def squeeze_problems(model: Model) -> list[Problem]:
    """A ratio larger than every width that it divides."""
    se = model.trunk.se
    widest = max(stage.channels for stage in model.trunk.stages)
    if not se or se.ratio <= widest:
        return []
    return [
        Problem(
            f"--se-ratio {se.ratio} is larger than any channel count of {model.encoder.name}:"
            " every gate would squeeze to one channel",
            hint=f"at most {widest}",
        )
    ]
