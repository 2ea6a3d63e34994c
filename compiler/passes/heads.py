"""The head's part of `validate`: classifier, features or segmentor, and the options each takes."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.errors import Problem
from compiler.model import (
    AttentionUNet,
    Classifier,
    Encoder,
    Features,
    Head,
    Segmentor,
    UNet,
    UNetPlusPlus,
)
from compiler.options import BY_NAME, DEFAULT_CLASSES, OPTIONS

SEGMENTOR_HEADS: dict[str, type[Segmentor]] = {
    head.name: head for head in (UNet, UNetPlusPlus, AttentionUNet)
}
# Option -> field of a segmentor. The fields' defaults are the options'.
FIELDS = {
    "encoder_depth": "depth",
    "decoder_filters": "decoder_filters",
    "decoder_block": "decoder_block",
    "decoder_normalization": "decoder_normalization",
    "decoder_activation": "decoder_activation",
}


def resolve_head(
    given: Mapping[str, object],
    dims: int,
    encoder: Encoder | None,
    problems: list[Problem],
    unknown_segmentor: bool = False,
) -> Head:
    """The head that the options describe, with every problem of theirs noted.

    Of an unknown segmentor nobody can say which options it takes.
    """
    activation = str(given.get("classifier_activation", "none"))
    pooling = str(given.get("pooling", "none"))
    segmentor = given.get("segmentor")
    if not unknown_segmentor:
        problems += _not_taken(given, segmentor)
    classes = given.get("num_classes", 1 if segmentor else DEFAULT_CLASSES[dims])
    assert isinstance(classes, int)
    head: Head = Classifier(classes, activation)
    if isinstance(segmentor, str):
        head = _segmentor(segmentor, classes, activation, given, encoder, problems)
    if "features_only" in given:
        if segmentor:
            problems.append(
                Problem(
                    f"--features-only leaves out the decoder that --segmentor {segmentor} asks for",
                    hint="give one of the two; a segmentor has its pyramid too",
                )
            )
        if activation != "none":
            problems.append(
                Problem(
                    f"--classifier-activation {activation} needs the head that --features-only"
                    " leaves out",
                    hint="give one of the two",
                )
            )
        return Features(pooling)
    if pooling != "none":
        hint = "add --features-only; the classifier averages on its own"
        if segmentor:
            hint = "leave it out: a segmentor keeps the image's size"
        problems.append(Problem(f"--pooling {pooling} is for a network without a head", hint=hint))
    return head


def _not_taken(given: Mapping[str, object], segmentor: object) -> list[Problem]:
    """Options of one segmentor that were given to another, or to none."""
    problems = []
    for name in given:
        takers = BY_NAME[name].of
        if not takers or segmentor in takers:
            continue
        flag = BY_NAME[name].flag
        if segmentor is None:
            hint = f"add --segmentor {' or '.join(takers)}"
            problems.append(Problem(f"{flag} is an option of segmentors", hint=hint))
        else:
            taken = ", ".join(o.flag for o in OPTIONS if segmentor in o.of)
            problems.append(
                Problem(f"{flag} is no option of {segmentor}", hint=f"{segmentor} takes {taken}")
            )
    return problems


def _segmentor(
    name: str,
    classes: int,
    activation: str,
    given: Mapping[str, object],
    encoder: Encoder | None,
    problems: list[Problem],
) -> Segmentor:
    options: dict[str, object] = {
        field: given[option] for option, field in FIELDS.items() if option in given
    }
    deepest = min(5, max(3, len(encoder.levels))) if encoder else 5
    options["depth"] = int(str(options.get("depth", deepest)))
    if name == "unet_plus_plus":
        options["by_level"] = given.get("compat") != "medicai"
    options = {field: options[field] for field in options if _has(name, field)}
    head = SEGMENTOR_HEADS[name](classes, activation, **options)  # type: ignore[arg-type]
    problems += _filter_problems(head)
    if encoder:
        problems += _encoder_problems(encoder, head)
    return head


def _has(segmentor: str, field: str) -> bool:
    return field in SEGMENTOR_HEADS[segmentor].__dataclass_fields__


def _filter_problems(head: Segmentor) -> list[Problem]:
    needed = head.depth - isinstance(head, UNetPlusPlus)
    reversed_rows = isinstance(head, UNetPlusPlus) and not head.by_level
    if len(head.decoder_filters) >= needed:
        return []
    typed = ",".join(map(str, head.decoder_filters))
    count = "1 entry" if "," not in typed else f"{len(head.decoder_filters)} entries"
    return [
        Problem(
            f"--decoder-filters {typed} has {count}, but {head.name} at depth {head.depth} has"
            f" {needed} stages",
            hint=f"one for each, {'the top row' if reversed_rows else 'deepest'} first",
        )
    ]


def _encoder_problems(encoder: Encoder, head: Segmentor) -> list[Problem]:
    levels = len(encoder.levels)
    if levels < head.depth:
        return [
            Problem(
                f"{encoder.name} ends at P{levels}, but {head.name} at depth {head.depth} needs"
                f" P1..P{head.depth}",
                hint=(
                    f"--encoder-depth {levels}"
                    if levels >= 3
                    else "add a stage: the least depth is 3"
                ),
            )
        ]
    strides = encoder.strides[: head.depth - 1]
    if strides == (1, *(2 for _ in strides[1:])):
        return []
    return [
        Problem(
            f"the strides {strides} of {encoder.name} do not halve each level, as a decoder"
            " that doubles them needs",
            hint=f"use {(1, *(2 for _ in strides[1:]))}: before the first stage the stem's pool"
            " halves",
        )
    ]
