"""What a person asked for -> Model; or every problem in it at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..axes import spread, times
from ..catalog import ENCODERS, in_options_only
from ..dialect import DIALECTS
from ..errors import CompileError, Problem, counted, raise_all, shown, suggest
from ..limits import CHANNELS, VOXELS
from ..model import Encoder, Model
from ..names import FilePath, find_model, plans_path, spec_path
from ..nnunet.asked import OF_NAMES, OF_PLANS, Asked, asked
from ..options import BY_NAME, DEFAULT_SHAPE, RANKS
from .axes import with_axes
from .choices import (
    squeeze_problems,
    with_dialect,
    with_norm_and_activation,
    with_squeeze_excite,
)
from .custom import custom_arguments, make_encoder
from .heads import resolve_head, usual_init
from .values import parse

FEW, MANY = 4, 16  # channels of an image, and what is more likely its size


def resolve(
    encoder: FilePath | Encoder,
    options: Mapping[str, object],
    found_so_far: Iterable[Problem] = (),
) -> Model:
    """The model that a name (or a custom encoder, a spec, nnU-Net's plans) and options describe.

    Values may be what Python has (3, (96, 96, 96, 4)) or what a person typed ("3", "96,96,96,4");
    None is an option that was not given. A name may end with a segmentor's. Options replace those
    of a spec. Raises one `CompileError` with every problem, those `found_so_far` first.
    """
    problems = list(found_so_far)
    told, options = asked(options, problems)
    plans = plans_path(encoder)
    if plans is not None:
        return _resolve_plans(plans, told, options, problems)
    path = spec_path(encoder)
    if path is not None:
        problems += told.unused((*OF_PLANS, *OF_NAMES), "says nothing of a spec")
        return _resolve_spec(path, options, problems)
    found, segmentor = _encoder(encoder, problems)
    if told != Asked():
        found, options = _planned(found, told, options, problems)
    return _resolve(found, options, problems, segmentor, shown(encoder))


def _resolve_plans(
    path: str, told: Asked, options: Mapping[str, object], problems: list[Problem]
) -> Model:
    """The model of plans, a checkpoint or a folder of nnU-Net's results."""
    from ..nnunet.request import of_path

    try:
        found, given = of_path(path, told, options)
    except CompileError as error:
        raise CompileError(*problems, *error.problems) from None
    return _resolve(found, given, problems)


def _planned(
    found: Encoder | None, told: Asked, options: Mapping[str, object], problems: list[Problem]
) -> tuple[Encoder | None, Mapping[str, object]]:
    """The encoder and its options as nnU-Net's planner chooses them, if one was asked for it."""
    from ..nnunet.request import of_name

    try:
        return of_name(found, told, options) or (found, options)
    except CompileError as error:
        problems += error.problems
        return found, options


def _resolve_spec(path: str, options: Mapping[str, object], problems: list[Problem]) -> Model:
    from ..spec.loading import load  # which imports what a name does not need

    try:
        spec = load(path)
    except CompileError as error:
        raise CompileError(*problems, *error.problems) from None
    try:
        found = [*problems, *spec.problems]
        return _resolve(spec.encoder, spec.with_options(options), found)
    except CompileError as error:
        raise_all(spec.placed(problem, options) for problem in error.problems)
        raise


def _resolve(
    found: Encoder | None,
    options: Mapping[str, object],
    problems: list[Problem],
    segmentor: str | None = None,
    name: str = "",
) -> Model:
    given = _given(options, problems)
    unknown = options.get("segmentor") is not None and "segmentor" not in given
    if segmentor and not unknown:
        asked = given.setdefault("segmentor", segmentor)
        if asked != segmentor:
            problems.append(
                Problem(
                    f"{name} names the segmentor {segmentor}, but --segmentor is {asked}",
                    hint="give one of the two",
                )
            )
    if found and found.family == "nnunet" and not {"segmentor", "features_only"} & given.keys():
        given["segmentor"] = "nnunet"
    before = len(problems)
    dims, shape = _input(given, problems, rank_is_free="dims" not in given)
    sizes = shape[:-1] if len(problems) == before else ()
    made = with_dialect(with_squeeze_excite(found, given, problems), given, problems)
    made = with_axes(made, given, dims, problems)
    made = with_norm_and_activation(made, given, problems)
    if made:
        problems += _pool_problems(made, sizes)
    head = resolve_head(given, dims, sizes, made, problems, unknown_segmentor=unknown)
    model = Model(
        made or Encoder("", "", "", "", "basic", ()),
        head,
        dims,
        shape,
        include_rescaling="include_rescaling" in given,
        compat=str(given.get("compat", "")),
        drop_path=float(str(given.get("drop_path", 0.0))),
        memory=(
            "least" if "checkpointing" in given else str(given.get("training_memory", "standard"))
        ),
        init=str(given.get("init", usual_init(head))),
        deploy="deploy" in given,
        fuse=str(given.get("fuse", "")),
    )
    if model.fuse and not model.deploy:
        problems.append(
            Problem("--fuse is for inference files", hint="add --deploy, or leave it out")
        )
    if "checkpointing" in given and given.get("training_memory") == "lean":
        problems.append(
            Problem(
                "--checkpointing does not go with --training-memory lean",
                hint="--checkpointing keeps less; --training-memory lean takes less time",
            )
        )
    if made and not problems:
        problems += _size_problems(model)
    if made and not problems:
        problems += squeeze_problems(model) + _depth_problems(model)
    raise_all(problems)
    return model


def _given(options: Mapping[str, object], problems: list[Problem]) -> dict[str, object]:
    """The options that were given, by name, their values read."""
    given: dict[str, object] = {}
    for name, value in options.items():
        if name not in BY_NAME:
            problems.append(Problem(f"unknown option {shown(name)}.{suggest(name, BY_NAME)}"))
        elif value is not None and (value is not False or BY_NAME[name].kind != "flag"):
            try:
                given[name] = parse(BY_NAME[name], value)
            except CompileError as error:
                problems += error.problems
    return given


def _encoder(encoder: object, problems: list[Problem]) -> tuple[Encoder | None, str | None]:
    """The encoder, and the segmentor that its name ends with."""
    if isinstance(encoder, Encoder):
        return _made(encoder, problems), None
    if not isinstance(encoder, str):
        problems.append(
            Problem(
                f"{shown(encoder)} is not an encoder",
                hint="a name, or what custom_encoder() returned",
            )
        )
        return None, None
    try:
        return find_model(str.__str__(encoder))
    except CompileError as error:
        problems += error.problems
        return None, None


def _made(encoder: Encoder, problems: list[Problem]) -> Encoder | None:
    """An encoder that somebody holds, read again: its fields may have been replaced."""
    if not encoder.custom:
        known = ENCODERS.get(encoder.name) if isinstance(encoder.name, str) else None
        if known and in_options_only(known, encoder):
            return encoder
        problems.append(Problem("the encoder is not in the catalog", hint="use custom_encoder()"))
        return None
    made, found = make_encoder(name=encoder.name, **custom_arguments(encoder))
    problems += found
    if not made:
        return None
    options = {name: getattr(encoder, name) for name in ("dialect", "norm", "activation")}
    return replace(made, **options)


def _input(
    given: dict[str, object], problems: list[Problem], rank_is_free: bool
) -> tuple[int, tuple[int, ...]]:
    """Dimensions and input shape, each from the other where only one is given."""
    shape = given.get("input_shape")
    channels = given.get("in_channels")
    asked = given.get("dims")
    dims = int(str(asked)) if asked else 2
    if not isinstance(shape, tuple):
        if "channels_last" in given:
            hint = "add --input-shape, or leave it out"
            problems.append(Problem("--channels-last says how to read --input-shape", hint=hint))
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
                f"--input-shape {typed} has {counted(len(shape), 'number')}, but a {dims}D network"
                f" takes {dims} sizes plus channels",
                hint=f"as in {','.join(map(str, DEFAULT_SHAPE[dims]))}",
            )
        )
    said = "channels_last" in given or channels == shape[-1]
    if rank == dims and looks_channels_first(shape) and not said:
        problems.append(_two_readings(shape, typed))
    elif isinstance(channels, int) and channels != shape[-1]:
        problems.append(
            Problem(
                f"--input-shape {typed} has {counted(shape[-1], 'channel')}, but --in-channels"
                f" is {channels}",
                hint="the last number of --input-shape is the channels; give one of the two",
            )
        )
    problems += CHANNELS.problems("the last number of --input-shape", shape[-1])
    problems += VOXELS.problems("the product of the sizes of --input-shape", math.prod(shape[:-1]))
    return dims, shape


def looks_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a shape is more likely that of an image with its channels first."""
    return len(shape) > 2 and shape[0] <= FEW and shape[-1] >= MANY


def _two_readings(shape: tuple[int, ...], typed: str) -> Problem:
    moved = (*shape[1:], shape[0])
    last, first = (
        f"{' x '.join(map(str, sizes[:-1]))} with {counted(sizes[-1], 'channel')}"
        for sizes in (shape, moved)
    )
    return Problem(
        f"--input-shape {typed} has two readings: channels last, an image of {last}; or channels"
        f" first, an image of {first}",
        hint=f"--input-shape {','.join(map(str, moved))} for the second reading; add"
        " --channels-last for the first",
    )


def _pool_problems(encoder: Encoder, sizes: tuple[int, ...]) -> list[Problem]:
    """Cadene's stem pools without padding: from one value it would make none."""
    if not DIALECTS[encoder.dialect].ceil_pool or not sizes:
        return []
    stem = encoder.stem
    axes = zip(sizes, spread(stem.stride, len(sizes)), spread(stem.pool, len(sizes)), strict=True)
    for size, stride, pool in axes:
        if pool == 2 and size <= stride:
            return [
                Problem(
                    f"--input-shape has the size {size}, which leaves P1 a single value: the pool"
                    " of the dialect cadene needs two",
                    hint=f"use {stride + 1} or more",
                )
            ]
    return []


def _size_problems(model: Model) -> list[Problem]:
    """Sizes that the strides do not divide, where they have to."""
    by, sizes = model.multiples, model.input_shape[:-1]
    if not by or not any(size % n for size, n in zip(sizes, by, strict=True)):
        return []
    nearest = tuple(-(-size // n) * n for size, n in zip(sizes, by))
    shape = ",".join(map(str, (*nearest, model.in_channels)))
    return [
        Problem(
            f"--input-shape has the sizes {times(sizes, model.dims)}, but those of"
            f" {model.encoder.name} must be multiples of {times(by, model.dims)}",
            hint=f"pad the image: --input-shape {shape}",
        )
    ]


def _depth_problems(model: Model) -> list[Problem]:
    """Stochastic depth that grows from the first block to the last, where the two are one."""
    if not model.drop_path or sum(model.trunk.depths) > 1:
        return []
    return [
        Problem(
            f"--drop-path {model.drop_path} drops nothing: {model.encoder.name} has a single"
            " residual block, and the rate of the first one is 0",
            hint="leave it out",
        )
    ]
