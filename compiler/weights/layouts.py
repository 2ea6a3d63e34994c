"""How other libraries name the weights of these encoders: one table of patterns each.

A pattern is a path of ours and its name there; `{s}`, `{b}`, `{n}` are the stage, the block and the
layer's number, `{s1}` the stage counted from 1; in a decoder `{row}` and `{node}` are ours, and
`{stage}`, `{level}`, `{above}`, `{next}` and `{column}` theirs; `{word}` is the same word in both.
The first that fits the whole path counts. Weights
below a name are called as PyTorch does, but in Keras' files, where they are numbered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..errors import Problem, suggest
from ..model import Model, Segmentor, TransUNet, UNet, UNetPlusPlus

Table = tuple[tuple[str, str], ...]

_BLOCK = "encoder.stages.{s}.{b}."
_STAGES: Table = (
    (_BLOCK + "conv{n}", "layer{s1}.{b}.conv{n}"),
    (_BLOCK + "bn{n}", "layer{s1}.{b}.bn{n}"),
)
_SHORTCUT: Table = (
    (_BLOCK + "shortcut.conv", "layer{s1}.{b}.downsample.0"),
    (_BLOCK + "shortcut.bn", "layer{s1}.{b}.downsample.1"),
)
_POOLED_SHORTCUT: Table = (
    (_BLOCK + "shortcut.conv", "layer{s1}.{b}.downsample.1"),
    (_BLOCK + "shortcut.bn", "layer{s1}.{b}.downsample.2"),
)
_STEM: Table = (("encoder.conv1", "conv1"), ("encoder.bn1", "bn1"))
_DEEP_STEM: Table = (
    ("encoder.conv1", "conv1.0"),
    ("encoder.bn1", "conv1.1"),
    ("encoder.conv2", "conv1.3"),
    ("encoder.bn2", "conv1.4"),
    ("encoder.conv3", "conv1.6"),
    ("encoder.bn3", "bn1"),
)
_FC: Table = (("head", "fc"),)
_TIMM_SE: Table = ((_BLOCK + "se.conv{n}", "layer{s1}.{b}.se.fc{n}"),)
_CADENE: Table = (
    ("encoder.conv1", "layer0.conv1"),
    ("encoder.bn1", "layer0.bn1"),
    *_STAGES,
    *_SHORTCUT,
    (_BLOCK + "se.conv{n}", "layer{s1}.{b}.se_module.fc{n}"),
    ("head", "last_linear"),
)
_MONAI: Table = (
    ("encoder.conv1", "layer0.conv1"),
    ("encoder.bn1", "layer0.bn1"),
    (_BLOCK + "conv{n}", "layer{s1}.{b}.conv{n}.conv"),
    (_BLOCK + "bn{n}", "layer{s1}.{b}.conv{n}.adn.N"),
    (_BLOCK + "shortcut.conv", "layer{s1}.{b}.project.conv"),
    (_BLOCK + "shortcut.bn", "layer{s1}.{b}.project.adn.N"),
    (_BLOCK + "se.conv1", "layer{s1}.{b}.se_layer.fc.0"),
    (_BLOCK + "se.conv2", "layer{s1}.{b}.se_layer.fc.2"),
    ("head", "last_linear"),
)
_MEDICAI: Table = (
    ("encoder.conv{n}", "conv{n}_conv"),
    ("encoder.bn{n}", "conv{n}_bn"),
    (_BLOCK + "shortcut", "stack{s}_block{b}_0_conv"),
    (_BLOCK + "shortcut.conv", "stack{s}_block{b}_0_conv"),
    (_BLOCK + "shortcut.bn", "stack{s}_block{b}_0_bn"),
    (_BLOCK + "conv{n}", "stack{s}_block{b}_{n}_conv"),
    (_BLOCK + "se.conv{n}", "stack{s}_block{b}_squeeze_excitation/conv{n}"),
    ("post_bn", "post_bn"),
)
_MEDICAI_CLASSIFIER: Table = (("head", "predictions"),)
_MEDICAI_NORMS: Table = ((_BLOCK + "bn{n}", "stack{s}_block{b}_{n}_bn"),)
_MEDICAI_PRE_NORMS: Table = (
    (_BLOCK + "bn1", "stack{s}_block{b}_pre_activation_bn"),
    (_BLOCK + "bn2", "stack{s}_block{b}_1_bn"),
    (_BLOCK + "bn3", "stack{s}_block{b}_2_bn"),
)

_UP_ROW, _GATE_ROW, _ROW = "decoder.ups.{row}.", "decoder.gates.{row}.", "decoder.blocks.{row}."
_MEDICAI_UNET: Table = (
    (_GATE_ROW + "theta", "decoder_stage{stage}_attention_gate/theta_x"),
    (_GATE_ROW + "phi", "decoder_stage{stage}_attention_gate/phi_g"),
    (_GATE_ROW + "psi", "decoder_stage{stage}_attention_gate/psi"),
    (_ROW + "conv{n}", "decoder_stage{stage}_conv_{n}_conv"),
    (_ROW + "bn{n}", "decoder_stage{stage}_conv_{n}_norm"),
    (_UP_ROW + "conv", "decoder_stage{stage}_transpose_conv"),
    (_UP_ROW + "bn", "decoder_stage{stage}_norm"),
    (_ROW + "conv", "decoder_stage{stage}_conv_1_conv"),
    (_ROW + "bn", "decoder_stage{stage}_conv_1_norm"),
    ("head", "conv"),
)
_MEDICAI_UNET_PLUS_PLUS: Table = (
    (_ROW + "{node}.conv{n}", "x_{level}_{column}_conv{n}_conv"),
    (_ROW + "{node}.bn{n}", "x_{level}_{column}_conv{n}_norm"),
    (_UP_ROW + "{node}.conv", "x_{level}_{column}_transpose"),
    (_UP_ROW + "{node}.bn", "x_{level}_{column}_transpose_norm"),
    (_ROW + "{node}.conv", "x_{level}_{column}_conv1_conv"),
    (_ROW + "{node}.bn", "x_{level}_{column}_conv1_norm"),
    ("decoder.last_up.conv", "bridge_transpose"),
    ("decoder.last_up.bn", "bridge_transpose_norm"),
    ("head", "conv"),
)
_VIT, _VIT_THERE = "vit.blocks.{row}.", "transunet_vit_encoder_block_{next}/"
_MASKED, _MASKED_THERE = "mask_decoder.levels.{row}.", "masked_xattn_level_{row}/"
_MEDICAI_TRANS_UNET: Table = (
    ("vit.positions", "transunet_vit_patching_and_embedding/position_embedding"),
    ("vit.patch", "transunet_vit_patching_and_embedding/patch_embedding"),
    (_VIT + "norm{n}", _VIT_THERE + "layer_norm_{n}"),
    (_VIT + "attention.attention_output", _VIT_THERE + "mha/output_dense"),
    (_VIT + "attention.{word}", _VIT_THERE + "mha/{word}_dense"),
    (_VIT + "mlp.fc{n}", _VIT_THERE + "mlp/fc{n}"),
    ("mask_decoder.queries", "learnable_queries"),
    (_MASKED + "project", "proj_cnn_{level}"),
    (_MASKED + "project_norm", "proj_cnn_group_norm_{level}"),
    (_MASKED + "norm{n}", _MASKED_THERE + "layernorm{n}"),
    (_MASKED + "attention.attention_output", _MASKED_THERE + "cross_attention/output_dense"),
    (_MASKED + "attention.{word}", _MASKED_THERE + "cross_attention/{word}_dense"),
    (_MASKED + "mlp.fc{n}", _MASKED_THERE + "mlp_layer/fc{n}"),
    ("mask_decoder.classes", "class_prediction"),
    ("mask_decoder.resize", "mask_resize"),
    ("decoder.conv", "decoder_proj_0"),
    ("decoder.blocks.{row}", "decoder_conv_{above}"),
    ("head", "final_conv"),
)


def _torchvision(model: Model) -> Table:
    """torchvision's names; timm's too, where its networks have more parts."""
    encoder = model.encoder
    stem = _DEEP_STEM if len(encoder.stem.filters) == 3 else _STEM
    shortcut = _POOLED_SHORTCUT if encoder.pooled_shortcut else _SHORTCUT
    return (*stem, *_STAGES, *shortcut, *_FC)


def _timm(model: Model) -> Table:
    return (*_torchvision(model), *_TIMM_SE)


def _medicai(model: Model) -> Table:
    norms = _MEDICAI_PRE_NORMS if model.encoder.pre_activation else _MEDICAI_NORMS
    match model.head:
        case UNetPlusPlus():
            head = _with_any_norm(_MEDICAI_UNET_PLUS_PLUS)
        case UNet():
            head = _with_any_norm(_MEDICAI_UNET)
        case TransUNet():
            head = _MEDICAI_TRANS_UNET
        case _:
            head = _MEDICAI_CLASSIFIER
    return (*_MEDICAI, *norms, *head)


def _with_any_norm(table: Table) -> Table:
    """A decoder's norms are called `bn` where they are batch norms, and else `norm`."""
    renamed = ((ours.replace("bn", "norm"), theirs) for ours, theirs in table if "bn" in ours)
    return (*table, *renamed)


@dataclass(frozen=True)
class Layout:
    """A library's names.

    `gated` are the dialects that its networks with SE have, `plain` those of the ones without, and
    `v2` says whether there are any with pre-activation. `prefix` stands before every name; what
    begins with one of `others` belongs to networks that are not ours. With `linear`, SE weights are
    those of dense layers. Of the kinds in `bare`, layers have no weights there.
    """

    name: str
    table: Callable[[Model], Table]
    gated: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    v2: bool = False
    framework: str = "torch"
    prefix: str = ""
    others: tuple[str, ...] = ()
    linear: bool = False
    bare: tuple[str, ...] = ()


# Without SE these dialects are one network: the same stem, strides and shortcuts.
_ALIKE = ("torchvision", "timm", "medicai")
_OTHER_HEADS = ("decoder.", "segmentation_head.", "classification_head.")
_CADENE_ONLY = ("cadene",)
LAYOUTS = (
    Layout("timm", _timm, ("timm",), _ALIKE),
    Layout("torchvision", _torchvision, (), _ALIKE),
    Layout("cadene", lambda model: _CADENE, _CADENE_ONLY),
    Layout("smp", lambda model: _CADENE, _CADENE_ONLY, prefix="encoder.", others=_OTHER_HEADS),
    Layout("smp", _torchvision, (), _ALIKE, prefix="encoder.", others=_OTHER_HEADS),
    Layout("smp", _timm, ("timm",), _ALIKE, prefix="encoder.model.", others=_OTHER_HEADS),
    Layout("monai", lambda model: _MONAI, _CADENE_ONLY, linear=True),
    Layout(
        "medicai",
        _medicai,
        ("medicai",),
        _ALIKE,
        v2=True,
        framework="keras",
        bare=("instance_norm",),
    ),
)
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def validate_layout(name: str | None, model: Model) -> list[Problem]:
    """What is wrong with a layout for this model: unknown, or of networks that differ from it.

    Two dialects can have the same tensors, shape by shape, and other numbers.
    """
    if name is None:
        return []
    at = f"--layout {name}"
    if name not in LAYOUT_NAMES:
        message = f"unknown layout {name!r}.{suggest(name, LAYOUT_NAMES)}"
        return [Problem(message, hint=f"one of {', '.join(LAYOUT_NAMES)}")]
    variants = [layout for layout in LAYOUTS if layout.name == name]
    encoder = model.encoder
    if encoder.pre_activation and not any(layout.v2 for layout in variants):
        return [Problem(f"{name} has no pre-activation networks", at, f"{encoder.name} is one")]
    held = dict.fromkeys(d for layout in variants for d in _dialects(layout, model))
    if not held:
        kind = "with" if encoder.se else "without"
        return [Problem(f"{name} has no networks {kind} SE", at, f"{encoder.name} is one")]
    if dialect_of(model) in held:
        return _of_other_numbers(model, at) if name == "medicai" else []
    return [
        Problem(
            f"{name} checkpoints are of the dialect {' or '.join(held)}, "
            f"the model is of the dialect {dialect_of(model)}: its numbers would be others",
            at,
            hint=f"--dialect {next(iter(held))}",
        )
    ]


def _of_other_numbers(model: Model, at: str) -> list[Problem]:
    """Decoders of ours that have medicai's weights, shape by shape, and other numbers."""
    head = model.head
    if isinstance(head, TransUNet) and model.compat != "medicai":
        return [
            Problem("medicai's TransUNet masks its attention elsewhere", at, "--compat medicai")
        ]
    problems = []
    if isinstance(head, UNet) and head.decoder_normalization == "group":
        problems.append(Problem("medicai's group norms have 32 groups, the model's have fewer", at))
    if isinstance(head, UNet) and head.decoder_activation == "leaky_relu":
        problems.append(Problem("medicai's leaky_relu has a slope of 0.3, the model's 0.01", at))
    return problems


def dialect_of(model: Model) -> str:
    """The dialect of a model's encoder."""
    return str(getattr(model.encoder, "dialect", "") or "medicai")


def one_network(dialects: set[str], model: Model) -> bool:
    """Whether a model's weights give the same numbers in these dialects: it is one, or alike."""
    return len(dialects) == 1 or (not model.encoder.se and dialects <= set(_ALIKE))


def _dialects(layout: Layout, model: Model) -> tuple[str, ...]:
    return layout.gated if model.encoder.se else layout.plain


def dialect_in(layout: Layout | None, model: Model) -> str:
    """The dialect that a model must have to be in a layout; "" where it is in it as it is."""
    dialects = _dialects(layout, model) if layout else ()
    return "" if dialect_of(model) in dialects else next(iter(dialects), "")


def variants(name: str, model: Model) -> list[Layout]:
    """The tables of a layout that can hold this model."""
    return [
        layout
        for layout in LAYOUTS
        if layout.name == name and dialect_of(model) in _dialects(layout, model)
    ]


def name_there(layout: Layout, model: Model, path: str) -> str | None:
    """What a layer of ours is called there; None where they have none."""
    for pattern, template in layout.table(model):
        if found := _compiled(pattern).fullmatch(path):
            return layout.prefix + template.format(**_numbers(model, path, found.groupdict()))
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    numbered = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(pattern))
    return re.compile(numbered.replace(r"(?P<word>\d+)", r"(?P<word>\w+)"))


def _numbers(model: Model, path: str, found: dict[str, str]) -> dict[str, str | int]:
    numbers: dict[str, str | int] = dict(found)
    if "s" in found:
        numbers["s1"] = int(found["s"]) + 1
    if "row" in found and isinstance(model.head, Segmentor):
        row = int(found["row"])
        numbers["stage"] = model.head.depth - row
        numbers["level"] = model.head.depth - 2 - row
        numbers["above"] = model.head.depth - 1 - row
        numbers["next"] = row + 1
        numbers["column"] = int(found.get("node", 0)) + 1
    return numbers


def plain_name(layout: Layout, name: str) -> str:
    """A name from a file without what depends on the session or the rank: Keras' own numbers."""
    if layout.framework != "keras":
        return name
    layer, slash, rest = name.partition("/")
    layer = re.sub(r"_[23]D$", "", layer)
    layer = re.sub(r"^conv[23]d(_\d+)?$", "conv", layer)
    return re.sub(r"^(learnable_queries)_\d+$", r"\1", layer) + slash + rest
