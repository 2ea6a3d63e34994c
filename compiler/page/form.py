"""What the page's form is made of: targets, encoders, options, and the values of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import __version__
from ..catalog import ENCODERS
from ..model import Encoder, Model, Segmentor
from ..nnunet.asked import OF_NAMES, PLANNED, QUESTIONS
from ..operations import ACTIVATIONS
from ..option import Option
from ..options import OPTIONS
from ..passes.cost import OPTIMIZERS
from ..passes.tape import PRECISIONS
from ..segmentors import SEGMENTORS
from ..targets import TARGETS

SETTINGS: tuple[dict[str, Any], ...] = (  # of a run, and the panels that ask for them
    {"name": "memory", "usual": "24GiB", "choices": [], "of": ["plan"]},
    {"name": "batch", "usual": "", "choices": [], "of": ["cost", "plan"]},
    {"name": "precision", "usual": "fp32", "choices": [*PRECISIONS], "of": ["cost", "plan"]},
    {"name": "optimizer", "usual": "adamw", "choices": [*OPTIMIZERS], "of": ["cost", "plan"]},
    {"name": "shape", "usual": "", "choices": [], "of": ["plan"]},
    {"name": "spacing", "usual": "", "choices": [], "of": ["plan"]},
)
MODEL = "model"  # the field of a name or a spec, which is not an option


def form() -> dict[str, object]:
    """The tables: a new target, encoder or option appears in the page by itself."""
    return {
        "version": __version__,
        "targets": [{"name": row.name, "title": row.title} for row in TARGETS.values()],
        "encoders": [
            {"name": e.name, "title": e.title, "family": e.family, "head": usual_head(e)}
            for e in ENCODERS.values()
        ],
        "segmentors": [{"name": name, "title": row.head.title} for name, row in SEGMENTORS.items()],
        "fields": [*map(_option, OPTIONS), *_questions()],
        "settings": SETTINGS,
    }


def _option(option: Option) -> dict[str, object]:
    activations = ACTIVATIONS if option.kind == "choice" else ()
    return {
        "name": option.name,
        "flag": option.flag,
        "kind": option.kind,
        "help": option.help,
        "choices": list(option.choices or activations),
        "of": list(option.of),
        "encoders": [],
    }


def _questions() -> Iterator[dict[str, object]]:
    """What plans one of nnU-Net's networks, which only these encoders take."""
    for question in QUESTIONS:
        if question.name in OF_NAMES:
            yield {
                "name": question.name,
                "flag": question.flag,
                "kind": "text",
                "help": question.help,
                "choices": [],
                "of": [],
                "encoders": list(PLANNED),
            }


def usual_head(encoder: Encoder) -> str:
    """The head that an encoder has without a segmentor, as `Option.of` names it."""
    return "nnunet" if encoder.family == "nnunet" else "classifier"


def values(model: Model) -> dict[str, str]:
    """What each option comes to in a model, as people type it: a field shows it until it is used.

    Left out are those of other heads, and those that a name says in another form.
    """
    found: dict[str, str] = {}
    for option in OPTIONS:
        value = _value(option, model)
        if value is not None and not isinstance(value, bool) and option.kind != "axes":
            found[option.name] = option.typed(value)
    return found


def _value(option: Option, model: Model) -> object:
    if option.of and option.field:
        return getattr(model.head, option.field, None)
    if option.name == "segmentor":
        return model.head.name if isinstance(model.head, Segmentor) else None
    if option.name.startswith("se_"):
        return getattr(model.encoder.se, option.name.removeprefix("se_"), None)
    owners = (model, model.encoder, model.head)
    return next((getattr(o, option.name) for o in owners if hasattr(o, option.name)), None)
