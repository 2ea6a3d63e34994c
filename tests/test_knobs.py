"""The constants at the top of an emitted file are knobs: another value builds and runs."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import torch

import compiler

from .harness import constructor, tiny
from .sampling import third_of

VIT = {
    "vit_layers": 1,
    "embed_dim": 16,
    "heads": 2,
    "queries": 4,
    "mlp_dim": 16,
    "encoder_depth": 3,
}
# Rows that differ, with as many channels as have 32 groups.
TABLE = {"filters": (32, 64, 96, 128), "stem_filters": (64,)}
BASIC = {"block": "basic", "se_ratio": None}
KINDS = {
    "classifier": ({"groups": 32, "width_per_group": 4, "se_ratio": 16}, {}),
    "basic": (BASIC, {"num_classes": 3}),
    "pre_activation": ({"pre_activation": True, "se_ratio": 16}, {}),
    "unet": (BASIC, {"segmentor": "unet", "decoder_normalization": "group"}),
    "unet_transposed": (BASIC, {"segmentor": "unet", "decoder_block": "transpose"}),
    "unet_plus_plus": (BASIC, {"segmentor": "unet_plus_plus"}),
    "attention_unet": (BASIC, {"segmentor": "attention_unet"}),
    "trans_unet": (BASIC, {"segmentor": "trans_unet", "encoder_depth": 3, **VIT}),
}
OTHER = {
    "STEM_CHANNELS": "48",
    "GROUPS": "16",
    "SE_RATIO": "8",
    "VIT_DEPTH, EMBED, HEADS, MLP, DROPOUT, QUERIES": "2, 36, 3, 20, 0.0, 5",
}


def edits(text: str) -> list[tuple[str, str]]:
    """Each constant of the file with another value: every filter, depth, width and channel."""
    found = [
        (line, f"{name} = {value}")
        for name, value in OTHER.items()
        for line in re.findall(rf"^{name} = .*$", text, re.M)
    ]
    for row in re.findall(r"^    \(\d+(?:, \d+)+\),$", text, re.M):
        numbers = [int(number) for number in re.findall(r"\d+", row)]
        for i in range(len(numbers) - 1):  # the last is the stride
            other = [*numbers]
            other[i] = 1 if i == 0 and numbers[0] > 1 else 2 * numbers[i]
            found.append((row, f"    ({', '.join(map(str, other))}),"))
    for line in re.findall(r"^DECODER_FILTERS = .*$", text, re.M):
        numbers = [int(number) for number in re.findall(r"\d+", line)]
        for i in range(len(numbers)):
            other = [*numbers]
            other[i] = 12
            found.append((line, f"DECODER_FILTERS = ({', '.join(map(str, other))})"))
    return found


@pytest.mark.parametrize(("kind", "target"), third_of(KINDS, ["torch", "keras"]))
def test_every_constant_may_have_another_value(kind, target):
    changes, options = KINDS[kind]
    encoder = tiny(**{**TABLE, **changes})
    shape = (40, 40, 2)
    text = compiler.emit(encoder, target=target, input_shape=shape, **options)
    changes = edits(text)
    assert len(changes) >= 8
    for before, after in changes:
        assert text.count(before) == 1 and before != after
        build = constructor(text.replace(before, after))
        if target == "torch":
            with torch.no_grad():
                y = build().eval()(torch.zeros(1, 2, 40, 40)).numpy()
        else:
            with keras.device("meta"):  # shapes only
                y = np.zeros(build().compute_output_shape((1, *shape)))
        assert np.isfinite(y).all(), after
