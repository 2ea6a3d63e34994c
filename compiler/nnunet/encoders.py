"""Architecture -> the encoder and the options of a model that is the same network."""

from __future__ import annotations

from ..axes import plain
from ..errors import CompileError
from ..model import Encoder
from ..passes.custom import make_encoder
from .architecture import Architecture


def options_of(
    architecture: Architecture, sizes: tuple[int, ...], deep_supervision: bool = False
) -> dict[str, object]:
    """The options of a model that has this encoder, but for the encoder itself."""
    a = architecture
    return {
        "dims": a.dims,
        "input_shape": [*sizes, a.in_channels],
        "channels_last": True,
        "segmentor": "nnunet",
        "num_classes": a.num_classes,
        "decoder_convs": _one_or_all(a.decoder_convs),
        "norm": a.norm,
        "activation": a.activation,
        "deep_supervision": deep_supervision and a.stages > 2,
        "lower_heads": a.deep_supervision and not deep_supervision and a.stages > 2,
    }


def smallest(architecture: Architecture) -> tuple[int, ...]:
    """The sizes of the smallest image that has more than one element on the lowest level."""
    first, *rest = architecture.divisors
    return (2 * first, *rest)


def encoder_of(architecture: Architecture, name: str = "") -> Encoder:
    """The encoder of an architecture. Raises `CompileError`."""
    a = architecture
    block = "plain" if a.network == "plain" else f"{a.block}_d"
    kernels = tuple(map(plain, a.kernels))
    made, problems = make_encoder(
        name=name or f"nnunet_{a.network}",
        blocks=a.blocks,
        block=block,
        filters=a.features,
        strides=tuple(map(plain, a.strides)),
        kernels=kernels,
        stem_filters=(a.stem_channels,) if a.network == "resenc" else None,
        stem_kernels=kernels[:1] if a.network == "resenc" else None,
        pre_activation=False,
        groups=1,
        width_per_group=64,
        widths=a.bottleneck_channels or None,
        se_ratio=a.se_ratio or None,
        se_activation="relu",
        unit_bias=a.conv_bias,
        unit_eps=a.norm_eps,
        unit_slope=a.slope if a.activation == "leaky_relu" else None,
        unit_dropout=a.dropout,
        unit_activation_first=a.nonlin_first or None,
    )
    if made is None or problems:
        raise CompileError(*problems)
    return made


def _one_or_all(convs: tuple[int, ...]) -> tuple[int, ...]:
    return convs[:1] if len(set(convs)) == 1 else convs
