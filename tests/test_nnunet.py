"""nnU-Net's networks: the names, counts and outputs that were recorded, and faults against them."""

from __future__ import annotations

import re

import pytest

from compiler.emitter import source
from compiler.passes.count import trainable
from compiler.passes.specialize import specialize
from compiler.passes.trace import trace

from .nnunet import (
    LAYOUT,
    NETWORKS,
    digest,
    image_of,
    keras_outputs,
    made,
    names,
    torch_outputs,
    worst,
)

TOLERANCE = 1e-6
COUNTER = "num_batches_tracked"
OUTPUTS = {"torch": torch_outputs, "keras": keras_outputs}
# The gate of the library averages over two axes only. Ours does over all of them, so that its file
# has the recorded outputs once the same defect is written into it.
DEFECT = {"torch": ("x.mean((2, 3, 4), keepdim=True)", "x.mean((2, 3), keepdim=True)")}
DEFECT["keras"] = (
    'layers.GlobalAveragePooling3D(data_format="channels_last", keepdims=True)(x)',
    "keras.ops.mean(x, axis=(1, 2), keepdims=True)",
)


def outputs_of(name: str, target: str, *edits: tuple[str, str]):
    """The outputs of the file of a recorded network, edited."""
    model = made(name, deep_supervision=True)
    text = source(model, target)
    for before, after in edits:
        text, count = re.subn(re.escape(before), after.replace("\\", r"\\"), text)
        assert count, f"{before} is not in the file"
    return OUTPUTS[target](text, model, image_of(name))


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_counts(name):
    """Each name of the state dict, its aliases too, and each shape."""
    fixture, model = NETWORKS[name], made(name, deep_supervision=True)
    wanted = {key: tuple(shape) for key, shape in fixture["keys"] if not key.endswith(COUNTER)}
    assert {theirs: shape for theirs, (_, shape) in names(model).items()} == wanted
    keys = [each for key, _ in fixture["keys"] for each in LAYOUT.names(model, key)]
    assert len(keys) == fixture["all_keys"]["count"]
    assert digest(keys) == fixture["all_keys"]["sha256_of_sorted_joined_by_newline"]
    assert trainable(trace(specialize(model)).rows) == fixture["parameters"]


@pytest.mark.parametrize("target", OUTPUTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs(name, target):
    """Of every head, in float64."""
    edits = [DEFECT[target]] if name == "se_encoder_3d" else []
    assert worst(outputs_of(name, target, *edits), name) <= TOLERANCE


@pytest.mark.parametrize("target", OUTPUTS)
def test_the_gate_averages_over_all_axes(target):
    assert worst(outputs_of("se_encoder_3d", target), "se_encoder_3d") > 0.01


PLAIN, RESIDUAL = "plain_3d_aniso", "resenc_3d_kernel1_stride2"
FAULTS = {
    "eps": (PLAIN, ("eps=1e-5", "eps=1e-3")),
    "slope": (PLAIN, (", 0.01)", ", 0.2)")),
    "order of the concatenation": (PLAIN, ("torch.cat((x, skip), 1)", "torch.cat((skip, x), 1)")),
    "a shortcut that strides in its convolution": (
        RESIDUAL,
        (
            "residual = self.shortcut(residual)",
            "residual = self.shortcut(x[:, :, :: x.shape[2] // residual.shape[2],"
            " :: x.shape[3] // residual.shape[3], :: x.shape[4] // residual.shape[4]])",
        ),
    ),
    "heads upside down": (PLAIN, ("enumerate(self.aux_heads", "enumerate(self.aux_heads[::-1]")),
    "axes of kernels reversed": (
        PLAIN,
        (
            "self.conv(x)",
            "F.conv3d(x, self.conv.weight.transpose(3, 4), self.conv.bias,"
            " self.conv.stride, self.conv.padding)",
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault):
    name, edit = FAULTS[fault]
    try:
        found = worst(outputs_of(name, "torch", edit), name)
    except RuntimeError:  # heads of other channels
        found = float("inf")
    assert found > 1e3 * TOLERANCE
