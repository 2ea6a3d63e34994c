"""The Python API: what the command line does, as functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TypeVar, Unpack

from .drawing.theme import THEMES
from .errors import CompileError, CompileWarning, Problem, placed, raise_all, shown
from .keywords import ModelOptions
from .model import Encoder, Model
from .names import FilePath
from .passes.advice import advice
from .passes.count import macs, non_trainable, trainable
from .passes.custom import make_encoder
from .passes.lint import hints_of
from .passes.specialize import specialize
from .passes.trace import Ledger, trace
from .passes.validate import resolve
from .passes.values import choice, find_target


def emit(model: FilePath | Encoder, *, target: str, **options: Unpack[ModelOptions]) -> str:
    """Compile a network to the source of one standalone file.

    `model` is a name (`"seresnext50"`, `"seresnext50_unet"`), what `custom_encoder` returned, or
    the path of a spec (`"net.toml"`), whose values the options replace; `target` is `"torch"` or
    `"keras"`. Every option is optional: `dims` (2 or 3), `input_shape` (channels last, `(96, 96,
    96, 4)`), `in_channels`, `num_classes`, `norm` (`"batch"`, `"instance"`, `"group"`, `"layer"`)
    and `activation` of the encoder, `se_ratio`, `se_activation`, `features_only`, `pooling`
    (`"avg"` or `"max"`), `include_rescaling`, `classifier_activation` (`"none"`, `"sigmoid"`,
    `"softmax"`); `segmentor` (`"unet"`, `"unet_plus_plus"`, `"attention_unet"`, `"trans_unet"`,
    `"fpn"`, `"linknet"`), `encoder_depth` (3 to 5), and the options of each segmentor as `plainnet
    emit --help` lists them; `compat` (`"medicai"`);
    `strides`, one entry for each level (`((1, 2, 2), 2, 2, 2, 2)`: P1 has a half of the image's
    height and width) or for stem, pool and each stage; `kernels`, one for stem and each stage;
    `channels_last`, to say that a shape such as `(3, 64, 64)` does have its channels last. The same
    arguments always give the same text.

    Raises `CompileError` with every problem of the arguments, and warns (`CompileWarning`) about
    what is allowed but cannot train.
    """
    problems: list[Problem] = []
    name = find_target(target, problems)
    resolved = resolve(model, options, problems)
    warn(resolved)
    from .emitter import source

    return source(resolved, name)


def describe(
    model: FilePath | Encoder, *, target: str | None = None, **options: Unpack[ModelOptions]
) -> dict[str, object]:
    """Describe what the network does to a tensor, as `plainnet show --json` prints it.

    Takes the model and options of `emit`; the answer is the same for every target. Returns a dict
    with `model`, `title`, `dims`, `input_shape`, `parameters` (`trainable`, and `non_trainable`:
    moving statistics), `macs` (multiply-accumulates of one item, convolutions and dense layers),
    `pyramid` and `output` (shapes channels last, without the batch axis), `divisors` (how many
    times smaller than the image each level is, axis by axis), `decoder` (the shapes of a
    segmentor's stages), `dialect`, `compat` (the library whose behaviour it keeps, or None for
    ours), `notes` (the advice of `lint`), and `ledger`: a list of `path`, `kind`, `weights`
    (PyTorch's names and shapes, in its order), `output`, `macs`.

    Raises `CompileError` with every problem of the arguments.
    """
    problems: list[Problem] = []
    if target is not None:
        find_target(target, problems)
    resolved = resolve(model, options, problems)
    warn(resolved)
    return description(*traced(resolved))


def draw(
    model: FilePath | Encoder,
    *,
    compare: FilePath | Encoder | None = None,
    theme: str = "auto",
    thumbnail: bool = False,
    **options: Unpack[ModelOptions],
) -> str:
    """Draw the network as an SVG, and return its text.

    Takes the model and options of `emit`. Boxes are as high as their maps are large and as wide as
    they have channels; bars show the share of each step of the parameters and MACs. With `compare`,
    another model with the same options stands beside it, on the same scale. `theme` is `"light"`,
    `"dark"`, or `"auto"` for the one that the reader prefers. A `thumbnail` is small and names none
    of the boxes. Each box (`<g class="box">`) has
    `data-name`, `data-channels`, `data-size` and `data-path`: the paths in the ledger that it
    stands for, and those that begin with one of them and a dot.

    Raises `CompileError` with every problem of the arguments.
    """
    problems: list[Problem] = []
    chosen = find_theme(theme, problems)
    if thumbnail and compare is not None:
        problems.append(Problem("a thumbnail shows one model", hint="leave out compare"))
    models = resolve_all([model] if compare is None else [model, compare], options, problems)
    for resolved in models:
        warn(resolved)
    if thumbnail:
        from .drawing import gallery

        return gallery.thumbnail(models[0], chosen)
    from .drawing.picture import picture

    return picture(models, chosen)


def find_theme(theme: object, problems: list[Problem]) -> str:
    """The theme of a drawing, whatever its spelling; the problem is noted if there is none."""
    try:
        return choice("--theme", theme, THEMES)
    except CompileError as error:
        problems += error.problems
        return THEMES[0]


Given = TypeVar("Given", bound=FilePath | Encoder)


def resolve_all(
    models: Iterable[Given],
    options: Mapping[str, object],
    problems: Iterable[Problem] = (),
    find: Callable[[Given, Mapping[str, object]], Model] = resolve,
) -> list[Model]:
    """The models, with the same options. Raises `CompileError` with the problems of all of them.

    `find` is what resolves each of them. Where there are several, a problem says which has it.
    """
    found, noted, several = [], list(problems), [*models]
    for model in several:
        name = model.name if isinstance(model, Encoder) else shown(model)
        try:
            with placed(name) if len(several) > 1 else nullcontext():
                found.append(find(model, options))
        except CompileError as error:
            noted += error.problems
    raise_all(noted)
    return found


def warn(model: Model) -> None:
    for message in advice(model):
        warnings.warn(message, CompileWarning, stacklevel=3)


def traced(model: Model) -> tuple[Model, Ledger]:
    """The model with its ledger."""
    return model, trace(specialize(model))


def description(model: Model, ledger: Ledger) -> dict[str, object]:
    """The dict of `describe`."""
    return {
        "model": model.name,
        "title": model.title,
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
        "divisors": dict(zip(ledger.levels, map(list, model.divisors), strict=True)),
        "decoder": {stage: channels_last(shape) for stage, shape in ledger.decoder},
        "output": channels_last(ledger.output),
        "notes": [note.described() for note in hints_of(specialize(model), ledger)],
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
    strides: Sequence[int | Sequence[int]] = (1, 2, 2, 2),
    kernels: Sequence[int | Sequence[int]] | None = None,
    stem_filters: Sequence[int] | None = None,
    stem_kernels: Sequence[int | Sequence[int]] | None = None,
    stem_stride: int | Sequence[int] | None = None,
    stem_pool: int | Sequence[int] | None = None,
    pre_activation: bool = False,
    groups: int = 1,
    width_per_group: int = 64,
    se_ratio: int | None = None,
    se_activation: str = "relu",
    se_position: str | None = None,
    se_divisor: int | None = None,
    widths: Sequence[int] | None = None,
    channels: Sequence[int] | None = None,
    unit_bias: bool | None = None,
    unit_eps: float | None = None,
    unit_slope: float | None = None,
    unit_dropout: float | None = None,
    unit_activation_first: bool | None = None,
) -> Encoder:
    """Describe an encoder that is not in the catalog, for every function that takes a name.

    `blocks` is the depth of each stage, `filters` its filters (a bottleneck outputs four times as
    many channels), `strides` the stride of its first block, `kernels` the kernel of its 3x3
    convolutions (None: 3); each has one entry per stage. `block` is `"basic"` or `"bottleneck"`,
    with `_vd` for ResNet-D's pooled shortcut. `stem_filters` and `stem_kernels` describe the
    convolutions before the stages, the first of which has the stride `stem_stride`; a max-pool of
    stride `stem_pool` (1 or 2) follows, with a window of 3, or of 1 on axes that it does not stride
    over. By default, the stem is a 7x7 convolution of 64 filters that halves, as the pool does.
    Kernels are odd. A kernel or stride is one number, or one for each axis: `(1, 2, 2)`.
    `pre_activation` makes it a ResNet v2. `groups` is the cardinality and `width_per_group` the
    width of a group in stage 0 (ResNeXt, Table 1), for bottlenecks. With `se_ratio`, each block has
    a squeeze-and-excitation gate, `se_position` (`"before_norm"`, `"after_norm"`) the last norm of
    the block, its width rounded to a multiple of `se_divisor`; by default, both are those of the
    dialect. `widths` are those of a bottleneck's 3x3 convolutions and
    `channels` its outputs, stage by stage, where filters and groups do not determine them.

    nnU-Net's kinds of `block` are `"plain"`, a convolution, and `"basic_d"` and `"bottleneck_d"`,
    whose shortcuts average where they stride and project where the channels change. `filters` are
    the outputs of such a stage, `widths` those of the convolutions inside of a bottleneck. A plain
    encoder has no stem, the others by default one convolution without a stride; P1 is the output of
    stage 0. Norm and activation are by default instance norm and leaky ReLU. `unit_slope` is the
    negative slope of that (0.01) and `unit_eps` the epsilon of the norms (1e-5). Convolutions have
    a bias unless `unit_bias` is False. With `unit_dropout`, whole channels are dropped behind
    convolutions at this rate. With `unit_activation_first`, the activation of plain blocks precedes
    the norm.

    Raises `CompileError` with every problem of the arguments.
    """
    encoder, problems = make_encoder(
        name=name,
        blocks=blocks,
        block=block,
        filters=filters,
        strides=strides,
        kernels=kernels,
        stem_filters=stem_filters,
        stem_kernels=stem_kernels,
        stem_stride=stem_stride,
        stem_pool=stem_pool,
        pre_activation=pre_activation,
        groups=groups,
        width_per_group=width_per_group,
        se_ratio=se_ratio,
        se_activation=se_activation,
        se_position=se_position,
        se_divisor=se_divisor,
        widths=widths,
        channels=channels,
        unit_bias=unit_bias,
        unit_eps=unit_eps,
        unit_slope=unit_slope,
        unit_dropout=unit_dropout,
        unit_activation_first=unit_activation_first,
    )
    raise_all(problems)
    assert encoder is not None
    return encoder
