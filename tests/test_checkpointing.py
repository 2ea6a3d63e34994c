"""Checkpoints in PyTorch: the same numbers for less memory, and nothing of them in inference."""

from __future__ import annotations

import sys

import pytest
import torch

import compiler
from compiler.errors import CompileError

from .harness import load
from .sampling import half_of

TINY = compiler.custom_encoder(
    "tiny", blocks=(2, 1, 1), block="bottleneck", filters=(4, 4, 8), strides=(1, 2, 2), se_ratio=4
)
KINDS = {
    "classifier": {"dropout": 0.3, "num_classes": 2},
    "unet": {"segmentor": "unet", "deep_supervision": True},
    "unet_plus_plus": {"segmentor": "unet_plus_plus", "decoder_block": "transpose"},
    "attention_unet": {"segmentor": "attention_unet", "decoder_normalization": "group"},
    "transposed": {"segmentor": "unet", "decoder_block": "transpose"},
    "nested": {"segmentor": "unet_plus_plus"},
    "strides": {"segmentor": "unet", "strides": "2/2/1,2/2"},
    "trans_unet": {
        "segmentor": "trans_unet",
        "vit_layers": 1,
        "embed_dim": 8,
        "heads": 2,
        "queries": 3,
        "mlp_dim": 8,
    },
    "fpn": {"segmentor": "fpn"},
    "linknet": {"segmentor": "linknet"},
}


def module_of(encoder, **options):
    """The emitted file as a module, under a name of its own, where scripts look for their text."""
    return load(compiler.emit(encoder, target="torch", **options))


def made(module):
    torch.manual_seed(0)
    return getattr(module, module.__all__[0])()


def trained(model, x):
    """A step of two batches: what it returns, and every gradient and statistic after it."""
    torch.manual_seed(1)
    for _ in range(2):  # gradients add up, moving statistics move twice
        output = model(x)
        several = output if isinstance(output, list) else [output]
        sum(y.square().sum() for y in several).backward()
    return several, [p.grad for p in model.parameters()], model.state_dict()


LESS = ({"checkpointing": True}, {"training_memory": "lean"})


@pytest.mark.parametrize(("kind", "less"), half_of(KINDS, LESS))
def test_gradients_and_statistics_are_the_same_to_the_bit(kind, less):
    """Dropout and drop path included: they drop the same again."""
    shape = (24, 17, 3)
    options = {**KINDS[kind], "input_shape": shape, "drop_path": 0.5}
    module = module_of(TINY, **options, **less)
    plain, model = made(module_of(TINY, **options)), made(module)
    x = torch.randn(3, shape[-1], *shape[:-1])
    calls = []
    checkpoint = module.checkpoint
    module.checkpoint = lambda *args, **named: calls.append(args) or checkpoint(*args, **named)
    ours, theirs = trained(model, x), trained(plain, x)
    assert len(calls) >= 2 * 4  # of each batch, the stem and every stage of the encoder
    for a, b in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
        assert torch.equal(a, b)
    assert list(ours[2]) == list(theirs[2])
    for name, value in theirs[2].items():
        assert torch.equal(ours[2][name], value), name
    calls.clear()
    model.eval()(x)
    model.train()
    with torch.no_grad():
        model(x)
    assert not calls


def saved_bytes(model, x) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights not counted."""
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(x)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    total = sum(size for place, size in found.items() if place not in weights)
    assert total > x.nbytes and output.requires_grad
    return total


@pytest.mark.parametrize("encoder", ["seresnext50", "seresnet18"])
def test_less_than_half_is_kept_of_a_3d_unet(encoder):
    """Of an encoder with few blocks too, where the stem and the decoder have the larger share."""
    options = {"segmentor": "unet", "dims": 3}
    x = torch.randn(1, 4, 33, 40, 33)
    plain, less = (
        saved_bytes(made(module_of(encoder, **options, checkpointing=on)), x)
        for on in (False, True)
    )
    assert 2 * less <= plain


@pytest.mark.parametrize(("segmentor", "less"), zip(("attention_unet", "unet_plus_plus"), LESS))
def test_scripts_exports_and_compiles_for_inference(segmentor, less, tmp_path, monkeypatch):
    options = {"segmentor": segmentor, "input_shape": (40, 40, 3), **less}
    options |= {"deep_supervision": True, "drop_path": 0.1}
    (tmp_path / "checkpointed_tiny.py").write_text(compiler.emit(TINY, target="torch", **options))
    monkeypatch.syspath_prepend(str(tmp_path))
    model = made(__import__("checkpointed_tiny")).eval()
    sys.modules.pop("checkpointed_tiny")
    x = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(model)(x), model(x))
        whole = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(whole(x), model(x))
        exported = torch.export.export(model, (x,)).module()
        torch.testing.assert_close(exported(x), model(x))


def test_wrong_statistics_are_seen():
    """A planted fault: what runs again updates the moving statistics, too."""
    options = {"input_shape": (24, 17, 3)}
    text = compiler.emit(TINY, target="torch", **options, training_memory="lean")
    assert "setattr(owner, name, buffer.clone())" in text
    wrong = load(text.replace("setattr(owner, name, buffer.clone())", "pass"))
    x = torch.randn(3, 3, 24, 17)
    ours, theirs = trained(made(wrong), x), trained(made(module_of(TINY, **options)), x)
    assert any(not torch.equal(a, b) for a, b in zip(ours[2].values(), theirs[2].values()))


def test_skips_in_another_order_are_seen():
    """A planted fault: the numbers depend on each map that a block joins itself."""
    options = {"segmentor": "unet_plus_plus", "input_shape": (24, 17, 3)}
    text = compiler.emit(TINY, target="torch", **options, training_memory="lean")
    assert "list(skips)" in text
    wrong = load(text.replace("list(skips)", "list(skips[::-1])"))
    x = torch.randn(3, 3, 24, 17)
    ours, theirs = trained(made(wrong), x), trained(made(module_of(TINY, **options)), x)
    assert not torch.allclose(ours[0][0], theirs[0][0])


@pytest.mark.parametrize("encoder", ["resnet50", "resnext50", "seresnext50"])
def test_lean_keeps_little_more_than_half(encoder):
    """Of a 3D UNet of 128 x 128 x 128 voxels, as `show --cost` counts it to the byte."""
    options = {"segmentor": "unet", "dims": 3, "input_shape": (128, 128, 128, 1), "num_classes": 2}
    plain, lean, least = (
        compiler.cost(encoder, **options, **less).saved for less in ({}, *LESS[::-1])
    )
    assert lean < 0.56 * plain and least < 0.18 * plain


def test_both_at_once_are_an_error():
    with pytest.raises(
        CompileError, match="--checkpointing does not go with --training-memory lean"
    ):
        compiler.emit("resnet18", target="torch", checkpointing=True, training_memory="lean")


def test_keras_has_none_and_says_why():
    with pytest.raises(CompileError) as caught:
        compiler.emit("resnet18", target="keras", checkpointing=True)
    (problem,) = caught.value.problems
    assert problem.message.startswith("--checkpointing is not available in Keras 3: keras.Remat")
    assert "the same" in problem.hint
    with pytest.raises(CompileError, match="--training-memory is not available in Keras 3"):
        compiler.emit("resnet18", target="keras", training_memory="lean")


def test_off_leaves_no_trace():
    plain = compiler.emit(TINY, target="torch")
    assert (
        compiler.emit(TINY, target="torch", checkpointing=False, training_memory="standard")
        == plain
    )
    assert "heckpoint" not in plain


def test_the_keras_twin_needs_no_option(tmp_path):
    """`convert` gives weights to the Keras file, which is emitted without the option."""
    given = {"segmentor": "unet", "input_shape": (33, 33, 3), "decoder_filters": (4,) * 5}
    model = made(module_of("resnet18", **given, checkpointing=True))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    compiler.convert(
        tmp_path / "w.pt", tmp_path / "w.weights.h5", model="resnet18", **given, checkpointing=True
    )
    assert (tmp_path / "w.weights.h5").stat().st_size > 2**20
