"""nnU-Net: what plans, checkpoints and the planner's rules describe, and what is refused."""

from dataclasses import replace

import pytest

from compiler.errors import CompileError
from compiler.nnunet.architecture import Architecture

PLAIN = Architecture(
    *("plain", 2, 1, 2),
    features=(4, 8),
    kernels=((3, 3), (3, 3)),
    strides=((1, 1), (2, 2)),
    blocks=(2, 2),
    decoder_convs=(2,),
)
RESENC = replace(PLAIN, network="resenc", stem_channels=4)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"network": "primus"}, "network", "network is 'primus'"),
        ({"dims": True}, "dims", "dims is True"),
        ({"in_channels": 10**400}, "in_channels", "more than 20 digits"),
        ({"num_classes": 0}, "num_classes", "num_classes is 0"),
        ({"features": (4,) * 10**6}, "features", "1,000,000 stages"),
        ({"features": [4, 8]}, "features", "0 stages"),
        ({"features": (4, "8")}, "features[1]", "features[1] is '8'"),
        ({"blocks": (2,)}, "blocks", "blocks has 1 entry"),
        ({"blocks": (999, 1000), "decoder_convs": (2,)}, "blocks", "2,001"),
        ({"decoder_convs": (2, 2)}, "decoder_convs", "decoder_convs has 2 entries"),
        ({"strides": ((1, 1), (0, 2))}, "strides[1]", "strides[1] is 0"),
        ({"strides": ((1, 1), (2, 10**9))}, "strides[1]", "strides[1] is 1000000000"),
        ({"strides": ((1, 1), (2, 2, 2))}, "strides[1]", "strides[1] is (2, 2, 2)"),
        ({"strides": ((2, 2), (2, 2))}, "strides[0]", "strides[0] is (2, 2)"),
        ({"kernels": ((3, 3), (2, 3))}, "kernels[1]", "kernels[1] is (2, 3)"),
        ({"norm": "group"}, "norm", "norm is 'group'"),
        ({"norm_eps": float("nan")}, "norm_eps", "norm_eps is nan"),
        ({"norm_eps": 10**400}, "norm_eps", "norm_eps is"),
        ({"dropout": 1.0}, "dropout", "dropout is 1.0"),
        ({"slope": -0.1}, "slope", "slope is -0.1"),
        ({"activation": "relu"}, "slope", "slope is 0.01"),
        ({"conv_bias": 1}, "conv_bias", "conv_bias is 1"),
        ({"stem_channels": 4}, "stem_channels", "stem_channels is 4"),
        ({"network": "resenc"}, "stem_channels", "stem_channels is None"),
    ],
)
def test_an_architecture_is_checked_whoever_makes_it(changes, field, message):
    with pytest.raises(CompileError) as caught:
        replace(PLAIN, **changes)
    (problem,) = caught.value.problems
    assert problem.field == field and message in problem.message and problem.hint


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"nonlin_first": True}, "nonlin_first"),
        ({"block": "bottleneck"}, "bottleneck_channels"),
        ({"bottleneck_channels": (2, 2)}, "bottleneck_channels"),
        ({"se_ratio": -1}, "se_ratio"),
    ],
)
def test_a_residual_encoder_has_fields_of_its_own(changes, field):
    with pytest.raises(CompileError) as caught:
        replace(RESENC, **changes)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_strides_multiply_to_at_most_an_axis():
    stages = 9
    deep = {
        "features": (4,) * stages,
        "kernels": ((3, 3),) * stages,
        "blocks": (1,) * stages,
        "decoder_convs": (1,) * (stages - 1),
    }
    assert replace(PLAIN, **deep, strides=((1, 1), *((2, 4),) * 8)).divisors == (256, 65536)
    with pytest.raises(CompileError, match="product of the strides"):
        replace(PLAIN, **deep, strides=((1, 1), *((2, 8),) * 8))
