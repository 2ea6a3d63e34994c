"""Which dialects exist for which blocks, and the library whose outputs prove each of them.

Equal shapes do not prove a mapping: two dialects can have the same tensors and other outputs. So a
dialect exists for a kind of block only if its library, run with weights of its own, gave the
outputs that ours gives. `tests/test_dialects.py` runs every row of this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from .dialect import DIALECTS
from .model import Encoder


@dataclass(frozen=True)
class Proof:
    """The network that a dialect's blocks were compared with, and the layouts that name them.

    An empty `reference` marks a combination that nothing proves: no library builds it.
    """

    reference: str
    layouts: tuple[str, ...] = ()


_OWN = Proof("medicai ResNetBackbone", ("medicai",))
_UNPROVEN = Proof("")
_TIMM, _TORCHVISION = ("timm", "smp"), ("torchvision", "timm", "smp")

PROOFS: dict[str, dict[str, Proof]] = {  # dialect -> kind of block -> proof
    "medicai": {
        "basic": Proof("medicai ResNet18", ("medicai",)),
        "basic, SE": Proof("medicai SEResNet18", ("medicai",)),
        "basic v2": _OWN,
        "basic v2, SE": _OWN,
        "basic vd": _UNPROVEN,
        "basic vd, SE": _UNPROVEN,
        "basic vd v2": _UNPROVEN,
        "basic vd v2, SE": _UNPROVEN,
        "bottleneck": Proof("medicai ResNet50", ("medicai",)),
        "bottleneck, SE": Proof("medicai SEResNet50", ("medicai",)),
        "bottleneck v2": Proof("medicai ResNet50v2", ("medicai",)),
        "bottleneck v2, SE": Proof("medicai SEResNet50v2", ("medicai",)),
        "bottleneck vd": Proof("medicai ResNet50vd", ("medicai",)),
        "bottleneck vd, SE": Proof("medicai SEResNet50vd", ("medicai",)),
        "bottleneck vd v2": _UNPROVEN,
        "bottleneck vd v2, SE": _UNPROVEN,
        "grouped bottleneck": Proof("medicai ResNeXt50", ("medicai",)),
        "grouped bottleneck, SE": Proof("medicai SEResNeXt50", ("medicai",)),
        "grouped bottleneck v2": _OWN,
        "grouped bottleneck v2, SE": _OWN,
        "grouped bottleneck vd": _OWN,
        "grouped bottleneck vd, SE": _OWN,
        "grouped bottleneck vd v2": _UNPROVEN,
        "grouped bottleneck vd v2, SE": _UNPROVEN,
    },
    "timm": {
        "basic": Proof("timm resnet18", _TIMM),
        "basic, SE": Proof("timm seresnet18", _TIMM),
        "basic vd": Proof("timm resnet18d", _TIMM),
        "basic vd, SE": Proof("timm ResNet(BasicBlock, avg_down=True)", _TIMM),
        "bottleneck": Proof("timm resnet50", _TIMM),
        "bottleneck, SE": Proof("timm seresnet50", _TIMM),
        "bottleneck vd": Proof("timm resnet50d", _TIMM),
        "bottleneck vd, SE": Proof("timm seresnet152d", _TIMM),
        "grouped bottleneck": Proof("timm resnext50_32x4d", _TIMM),
        "grouped bottleneck, SE": Proof("timm seresnext50_32x4d", _TIMM),
        "grouped bottleneck vd": Proof("timm resnext50d_32x4d", _TIMM),
        "grouped bottleneck vd, SE": Proof("timm seresnext26d_32x4d", _TIMM),
    },
    "cadene": {
        "basic, SE": Proof("timm legacy_seresnet34", ("cadene",)),
        "bottleneck, SE": Proof("timm legacy_seresnet50", ("cadene", "smp", "monai")),
        "grouped bottleneck, SE": Proof(
            "timm legacy_seresnext50_32x4d", ("cadene", "smp", "monai")
        ),
    },
    "torchvision": {
        "basic": Proof("torchvision resnet18", _TORCHVISION),
        "bottleneck": Proof("torchvision resnet50", _TORCHVISION),
        "grouped bottleneck": Proof("torchvision resnext50_32x4d", _TORCHVISION),
    },
    "nnunet": {
        "plain": Proof("PlainConvUNet", ("nnunet",)),
        "plain, SE": _UNPROVEN,
        "basic d": Proof("ResidualEncoderUNet", ("nnunet",)),
        "basic d, SE": Proof("ResidualEncoder(squeeze_excitation=True)", ("nnunet",)),
        "bottleneck d": Proof("ResidualEncoderUNet(block=BottleneckD)", ("nnunet",)),
        "bottleneck d, SE": _UNPROVEN,
    },
}
STEMS = {"timm": (1, 3), "cadene": (1, 3), "torchvision": (1,)}  # convolutions; medicai: any


def dialects_of(encoder: Encoder) -> tuple[str, ...]:
    """The dialects in which an encoder exists, its own first.

    Rows of the catalog that are not medicai's exist only in the dialects of the libraries that
    published them.
    """
    stem = len(encoder.stem.filters)
    return tuple(
        name
        for name in DIALECTS
        if encoder.kind in PROOFS[name]
        and stem in STEMS.get(name, (stem,))
        and (name != "medicai" or encoder.dialect == "medicai" or encoder.custom)
    )


def reference_of(encoder: Encoder, dialect: str) -> str:
    """The network that proves an encoder's blocks in a dialect; empty if nothing does."""
    return PROOFS[dialect][encoder.kind].reference


def publishers(encoder: Encoder, layout: str) -> list[str]:
    """The dialects in which the library of a layout is proven to build an encoder's blocks.

    None of them builds gates with a position or rounding of their own.
    """
    if encoder.se and encoder.se.own:
        return []
    proofs = {name: PROOFS[name].get(encoder.kind, _UNPROVEN) for name in DIALECTS}
    return [name for name, proof in proofs.items() if layout in proof.layouts]


def on_other_axes(encoder: Encoder, library: str) -> str:
    """A sentence on a library's checkpoints, for an encoder whose strides or kernels are others.

    "" if nobody has weights for the encoder anyway, or if it has the published ones.
    """
    others = encoder.other_axes
    if not others or not encoder.published:
        return ""
    if "kernels" in others:
        return f"Published checkpoints of {library} have other {others}."
    return f"Published checkpoints of {library} fit, but were trained with other {others}."
