"""How other libraries name the layers of these networks: one table per library.

A row maps the role of one of our layers to the library's name. In a role, `{n}`, `{norm}` and
`{projection}` stand for one of a few words, which is the same in the name. In a name, `{s}` and
`{b}` are the numbers of stage and block, and `{s1}` is the stage counted from 1. Decoders have
`{row}` and `{node}`, the turns of their loops, and `{stage}`, `{level}`, `{above}`, `{next}`,
`{column}`, `{turn}`, `{depth}` and `{paths}`, which follow from them.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable
from functools import cache

from ..model import Classifier, Model
from ..segmentors.attention_unet import AttentionUNet
from ..segmentors.fpn import FPN
from ..segmentors.linknet import LinkNet
from ..segmentors.trans_head import TransUNet
from ..segmentors.unet import UNet
from ..segmentors.unet_plus_plus import UNetPlusPlus

Table = tuple[tuple[str, str], ...]

WORDS = {
    "n": ("1", "2", "3"),
    "norm": ("bn", "norm"),  # what a norm is called: the first where it is a batch norm
    "projection": ("query", "key", "value"),
}

_BLOCK = "encoder.stages."
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
CADENE: Table = (
    ("encoder.conv{n}", "layer0.conv{n}"),
    ("encoder.bn{n}", "layer0.bn{n}"),
    *_STAGES,
    *_SHORTCUT,
    (_BLOCK + "se.conv{n}", "layer{s1}.{b}.se_module.fc{n}"),
    ("head", "last_linear"),
)
MONAI: Table = (
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

_UP_ROW, _GATE_ROW, _ROW = "decoder.ups.", "decoder.gates.", "decoder.blocks."
_MEDICAI_UNET: Table = (
    (_GATE_ROW + "theta", "decoder_stage{stage}_attention_gate/theta_x"),
    (_GATE_ROW + "phi", "decoder_stage{stage}_attention_gate/phi_g"),
    (_GATE_ROW + "psi", "decoder_stage{stage}_attention_gate/psi"),
    (_ROW + "conv{n}", "decoder_stage{stage}_conv_{n}_conv"),
    (_ROW + "{norm}{n}", "decoder_stage{stage}_conv_{n}_norm"),
    (_UP_ROW + "conv", "decoder_stage{stage}_transpose_conv"),
    (_UP_ROW + "{norm}", "decoder_stage{stage}_norm"),
    (_ROW + "conv", "decoder_stage{stage}_conv_1_conv"),
    (_ROW + "{norm}", "decoder_stage{stage}_conv_1_norm"),
    ("head", "conv"),
)
_MEDICAI_UNET_PLUS_PLUS: Table = (
    (_ROW + "conv{n}", "x_{level}_{column}_conv{n}_conv"),
    (_ROW + "{norm}{n}", "x_{level}_{column}_conv{n}_norm"),
    (_UP_ROW + "conv", "x_{level}_{column}_transpose"),
    (_UP_ROW + "{norm}", "x_{level}_{column}_transpose_norm"),
    (_ROW + "conv", "x_{level}_{column}_conv1_conv"),
    (_ROW + "{norm}", "x_{level}_{column}_conv1_norm"),
    ("decoder.last_up.conv", "bridge_transpose"),
    ("decoder.last_up.{norm}", "bridge_transpose_norm"),
    ("head", "conv"),
)
_VIT, _VIT_THERE = "vit.blocks.", "transunet_vit_encoder_block_{next}/"
_MASKED, _MASKED_THERE = "mask_decoder.levels.", "masked_xattn_level_{row}/"
_MEDICAI_TRANS_UNET: Table = (
    ("vit.positions", "transunet_vit_patching_and_embedding/position_embedding"),
    ("vit.patch", "transunet_vit_patching_and_embedding/patch_embedding"),
    (_VIT + "norm{n}", _VIT_THERE + "layer_norm_{n}"),
    (_VIT + "attention.attention_output", _VIT_THERE + "mha/output_dense"),
    (_VIT + "attention.{projection}", _VIT_THERE + "mha/{projection}_dense"),
    (_VIT + "mlp.fc{n}", _VIT_THERE + "mlp/fc{n}"),
    ("mask_decoder.queries", "learnable_queries"),
    (_MASKED + "project", "proj_cnn_{level}"),
    (_MASKED + "project_norm", "proj_cnn_group_norm_{level}"),
    (_MASKED + "norm{n}", _MASKED_THERE + "layernorm{n}"),
    (_MASKED + "attention.attention_output", _MASKED_THERE + "cross_attention/output_dense"),
    (_MASKED + "attention.{projection}", _MASKED_THERE + "cross_attention/{projection}_dense"),
    (_MASKED + "mlp.fc{n}", _MASKED_THERE + "mlp_layer/fc{n}"),
    ("mask_decoder.classes", "class_prediction"),
    ("mask_decoder.resize", "mask_resize"),
    ("decoder.conv", "decoder_proj_0"),
    ("decoder.blocks", "decoder_conv_{above}"),
    ("head", "final_conv"),
)
_LEVEL = "decoder.p{above}.skip_conv"
_BRANCH = "decoder.seg_blocks.{node}.block.{turn}.block."
_LAST_BRANCH = "decoder.seg_blocks.{paths}.block.0.block."
_SMP_FPN: Table = (
    ("decoder.top", "decoder.p{depth}"),
    ("decoder.laterals", _LEVEL),
    (_ROW + "conv", _BRANCH + "0"),
    (_ROW + "norm", _BRANCH + "1"),
    ("decoder.last.conv", _LAST_BRANCH + "0"),
    ("decoder.last.norm", _LAST_BRANCH + "1"),
    ("head", "segmentation_head.0"),
)
_LINK = "decoder.blocks.{row}.block."
_SMP_LINKNET: Table = (
    (_ROW + "conv1", _LINK + "0.0"),
    (_ROW + "bn1", _LINK + "0.1"),
    (_ROW + "up", _LINK + "1.0"),
    (_ROW + "bn2", _LINK + "1.1"),
    (_ROW + "conv2", _LINK + "2.0"),
    (_ROW + "bn3", _LINK + "2.1"),
    ("head", "segmentation_head.0"),
)
_MEDICAI_HEADS: dict[type[object], Table] = {
    Classifier: _MEDICAI_CLASSIFIER,
    UNet: _MEDICAI_UNET,
    AttentionUNet: _MEDICAI_UNET,
    UNetPlusPlus: _MEDICAI_UNET_PLUS_PLUS,
    TransUNet: _MEDICAI_TRANS_UNET,
}
_SMP: dict[type[object], Table] = {FPN: _SMP_FPN, LinkNet: _SMP_LINKNET}


def torchvision(model: Model) -> Table:
    """Names in torchvision, and in timm for networks that torchvision does not have."""
    encoder = model.encoder
    stem = _DEEP_STEM if len(encoder.stem.filters) == 3 else _STEM
    shortcut = _POOLED_SHORTCUT if encoder.pooled_shortcut else _SHORTCUT
    return (*stem, *_STAGES, *shortcut, *_FC)


def timm(model: Model) -> Table:
    return (*torchvision(model), *_TIMM_SE)


def smp(encoder: Callable[[Model], Table], prefix: str = "encoder.") -> Callable[[Model], Table]:
    """The names of an encoder's library with a prefix, and those of smp's own decoders."""

    def table(model: Model) -> Table:
        behind = ((ours, prefix + theirs) for ours, theirs in encoder(model))
        return (*_SMP.get(type(model.head), ()), *behind)

    return table


def cadene(model: Model) -> Table:
    return CADENE


def medicai(model: Model) -> Table:
    norms = _MEDICAI_PRE_NORMS if model.encoder.pre_activation else _MEDICAI_NORMS
    return (*_MEDICAI, *norms, *_MEDICAI_HEADS.get(type(model.head), ()))


@cache
def names_by_role(table: Table) -> dict[str, str]:
    """Map each role in a table to its name there; if two rows have a role, the first is used."""
    found: dict[str, str] = {}
    for ours, theirs in table:
        words = [WORDS[word] for word in fields_of(ours)]
        for values in itertools.product(*words):
            chosen = dict(zip(fields_of(ours), values))
            kept = {field: chosen.get(field, f"{{{field}}}") for field in fields_of(theirs)}
            found.setdefault(ours.format(**chosen), theirs.format(**kept))
    return found


def fields_of(template: str) -> list[str]:
    """The names in braces."""
    return [field for _, field, _, _ in string.Formatter().parse(template) if field]
