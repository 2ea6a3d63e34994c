"""Model -> the options that make it of its encoder's name."""

from __future__ import annotations

from dataclasses import fields
from typing import assert_never

from .catalog import ENCODERS
from .model import Classifier, Encoder, Features, Model, Segmentor
from .options import DEFAULT_CLASSES, DEFAULT_SHAPE, OPTIONS
from .parts import OF_UNITS, SqueezeExcite
from .passes.axes import axes_options
from .passes.heads import usual_init
from .passes.validate import looks_channels_first


def spell_options(model: Model) -> dict[str, object]:
    """The options that make this model of its encoder's name, defaults left out but for dims."""
    options: dict[str, object] = {"dims": model.dims}
    default = DEFAULT_SHAPE[model.dims]
    if model.input_shape[:-1] != default[:-1]:
        options["input_shape"] = model.input_shape
        if looks_channels_first(model.input_shape):
            options["channels_last"] = True
    elif model.in_channels != default[-1]:
        options["in_channels"] = model.in_channels
    match model.head:
        case Classifier(num_classes=classes, activation=activation, dropout=dropout):
            if classes != DEFAULT_CLASSES[model.dims]:
                options["num_classes"] = classes
            if activation != "none":
                options["classifier_activation"] = activation
            if dropout:
                options["dropout"] = dropout
        case Features(pooling=pooling):
            options["features_only"] = True
            if pooling != "none":
                options["pooling"] = pooling
        case Segmentor():
            options |= _segmentor_options(model.head, model.encoder)
        case _:
            assert_never(model.head)
    if model.compat:
        options["compat"] = model.compat
    if model.include_rescaling:
        options["include_rescaling"] = True
    if model.encoder.dialect != _usual_dialect(model.encoder):
        options["dialect"] = model.encoder.dialect
    if not model.encoder.custom:  # which says its own
        options |= axes_options(model.encoder)
    if model.init != usual_init(model.head):
        options["init"] = model.init
    if model.drop_path:
        options["drop_path"] = model.drop_path
    if model.memory == "least":
        options["checkpointing"] = True
    elif model.memory != "standard":
        options["training_memory"] = model.memory
    if model.deploy:
        options["deploy"] = True
    if model.fuse:
        options["fuse"] = model.fuse
    usual_norm, usual_activation = _usual_units(model.encoder)
    if model.encoder.norm != usual_norm:
        options["norm"] = model.encoder.norm
    if model.encoder.activation != usual_activation:
        options["activation"] = model.encoder.activation
    se, usual = model.encoder.se, _usual_se(model.encoder)
    if se and not usual:
        options["se_ratio"] = se.ratio
        usual = SqueezeExcite(se.ratio)
    if se and usual and se.ratio != usual.ratio:
        options["se_ratio"] = se.ratio
    if se and usual and se.activation != usual.activation:
        options["se_activation"] = se.activation
    return options


def _segmentor_options(head: Segmentor, encoder: Encoder) -> dict[str, object]:
    options: dict[str, object] = {"segmentor": head.name}
    if head.num_classes != 1:
        options["num_classes"] = head.num_classes
    if head.activation != "none":
        options["classifier_activation"] = head.activation
    usual = {field.name: field.default for field in fields(head)}
    usual["depth"] = min(5, len(encoder.levels))
    for option in OPTIONS:
        if head.name in option.of and option.field:
            value = getattr(head, option.field)
            default = getattr(encoder, option.follows) if option.follows else usual[option.field]
            if value != default:
                options[option.name] = value
    return options


def _usual_dialect(encoder: Encoder) -> str:
    if encoder.custom:
        return OF_UNITS["dialect"] if encoder.units else "medicai"
    return ENCODERS[encoder.name].dialect


def _usual_units(encoder: Encoder) -> tuple[str, str]:
    """The norm and the activation that the encoder has without options."""
    return (OF_UNITS["norm"], OF_UNITS["activation"]) if encoder.units else ("batch", "relu")


def _usual_se(encoder: Encoder) -> SqueezeExcite | None:
    """What the encoder has without options: a custom one says its own."""
    return encoder.se if encoder.custom else ENCODERS[encoder.name].se
