"""The encoders that have a name, as a literal table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .model import Encoder
from .parts import OF_UNITS, SqueezeExcite, Stem, Units

_50, _101, _152, _200 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3), (3, 12, 48, 3)
_DEEP_STEM = Stem(filters=(32, 32, 64), kernels=(3, 3, 3))


def _resnet(name: str, title: str, block: str, depths: tuple[int, ...], **rest: object) -> Encoder:
    class_name = name.replace("resne", "ResNe").replace("resnext", "ResNeXt").replace("ext", "eXt")
    return Encoder(name, class_name, title, "resnet", block, depths, **rest)  # type: ignore[arg-type]


RESNETS = (
    _resnet("resnet18", "ResNet-18", "basic", (2, 2, 2, 2)),
    _resnet("resnet34", "ResNet-34", "basic", (3, 4, 6, 3)),
    _resnet("resnet50", "ResNet-50", "bottleneck", _50),
    _resnet("resnet101", "ResNet-101", "bottleneck", _101),
    _resnet("resnet152", "ResNet-152", "bottleneck", _152),
    _resnet("resnet50v2", "ResNet-50 v2", "bottleneck", _50, pre_activation=True),
    _resnet("resnet101v2", "ResNet-101 v2", "bottleneck", _101, pre_activation=True),
    _resnet("resnet152v2", "ResNet-152 v2", "bottleneck", _152, pre_activation=True),
    _resnet("resnet50vd", "ResNet-50-vd", "bottleneck_vd", _50, stem=_DEEP_STEM),
    _resnet("resnet200vd", "ResNet-200-vd", "bottleneck_vd", _200, stem=_DEEP_STEM),
    _resnet("resnext50", "ResNeXt-50 (32x4d)", "bottleneck", _50, groups=32, width_per_group=4),
    _resnet("resnext101", "ResNeXt-101 (32x8d)", "bottleneck", _101, groups=32, width_per_group=8),
    _resnet(
        "resnext101_64x4d", "ResNeXt-101 (64x4d)", "bottleneck", _101, groups=64, width_per_group=4
    ),
)
# Rows of which medicai has none: timm's `d` models, and depths that it or Cadene has besides.
_D, _26 = {"stem": _DEEP_STEM, "dialect": "timm"}, (2, 2, 2, 2)
_32X4D = {"groups": 32, "width_per_group": 4}
OTHERS = (
    _resnet("resnet18d", "ResNet-18-d", "basic_vd", (2, 2, 2, 2), **_D),
    _resnet("resnet34d", "ResNet-34-d", "basic_vd", _50, **_D),
    _resnet("resnet26", "ResNet-26", "bottleneck", _26, dialect="timm"),
    _resnet("resnet26d", "ResNet-26-d", "bottleneck_vd", _26, **_D),
    _resnet("resnet50d", "ResNet-50-d", "bottleneck_vd", _50, **_D),
    _resnet("resnet101d", "ResNet-101-d", "bottleneck_vd", _101, **_D),
    _resnet("resnet152d", "ResNet-152-d", "bottleneck_vd", _152, **_D),
    _resnet("resnet200d", "ResNet-200-d", "bottleneck_vd", (3, 24, 36, 3), **_D),
    _resnet("resnext26_32x4d", "ResNeXt-26 (32x4d)", "bottleneck", _26, dialect="timm", **_32X4D),
    _resnet("resnext26d_32x4d", "ResNeXt-26-d (32x4d)", "bottleneck_vd", _26, **_D, **_32X4D),
    _resnet("resnext50d_32x4d", "ResNeXt-50-d (32x4d)", "bottleneck_vd", _50, **_D, **_32X4D),
    _resnet(
        "resnext101_32x4d", "ResNeXt-101 (32x4d)", "bottleneck", _101, dialect="timm", **_32X4D
    ),
    _resnet(
        "resnext101d_32x8d",
        "ResNeXt-101-d (32x8d)",
        "bottleneck_vd",
        _101,
        groups=32,
        width_per_group=8,
        **_D,
    ),
)
SENETS = tuple(
    replace(
        encoder,
        name=f"se{encoder.name}",
        class_name=f"SE{encoder.class_name}",
        title=f"SE-{encoder.title}",
        family="senet",
        se=SqueezeExcite(),
    )
    for encoder in RESNETS + OTHERS
)
# nnU-Net's encoders for isotropic volumes. Their strides and kernels follow from data and its
# spacing, so that a network of its own is a custom encoder of the same name.
_NNUNET: dict[str, Any] = {
    "family": "nnunet",
    "filters": (32, 64, 128, 256, 320, 320),
    "strides": (1, 2, 2, 2, 2, 2),
    "kernels": (3,) * 6,
    "units": Units(),
    **OF_UNITS,
}
NNUNETS = (
    Encoder(
        "nnunet_plain",
        "NNUNetPlain",
        "nnU-Net",
        block="plain",
        depths=(2,) * 6,
        stem=Stem((), (), 1, 1),
        **_NNUNET,
    ),
    Encoder(
        "nnunet_resenc",
        "NNUNetResEnc",
        "nnU-Net ResEnc",
        block="basic_d",
        depths=(1, 3, 4, 6, 6, 6),
        stem=Stem((32,), (3,), 1, 1),
        **_NNUNET,
    ),
)
ENCODERS = {encoder.name: encoder for encoder in SENETS + RESNETS + OTHERS + NNUNETS}
FAMILIES = ("senet", "resnet", "nnunet")

# The encoders of the reference library's page: the classifiers of `generated/`.
SHOWCASE = tuple(f"se{encoder.name}" for encoder in RESNETS if encoder.name != "resnext101_64x4d")
SEGMENTED = "seresnext50"  # the encoder that shows the segmentors


def in_options_only(known: Encoder, encoder: Encoder) -> bool:
    """Whether an encoder is that of the catalog, but for what options change."""
    se = known.se
    if encoder.units and encoder.se and not encoder.se.own:
        se = encoder.se  # an option there
    if se and encoder.se:
        se = replace(se, ratio=encoder.se.ratio, activation=encoder.se.activation)
    options = {name: getattr(encoder, name) for name in ("dialect", "norm", "activation")}
    return replace(known, se=se, **options) == encoder
