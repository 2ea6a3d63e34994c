"""The Python API: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import raise_all
from .model import Encoder, Model, SqueezeExcite, Stem
from .passes.count import macs, non_trainable, trainable
from .passes.custom import validate_encoder
from .passes.specialize import specialize
from .passes.trace import Ledger, trace
from .passes.validate import resolve, validate_target


def emit(model: str | Encoder, *, target: str, **options: object) -> str:
    """Source of one standalone file that holds the network, and nothing else.

    `model` is an encoder's name or what `custom_encoder` returned; `target` is `"torch"` or
    `"keras"`. Options, all of them optional: `dims` (2 or 3), `input_shape` (channels last,
    `(96, 96, 96, 4)`), `in_channels`, `num_classes`, `se_ratio`, `se_activation`,
    `features_only`, `pooling` (`"avg"` or `"max"`), `include_rescaling`, `classifier_activation`
    (`"none"`, `"sigmoid"`, `"softmax"`); `segmentor` (`"unet"`, `"unet_plus_plus"`,
    `"attention_unet"`, `"trans_unet"`), `encoder_depth` (3 to 5), and its own options as the
    command line's help lists them; `compat` (`"medicai"`). The text is the same for the same
    arguments, always.

    Raises `CompileError` with every problem of the arguments.
    """
    resolved = resolve(model, options, validate_target(target))
    from .emitter import source

    return source(resolved, target)


def describe(
    model: str | Encoder, *, target: str | None = None, **options: object
) -> dict[str, object]:
    """What the network does to a tensor, as `show --json` prints it.

    Takes the model and options of `emit`; the answer is the same for every target. Returns a dict
    with `model`, `title`, `dims`, `input_shape`, `parameters` (`trainable`, and `non_trainable`:
    moving statistics), `macs` (multiply-accumulates of one item, convolutions and dense layers),
    `pyramid` and `output` (shapes channels last, without the batch axis), `decoder` (the same of a
    segmentor's stages), `dialect`, `compat` (the library whose behaviour it keeps, or None for
    ours), and `ledger`: a list of `path`, `kind`, `weights` (PyTorch's names and shapes, in its
    order), `output`, `macs`.

    Raises `CompileError` with every problem of the arguments.
    """
    problems = validate_target(target) if target is not None else []
    return description(*traced(resolve(model, options, problems)))


def traced(model: Model) -> tuple[Model, Ledger]:
    """The model with its ledger."""
    return model, trace(specialize(model))


def description(model: Model, ledger: Ledger) -> dict[str, object]:
    """The dict of `describe`."""
    return {
        "model": model.name,
        "title": model.encoder.title,
        "dialect": model.encoder.dialect,
        "compat": model.compat or None,
        "dims": model.dims,
        "input_shape": list(model.input_shape),
        "parameters": {
            "trainable": trainable(ledger.rows),
            "non_trainable": non_trainable(ledger.rows),
        },
        "macs": macs(ledger.rows),
        "pyramid": {level: channels_last(shape) for level, shape in ledger.pyramid},
        "decoder": {stage: channels_last(shape) for stage, shape in ledger.decoder},
        "output": channels_last(ledger.output),
        "ledger": [
            {
                "path": row.path,
                "kind": row.kind,
                "weights": {name: list(shape) for name, shape in row.weights},
                "output": channels_last(row.output),
                "macs": row.macs,
            }
            for row in ledger.rows
        ],
    }


def channels_last(shape: tuple[int, ...]) -> list[int]:
    """(C, D, H, W) as [D, H, W, C]."""
    return [*shape[1:], shape[0]]


def custom_encoder(
    name: str,
    *,
    blocks: Sequence[int],
    block: str = "bottleneck",
    filters: Sequence[int] = (64, 128, 256, 512),
    strides: Sequence[int] = (1, 2, 2, 2),
    stem_filters: Sequence[int] = (64,),
    stem_kernels: Sequence[int] = (7,),
    pre_activation: bool = False,
    groups: int = 1,
    width_per_group: int = 64,
    se_ratio: int | None = None,
    se_activation: str = "relu",
) -> Encoder:
    """An encoder of your own, for `emit` and `describe` wherever they take a name.

    `blocks` is the depth of each stage, `filters` its filters (a bottleneck puts out four times as
    many), `strides` the stride of its first block; one entry each per stage. `block` is `"basic"`
    or `"bottleneck"`, with `_vd` for ResNet-D's pooled shortcut. `stem_filters` and
    `stem_kernels` describe the convolutions before the stages, the first of stride 2; kernels are
    odd. `pre_activation` makes it a ResNet v2. `groups` is the cardinality and `width_per_group`
    the width of a group in stage 0 (ResNeXt, Table 1), for bottlenecks. With `se_ratio`, each block
    has a squeeze-and-excitation gate.

    Raises `CompileError` with every problem of the arguments.
    """
    encoder = Encoder(
        name=str(name),
        class_name="".join(part[:1].upper() + part[1:] for part in str(name).split("_")),
        title=str(name),
        family="custom",
        block=block,
        depths=_tuple(blocks),
        filters=_tuple(filters),
        strides=_tuple(strides),
        stem=Stem(_tuple(stem_filters), _tuple(stem_kernels)),
        pre_activation=pre_activation,
        groups=groups,
        width_per_group=width_per_group,
        se=None if se_ratio is None else SqueezeExcite(se_ratio, se_activation),
        custom=True,
    )
    raise_all(validate_encoder(encoder))
    return encoder


def _tuple(values: Sequence[int]) -> tuple[int, ...]:
    """The values as a tuple; what is none is left for the validation to name."""
    return tuple(values) if isinstance(values, list | tuple) else values  # type: ignore[return-value]
