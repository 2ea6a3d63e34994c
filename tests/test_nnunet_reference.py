"""nnU-Net itself: random plans give the outputs of its networks, and weights load both ways.

Needs nnunetv2 with two of its libraries, which `.ci/run` installs without what these require.
"""

from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from compiler.emitter import source
from compiler.nnunet.architecture import Architecture
from compiler.nnunet.documents import Table
from compiler.nnunet.network import model_of
from compiler.nnunet.plans import architecture, configuration

from .harness import constructor
from .nnunet import ORACLE, named

get_network_from_plans = pytest.importorskip(
    "nnunetv2.utilities.get_network_from_plans", reason="nnunetv2 is not installed"
).get_network_from_plans
EXAMPLE = Path(__file__).parents[1] / "examples/nnunet_standalone.py"
TOLERANCE = 1e-9
ACTIVATIONS = {name.lower(): f"torch.nn.{name}" for name in ("ReLU", "ELU")}
ACTIVATIONS["leaky_relu"] = "torch.nn.LeakyReLU"
BLOCKS = {"basic": "BasicBlockD", "bottleneck": "BottleneckD"}


@st.composite
def architectures(draw) -> Architecture:
    """Any that a plans file can name, of few channels and small strides."""
    dims, stages = draw(st.sampled_from([2, 3])), draw(st.integers(3, 7))
    network = draw(st.sampled_from(["plain", "resenc"]))

    def each(item, count=stages):
        return tuple(draw(st.lists(item, min_size=count, max_size=count)))

    axes = st.tuples(*[st.sampled_from([1, 3, 3, 5])] * dims)
    # At most four strides of an axis, so that the image stays small.
    strides = [[1] * dims]
    left = [4] * dims
    for _ in range(stages - 1):
        step = [draw(st.sampled_from([1, 2])) if n else 1 for n in left]
        left = [n - (s > 1) for n, s in zip(left, step)]
        strides.append(step)
    activation = draw(st.sampled_from([*ACTIVATIONS]))
    fields = {
        "features": each(st.integers(1, 6).map(lambda n: 2 * n)),
        "kernels": each(axes),
        "strides": tuple(map(tuple, strides)),
        "blocks": each(st.integers(1, 2)),
        "decoder_convs": each(st.integers(1, 2), stages - 1),
        "conv_bias": draw(st.booleans()),
        "norm": draw(st.sampled_from(["instance", "batch"])),
        "norm_eps": draw(st.sampled_from([1e-5, 1e-3])),
        "dropout": draw(st.sampled_from([None, 0.0, 0.25])),
        "activation": activation,
        "slope": draw(st.sampled_from([0.01, 0.2])) if activation == "leaky_relu" else 0.0,
    }
    if network == "plain":
        fields["nonlin_first"] = draw(st.booleans())
    else:
        fields["stem_channels"] = 2 * draw(st.integers(1, 4))
        fields["block"] = draw(st.sampled_from(["basic", "bottleneck"]))
        if fields["block"] == "bottleneck":
            fields["bottleneck_channels"] = each(st.integers(2, 5))
    return Architecture(network, dims, draw(st.integers(1, 3)), draw(st.integers(1, 3)), **fields)


def plans_of(a: Architecture) -> dict:
    """The architecture as a plans file says it."""
    rank = f"{a.dims}d"
    norm = {"instance": "instancenorm.InstanceNorm", "batch": "batchnorm.BatchNorm"}[a.norm]
    kwargs = {
        "n_stages": a.stages,
        "features_per_stage": a.features,
        "conv_op": f"torch.nn.modules.conv.Conv{rank}",
        "kernel_sizes": a.kernels,
        "strides": a.strides,
        "n_conv_per_stage_decoder": a.decoder_convs,
        "conv_bias": a.conv_bias,
        "norm_op": f"torch.nn.modules.{norm}{rank}",
        "norm_op_kwargs": {"eps": a.norm_eps, "affine": True},
        "dropout_op": None if a.dropout is None else f"torch.nn.Dropout{rank}",
        "dropout_op_kwargs": {"p": a.dropout or 0.0},
        "nonlin": ACTIVATIONS[a.activation],
        "nonlin_kwargs": {"negative_slope": a.slope} if a.slope else {},
    }
    imported = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    if a.network == "plain":
        name = "PlainConvUNet"
        kwargs |= {"n_conv_per_stage": a.blocks, "nonlin_first": a.nonlin_first}
    else:
        name, imported = "ResidualEncoderUNet", [*imported, "block"]
        kwargs |= {
            "n_blocks_per_stage": a.blocks,
            "block": f"dynamic_network_architectures.building_blocks.residual.{BLOCKS[a.block]}",
            "bottleneck_channels": a.bottleneck_channels or None,
            "stem_channels": a.stem_channels,
        }
    found = {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": imported,
    }
    return json.loads(json.dumps(found))


def reference(a: Architecture) -> nn.Module:
    """The library's network, made as nnU-Net makes that of its plans."""
    return get_network_from_plans(
        *plans_of(a).values(), a.in_channels, a.num_classes, deep_supervision=True
    )


def read(a: Architecture) -> Architecture:
    """What our reader makes of the same plans."""
    named = {"architecture": plans_of(a), "patch_size": list(a.divisors)}
    plans = {"plans_name": "drawn", "configurations": {"net": named}}
    return architecture(
        configuration(Table(plans, "plans.json"), "net"), a.in_channels, a.num_classes
    )


def randomized(network: nn.Module) -> None:
    """Random weights and statistics: a new norm has none of either."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.is_floating_point():
                fan = max(1, value[0].numel()) if value.ndim > 1 else 100
                value.normal_(0, fan**-0.5, generator=generator)


@given(architectures())
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
def test_a_random_architecture_is_the_library_s(a):
    sizes = tuple(n * (2 if i == 0 else 1) for i, n in enumerate(a.divisors))
    model = model_of(a, sizes, deep_supervision=True)
    theirs, ours = reference(a).double(), constructor(source(model, "torch"))().double()
    randomized(theirs)
    # Each name of its state dict, aliases included, is one that we know; each of ours is there.
    wanted = theirs.state_dict()
    table = named(model, ours.state_dict())
    assert set(table) == set(wanted) and read(a) == a
    ours.load_state_dict({mine: wanted[name] for name, mine in table.items()})
    x = torch.randn(2, a.in_channels, *sizes, dtype=torch.float64)
    with torch.no_grad():
        for mode in (False, True):  # with the moving statistics, and with those of the batch
            for network in (theirs, ours):
                _set_mode(network, mode)
            pairs = list(zip(theirs(x), ours(x), strict=True))
            assert all(a.shape == b.shape for a, b in pairs)
            scale = max(float(a.abs().max()) for a, _ in pairs)
            assert max(float((a - b).abs().max()) for a, b in pairs) <= TOLERANCE * scale
    randomized(ours)
    state = ours.state_dict()
    theirs.load_state_dict(OrderedDict((name, state[mine]) for name, mine in table.items()))


def _set_mode(network: nn.Module, training: bool) -> None:
    """Norms in this mode, dropout off, and the list of outputs in either."""
    network.eval()
    network.training = True
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(training)
    if hasattr(network, "decoder") and hasattr(network.decoder, "deep_supervision"):
        network.decoder.deep_supervision = True


def test_a_fault_is_seen():
    """The same comparison against a network that is wrong on purpose."""
    a = Architecture(
        *("plain", 2, 1, 2),
        features=(4, 8, 8),
        kernels=((3, 3),) * 3,
        strides=((1, 1), (2, 2), (2, 2)),
        blocks=(1, 1, 1),
        decoder_convs=(1, 1),
    )
    model = model_of(a, (8, 8), deep_supervision=True)
    theirs = reference(a).double()
    text = source(model, "torch").replace("torch.cat((x, skip), 1)", "torch.cat((skip, x), 1)")
    ours = constructor(text)().double()
    randomized(theirs)
    table = named(model, ours.state_dict())
    ours.load_state_dict({mine: theirs.state_dict()[name] for name, mine in table.items()})
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 8, 8)))
    with torch.no_grad():
        assert not torch.allclose(theirs(x)[0], ours(x)[0], atol=1e-3)


def test_the_example_predicts_a_volume(capsys):
    """Patch by patch, with MONAI."""
    pytest.importorskip("monai.inferers")
    spec = importlib.util.spec_from_file_location("nnunet_standalone", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(str(ORACLE / "tiny_checkpoint/checkpoint_final.pth"))
    words = "patch (12, 48, 40), volume (1, 2, 19, 73, 61) -> logits (1, 2, 19, 73, 61)"
    assert capsys.readouterr().out.strip() == words
