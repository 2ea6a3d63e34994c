"""Inference files: the numbers of the training file, whose weights `convert` folds into theirs."""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
import textwrap

import numpy as np
import pytest
import safetensors.torch
import torch

import compiler
from compiler.api import traced
from compiler.errors import CompileError
from compiler.passes.validate import resolve
from compiler.verify.runtimes import KerasRuntime
from compiler.weights import deployed as module
from compiler.weights.deployed import fold_weights

from .harness import (
    constructor,
    difference,
    image,
    ledger_shapes,
    randomize,
    run,
    run_keras,
    run_torch,
    tiny,
    torch_shapes,
)
from .sampling import UNETS, half_of

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
CASES = [  # one of each head, with another encoder each
    pytest.param(*case, marks=[pytest.mark.full] if i % 19 else [])
    for i, case in enumerate(itertools.product(HEADS, ENCODERS, (2, 3)))
]


@pytest.mark.parametrize(("head", "encoder", "dims"), CASES)
def test_the_numbers_of_the_training_file(head, encoder, dims):
    compare(ENCODERS[encoder], {**HEADS[head], "dims": dims})


@pytest.mark.parametrize("kind", half_of(OTHERS))
def test_other_networks(kind):
    options = {"dims": 2, **OTHERS[kind]}
    if options.get("segmentor") in UNETS:
        options["decoder_filters"] = (16, 8, 8, 8, 8)
    compare(ENCODERS["basic" if "dialect" in options else "bottleneck"], options)


NNUNET = {"dims": 2, "norm": "batch", "segmentor": "nnunet", "input_shape": (32, 32, 2)}
UNITS = {"blocks": (1, 1, 1), "filters": (8, 8, 16), "strides": (1, 2, 2), "unit_dropout": 0.2}


@pytest.mark.parametrize(
    ("block", "more"),
    [
        ({"block": "plain", "unit_activation_first": True}, {"deep_supervision": True}),
        ({"block": "bottleneck_d", "se_ratio": 4}, {"lower_heads": True}),
    ],
)
def test_nnunet_with_batch_norm(block, more):
    encoder = compiler.custom_encoder("net", **UNITS, **block)
    compare_at([(32, 32)], encoder, {**NNUNET, **more})


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
    theirs = emitted(encoder, "keras", **options, deploy=True, fuse="yes")
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


# -- weights ---------------------------------------------------------------------------------------

UNET = {"segmentor": "unet", "decoder_filters": (16, 8, 8, 8, 8), "input_shape": (40, 33, 2)}


def saved(folder, **options):
    """A checkpoint of a training network, in float32, and the network."""
    model = emitted(ENCODERS["basic"], "torch", **options)().eval()
    randomize(model)
    torch.save(model.state_dict(), folder / "best.pt")
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, saved(folder, **UNET, deep_supervision=True, drop_path=0.2)


def test_a_checkpoint_becomes_the_weights_of_a_file(trained, tmp_path):
    """Named by the file itself, whose footer does not know of the heads in the checkpoint."""
    folder, model = trained
    file, weights = tmp_path / "net.py", tmp_path / "w.safetensors"
    options = {**UNET, "deploy": True, "fuse": "yes"}  # in Keras too
    file.write_text(compiler.emit(ENCODERS["basic"], target="torch", **options))
    done = compiler.convert(folder / "best.pt", weights, file)
    assert done.notes[0] == "omitted aux_heads, which only train (6 tensors)"
    assert done.notes[1].startswith(f"folded {len(torch_shapes(model)) - 6} tensors into ")
    deployed = constructor(file.read_text())()
    deployed.load_state_dict(safetensors.torch.load_file(weights))
    x = image((40, 33, 2))
    assert largest(run_torch(model, (), x), run_torch(deployed, (), x)) < 1e-5
    back = tmp_path / "w.weights.h5", tmp_path / "again.safetensors"
    compiler.convert(weights, back[0], file)  # what was folded moves as it is
    compiler.convert(back[0], back[1], file)
    assert back[1].read_bytes() == weights.read_bytes()
    (verdict,) = compiler.check(file)
    assert verdict.state == "clean"


def test_keras_does_not_fuse_unless_asked(trained, tmp_path):
    """Each form has weights of its own, made from those of training, and not one from the other."""
    folder, model = trained
    wanted = run_torch(model, (), image((40, 33, 2)))
    files = {}
    for fuse in ({}, {"fuse": "yes"}, {"fuse": "no"}):
        for target, suffix in (("torch", ".safetensors"), ("keras", ".weights.h5")):
            text = compiler.emit(ENCODERS["basic"], target=target, **UNET, deploy=True, **fuse)
            files[target, fuse.get("fuse")] = text
            if target == "keras":
                file = tmp_path / f"keras_{fuse.get('fuse')}.py"
                file.write_text(text)
                compiler.convert(folder / "best.pt", weights := file.with_suffix(suffix), file)
                network = constructor(text)()
                network.load_weights(weights)
                assert largest(wanted, run_keras(network, (), image((40, 33, 2)))) < 1e-5
    fused = {key: "upconv" in text.lower() for key, text in files.items()}
    assert fused == {
        key: key in (("torch", None), *((t, "yes") for t, _ in files)) for key in files
    }
    for key, other in ((None, "yes"), ("yes", "no")):
        held, file = tmp_path / f"keras_{key}.weights.h5", tmp_path / f"keras_{other}.py"
        message = f"upsampling is {'not ' * (other == 'yes')}fused"
        with pytest.raises(CompileError, match=message) as caught:
            compiler.convert(held, tmp_path / "other.weights.h5", file)
        (problem,) = caught.value.problems
        assert problem.hint.endswith(f"--fuse {'no' if other == 'yes' else 'yes'}")


def test_fusing_is_for_inference():
    with pytest.raises(CompileError, match="--fuse is for inference files"):
        compiler.emit("resnet18", target="torch", fuse="yes")


def test_weights_are_rounded_once():
    """Folded in float64, whatever the checkpoint's type."""
    model = emitted(ENCODERS["basic"], "torch", **UNET)()
    randomize(model)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    values = folded(ENCODERS["basic"], UNET, state)
    w, gamma, var = (
        state[f"encoder.{name}"].astype("float64")
        for name in ("conv1.weight", "bn1.weight", "bn1.running_var")
    )
    expected = w * (gamma / np.sqrt(var + 1e-5)).reshape(-1, 1, 1, 1)
    assert values["encoder.conv1.weight"].dtype == np.float64
    np.testing.assert_allclose(values["encoder.conv1.weight"], expected, rtol=1e-14)


def test_a_scale_of_zero_is_exact_behind_a_gate():
    """The scale multiplies the gate: nothing is divided by it."""
    for encoder in ("basic", "gate after norm"):
        model, _ = networks(ENCODERS[encoder], {**UNET, "dims": 2})
        with torch.no_grad():
            for name, module in model.named_modules():
                if name.endswith("bn2"):
                    module.weight[::2] = 0.0
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        values = folded(ENCODERS[encoder], UNET, state)
        deployed = emitted(ENCODERS[encoder], "torch", **UNET, deploy=True)().double()
        deployed.load_state_dict({name: torch.from_numpy(v) for name, v in values.items()})
        x = image((40, 33, 2)).astype("float64")
        assert largest(run_torch(model, (), x), run_torch(deployed, (), x)) < 1e-12


FAULTS = {
    "the shift is lost": ("fold", "values[bias] = shift", "values[bias] = lambda: 0 * shift()"),
    "epsilon is lost": ("affine", "+ eps", "+ 0"),
    "taps the other way round": ("_taps", "(2, 1, 1, 0)", "(0, 1, 1, 2)"),
    "the inner taps are not summed": ("_taps", "taps[inner] +=", "0 *"),
    "skip and x change places": ("fuse", "[:, shape[0] :]", "[:, : -shape[0]]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault, monkeypatch):
    """Each step of the weights is wrong on purpose."""
    where, right, wrong = FAULTS[fault]
    owner = module if where.startswith("_") else module._Weights
    text = textwrap.dedent(inspect.getsource(getattr(owner, where)))
    assert right in text
    namespace = dict(vars(module))
    exec(text.replace(right, wrong), namespace)
    monkeypatch.setattr(owner, where, namespace[where])
    with pytest.raises(AssertionError):
        compare_at([(32, 64)], ENCODERS["basic"], {**UNET, "dims": 2})


def test_incomplete_checkpoints_are_refused(trained, tmp_path):
    folder, model = trained
    encoder = {n: v for n, v in model.state_dict().items() if n.startswith("encoder")}
    torch.save(encoder, tmp_path / "encoder.pt")
    with pytest.raises(CompileError, match=r"no weights for decoder, head .* inference file needs"):
        compiler.convert(
            tmp_path / "encoder.pt", tmp_path / "w.pt", ENCODERS["basic"], **UNET, deploy=True
        )
    torch.save({n: v / 0 for n, v in model.state_dict().items()}, tmp_path / "broken.pt")
    with pytest.raises(CompileError, match="NaN or infinite"):
        compiler.convert(
            tmp_path / "broken.pt", tmp_path / "w.pt", ENCODERS["basic"], **UNET, deploy=True
        )
    with pytest.raises(CompileError, match="do not go back"):
        compiler.convert(
            folder / "best.pt",
            tmp_path / "w.pth",
            ENCODERS["basic"],
            to="nnunet",
            **UNET,
            deploy=True,
        )
    assert not (tmp_path / "w.pt").exists() and not (tmp_path / "w.pth").exists()


# -- files -----------------------------------------------------------------------------------------


def test_a_file_scripts_and_exports(tmp_path, monkeypatch):
    options = {**UNET, "segmentor": "attention_unet", "encoder_depth": 3, "deploy": True}
    text = compiler.emit(ENCODERS["basic"], target="torch", **options)
    (tmp_path / "deployed_tiny.py").write_text(text)  # a script reads its text
    monkeypatch.syspath_prepend(str(tmp_path))
    model = __import__("deployed_tiny").TinyAttentionUNet().eval()
    sys.modules.pop("deployed_tiny")
    randomize(model)
    script = torch.jit.script(model)
    even = {
        2: 32 * torch.export.Dim("h", min=2, max=9),
        3: 32 * torch.export.Dim("w", min=2, max=9),
    }
    whole = torch.export.export(model, (torch.randn(1, 2, 64, 96),), dynamic_shapes=(even,))
    for shape in ((64, 128), (33, 47)):
        x = torch.randn(1, 2, *shape)
        with torch.no_grad():
            torch.testing.assert_close(script(x), model(x))
            if shape[0] % 8 == 0:
                torch.testing.assert_close(whole.module()(x), model(x))


@pytest.mark.parametrize("backend", half_of(["tensorflow", "jax"]))
def test_keras_on_other_backends(backend, trained, tmp_path):
    """Sizes may be unknown until the call, and a saved model is loaded again."""
    folder, model = trained
    text = compiler.emit(ENCODERS["basic"], target="keras", **UNET, deploy=True, fuse="yes")
    (tmp_path / "net.py").write_text(text)
    compiler.convert(folder / "best.pt", tmp_path / "w.weights.h5", tmp_path / "net.py")
    for height in (32, 33):
        x = image((height, 64, 2))
        np.savez(tmp_path / f"{height}.npz", x=x, y=run_torch(model, (), x).output)
    run(
        """
        import keras, net, numpy
        for open in (True, False):
            for height in (32, 33):
                found = numpy.load(f"{height}.npz")
                size = (None, None) if open else (height, 64)
                model = net.TinyUNet(input_shape=(*size, 2))
                model.load_weights("w.weights.h5")
                y = model.predict(found["x"], verbose=0)
                wanted = numpy.moveaxis(found["y"], 1, -1)
                assert abs(y - wanted).max() < 1e-5 * abs(wanted).max()
        model.save("model.keras")
        again = keras.models.load_model("model.keras")
        assert (again.predict(found["x"], verbose=0) == y).all()
        """,
        backend,
        tmp_path,
    )


def test_nothing_of_training_is_left():
    options = {"drop_path": 0.3, "checkpointing": True, "deep_supervision": True, **UNET}
    for target in ("torch", "keras"):
        text = compiler.emit(ENCODERS["basic"], target=target, **options, deploy=True)
        for word in ("BatchNorm", "norm(", "Drop", "drop", "init.", "aux", "heckpoint", "training"):
            code = text.partition('"""\n\n')[2].rpartition("\n\n\n# Written by")[0]
            assert word not in code, (target, word)


def test_levels_are_not_overwritten():
    """An activation in place on a level would change what `pyramid` returns."""
    for encoder in ("basic v2", "no gate"):
        model = emitted(ENCODERS[encoder], "torch", **UNET, deploy=True)().eval()
        randomize(model)
        x = torch.randn(1, 2, 33, 40)
        with torch.no_grad():
            levels = model.encoder(x)
            before = {name: value.clone() for name, value in levels.items()}
            kept = x.clone()
            model.decoder(levels, x)
            model(x)
        assert torch.equal(x, kept)
        assert all(torch.equal(value, before[name]) for name, value in levels.items())


def test_a_spec_may_ask_for_it(tmp_path):
    spec = 'extends = "resnet18"\nname = "small"\ndeploy = true\n[segmentor]\nname = "unet"\n'
    (tmp_path / "net.toml").write_text(spec)
    text = compiler.emit(tmp_path / "net.toml", target="torch")
    assert "UpConv" in text and "deploy=True" in text


def test_verify_holds_both_files_against_each_other(trained, tmp_path):
    folder, _ = trained
    names = tmp_path / "net.py", tmp_path / "net_deploy.py"
    for name, deploy in zip(names, (False, True)):
        text = compiler.emit(ENCODERS["basic"], target="torch", **UNET, deploy=deploy)
        name.write_text(text)
    report = compiler.verify(*names[::-1], checkpoint=folder / "best.pt")
    assert report.passed and report.settings.tolerance == 1e-5
    sizes = {quantity.name.split(":")[0] for quantity in report.quantities}
    assert sizes == {"torch, 65x96", "torch, 96x96"}
    text = names[1].read_text()
    assert "self.up(x, skip) + self.conv1(skip)" in text
    names[1].write_text(text.replace("self.up(x, skip) +", "1.001 * self.up(x, skip) +"))
    report = compiler.verify(*names, size=32)
    assert not report.passed and report.first == "output"
    with pytest.raises(CompileError, match="--checkpoint is for"):
        compiler.verify("resnet18", checkpoint=folder / "best.pt")


def test_verify_compiles_both_targets():
    options = {**UNET, "decoder_filters": (8, 8, 8, 8, 8)}
    report = compiler.verify(ENCODERS["no gate"], **options, deploy=True)
    assert report.passed, report
    assert [q.name for q in report.quantities][::6] == ["torch, 40x33: P1", "Keras, 40x33: P1"]
