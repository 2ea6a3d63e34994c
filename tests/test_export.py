"""Segmentors on their way out: compiled, exported, scripted, saved, reloaded, in half precision."""

import importlib
import itertools

import numpy as np
import pytest
import torch

import compiler
from tests.harness import (
    build_pair,
    constructor,
    emit_pair,
    image,
    in_onnxruntime,
    ledger_of,
    randomize,
    run,
    tiny,
)
from tests.sampling import ANYWHERE, UNETS, half_of, only, third_of

# With two hidden units in a gate all may be dead, and nothing behind them learns.
TINY = tiny(block="basic", blocks=(1, 1, 1, 1), se_ratio=1)
FILTERS = (16, 16, 8, 8, 4)
VIT = {"vit_layers": 2, "heads": 2, "queries": 5, "embed_dim": 64, "mlp_dim": 24}
TRACED = {2: (64, 48), 3: (40, 48, 64)}  # even, and halves that are odd
OTHERS = {2: ((65, 97), (100, 100), (33, 128)), 3: ((33, 40, 47), (34, 64, 48))}
ranks = pytest.mark.parametrize("dims", [2, 3])
a_third_of_the_unets = pytest.mark.parametrize(
    ("segmentor", "block", "dims"), third_of(UNETS, ("upsampling", "transpose"), (2, 3))
)
half_of_the_unets = pytest.mark.parametrize(
    ("segmentor", "block", "dims"), half_of(UNETS, ("upsampling", "transpose"), (2, 3))
)


def _options(segmentor, shape, **more):
    """A small model: two channels in, two classes out."""
    small: dict[str, object] = VIT if segmentor == "trans_unet" else {}
    if segmentor in UNETS:
        small = {"decoder_filters": FILTERS[: more.get("encoder_depth", 5)]}
    return {"segmentor": segmentor, "input_shape": shape, "num_classes": 2, **small, **more}


def _model(encoder, segmentor, dims, **more):
    """In PyTorch, with random weights and statistics."""
    options = _options(segmentor, (*TRACED[dims], 2), **more)
    model = constructor(compiler.emit(encoder, target="torch", **options))().eval()
    randomize(model)
    return model


def _images(sizes, batch):
    torch.manual_seed(0)
    return torch.randn(batch, 2, *sizes)


def _dynamic(dims):
    """Every axis but that of channels; sizes from 33, as P5 of 32 is 1 and 1 is specialised."""
    sizes = {axis: torch.export.Dim(f"size{axis}", min=33) for axis in range(2, 2 + dims)}
    return ({0: torch.export.Dim("batch", min=2), **sizes},)


def _same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@a_third_of_the_unets
def test_unets_export_with_every_size(segmentor, block, dims):
    model = _model(TINY, segmentor, dims, decoder_block=block)
    x = _images(TRACED[dims], 2)
    with torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes=_dynamic(dims)).module()
        for other in (x, *(_images(sizes, 3) for sizes in OTHERS[dims])):
            _same(program(other), model(other))


@pytest.mark.parametrize(
    "segmentor",  # of those that nothing else here exports or compiles
    only(lambda name: name == "fpn", ANYWHERE),
)
def test_catalog_encoders_export_and_compile(segmentor):
    model = _model("seresnet18", segmentor, 2)
    x, other = _images(TRACED[2], 2), _images(TRACED[2], 3)
    with torch.no_grad():
        batch = ({0: torch.export.Dim("batch", min=2)},)
        program = torch.export.export(model, (x,), dynamic_shapes=batch).module()
        _same(program(x), model(x))
        _same(program(other), model(other))
        _same(torch.compile(model, fullgraph=True, backend="aot_eager")(x), model(x))


@a_third_of_the_unets
def test_unets_compile_whole(segmentor, block, dims):
    model = _model(TINY, segmentor, dims, decoder_block=block)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = _images(OTHERS[dims][0], 2)
    with torch.no_grad():
        _same(compiled(x), model(x))


@pytest.mark.parametrize(("segmentor", "block"), half_of(UNETS, ("upsampling", "transpose")))
def test_gradients_of_the_compiled_agree(segmentor, block):
    model = _model(TINY, segmentor, 2, decoder_block=block, encoder_depth=3).double()
    x, gradients = _images((33, 40), 2).double(), []
    for runs in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        runs(x).square().mean().backward()
        gradients.append([weights.grad.clone() for weights in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0
        assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


@ranks
@pytest.mark.parametrize("segmentor", ["fpn", "linknet"])
def test_others_script(segmentor, dims, tmp_path, monkeypatch):
    """At other sizes too; a script reads attributes, not the constants of a file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    options = _options(segmentor, (*TRACED[dims], 2))
    (tmp_path / f"of_{segmentor}_{dims}.py").write_text(
        compiler.emit(TINY, target="torch", **options)
    )
    module = importlib.import_module(f"of_{segmentor}_{dims}")
    model = getattr(module, module.__all__[0])().eval()
    randomize(model)
    script = torch.jit.script(model)
    for sizes in (TRACED[dims], *OTHERS[dims]):
        x = _images(sizes, 1)
        with torch.no_grad():
            assert torch.allclose(script(x), model(x), atol=1e-5)


@half_of_the_unets
def test_unets_script(segmentor, block, dims, tmp_path, monkeypatch):
    name = f"scripted_{segmentor}_{block}_{dims}d"
    options = _options(segmentor, (*TRACED[dims], 2), decoder_block=block)
    (tmp_path / f"{name}.py").write_text(compiler.emit(TINY, target="torch", **options))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(name)
    model = getattr(module, module.__all__[0])().eval()
    randomize(model)
    scripted = torch.jit.script(model)
    with torch.no_grad():
        for sizes in (TRACED[dims], *OTHERS[dims]):
            x = _images(sizes, 1)
            _same(scripted(x), model(x))


@pytest.mark.parametrize(
    ("segmentor", "block", "dims"), third_of(UNETS, ("upsampling", "transpose"), (3,))
)
def test_onnxruntime_gives_the_same_on_every_size(segmentor, block, dims):
    model = _model(TINY, segmentor, dims, decoder_block=block, encoder_depth=3)
    x = _images(TRACED[dims], 2)
    exported = in_onnxruntime(model, x, _dynamic(dims))
    with torch.no_grad():
        for other in (x, *(_images(sizes, 3) for sizes in OTHERS[dims])):
            _same(exported(other), model(other))


@pytest.mark.parametrize(("segmentor", "dims"), half_of(ANYWHERE, (2, 3)))
def test_torch_trains_and_takes_bfloat16(segmentor, dims):
    sizes = TRACED[2] if dims == 2 else (32, 32, 40)
    model = _model(TINY, segmentor, dims, input_shape=(*sizes, 2))
    x = _images(sizes, 2)
    with torch.no_grad():
        expected = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(x).float()
    assert (half - expected).abs().max() < 0.1 * expected.abs().max()
    model.double().train()  # in float32 a small step of a bias is rounded away
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    truth = (x > 0).double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model(x.double()), truth)
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    after = model.state_dict()
    # a key's bias shifts all the scores of a query alike, which a softmax does not see
    # and LinkNet's norms subtract the bias in front of them
    unseen = ("attention.key.bias", ".up.bias")
    learned = [name for name in after if not name.endswith(unseen)]
    assert not [name for name in learned if torch.equal(before[name], after[name])]


# A process runs many models, each in a folder: most of its time goes into TensorFlow's import.
SAVE = """
    import importlib, keras, numpy as np, sys, tensorflow as tf
    sys.path.insert(0, ".")
    for name in {names}:
        keras.utils.set_random_seed(0)
        module = importlib.import_module(f"{{name}}.model_file")
        model = getattr(module, module.__all__[0])()
        x = np.load(f"{{name}}/x.npy")
        model.load_weights(f"{{name}}/w.weights.h5")
        y = model(x, training=False).numpy()
        assert np.abs(y - np.load(f"{{name}}/y.npy")).max() < 1e-4 * np.abs(y).max(), name
        model.export(f"{{name}}/saved", verbose=False)

        if name.rpartition("_")[0] not in {trained}:
            compiled = tf.function(model, jit_compile=True)(x, training=False).numpy()
            assert np.abs(compiled - y).max() < 1e-4 * np.abs(y).max(), name
            print(name)
            continue
        # a key's bias shifts all the scores of a query alike, which a softmax does not see
        # and LinkNet's norms subtract the bias in front of them
        unseen = ("attention/key/bias", "_up/bias")
        learned = [w for w in model.weights if not w.path.endswith(unseen)]
        before = [w.numpy() for w in learned]
        model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=True)
        history = model.fit(x, (x > 0).astype("float32"), batch_size=2, epochs=2, verbose=0)
        still = [w.path for a, w in zip(before, learned) if np.array_equal(a, w.numpy())]
        assert not still, (name, still)
        assert model.jit_compile and np.isfinite(history.history["loss"]).all(), name
        print(name)
"""
SERVE = """
    import numpy as np, tensorflow as tf
    for name in {names}:
        saved = tf.saved_model.load(f"{{name}}/saved")
        y = saved.serve(np.load(f"{{name}}/x.npy")).numpy()
        assert np.abs(y - np.load(f"{{name}}/y.npy")).max() < 1e-4 * np.abs(y).max(), name
        print(name)
"""


def _keep(folder, texts, keras_model, x, y):
    """The Keras file, its weights, and an image with PyTorch's answer."""
    folder.mkdir()
    (folder / "model_file.py").write_text(texts[1])
    keras_model.save_weights(folder / "w.weights.h5")
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)


def _answer(model, x):
    with torch.no_grad():
        y = model(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
        return y.float().movedim(1, -1).numpy()


def _level(model, x):
    """P5 of the image."""
    return _answer(lambda image: model.pyramid(image)["P5"], x)


def _in_turn(turn):
    """Every segmentor in 2D or in 3D; in the other turn the other way round."""
    return [(segmentor, 2 + (i + turn) % 2) for i, segmentor in enumerate(ANYWHERE)]


# XLA compiles the training of each anew, for long: the one with gates stands for the others.
TRAINED = ("attention_unet",)


# AttentionUNet has all that UNet and UNet++ are made of.
ALL_KINDS = tuple(name for name in ANYWHERE if name not in ("unet", "unet_plus_plus"))


@pytest.mark.parametrize(
    ("turn", "segmentors"),
    [
        pytest.param(0, ALL_KINDS, id="each kind"),
        pytest.param(0, ANYWHERE, marks=pytest.mark.full, id="all"),
        pytest.param(1, ANYWHERE, marks=pytest.mark.full, id="all in the other rank"),
    ],
)
def test_keras_exports_and_fits_with_xla(turn, segmentors, tmp_path):
    names = []
    for segmentor, dims in _in_turn(turn):
        if segmentor not in segmentors:
            continue
        shape = (33, 48, 2) if dims == 2 else (17, 32, 24, 2)
        if segmentor not in UNETS:
            shape = (*TRACED[2], 2) if dims == 2 else (32, 32, 40, 2)
        options = _options(segmentor, shape, encoder_depth=3)
        if segmentor == "trans_unet":
            options["vit_layers"] = 1  # XLA compiles each anew
        texts, ledger = emit_pair(TINY, **options), ledger_of(TINY, **options)
        torch_model, keras_model = build_pair(texts, ledger, shape)
        x = image(shape)
        names.append(f"{segmentor}_{dims}d")
        _keep(tmp_path / names[-1], texts, keras_model, x, _answer(torch_model, x))
    program = SAVE.format(names=names, trained=segmentors if segmentors == ANYWHERE else TRAINED)
    assert run(program, "tensorflow", tmp_path).split() == names
    for name in names:
        (tmp_path / name / "model_file.py").unlink()
    assert run(SERVE.format(names=names), "tensorflow", tmp_path).split() == names


RELOAD = """
    import keras, numpy as np
    for name, count in {cases}:
        model = keras.saving.load_model(f"{{name}}.keras")
        for i in range(count):
            x, y = np.load(f"{{name}}_x{{i}}.npy"), np.load(f"{{name}}_y{{i}}.npy")
            assert model.input_shape[1:-1] == (None,) * (x.ndim - 2)
            ours = keras.ops.convert_to_numpy(model(x, training=False))
            assert ours.shape == y.shape, (name, ours.shape, y.shape)
            assert np.abs(ours - y).max() < 1e-4 * np.abs(y).max(), (name, x.shape)
            print(name, i)
"""
ANY = ((100, 100, 2), (65, 97, 2), (16, 130, 127, 2))


def test_keras_reloads_without_the_file_for_every_size(tmp_path):
    cases = []
    for segmentor, dims in itertools.product(UNETS, (2, 3)):
        options = _options(segmentor, (*TRACED[dims], 2), encoder_depth=3)
        texts, ledger = emit_pair(TINY, **options), ledger_of(TINY, **options)
        ours, theirs = build_pair(texts, ledger, (*(None,) * dims, 2))
        name = f"{segmentor}_{dims}d"
        theirs.save(tmp_path / f"{name}.keras")
        shapes = [shape for shape in ANY if len(shape) == dims + 1]
        cases.append((name, len(shapes)))
        for i, shape in enumerate(shapes):
            x = image(shape, batch=1)
            np.save(tmp_path / f"{name}_x{i}.npy", x)
            np.save(tmp_path / f"{name}_y{i}.npy", _answer(ours, x))
    # Each backend reloads in both ranks, and every file is reloaded by one of them.
    turns = {"tensorflow": cases[0::4] + cases[3::4], "torch": cases[1::4] + cases[2::4]}
    for backend, its_cases in turns.items():
        said = run(RELOAD.format(cases=its_cases), backend, tmp_path)
        expected = [f"{name} {i}" for name, count in its_cases for i in range(count)]
        assert said.splitlines() == expected, backend
    assert sorted(map(str, cases)) == sorted(map(str, itertools.chain(*turns.values())))


HALF = """
    import importlib, keras, numpy as np, sys
    from keras import layers, ops
    sys.path.insert(0, ".")
    for name in {names}:
        keras.config.set_dtype_policy("float32")
        module = importlib.import_module(f"{{name}}.model_file")
        build, x = getattr(module, module.__all__[0]), np.load(f"{{name}}/x.npy")
        model = build()
        model.load_weights(f"{{name}}/w.weights.h5")
        means = layers.GlobalAveragePooling{dims}D
        pooled = [layer.input for layer in model.layers if isinstance(layer, means)]
        sums = keras.Model(model.input, [ops.sum(p, {axes}) for p in pooled])
        assert max(float(ops.max(s)) for s in sums(x)) > 65504  # a sum would overflow
        keras.config.set_dtype_policy("mixed_float16")
        half = build()
        half.load_weights(f"{{name}}/w.weights.h5")
        both = keras.Model(half.input, [half.pyramid_outputs["P5"], half.output])
        level, y = [ops.convert_to_numpy(o).astype("float32") for o in both(x, training=False)]
        expected, answer = np.load(f"{{name}}/level.npy"), np.load(f"{{name}}/y.npy")
        assert np.abs(level - expected).max() < 0.02 * np.abs(expected).max(), name
        assert np.abs(y - answer).mean() < 0.02 * np.abs(answer).max(), name
        print(name)
"""


@pytest.mark.parametrize(
    ("turn", "kept"),  # by default one of each rank, as all have the gates of the same encoder
    [
        pytest.param(0, slice(1), id="one"),
        pytest.param(0, slice(None), marks=pytest.mark.full, id="all"),
        pytest.param(1, slice(None), marks=pytest.mark.full, id="all in the other rank"),
    ],
)
@pytest.mark.parametrize(("dims", "backend"), [(2, "tensorflow"), (3, "torch")])
def test_half_precision_does_not_overflow(dims, backend, turn, kept, tmp_path):
    """Where a float16 sum over a level's voxels would: the gates take means.

    The output's difference is a mean: where an attention gate's sigmoid sees the difference of two
    large numbers, float16 leaves single voxels several percent apart in either framework.
    """
    shape, names = (96, 96, 2) if dims == 2 else (32, 32, 32, 2), []
    chosen = [segmentor for segmentor, its_dims in _in_turn(turn) if its_dims == dims]
    chosen.sort(key=lambda name: name != "attention_unet")  # which has more gates
    for segmentor in chosen[kept]:
        options = _options(segmentor, shape)
        texts, ledger = emit_pair(TINY, **options), ledger_of(TINY, **options)
        torch_model, keras_model = build_pair(texts, ledger, shape)
        x = 500 * image(shape, batch=1)
        level, y = _level(torch_model, x), _answer(torch_model, x)
        torch_model.half()
        half = x.astype("float16")
        assert np.abs(_level(torch_model, half) - level).max() < 0.02 * np.abs(level).max()
        assert np.abs(_answer(torch_model, half) - y).mean() < 0.02 * np.abs(y).max()
        names.append(segmentor)
        _keep(tmp_path / segmentor, texts, keras_model, x, y)
        np.save(tmp_path / segmentor / "level.npy", level)
    assert names == chosen[kept] and len(chosen) == len(ANYWHERE) / 2
    program = HALF.format(names=names, dims=dims, axes=tuple(range(1, dims + 1)))
    assert run(program, backend, tmp_path).split() == names


@pytest.mark.parametrize(("compat", "dims"), half_of([None, "medicai"], (2, 3)))
def test_trans_unet_exports(compat, dims, tmp_path, monkeypatch):
    """Scripted, compiled and exported, with any batch; its size is fixed."""
    name = f"trans_unet_{compat}_{dims}d"
    options = _options("trans_unet", (*TRACED[dims], 2), compat=compat, vit_layers=1)
    (tmp_path / f"{name}.py").write_text(compiler.emit(TINY, target="torch", **options))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(name)
    model = getattr(module, module.__all__[0])().eval()
    randomize(model)
    x, other = _images(TRACED[dims], 2), _images(TRACED[dims], 3)
    batch = ({0: torch.export.Dim("batch", min=2)},)
    with torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes=batch).module()
        wanted = model(other)
        _same(program(other), wanted)
        _same(torch.jit.script(model)(other), wanted)
        _same(torch.compile(model, fullgraph=True, backend="aot_eager")(other), wanted)


@pytest.mark.parametrize("dims", [pytest.param(2, marks=pytest.mark.full), 3])
def test_trans_unet_in_onnxruntime(dims):
    model = _model(TINY, "trans_unet", dims, encoder_depth=4, vit_layers=1)
    x, other = _images(TRACED[dims], 2), _images(TRACED[dims], 3)
    exported = in_onnxruntime(model, x, ({0: torch.export.Dim("batch", min=2)},))
    with torch.no_grad():
        _same(exported(other), model(other))


RELOAD_WITH_THE_FILE = """
    import keras, numpy as np
    import model_file
    model = keras.saving.load_model("model.keras")
    y = keras.ops.convert_to_numpy(model(np.load("x.npy"), training=False))
    wanted = np.load("y.npy")
    assert np.abs(y - wanted).max() < 1e-4 * np.abs(wanted).max()
    print("the same")
"""


@pytest.mark.parametrize(("dims", "backend"), half_of((2, 3), ("tensorflow", "torch")))
def test_trans_unet_reloads_with_its_file_imported(dims, backend, tmp_path):
    shape = (*TRACED[dims], 2)
    options = _options("trans_unet", shape)
    texts, ledger = emit_pair(TINY, **options), ledger_of(TINY, **options)
    ours, theirs = build_pair(texts, ledger, shape)
    (tmp_path / "model_file.py").write_text(texts[1])
    theirs.save(tmp_path / "model.keras")
    x = image(shape)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", _answer(ours, x))
    assert run(RELOAD_WITH_THE_FILE, backend, tmp_path) == "the same\n"
