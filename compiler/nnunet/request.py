"""What is asked of nnU-Net -> the encoder and the options of a model, as a spec gives them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from ..errors import CompileError, CompileWarning, Problem, raise_all, shown
from ..model import Encoder
from ..options import BY_NAME, DEFAULT_SHAPE
from ..passes.values import parse
from ..spec.loading import overridden
from .architecture import Architecture
from .asked import OF_NAMES, OF_PLANS, PLANNED, Asked
from .encoders import encoder_of, options_of
from .planner import planned
from .sources import Channels, describe

Request: TypeAlias = tuple[Encoder, dict[str, object]]


def of_path(path: str, asked: Asked, given: Mapping[str, object]) -> Request:
    """The request of plans, of a checkpoint or of a folder of results. Raises `CompileError`.

    `given` are options that replace those of the plans. Warns (`CompileWarning`) about a trainer
    that may have trained another network.
    """
    if "\0" in path:
        raise CompileError(Problem(f"{shown(path)} is not the path of a file"))
    raise_all(
        asked.unused(OF_NAMES, f"plans a network by name, but {os.path.basename(path)} is one")
    )
    found = describe(Path(path), asked, Channels(*_channels(given)))
    for message in found.warnings:
        warnings.warn(f"{path}: {message}", CompileWarning, stacklevel=2)
    return _request(found.architecture, found.patch_size, given)


def of_name(encoder: Encoder | None, asked: Asked, given: Mapping[str, object]) -> Request | None:
    """The request of a network that the planner's rules choose; None if none was asked for."""
    raise_all(asked.unused(OF_PLANS, "is for a plans file of nnU-Net, which the model is not"))
    if encoder is None or not (asked.patch_size or asked.spacing):
        return None
    if encoder.custom or encoder.name not in PLANNED:
        raise_all(asked.unused(OF_NAMES, f"is for {' and '.join(PLANNED)}, not {encoder.name}"))
    patch = asked.patch_size or _sizes(asked, given)
    spacing = asked.spacing or (1.0,) * len(patch)
    entering, classes = _channels(given)
    entering = entering or DEFAULT_SHAPE[len(patch)][-1]
    made = planned(PLANNED[encoder.name], patch, spacing, entering, classes or 1)
    return _request(made, patch, given)


def _request(made: Architecture, sizes: tuple[int, ...], given: Mapping[str, object]) -> Request:
    own = options_of(made, sizes, deep_supervision=bool(given.get("deep_supervision")))
    return encoder_of(made), overridden(own, given)


def _channels(given: Mapping[str, object]) -> tuple[int | None, int | None]:
    """Channels of the image and classes, as far as they were given."""
    entering, classes = (_number(given, name) for name in ("in_channels", "num_classes"))
    shape = _shape(given)
    return (shape[-1] if shape and entering is None else entering), classes


def _number(given: Mapping[str, object], name: str) -> int | None:
    value = given.get(name)
    return None if value is None else int(str(parse(BY_NAME[name], value)))


def _shape(given: Mapping[str, object]) -> tuple[int, ...]:
    value = given.get("input_shape")
    found = () if value is None else parse(BY_NAME["input_shape"], value)
    return found if isinstance(found, tuple) else ()


def _sizes(asked: Asked, given: Mapping[str, object]) -> tuple[int, ...]:
    """The patch of a network that is only told its spacing: the image, or the usual one."""
    return _shape(given)[:-1] or DEFAULT_SHAPE[len(asked.spacing)][:-1]
