"""Inference files: the numbers of the training file, whose weights `convert` folds into theirs."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

import compiler
from compiler.api import traced
from compiler.passes.validate import resolve
from compiler.verify.runtimes import KerasRuntime
from compiler.weights.deployed import fold_weights

from .harness import (
    constructor,
    difference,
    image,
    ledger_shapes,
    randomize,
    run_keras,
    run_torch,
    tiny,
)
from .sampling import UNETS

SIZES = {2: ((32, 64), (33, 47)), 3: ((32, 16, 16), (17, 16, 23))}
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
    "fpn": {"segmentor": "fpn", "pyramid_channels": 8, "segmentation_channels": 64},
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


# What is folded, fused or left in other ways. Sizes are doubled along some axes only, too.
OTHERS = {
    "strides by axis": {"segmentor": "unet", "strides": "1,2,2/1,2,2/2/2/2", "dims": 3},
    "strides by axis, 2D": {"segmentor": "unet_plus_plus", "strides": "2/1,2/1/2/2"},
    "gates by axis": {"segmentor": "attention_unet", "strides": "1,2,2/2/2/2/1", "dims": 3},
    "cadene": {"segmentor": "unet", "dialect": "cadene"},
    "timm": {"segmentor": "attention_unet", "dialect": "timm"},
    "transposed": {"segmentor": "unet_plus_plus", "decoder_block": "transpose"},
    "no norm in the decoder": {"segmentor": "unet", "decoder_normalization": "none"},
    "instance norm": {"segmentor": "unet", "norm": "instance", "activation": "leaky_relu"},
    "instance norm in the decoder": {"segmentor": "unet", "decoder_normalization": "instance"},
    "layer norm": {"features_only": True, "norm": "layer", "activation": "gelu"},
    "other activations": {"segmentor": "unet", "activation": "silu", "decoder_activation": "mish"},
    "medicai": {"segmentor": "unet_plus_plus", "compat": "medicai"},
    "three levels": {"segmentor": "unet", "encoder_depth": 3, "classifier_activation": "sigmoid"},
}
CASES = [
    pytest.param(*case, marks=[pytest.mark.full] if i % 13 else [])
    for i, case in enumerate(itertools.product(HEADS, ENCODERS, (2, 3)))
]


@pytest.mark.parametrize(("head", "encoder", "dims"), CASES)
def test_the_numbers_of_the_training_file(head, encoder, dims):
    compare(ENCODERS[encoder], {**HEADS[head], "dims": dims})


@pytest.mark.parametrize("kind", OTHERS)
def test_other_networks(kind):
    options = {"dims": 2, **OTHERS[kind]}
    if options.get("segmentor") in UNETS:
        options["decoder_filters"] = (16, 8, 8, 8, 8)
    encoder = "seresnet18" if "dialect" in options else ENCODERS["bottleneck"]
    compare(encoder, options)


def compare(encoder, options):
    """Both targets' inference files with the PyTorch training file, on even and odd sizes."""
    sizes = SIZES[options["dims"]]
    if options.get("segmentor") == "trans_unet":  # which is made for one size
        for size in sizes:
            compare_at([tuple(max(32, n) for n in size)], encoder, options)
    else:
        compare_at(sizes, encoder, options)


def compare_at(sizes, encoder, options):
    options = {**options, "input_shape": (*sizes[0], 2)}
    model, values = networks(encoder, options)
    ledger = traced(resolve(encoder, {**options, "deploy": True}))[1]
    ours = emitted(encoder, "torch", **options, deploy=True)().double()
    ours.load_state_dict({name: torch.from_numpy(v) for name, v in values.items()})
    theirs = emitted(encoder, "keras", **options, deploy=True)
    single = [copy.deepcopy(network).float() for network in (model, ours)]
    for size in sizes:
        x = image((*size, 2)).astype("float64")
        expected = run_torch(model, (), x)
        assert largest(expected, run_torch(ours, (), x)) < 1e-12
        assert largest(*(run_torch(network, (), x) for network in single)) < 1e-5
        with KerasRuntime().computing("float64"):
            network = theirs(input_shape=(*size, 2))
            KerasRuntime().assign(network, ledger, values)
            assert KerasRuntime().left_over(network, ledger) == []
            assert largest(expected, run_keras(network, (), x)) < 1e-7
