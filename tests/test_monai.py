"""MONAI's own networks: their state, through our layout, gives their outputs in both targets.

Needs the extra `oracle`.
"""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from compiler import convert
from tests.harness import difference
from tests.sampling import half_of
from tests.test_layouts import logits, weight

nets = pytest.importorskip("monai.networks.nets", reason="the extra `oracle` is not installed")


NAMES = ("SEResNet50", "SEResNext50", "SEResNext101")


@pytest.mark.parametrize(
    ("name", "dims"),
    half_of(NAMES[:2], (2, 3))
    + [pytest.param(NAMES[2], dims, marks=pytest.mark.full) for dims in (2, 3)],
)
def test_outputs_are_theirs(name, dims, tmp_path):
    reference = getattr(nets, name)(spatial_dims=dims, in_channels=2, num_classes=5).eval()
    state = {n: weight(n, tuple(v.shape)) for n, v in reference.state_dict().items()}
    reference.load_state_dict({n: torch.from_numpy(np.asarray(v)) for n, v in state.items()})
    save_file(state, tmp_path / "theirs.safetensors")
    encoder = {"SEResNext101": "seresnext101_32x4d"}.get(name, name.lower())
    options = {"dims": dims, "num_classes": 5, "in_channels": 2, "dialect": "cadene"}
    x = torch.randn(1, 2, *(65, 97, 33)[:dims], generator=torch.manual_seed(0))
    with torch.no_grad():
        expected = reference(x).numpy()
    for target, file in {"torch": "w.safetensors", "keras": "w.weights.h5"}.items():
        out = tmp_path / file
        convert(tmp_path / "theirs.safetensors", out, encoder, layout="monai", **options)
        assert difference(logits(out, encoder, target, x.numpy(), **options), expected) < 1e-4
