"""TransUNet: the same numbers in both frameworks, and masks that do what the paper says."""

import warnings

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import compiler
from tests.harness import build_pair, compare, constructor, emit_pair, image, ledger_of, load, tiny
from tests.sampling import half_of

TINY = tiny(block="basic", blocks=(1, 1, 1, 1))
VIT = {"vit_layers": 2, "heads": 2, "queries": 5, "embed_dim": 32, "mlp_dim": 24}
SHAPES = ((64, 32, 2), (65, 97, 2), (32, 64, 33, 1))
OPTIONS = ({}, {"num_classes": 1}, {"compat": "medicai"}, {"compat": "medicai", "num_classes": 1})


def _agree(shape, **options):
    options = {"segmentor": "trans_unet", "num_classes": 3, "input_shape": shape, **VIT, **options}
    ledger = ledger_of(TINY, **options)
    models = build_pair(emit_pair(TINY, **options), ledger, shape)
    return compare(*models, ledger, image(shape))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_targets_agree(shape, options):
    assert _agree(shape, **options) is None


PATCHES = [((144, 136, 1), 3), ((128, 200, 1), 3), ((137, 130, 1), 3), ((40, 48, 2), 4)]


@pytest.mark.parametrize(("size", "options"), half_of(PATCHES, OPTIONS), ids=str)
def test_patches_agree(size, options):
    """From 128 voxels on, a token at depth 3 is more than a voxel."""
    shape, depth = size
    assert _agree(shape, encoder_depth=depth, **options) is None


def _module(**options):
    options = {"segmentor": "trans_unet", "num_classes": 3, "input_shape": (64, 64, 1), **options}
    return load(compiler.emit(TINY, target="torch", **VIT, **options))


def test_a_query_sees_the_inside_of_its_mask():
    """A token outside the mask does not change its query's output, one inside does."""
    torch.manual_seed(0)
    module = _module()
    refine = module.MaskedCrossAttention(4).eval().double()
    queries = torch.randn(1, 2, 32).double()
    level = torch.randn(1, 4, 4, 4).double()
    logits = torch.full((1, 2, 2, 2), -1.0).double()
    logits[0, 0, 0, 0] = 1.0  # the first query sees the first quarter
    mask = module.attention_mask(logits, 2.0, level)
    context = refine.project_norm(refine.project(level)).flatten(2).mT

    def seen(voxel):
        changed = context.clone()
        changed[0, voxel] += 1.0
        ours = refine.attention(queries, context, mask)
        return (refine.attention(queries, changed, mask) - ours)[0, 0].abs().max() > 1e-9

    inside = [0, 1, 4, 5]
    assert [voxel for voxel in range(16) if seen(voxel)] == inside


def test_a_small_mask_covers_its_quarter():
    module = _module()
    level = torch.zeros(1, 4, 4, 4)
    logits = torch.full((1, 1, 2, 2), -1.0)
    logits[0, 0, 1, 0] = 1.0
    mask = module.attention_mask(logits, 2.0, level).view(4, 4)
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[2:, :2] = True
    assert torch.equal(mask, expected)


def test_an_empty_mask_attends_everywhere():
    module = _module()
    mask = module.attention_mask(torch.full((1, 2, 2, 2), -1.0), 2.0, torch.zeros(1, 4, 4, 4))
    assert mask.all()


def test_the_reference_attends_outside():
    """What `--compat medicai` keeps: the mask the other way round, resized along the tokens."""
    module = _module(compat="medicai")
    logits = torch.tensor([[[1.0, -1.0, -1.0, -1.0]]])
    mask = module.flat_attention_mask(logits, torch.zeros(1, 4, 4, 4))
    assert mask.flatten().tolist() == [False] * 4 + [True] * 12


@pytest.mark.parametrize("fault", [(), ("torch.finfo(mask.dtype).min", 'float("-inf")')])
def test_a_query_that_sees_nothing_agrees_without_dropout(fault):
    """Keras' attention is the mean of all values there, and zero with a rate of dropout."""
    options = {"segmentor": "trans_unet", "num_classes": 3, "input_shape": (32, 64, 2), **VIT}
    options |= {"compat": "medicai", "dropout": 0, "strides": ((1, 2), 2, 2, (2, 1), 2)}
    options["encoder_depth"] = 3
    torch_text, keras_text = emit_pair(TINY, **options)
    if fault:
        assert fault[0] in torch_text
        torch_text = torch_text.replace(*fault)
    ledger = ledger_of(TINY, **options)
    models = build_pair((torch_text, keras_text), ledger, (32, 64, 2))
    diverged = compare(*models, ledger, image((32, 64, 2)))
    assert (diverged is not None) == bool(fault), diverged


def test_the_gradient_of_what_sees_nothing_is_pytorchs():
    """Its fused attention is wrong there, so `advice` warns; once it is right, none is needed."""
    options = {"segmentor": "trans_unet", "input_shape": (64, 64, 1), "dropout": 0, **VIT}
    with pytest.warns(compiler.CompileWarning, match="a query of TransUNet may see no token"):
        module = load(compiler.emit(TINY, target="torch", compat="medicai", **options))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiler.emit(TINY, target="torch", **options)
        compiler.emit(TINY, target="torch", compat="medicai", **(options | {"dropout": 0.1}))
    torch.manual_seed(0)
    attention = module.Attention(dropout=0.0).double()
    tokens = torch.randn(1, 4, module.EMBED, dtype=torch.float64)
    logits = torch.tensor([[[9.0] * 4, [9.0, -9.0, -9.0, -9.0]]], dtype=torch.float64)
    for rows, right in ((slice(0, 1), False), (slice(1, 2), True)):  # one sees nothing, one does
        mask = module.flat_attention_bias(logits[:, rows], torch.zeros(1, 1, 2, 2))
        gradients, outputs = [], []
        for kernel in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
            with sdpa_kernel(kernel):
                outputs.append(attention(tokens[:, :1], tokens, mask))
                (gradient,) = torch.autograd.grad(outputs[-1].sum(), attention.value.bias)
                gradients.append(gradient)
        torch.testing.assert_close(*outputs)
        assert torch.allclose(*gradients) == right


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_one_class_has_a_gradient(target):
    """A softmax over one entry is 1 whatever the queries say; ours is a sigmoid."""
    torch.manual_seed(0)
    options = {"segmentor": "trans_unet", "num_classes": 1, "input_shape": (64, 64, 1), **VIT}
    gradients = {}
    for compat in (None, "medicai"):
        text = compiler.emit(TINY, target=target, compat=compat, **options)
        model = constructor(text)()
        if target == "torch":
            model.eval()(torch.randn(1, 1, 64, 64)).sum().backward()
            gradients[compat] = model.mask_decoder.classes.weight.grad
        else:
            model(torch.randn(1, 64, 64, 1)).sum().backward()
            gradients[compat] = model.get_layer("mask_decoder_classes").kernel.value.grad
    assert gradients[None].abs().max() > 0
    assert gradients["medicai"].abs().max() == 0


def test_another_size_is_an_error():
    options = {"segmentor": "trans_unet", "num_classes": 2, "input_shape": (64, 64, 1), **VIT}
    torch_text, keras_text = emit_pair(TINY, **options)
    model = constructor(torch_text)()
    with pytest.raises(ValueError, match=r"expected image size \[64, 64\], got \[64, 96\]"):
        model(torch.zeros(1, 1, 64, 96))
    assert constructor(torch_text)(image_size=(64, 96))(torch.zeros(2, 1, 64, 96)).shape[3] == 96
    with pytest.raises(ValueError, match="fixed image size"):
        constructor(keras_text)(input_shape=(None, None, 1))
    with pytest.raises(ValueError, match="at least 2"):
        constructor(keras_text)(num_classes=1)
    with pytest.raises(ValueError, match="at least 2"):
        constructor(torch_text)(num_classes=1)
    with pytest.raises(ValueError, match="shape"):
        constructor(keras_text)()(torch.zeros(1, 64, 96, 1))


FAULTS = {
    "a mask the other way round": ("logits)) > 0", "logits)) <= 0"),
    "a mask upside down": (
        '2D(scale, data_format="channels_last")(logits)',
        '2D(scale, data_format="channels_last")(ops.flip(logits, 1))',
    ),
    "the norm's epsilon": ("epsilon=1e-6", "epsilon=1e-3"),
    "a decoder without activation": ("negative_slope=0.3", "negative_slope=1.0"),
    "a corner-aligned resize": ("(0.0, 0.0), (1, 2)", "(0.5, 0.5), (1, 2)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_fail(fault):
    old, new = FAULTS[fault]
    options = {"segmentor": "trans_unet", "num_classes": 3, "input_shape": (64, 97, 1), **VIT}
    torch_text, keras_text = emit_pair(TINY, **options)
    assert old in keras_text
    ledger = ledger_of(TINY, **options)
    models = build_pair((torch_text, keras_text.replace(old, new)), ledger, (64, 97, 1))
    assert compare(*models, ledger, image((64, 97, 1))) is not None
