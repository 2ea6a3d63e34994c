"""The head's part of `validate`: classifier, features or segmentor, and the options of each."""

from __future__ import annotations

from collections.abc import Mapping

from ..axes import entry
from ..errors import Problem
from ..model import Classifier, Encoder, Features, Head, Segmentor
from ..options import BY_NAME, DEFAULT_CLASSES, OPTIONS
from ..segmentors import segmentor_named


def resolve_head(
    given: Mapping[str, object],
    dims: int,
    sizes: tuple[int, ...],
    encoder: Encoder | None,
    problems: list[Problem],
    unknown_segmentor: bool = False,
) -> Head:
    """The head that the options describe; every problem of theirs is noted.

    `sizes` are those of the image, or () if they are wrong already. Nobody can say which options
    an unknown segmentor takes.
    """
    activation = str(given.get("classifier_activation", "none"))
    pooling = str(given.get("pooling", "none"))
    segmentor = given.get("segmentor")
    if not unknown_segmentor:
        problems += _not_taken(given, segmentor)
    classes = given.get("num_classes", 1 if segmentor else DEFAULT_CLASSES[dims])
    assert isinstance(classes, int)
    rate = given.get("dropout", 0.0)
    assert isinstance(rate, float)
    head: Head = Classifier(classes, activation, rate)
    if isinstance(segmentor, str):
        head = _segmentor(segmentor, classes, activation, given, dims, sizes, encoder, problems)
    if "features_only" in given:
        problems += _left_out(given)
        return Features(pooling)
    if activation == "softmax" and classes == 1:
        problems.append(
            Problem(
                "--classifier-activation softmax over one class is 1 everywhere, and trains"
                " nothing",
                hint="use --classifier-activation sigmoid, or --num-classes 2 or more",
            )
        )
    if pooling != "none":
        hint = "add --features-only; the classifier averages on its own"
        if segmentor:
            hint = "leave it out: a segmentor keeps the size of the image"
        problems.append(Problem(f"--pooling {pooling} is for a network without a head", hint=hint))
    return head


def usual_init(head: Head) -> str:
    """What a network's weights start from without an option."""
    return "nnunet" if isinstance(head, Segmentor) and head.exact else "pytorch"


def _left_out(given: Mapping[str, object]) -> list[Problem]:
    """Options of the head that `--features-only` leaves out."""
    problems = []
    if "segmentor" in given:
        problems.append(
            Problem(
                "--features-only leaves out the decoder that --segmentor"
                f" {given['segmentor']} asks for",
                hint="give one of the two; a segmentor has a pyramid too",
            )
        )
    for name in ("num_classes", "classifier_activation", "dropout"):
        if given.get(name, "none") != "none":
            problems.append(
                Problem(
                    f"{BY_NAME[name].flag} {given[name]} needs the head that --features-only"
                    " leaves out",
                    hint="give one of the two",
                )
            )
    return problems


def _not_taken(given: Mapping[str, object], segmentor: object) -> list[Problem]:
    """Options of one segmentor that were given to another, or to none."""
    problems = []
    for name in given:
        takers = BY_NAME[name].of
        if not takers or (segmentor or Classifier.name) in takers:
            continue
        flag = BY_NAME[name].flag
        if segmentor is None:
            hint = f"add --segmentor {' or '.join(takers)}"
            problems.append(Problem(f"{flag} is an option of segmentors only", hint=hint))
        else:
            taken = ", ".join(o.flag for o in OPTIONS if segmentor in o.of)
            problems.append(
                Problem(
                    f"{flag} is not an option of {segmentor}",
                    hint=f"it is one of {', '.join(takers)}; {segmentor} takes {taken}",
                )
            )
    return problems


def _segmentor(
    name: str,
    classes: int,
    activation: str,
    given: Mapping[str, object],
    dims: int,
    sizes: tuple[int, ...],
    encoder: Encoder | None,
    problems: list[Problem],
) -> Segmentor:
    definition = segmentor_named(name)
    taken = [option for option in OPTIONS if option.field and name in option.of]
    fields = {option.field: given[option.name] for option in taken if option.name in given}
    deepest = min(5, max(3, len(encoder.levels))) if encoder else 5
    if definition.head.exact and encoder:
        deepest = len(encoder.levels)
    fields["depth"] = int(str(fields.get("depth", deepest)))
    if encoder:
        for option in taken:
            if option.follows:
                fields.setdefault(option.field, getattr(encoder, option.follows))
    head = definition.head(classes, activation, **fields)  # type: ignore[arg-type]
    head = definition.adapted(head, str(given.get("compat", "")))
    problems += definition.problems(head, sizes, encoder)
    if encoder:
        problems += _encoder_problems(encoder, head, dims)
    return head


def _encoder_problems(encoder: Encoder, head: Segmentor, dims: int) -> list[Problem]:
    levels = len(encoder.levels)
    if levels < head.depth:
        return [
            Problem(
                f"{encoder.name} ends at P{levels}, but {head.name} at depth {head.depth} needs"
                f" P1..P{head.depth}",
                hint=(
                    f"--encoder-depth {levels}"
                    if levels >= 3
                    else "add a stage: the smallest depth is 3"
                ),
                field="blocks",
            )
        ]
    return [] if head.exact else _step_problems(encoder, head, dims)


def _step_problems(encoder: Encoder, head: Segmentor, dims: int) -> list[Problem]:
    """Levels that are smaller than the one before by more than an upsampling makes up for."""
    first, *stages = (f"stage {i} of {encoder.name} makes" for i in range(len(encoder.depths)))
    parts = [first, *stages]
    if encoder.first_level == 2:
        pooled = f"the pool and stage 0 of {encoder.name} make"
        parts = [f"the stem of {encoder.name} makes", pooled, *stages]
    problems = []
    for level, step, part in zip(encoder.levels[: head.depth], encoder.steps(dims), parts):
        if max(step) > 2:
            shown = str(step[0]) if len(set(step)) == 1 else entry(step)
            whole = "the image" if level == "P1" else f"P{int(level[1:]) - 1}"
            problems.append(
                Problem(
                    f"{part} {level} {shown} times smaller than {whole}, but {head.name} upsamples"
                    " by 1 or 2 from level to level",
                    hint=f"use strides that make 1 or 2 of each axis, as 2 or {(1, 2, 2)[:dims]}",
                    field="stem_stride" if level == "P1" else f"strides[{int(level[1:]) - 2}]",
                )
            )
    return problems
