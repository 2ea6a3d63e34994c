"""Kernels and strides of each axis: both targets, every decoder, odd sizes."""

import pytest

import compiler
from compiler.options import SEGMENTORS
from compiler.passes.validate import resolve
from tests.harness import build_pair, compare, emit_pair, image, ledger_of

STRIDES = ((1, 2, 2), (1, 2, 2), (2, 1, 2), 2)  # P1 to P4
KERNELS = ((1, 3, 3), (1, 3, 3), 3, (3, 1, 5))
TINY = {"blocks": (1, 2, 1), "filters": (4, 8, 8), "strides": (1, 2, 2), "block": "basic"}
TINY |= {"stem_filters": (4,), "stem_kernels": (3,)}
VIT = {"embed_dim": 8, "heads": 2, "mlp_dim": 8, "queries": 4, "vit_layers": 1, "dropout": 0}
SMALL = {  # options that keep a segmentor small
    "unet": {"decoder_filters": (8, 4, 4, 4)},
    "unet_plus_plus": {"decoder_filters": (8, 4, 4)},
    "attention_unet": {"decoder_filters": (8, 4, 4, 4)},
    "trans_unet": {**VIT, "num_classes": 2},
    "fpn": {"pyramid_channels": 8, "segmentation_channels": 32, "dropout": 0},
    "linknet": {},
}


def tiny(**changes):
    return compiler.custom_encoder("tiny", **{**TINY, **changes})


def agree(encoder, shape, **options):
    """None where both targets give the same numbers, else where they diverge."""
    options = {"strides": STRIDES, "kernels": KERNELS, "input_shape": shape, **options}
    ledger = ledger_of(encoder, **options)
    models = build_pair(emit_pair(encoder, **options), ledger, shape)
    return compare(*models, ledger, image(shape), 1e-5)


@pytest.mark.parametrize("segmentor", SEGMENTORS)
def test_decoders_undo_the_strides_in_both_targets(segmentor):
    shape = (5, 33, 30, 2) if segmentor != "trans_unet" else (7, 21, 40, 2)
    assert agree(tiny(), shape, segmentor=segmentor, **SMALL[segmentor]) is None


def test_a_file_says_the_divisor_of_each_axis_and_how_to_write_it_again(tmp_path):
    strides, kernels = "1,2,2/1,2,2/2/2,2,2/2", "1,7,7/1,3,3/3/3/3"
    options = {"dims": 3, "segmentor": "unet", "strides": strides, "kernels": kernels}
    for target in ("torch", "keras"):
        text = compiler.emit("resnet18", target=target, **options)
        assert "P1 1x2x2, P2 1x4x4, P3 2x8x8, P4 4x16x16, P5 8x32x32." in text
        assert "--strides 1,2,2/1,2,2/2/2/2" in text and "--kernels 1,7,7/1,3,3/3/3/3" in text
        (tmp_path / f"{target}.py").write_text(text)
    assert {verdict.state for verdict in compiler.check(tmp_path)} == {"clean"}
    assert compiler.describe("resnet18", **options)["divisors"]["P5"] == [8, 32, 32]


def test_equal_axes_are_one_number():
    usual = resolve("resnet18", {"dims": 3})
    typed = {"strides": "2,2,2/2,2,2/2,2,2/2/2", "kernels": "7,7,7/3/3,3,3/3/3"}
    assert resolve("resnet18", {"dims": 3, **typed}) == usual
    assert resolve("resnet18", {"dims": 3, "strides": (2, 2, 1, (2, 2, 2), 2, 2)}) == usual
