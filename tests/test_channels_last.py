"""Channels-last memory in PyTorch: every operation of a training step keeps it, without a copy."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import compiler

from .harness import constructor
from .test_deploy import ENCODERS, HEADS

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
SIZES = {2: (33, 40), 3: (33, 33, 34)}
# TransUNet has tokens, and masks of its queries, which are no maps: of it, these are compared.
OF_MAPS = {"convolution", "native_batch_norm", "relu", "cat", "avg_pool3d"} | {
    f"max_pool{dims}d_with_indices" for dims in LAYOUTS
}
CASES = [  # one of each head, with another encoder each
    pytest.param(*case, marks=[pytest.mark.full] if i % 19 else [])
    for i, case in enumerate(itertools.product(HEADS, ENCODERS, LAYOUTS))
]


class Watch(TorchDispatchMode):
    """Collects the operations that return a map in another layout, and those that copy one."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.left: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        maps = [y for y in tree_leaves(outputs) if getattr(y, "ndim", 0) == self.dims + 2]
        if maps and name in ("clone", "copy_", "contiguous", "_to_copy"):
            self.left.add(name)
        if not all(y.is_contiguous(memory_format=LAYOUTS[self.dims]) for y in maps):
            self.left.add(name)
        return outputs


@pytest.fixture(autouse=True)
def two_threads():
    """With one, PyTorch runs 1x1x1 convolutions by a kernel without channels last; so it does with
    few channels of one image."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def left(encoder, dims: int, edit=lambda text: text, **options) -> set[str]:
    """The operations of a forward pass that leave the layout; gradients have that of weights."""
    options |= {"dims": dims, "input_shape": (*SIZES[dims], 8)}
    if options.get("segmentor") == "trans_unet":
        options["input_shape"] = (32 + 32 // (dims - 1),) * dims + (8,)
    text = edit(compiler.emit(encoder, target="torch", **options))
    model = constructor(text)().to(memory_format=LAYOUTS[dims])
    x = torch.randn(2, 8, *options["input_shape"][:-1]).to(memory_format=LAYOUTS[dims])
    with Watch(dims) as watch:
        y = model(x)
    sum(each.square().mean() for each in (y if isinstance(y, list) else [y])).backward()
    for name, weight in model.named_parameters():
        if weight.ndim == dims + 2:
            assert weight.grad.is_contiguous(memory_format=LAYOUTS[dims]), name
    return watch.left


@pytest.mark.parametrize(("head", "encoder", "dims"), CASES)
def test_every_operation_keeps_the_layout(head, encoder, dims):
    found = left(ENCODERS[encoder], dims, **HEADS[head])
    if head == "trans_unet":
        found &= OF_MAPS
    assert found == ({"avg_pool3d"} if "vd" in encoder and dims == 3 else set())


@pytest.mark.parametrize("more", [{"checkpointing": True}, {"norm": "group"}])
def test_options_keep_it_too(more):
    assert left(ENCODERS["basic"], 2, **HEADS["unet"], **more) == set()


def test_a_hidden_copy_is_seen():
    def with_a_copy(text):
        assert "x = torch.cat(" in text or "block(torch.cat(" in text
        return text.replace("torch.cat((upsample(x, skip), skip), 1)", "join(x, skip)").replace(
            "class Decoder(",
            "def join(x, skip):\n"
            "    return torch.cat((upsample(x, skip), skip), 1).contiguous()\n\n\nclass Decoder(",
        )

    assert "clone" in left(ENCODERS["no gate"], 2, with_a_copy, **HEADS["unet"])
