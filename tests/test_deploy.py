"""Inference files: the numbers of the training file, whose weights `convert` folds into theirs."""

from __future__ import annotations

import itertools

import pytest
import torch

import compiler
from compiler.api import traced
from compiler.passes.validate import resolve
from compiler.verify.runtimes import KerasRuntime
from compiler.weights.deployed import fold_weights

from .harness import constructor, difference, image, ledger_shapes, randomize, tiny
from .harness import run_keras, run_torch
from .sampling import UNETS

SIZES = {2: ((32, 48), (33, 47)), 3: ((32, 32, 64), (33, 32, 47))}
# What makes the blocks of one encoder differ from those of another.
ENCODERS = {
    "basic": tiny(),
    "bottleneck": tiny(block="bottleneck", filters=(4, 4, 8, 8)),
    "grouped": tiny(block="bottleneck", filters=(4, 4, 8, 8), groups=2),
    "basic v2": tiny(pre_activation=True),
    "bottleneck v2": tiny(block="bottleneck", filters=(4, 4, 8, 8), pre_activation=True),
    "basic vd": tiny(block="basic_vd", stem_filters=(8, 8, 8), stem_kernels=(3, 3, 3)),
    "bottleneck vd v2": tiny(block="bottleneck_vd", filters=(4, 4, 8, 8), pre_activation=True),
    "no gate": tiny(se_ratio=None),
    "gate after norm": tiny(se_position="after_norm"),
}
HEADS = {
    "classifier": {"dropout": 0.3, "num_classes": 3, "include_rescaling": True},
    "features": {"features_only": True, "pooling": "max"},
    "unet": {"segmentor": "unet", "deep_supervision": True, "num_classes": 2},
    "unet_plus_plus": {"segmentor": "unet_plus_plus"},
    "attention_unet": {"segmentor": "attention_unet", "drop_path": 0.4},
    "trans_unet": {
        "segmentor": "trans_unet",
        "vit_layers": 1,
        "embed_dim": 8,
        "heads": 2,
        "queries": 3,
        "mlp_dim": 8,
        "dropout": 0.1,
    },
    "fpn": {"segmentor": "fpn", "pyramid_channels": 8, "segmentation_channels": 32},
    "linknet": {"segmentor": "linknet"},
}
for _head in HEADS.values():
    if _head.get("segmentor") in UNETS:
        _head["decoder_filters"] = (16, 8, 8, 8, 8)


def emitted(encoder, target, **options):
    return constructor(compiler.emit(encoder, target=target, **options))


def networks(encoder, options):
    """The training network, its state, and the weights of its inference file."""
    model = emitted(encoder, "torch", **options)().double().eval()
    randomize(model)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    return model, folded(encoder, options, state)


def folded(encoder, options, state):
    deploy = resolve(encoder, {**options, "deploy": True})
    reads = {name: (lambda value=value: value) for name, value in state.items()}
    shapes = ledger_shapes(traced(deploy)[1])
    made = fold_weights(deploy, reads, shapes)
    values = {name: read() for name, read in made.items()}
    assert {name: value.shape for name, value in values.items()} == shapes
    return values


def largest(a, b):
    """The largest difference of two runs, of any level or the output."""
    assert a.levels.keys() == b.levels.keys()
    found = [difference(b.levels[name], value) for name, value in a.levels.items()]
    return max(*found, difference(b.output, a.output))


CASES = [
    pytest.param(*case, marks=[pytest.mark.full] if i % 9 else [])
    for i, case in enumerate(itertools.product(HEADS, ENCODERS, (2, 3)))
]


@pytest.mark.parametrize(("head", "encoder", "dims"), CASES)
def test_the_numbers_of_the_training_file(head, encoder, dims):
    for size in SIZES[dims]:
        options = {**HEADS[head], "dims": dims, "input_shape": (*size, 2)}
        model, values = networks(ENCODERS[encoder], options)
        x = image(options["input_shape"]).astype("float64")
        expected = run_torch(model, (), x)
        deployed = emitted(ENCODERS[encoder], "torch", **options, deploy=True)().double()
        deployed.load_state_dict({name: torch.from_numpy(v) for name, v in values.items()})
        assert largest(expected, run_torch(deployed, (), x)) < 1e-12
        assert largest(run_torch(model.float(), (), x), run_torch(deployed.float(), (), x)) < 1e-5
        theirs = emitted(ENCODERS[encoder], "keras", **options, deploy=True)()
        ledger = traced(resolve(ENCODERS[encoder], {**options, "deploy": True}))[1]
        KerasRuntime().assign(theirs, ledger, values)
        assert KerasRuntime().left_over(theirs, ledger) == []
        assert largest(expected, run_keras(theirs, (), x.astype("float32"))) < 1e-5
