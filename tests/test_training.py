"""The files at work: training steps, saving and reloading, scripting and export."""

import numpy as np
import pytest
import torch

import compiler
from tests.harness import (
    build_pair,
    constructor,
    emit_pair,
    image,
    ledger_of,
    randomize,
    run,
    tiny,
)
from tests.sampling import half_of

KINDS = {  # the catalog's kinds of blocks in small; no gate of one or two units, which may be dead
    "basic": tiny(block="basic", se_ratio=1),
    "pre_activation": tiny(pre_activation=True, se_ratio=None),
    "vd": tiny(block="bottleneck_vd", stem_filters=(8, 8, 16), stem_kernels=(3, 3, 3), se_ratio=1),
    "grouped": tiny(groups=4, width_per_group=16, se_ratio=1),
}


@pytest.mark.parametrize("shape", [(33, 40, 3), (17, 24, 33, 2)], ids=str)
@pytest.mark.parametrize("encoder", KINDS)
def test_torch_trains(encoder, shape):
    torch.manual_seed(0)
    text = compiler.emit(KINDS[encoder], target="torch", input_shape=shape, num_classes=3)
    model = constructor(text)().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
    x, y = torch.randn(4, shape[-1], *shape[:-1]).double(), torch.tensor([0, 1, 2, 0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    after = torch.nn.functional.cross_entropy(model(x), y)
    assert after < loss


@pytest.mark.parametrize("encoder", half_of(KINDS))
def test_torch_exports_and_compiles(encoder):
    text = compiler.emit(KINDS[encoder], target="torch", dims=3, num_classes=3)
    model = constructor(text)(in_channels=1).eval()
    randomize(model)
    x = torch.randn(2, 1, 33, 40, 34)
    with torch.no_grad():
        expected = model(x)
        batch, size = torch.export.Dim("batch", min=2), torch.export.Dim("size", min=33)
        program = torch.export.export(model, (x,), dynamic_shapes=({0: batch, 2: size},))
        other = torch.randn(3, 1, 50, 40, 34)
        torch.testing.assert_close(program.module()(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(program.module()(other), model(other), rtol=1e-4, atol=1e-5)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", KINDS)
def test_torch_scripts(encoder, tmp_path, monkeypatch):
    name = f"scripted_{encoder}"
    (tmp_path / f"{name}.py").write_text(
        compiler.emit(KINDS[encoder], target="torch", num_classes=3)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__(name)
    model = getattr(module, module.__all__[0])().eval()
    randomize(model)
    x = torch.randn(1, 3, 65, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(model)(x), model(x), rtol=1e-4, atol=1e-5)


# One process for all of a backend: most of its time goes into TensorFlow's import.
TRAIN_AND_SAVE = """
    import importlib, json, os
    import keras, numpy as np
    for name, shape in {cases}:
        keras.utils.set_random_seed(0)
        module = importlib.import_module(name)
        model = getattr(module, module.__all__[0])(input_shape=shape, num_classes=3)
        x = np.random.default_rng(0).standard_normal((4, *shape)).astype("float32")
        y = np.array([0, 1, 2, 0])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        before = [keras.ops.convert_to_numpy(w) for w in model.weights]
        loss = model.train_on_batch(x, y)
        after = [keras.ops.convert_to_numpy(w) for w in model.weights]
        moved = [not np.array_equal(a, b) for a, b in zip(before, after)]
        assert np.isfinite(loss) and all(moved), (name, sum(moved))
        model.save(name + ".keras")
        np.save(name + "_x.npy", x)
        np.save(name + "_y.npy", keras.ops.convert_to_numpy(model(x, training=False)))
"""
RELOAD = """
    import keras, numpy as np
    for name, _ in {cases}:
        model = keras.saving.load_model(name + ".keras")
        x, expected = np.load(name + "_x.npy"), np.load(name + "_y.npy")
        y = keras.ops.convert_to_numpy(model(x, training=False))
        assert np.abs(y - expected).max() < 1e-5 * np.abs(expected).max(), name
        print(name)
"""
TRAINED = [
    ("basic", (33, 40, 3)),
    ("pre_activation", (33, 40, 3)),
    ("grouped", (17, 24, 33, 2)),
]


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_keras_trains_and_reloads_without_the_file(backend, tmp_path):
    cases = TRAINED if backend == "tensorflow" else TRAINED[-1:]
    for encoder, shape in cases:
        text = compiler.emit(KINDS[encoder], target="keras", input_shape=shape, num_classes=3)
        (tmp_path / f"{encoder}.py").write_text(text)
    run(TRAIN_AND_SAVE.format(cases=cases), backend, tmp_path)
    for encoder, _ in cases:
        (tmp_path / f"{encoder}.py").unlink()
    names = [encoder for encoder, _ in cases]
    assert run(RELOAD.format(cases=cases), backend, tmp_path).split() == names


ON_TENSORFLOW = """
    import importlib, numpy as np
    for name in {names}:
        module = importlib.import_module(name)
        model = getattr(module, module.__all__[0])(input_shape=(None, None, 2), num_classes=3)
        model.load_weights(name + ".weights.h5")
        expected = np.load(name + "_y.npy")
        y = model(np.load("x.npy"), training=False).numpy()
        assert np.abs(y - expected).max() < 1e-4 * np.abs(expected).max(), name
        print(name)
"""


def test_tensorflow_gives_torchs_numbers(tmp_path):
    shape = (65, 40, 2)
    x = image(shape)
    np.save(tmp_path / "x.npy", x)
    for encoder in KINDS:
        texts = emit_pair(KINDS[encoder], input_shape=shape, num_classes=3)
        ledger = ledger_of(KINDS[encoder], input_shape=shape, num_classes=3)
        torch_model, keras_model = build_pair(texts, ledger, shape, num_classes=3)
        keras_model.save_weights(tmp_path / f"{encoder}.weights.h5")
        (tmp_path / f"{encoder}.py").write_text(texts[1])
        with torch.no_grad():
            y = torch_model(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
        np.save(tmp_path / f"{encoder}_y.npy", y)
    found = run(ON_TENSORFLOW.format(names=list(KINDS)), "tensorflow", tmp_path)
    assert found.split() == list(KINDS)
