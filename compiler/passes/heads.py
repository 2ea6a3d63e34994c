"""The head's part of `validate`: classifier, features or segmentor, and the options of each."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Problem
from ..limits import HEADS
from ..model import Classifier, Encoder, Features, Head, Segmentor, TransUNet, UNetPlusPlus
from ..names import SEGMENTOR_HEADS
from ..options import BY_NAME, DEFAULT_CLASSES, OPTIONS

# Option -> field of a segmentor. The fields' defaults are the options'.
FIELDS = {
    "encoder_depth": "depth",
    "decoder_filters": "decoder_filters",
    "decoder_block": "decoder_block",
    "decoder_normalization": "decoder_normalization",
    "decoder_activation": "decoder_activation",
    "vit_layers": "vit_layers",
    "heads": "heads",
    "queries": "queries",
    "embed_dim": "embed_dim",
    "mlp_dim": "mlp_dim",
    "dropout": "dropout",
}


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
    head: Head = Classifier(classes, activation)
    if isinstance(segmentor, str):
        head = _segmentor(segmentor, classes, activation, given, encoder, problems)
    if isinstance(head, TransUNet):
        problems += _trans_unet_problems(head, sizes)
        if encoder and encoder.dialect == "cadene":
            problems += _odd_pool_problems(sizes)
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
    for name in ("num_classes", "classifier_activation"):
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
        if not takers or segmentor in takers:
            continue
        flag = BY_NAME[name].flag
        if segmentor is None:
            hint = f"add --segmentor {' or '.join(takers)}"
            problems.append(Problem(f"{flag} is an option of segmentors only", hint=hint))
        else:
            taken = ", ".join(o.flag for o in OPTIONS if segmentor in o.of)
            problems.append(
                Problem(
                    f"{flag} is not an option of {segmentor}", hint=f"{segmentor} takes {taken}"
                )
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
            hint=f"one for each stage, {'the top row' if reversed_rows else 'deepest'} first",
        )
    ]


def _trans_unet_problems(head: TransUNet, sizes: tuple[int, ...]) -> list[Problem]:
    problems = []
    if head.embed_dim % head.heads:
        near = [h for h in range(1, HEADS.largest + 1) if head.embed_dim % h == 0]
        best = min(near, key=lambda h: abs(h - head.heads))
        problems.append(
            Problem(
                f"--heads {head.heads} does not divide --embed-dim {head.embed_dim}",
                hint=f"use {best} heads",
            )
        )
    least = 2**head.depth
    if sizes and min(sizes) < least:
        problems.append(
            Problem(
                f"--input-shape has the size {min(sizes)}, but P{head.depth} is the image halved"
                f" {head.depth} times",
                hint=f"at least {least}, or a smaller --encoder-depth",
            )
        )
    return problems


def _odd_pool_problems(sizes: tuple[int, ...]) -> list[Problem]:
    """Cadene's pool rounds down: a token grid that doubles does not reach the edge of an odd P1."""
    return [
        Problem(
            f"--input-shape has the size {size}, which gives P1 an odd size: the pool of the"
            " dialect cadene rounds it down",
            hint=f"use {-(-size // 4) * 4}",
        )
        for size in sizes
        if -(-size // 2) % 2
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
                    else "add a stage: the smallest depth is 3"
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
            hint=f"use {(1, *(2 for _ in strides[1:]))}: the stem's pool halves before the first"
            " stage",
        )
    ]
