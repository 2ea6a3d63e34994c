"""`verify`: passes where both files are one network, and names the row where they part."""

import itertools
import json
import math
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.passes.validate import resolve
from compiler.verify import sweep
from compiler.verify.compare import compile_pair, verify
from compiler.verify.conditioning import sized
from compiler.verify.loading import Source
from compiler.verify.pairs import read_pair
from compiler.verify.report import as_dict
from compiler.verify.settings import Settings
from compiler.verify.state import append, key, read_state
from tests.harness import QUICKLY_COMPILED, run, tiny
from tests.sampling import ANYWHERE, UNETS, by_kind, half_of, third_of

VIT = {"vit_layers": 1, "heads": 2, "queries": 5, "embed_dim": 32, "mlp_dim": 32}
DECODER = {"decoder_filters": (16, 16, 8, 8, 4)}
IMAGES = {2: (33, 48, 2), 3: (33, 32, 40, 1)}


def _tiny(**changes):
    return tiny(**{"blocks": (1, 1, 1, 2), **changes})


def _model(encoder=None, dims=2, **options):
    return resolve(encoder or _tiny(), {"input_shape": IMAGES[dims], "num_classes": 3, **options})


def _trans_unet(dims=2, **options):
    return _model(_tiny(block="basic"), dims, segmentor="trans_unet", **VIT, **options)


KINDS = {
    "basic": {"block": "basic"},
    "without SE": {"se_ratio": None},
    "grouped": {"groups": 4, "width_per_group": 16},
    "pre-activation": {"pre_activation": True},
    "vd": {"block": "bottleneck_vd", "stem_filters": (4, 8), "stem_kernels": (3, 3)},
}


@pytest.mark.parametrize(("kind", "dims"), half_of(list(KINDS), [2, 3]))
def test_kinds_pass(kind, dims):
    _passes(_model(_tiny(**KINDS[kind]), dims))


@pytest.mark.parametrize(
    ("segmentor", "block", "dims"),
    by_kind(
        dict.fromkeys(
            [
                ("unet", "transpose", 3),
                ("unet_plus_plus", "upsampling", 3),
                ("attention_unet", "upsampling", 2),
                *itertools.product(UNETS, ["upsampling", "transpose"], [2, 3]),
            ]
        ),
        lambda segmentor, block, dims: segmentor,
    ),
)
def test_unets_pass(segmentor, block, dims):
    _passes(_model(dims=dims, segmentor=segmentor, decoder_block=block, **DECODER))


@pytest.mark.parametrize("norm", ["instance", "group", "layer", "none"])
def test_norms_pass(norm):
    _passes(_model(segmentor="unet", decoder_normalization=norm, **DECODER))


@pytest.mark.parametrize(("compat", "dims"), half_of([None, "medicai"], [2, 3]))
def test_trans_unets_pass(compat, dims):
    options = {"num_classes": 1, "encoder_depth": 4} if dims == 3 else {}
    _passes(_trans_unet(dims, compat=compat, **options))


def test_the_reference_passes():
    _passes(_model(segmentor="unet_plus_plus", compat="medicai", **DECODER))


@pytest.mark.parametrize(
    "options",
    [
        {"features_only": True},
        {"features_only": True, "pooling": "max"},
        {"classifier_activation": "softmax", "include_rescaling": True},
    ],
    ids=str,
)
def test_heads_pass(options):
    if "features_only" in options:
        options["num_classes"] = None
    _passes(_model(**options))


def _passes(model):
    report = verify(model, Settings())
    assert report.passed, (report.first, report.why, report.error)
    lines = {quantity.name: quantity for quantity in report.quantities}
    assert all(line.float64 < 1e-8 for line in lines.values() if line.float64 is not None)
    assert lines["output"].float32 < 1e-4
    assert {"weights", "parameters", "P1", "P2", "P3", "gradient of the image"} <= lines.keys()
    assert report.gradients and report.step.keys() > report.gradients.keys()


UNET = {"segmentor": "unet", "num_classes": 4, **DECODER}
SE_LAST = (
    '    x = squeeze_excite(x, channels, name=f"{name}_se")\n    x = norm(x, name=f"{name}_bn3")\n'
)
SE_FIRST = (
    '    x = norm(x, name=f"{name}_bn3")\n    x = squeeze_excite(x, channels, name=f"{name}_se")\n'
)
DECODER_BLOCK = """\
    x = layers.BatchNormalization(momentum=0.9, epsilon=DECODER_EPS, name=f"{{name}}_{}")(x)
    x = layers.ReLU()(x)
    x = conv(x, filters, 3, name=f"{{name}}_conv2")
    x = layers.BatchNormalization(momentum=0.9, epsilon=DECODER_EPS, name=f"{{name}}_{}")(x)
"""
# What is edited in which file; the row that must be named, and words of how.
FAULTS = {
    "SE moved": (
        {},
        "keras",
        SE_LAST,
        SE_FIRST,
        "encoder.stages.0.0.se.conv1",
        "output differs by",
    ),
    "SE moved in torch": (
        {},
        "torch",
        "self.bn3(self.se(self.conv3(x)))",
        "self.se(self.bn3(self.conv3(x)))",
        "encoder.stages.0.0.bn3",
        "its input too",
    ),
    "same at stride 2": (
        {},
        "keras",
        "if stride != 1 and kernel > 1:",
        "if False:",
        "encoder.conv1",
        "output differs by",
    ),
    "eps": ({}, "keras", "epsilon=1e-5", "epsilon=1e-6", "encoder.bn1", "on the same input"),
    "eps of the decoder": (
        UNET,
        "torch",
        "eps=DECODER_EPS",
        "eps=1e-5",
        "decoder.blocks.0.bn1",
        "on the same input",
    ),
    "names exchanged": (
        UNET,
        "keras",
        DECODER_BLOCK.format("bn1", "bn2"),
        DECODER_BLOCK.format("bn2", "bn1"),
        "decoder.blocks.0.bn1",
        "output differs by",
    ),
    "momentum": (
        {},
        "keras",
        "momentum=0.9,",
        "momentum=0.99,",
        "encoder.bn1",
        "running_mean differs",
    ),
    "momentum in torch": (
        UNET,
        "torch",
        "eps=DECODER_EPS, momentum=0.1)",
        "eps=DECODER_EPS, momentum=0.01)",
        "decoder.blocks.0.bn1",
        "after a training step",
    ),
    "bias missing": (
        {},
        "keras",
        "num_classes, **options",
        "num_classes, use_bias=False, **options",
        "head",
        "head.bias is missing in keras",
    ),
    "bias missing in SE": (
        {},
        "torch",
        "self.conv2 = nn.Conv2d(channels // SE_RATIO, channels, 1)",
        "self.conv2 = nn.Conv2d(channels // SE_RATIO, channels, 1, bias=False)",
        "encoder.stages.0.0.se.conv2",
        "missing in torch",
    ),
    "a weight too many": (
        {},
        "torch",
        "        self.head = ",
        "        self.scale = nn.Parameter(torch.ones(1))\n        self.head = ",
        "scale",
        "left over",
    ),
    "dense transposed": (
        {"num_classes": 64},
        "torch",
        "self.head(",
        "(lambda t: F.linear(t, self.head.weight.T, self.head.bias))(",
        "head",
        "output differs",
    ),
    "an activation left out at the end": (
        {"features_only": True, "num_classes": None},
        "keras",
        "return layers.ReLU()(layers.Add()([x, residual]))",
        "return layers.Add()([x, residual])",
        "encoder.stages.1.0.shortcut.conv",
        "its input too",
    ),
    "no gradient": (
        UNET,
        "torch",
        "x = self.bn3(self.se(self.conv3(x)))",
        "x = self.bn3(self.se(self.conv3(x.detach())))",
        "encoder.stages.3.1.bn2",
        "its gradient differs",
    ),
}
TRANS_FAULTS = {
    "corners aligned": (
        "torch",
        "F.interpolate(x, scale_factor=scale, mode=mode)",
        'F.interpolate(x, scale_factor=scale, mode=mode, align_corners=mode == "bilinear" or None)',
        "decoder.blocks.0",
        "output differs by",
    ),
    "projection transposed": (
        "torch",
        "self.value(context)]",
        "F.linear(context, self.value.weight.T, self.value.bias)]",
        "vit.blocks.0.attention.value",
        "not called as a layer",
    ),
    "names exchanged": (
        "torch",
        "[self.query(x), self.key(context), ",
        "[self.key(x), self.query(context), ",
        "vit.blocks.0.attention.attention_output",
        "its input too",
    ),
    "eps of a layer norm": (
        "torch",
        "self.norm1 = nn.LayerNorm(EMBED, eps=1e-6)",
        "self.norm1 = nn.LayerNorm(EMBED, eps=1e-5)",
        "vit.blocks.0.norm1",
        "on the same input",
    ),
    "another number of heads": (
        "keras",
        "HEADS, EMBED // HEADS, dropout=",
        "4, EMBED // 4, dropout=",
        "vit.blocks.0.attention.attention_output",
        "output differs by",
    ),
}


def _edited(model, target, old, new):
    sources = dict(zip(("torch", "keras"), compile_pair(model)))
    assert old in sources[target].text
    sources[target] = Source(sources[target].text.replace(old, new))
    return sources["torch"], sources["keras"]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault):
    options, *edit, row, words = FAULTS[fault]
    model = _model(**options)
    _is_named(verify(model, Settings(), _edited(model, *edit)), row, words)


@pytest.mark.parametrize("fault", TRANS_FAULTS)
def test_faults_of_trans_unet_are_named(fault):
    *edit, row, words = TRANS_FAULTS[fault]
    model = _trans_unet()
    _is_named(verify(model, Settings(), _edited(model, *edit)), row, words)


def _is_named(report, row, words):
    assert not report.passed and not report.error, report.error
    assert report.first == row and words in report.why, (report.first, report.why)


EXCEPTIONS = {
    "building in torch": ("torch", "super().__init__()", "super().__init__(); 1 / 0"),
    "building in Keras": ("keras", "image = keras.Input(input_shape)", "raise SystemExit(0)"),
    "running torch": (
        "torch",
        "        residual = ",
        "        assert self.training, 'not now'\n        residual = ",
    ),
    "differentiating in torch": (
        "torch",
        "        residual = ",
        "        assert not torch.is_grad_enabled()\n        residual = ",
    ),
    "matching weights": ("keras", "    return model\n", "    return 3\n"),
}


@pytest.mark.parametrize("doing", EXCEPTIONS)
def test_an_exception_is_a_failure(doing):
    model = _model()
    report = verify(model, Settings(), _edited(model, *EXCEPTIONS[doing]))
    assert not report.passed
    assert report.error.startswith(doing), report.error


def test_a_nan_is_no_agreement():
    model = _model()
    torch_source, keras_source = compile_pair(model)
    files = (
        Source(torch_source.text.replace("return x * gate", "return x * gate * float('nan')")),
        Source(
            keras_source.text.replace(
                "Multiply()([x, gate])", "Multiply()([x, gate]) * float('nan')"
            )
        ),
    )
    report = verify(model, Settings(), files)
    assert not report.passed
    json.loads(json.dumps(as_dict(report), allow_nan=False))


# Files, as they stand in a repository


def _write(folder, model, **texts):
    for target, source in zip(("torch", "keras"), compile_pair(model)):
        (folder / f"{target}_file.py").write_text(texts.get(target, source.text))
    return [str(folder / "keras_file.py"), str(folder / "torch_file.py")]


def test_files_are_read_in_any_order(tmp_path):
    names = _write(tmp_path, _model(segmentor="unet", **DECODER))
    for order in (names, names[::-1]):
        model, files = read_pair(order)
        assert [file.path.name for file in files] == ["torch_file.py", "keras_file.py"]
    report = verify(sized(model, (33, 40), fixed=True), Settings(), files)
    assert report.passed, report.error


DATACLASS = """
from dataclasses import dataclass


@dataclass
class Settings:
    rate: float = 0.1
    name: "str" = "net"

"""
EDITS = {  # of the torch file and of the Keras file; whether they are still one network
    "all that Python takes": (
        lambda text: "\ufeff" + text.replace("\nimport torch\n", DATACLASS + "import torch\n")[:-1],
        lambda text: f"\ufeff{text}\n\n",
        True,
    ),
    "a name that is none": (lambda text: text.replace("x: Tensor", "x: Tensr"), str, False),
    "an exception that is none": (
        lambda text: f"class Stop(BaseException): pass\nraise Stop\n{text}",
        str,
        False,
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_files_are_run_as_python_runs_them(edit, tmp_path, capsys):
    """With byte order marks, dataclasses, and with or without blank lines at their ends."""
    *changes, same = EDITS[edit]
    names = _write(tmp_path, _model())
    for target, change in zip(("torch", "keras"), changes):
        path = tmp_path / f"{target}_file.py"
        path.write_text(change(path.read_text()), encoding="utf-8")
    assert main(["verify", *names, "--json"]) == (0 if same else 1)
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] == same and bool(told["error"]) != same


def test_each_file_has_its_own_neighbours(tmp_path):
    """What both have moved into a `common.py` beside them is not the other's."""
    names = []
    for target, source in zip(("torch", "keras"), compile_pair(_model())):
        folder = tmp_path / target
        folder.mkdir()
        (folder / "common.py").write_text(f"import {target}\n\nSE_RATIO = 4\n")
        moved = source.text.replace("SE_RATIO = 4\n", f"from common import SE_RATIO, {target}\n")
        assert moved != source.text
        (folder / "net.py").write_text(moved)
        names.append(str(folder / "net.py"))
    assert main(["verify", *names]) == 0
    assert "common" not in sys.modules


def test_dropout_of_files_is_inert(tmp_path):
    names = _write(tmp_path, _trans_unet(dropout=0.5))
    model, files = read_pair(names)
    assert "DROPOUT, QUERIES = " in files[0].text
    assert ", 0.5, " in files[0].text
    report = verify(sized(model, None, fixed=True), Settings(), files)
    assert report.passed, (report.first, report.why, report.error)


def test_a_patch_keeps_its_size():
    model = _model(segmentor="trans_unet", encoder_depth=3, input_shape=(136, 144, 1), **VIT)
    assert sized(model, None, fixed=True).input_shape == (136, 144, 1)
    assert sized(model, None).input_shape == (65, 96, 1)
    assert sized(_trans_unet(), None, fixed=True).input_shape == (65, 96, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda names: names[:1], "only one file"),
        (lambda names: [names[0], names[0]], "are both keras files"),
        (lambda names: [names[0], names[1] + "x"], "No such file"),
    ],
)
def test_bad_pairs_are_told(change, words, tmp_path):
    names = _write(tmp_path, _model())
    with pytest.raises(CompileError, match=words):
        read_pair(change(names))


def test_two_networks_are_told(tmp_path):
    names = _write(tmp_path, _model())
    other = compile_pair(_model(se_ratio=8))[0].text
    (tmp_path / "torch_file.py").write_text(other)
    with pytest.raises(
        CompileError, match="different models: tiny se_ratio=8, and tiny se_ratio=4"
    ):
        read_pair(names)
    (tmp_path / "torch_file.py").write_text("import torch\n")
    with pytest.raises(CompileError, match="no provenance"):
        read_pair(names)


# The command line


def test_the_command_passes_and_fails(tmp_path, capfd):
    capsys = capfd
    names = _write(tmp_path, _model())
    assert main(["verify", *names, "--size", "33,40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] and told["first"] is None and told["error"] is None
    assert told["input_shape"] == [33, 40, 2] and told["batch"] == 2
    assert told["tolerance"] == {"float32": 1e-4, "float64": 1e-6}
    assert {"name", "shape", "float32", "float64", "note", "passed"} == told["quantities"][0].keys()
    assert math.isfinite(max(told["gradients"].values()))
    assert "encoder.bn1.running_var" in told["step"]
    path = tmp_path / "keras_file.py"
    path.write_text(path.read_text().replace("epsilon=1e-5", "epsilon=1e-3"))
    assert main(["verify", *names]) == 1
    out = capsys.readouterr()
    assert "first to diverge: encoder.bn1: its output differs" in out.out
    assert not out.err
    path.write_text("print('hello')\nraise ValueError('broken')\n" + path.read_text())
    assert main(["verify", *names, "--json"]) == 1
    out = capsys.readouterr()
    assert "ValueError: broken" in json.loads(out.out)["error"]
    assert "Traceback" not in out.err and "hello" in out.err


WRONG = {
    "no model or files given": [],
    "name one model, or a PyTorch file": ["seresnet18", "seresnet34"],
    "unknown encoder": ["seresnet5"],
    "--size has 'a'": ["seresnet18", "--size", "33,a"],
    "takes 2": ["seresnet18", "--size", "33,32,31"],
    "--seed has -1": ["seresnet18", "--seed", "-1"],
    "--tolerance has 'nan'": ["seresnet18", "--tolerance", "nan"],
    "--backend is": ["seresnet18", "--backend", "mxnet"],
    "runs on torch already": ["seresnet18", "--backend", "tensorflow"],
    "is an option of --all": ["seresnet18", "--shard", "1/2"],
    "leave out seresnet18": ["seresnet18", "--all"],
    "leave out ''": ["", "--all"],
    "--shard is": ["--all", "--shard", "5/4"],
    "--shard is '99999": ["--all", "--shard", "9" * 5000 + "/" + "9" * 5000],
    "--size has a number of 5,000 digits": ["seresnet18", "--size", "9" * 5000],
    "--seed has a number of 5,000 digits": ["seresnet18", "--seed", "9" * 5000],
    "cannot write": ["--all", "--resume", "a" * 5000],
    "a single number": ["--all", "--size", "33,40"],
    "leave out --dims": ["a.py", "b.py", "--dims", "3"],
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_arguments_end_with_2(words, capsys):
    import keras  # noqa: F401  torch is its backend in this process

    assert main(["verify", *WRONG[words]]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_in_a_pipe_there_is_the_table_alone(backend, tmp_path):
    """A model on torch; two files in a child process on the backends that a test must not load."""
    words = ["seresnet18", "--size", "17", "--num-classes", "5"]
    if backend != "torch":
        # JAX compiles every operation by itself: one stage, which has every kind of layer.
        encoder = _tiny(block="basic", blocks=(1,), filters=(16,), strides=(2,))
        model = _model(encoder, 3 if backend == "tensorflow" else 2)
        words = [*_write(tmp_path, model), "--size", "17"]
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    if backend == "jax":
        environment["XLA_FLAGS"] = QUICKLY_COMPILED
    result = subprocess.run(
        [sys.executable, "-m", "compiler", "verify", *words, "--backend", backend],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "The same network." in result.stdout and "\x1b" not in result.stdout
    assert f"Keras on {backend}" in result.stdout
    assert backend != "torch" or not result.stderr


IN_FLOAT64 = """
    from compiler.verify.loading import use_backend
    use_backend({backend!r})
    import keras, numpy as np
    from compiler.verify.doubles import floating

    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 5, 4, 8))
    mask = np.random.default_rng(1).random((2, 1, 5, 5)) > 0.3
    scores = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(8)
    scores = np.exp(np.where(mask, scores, -np.inf))
    wanted = np.einsum("bnts,bsnh->btnh", scores / scores.sum(-1, keepdims=True), v)
    with floating("float64"):
        attend = keras.ops.dot_product_attention
        found = attend(*map(keras.ops.convert_to_tensor, (q, k, v)), mask=mask, scale=8**-0.5)
        print(np.abs(keras.ops.convert_to_numpy(found) - wanted).max() < 1e-14)
"""


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_attention_is_in_float64(backend, tmp_path):
    assert run(IN_FLOAT64.format(backend=backend), backend, tmp_path) == "True\n"


# The catalog


def test_the_catalog_is_whole():
    names = [case.name for case in sweep.catalog()]
    assert len(names) == len(set(names)) == len(ENCODERS) * 2 + len(ANYWHERE) * 5 * 3 * 2
    assert "resnet200vd --dims 3" in names
    assert "seresnext50 --dims 2 --segmentor trans_unet --encoder-depth 4" in names


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_shards_are_the_catalog(count):
    whole = sweep.catalog()
    parts = [case for i in range(count) for case in sweep.shard(whole, f"{i + 1}/{count}")]
    assert len(parts) == len(whole) and set(parts) == set(whole)


def test_resume_runs_what_did_not_pass(tmp_path, monkeypatch, capsys):
    cases = sweep.catalog()[:3]
    ran = []

    def fake(model, settings, files=None):
        ran.append(model.name)
        report = replace(verify_report, model=model, settings=settings)
        report.error = "broken | twice" if len(ran) == 2 else ""
        return report

    verify_report = verify(_model(), Settings())
    monkeypatch.setattr(sweep, "verify", fake)
    monkeypatch.setattr(sweep, "catalog", lambda: cases)
    state, page = tmp_path / "state.jsonl", tmp_path / "parity.md"
    arguments = ["verify", "--all", "--size", "33", "--resume", str(state), "-o", str(page)]
    assert main(arguments) == 1
    assert ran == [case.encoder for case in cases]
    text = page.read_text()
    assert "3 networks compared, 1 of them different." in text and "broken \\| twice" in text
    assert main(arguments) == 0  # the failed one again, and nothing else
    assert ran[3:] == [cases[1].encoder]
    assert "0 of them different" in page.read_text()
    assert str(tmp_path) not in page.read_text()
    state.write_text(state.read_text()[:-20])  # killed while it wrote
    assert main(arguments) == 0
    assert ran[4:] == [cases[1].encoder]
    assert main([*arguments, "--seed", "1"]) == 0  # another comparison
    assert len(ran) == 8
    assert len(state.read_text().splitlines()) == 7
    assert "verifying" not in capsys.readouterr().err
    state.write_text("not ours\n" + state.read_text())
    assert main(arguments) == 2
    page.unlink()
    state.unlink()
    assert main([*arguments, "--tolerance", "1e-3"]) == 0
    assert "--size 33 --tolerance 0.001\n" in page.read_text()


@pytest.mark.parametrize("text", ["notes", "notes\n", '{"case": "a"}\n', "\n", "REPORT"])
def test_another_file_is_no_state(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "run", lambda case, settings, state: 1 / 0)
    entry = {"case": "seresnet18 --dims 2", "settings": key(Settings(size=(33,)))}
    text = text.replace("REPORT", json.dumps({**entry, "report": {"passed": True}}) + "\n")
    state = tmp_path / "state"
    state.write_text(text)
    assert main(["verify", "--all", "--size", "33", "--resume", str(state)]) == 2
    assert "not a line of a state file of `plainnet verify --all`" in capsys.readouterr().err
    assert state.read_text() == text


@pytest.mark.parametrize("flag", ["--resume", "-o"])
def test_what_cannot_be_written_is_told_first(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "run", lambda case, settings, state: 1 / 0)
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "file", "does not exist"),
        ("/dev/zero", "is not a regular file"),
    ):
        assert main(["verify", "--all", flag, str(path)]) == 2
        assert words in capsys.readouterr().err


# Small images, both files edited, and files that end the process


@pytest.mark.parametrize(
    ("segmentor", "size"), third_of(["unet", None], [(16, 16), (2, 3), (1, 1)])
)
def test_small_images_are_judged(segmentor, size):
    """Batch norm over two values returns a sign: the batch grows where the image is small."""
    options = {"segmentor": segmentor, **DECODER} if segmentor else {}
    model = sized(_model("resnet50" if segmentor else _tiny(), **options), size)
    report = verify(model, Settings())
    assert report.passed, (report.first, report.why, report.error)
    assert report.batch >= 8


def test_faults_at_small_images_are_named():
    options, *edit, row, words = FAULTS["momentum"]
    model = sized(_model(**options), (2, 2))
    _is_named(verify(model, Settings(), _edited(model, *edit)), row, words)


def test_instance_norm_at_small_images_is_refused():
    options = {"segmentor": "unet", "decoder_normalization": "instance", **DECODER}
    with pytest.raises(CompileError, match="--size 17 is the smallest that works"):
        verify(sized(_model(**options), (16, 16)), Settings())
    report = verify(sized(_model(**options), (17, 17)), Settings())
    assert report.passed, (report.first, report.why, report.error)


def test_the_same_edit_in_both_files_is_one_network():
    """A layer that the ledger does not know, in both; then in one."""
    model = _model()
    torch_source, keras_source = compile_pair(model)
    line = next(x for x in keras_source.text.splitlines() if "x = layers.Dense(" in x)
    pad = line[: len(line) - len(line.lstrip())]
    extra = f'{pad}x = layers.Dense(5, name="adapter")(x)\n'
    keras_edit = (line + "\n", extra + line + "\n")
    text = torch_source.text
    first = next(x for x in text.splitlines() if "self.head = nn.Linear(" in x)
    width = first.split("nn.Linear(")[1].split(",")[0]
    torch_text = text.replace(
        first, f"        self.adapter = nn.Linear({width}, 5)\n" + first.replace(width, "5", 1)
    ).replace("self.head(", "(lambda t: self.head(self.adapter(t)))(")
    both = Source(torch_text), Source(keras_source.text.replace(*keras_edit))
    report = verify(model, Settings(), both)
    assert report.passed, (report.first, report.why, report.error)
    assert "edited in both files: adapter" in report.quantities[0].note
    report = verify(model, Settings(), (both[0], keras_source))
    assert not report.passed and report.first in ("adapter", "head"), report.first


ENDINGS = {
    "os._exit": ("import os\nos._exit(0)\n", "exited with code 0, without a verdict"),
    "sys.exit": ("import sys\nsys.exit(0)\n", "SystemExit"),
    "kill": ("import os\nos.kill(os.getpid(), 9)\n", "was killed by SIGKILL"),
    "forged": (
        'import os\nprint(\'{"report": {"passed": true}}\', flush=True)\nos._exit(0)\n',
        "without a verdict",
    ),
    "fork": ("import os\nif os.fork(): os._exit(0)\n", "without a verdict"),
}


# A forged verdict ends with `os._exit`, too.
SEEN = [pytest.param(e, marks=[pytest.mark.full] if e == "os._exit" else []) for e in ENDINGS]


@pytest.mark.parametrize("ending", SEEN)
def test_only_a_verdict_is_success(ending, tmp_path, capfd):
    names = _write(tmp_path, _model())
    code, words = ENDINGS[ending]
    path = tmp_path / "torch_file.py"
    path.write_text(code + path.read_text())
    assert main(["verify", *names, "--json"]) == 1
    assert words in json.loads(capfd.readouterr().out)["error"]


def test_threads_and_replaced_functions_are_failures(tmp_path, capfd):
    names = _write(tmp_path, _model())
    path = tmp_path / "torch_file.py"
    text = path.read_text()
    for code, words in (
        ("import numpy\nnumpy.abs = lambda x: 0 * x\n", "the files replace numpy.abs"),
        (
            "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start(); t.join()\n",
            "a thread of the files raised ZeroDivisionError",
        ),
    ):
        path.write_text(code + text)
        assert main(["verify", *names, "--json"]) == 1
        assert words in json.loads(capfd.readouterr().out)["error"]


HAMMER = """
    import sys
    from pathlib import Path
    from compiler.verify.state import append_line
    for i in range(500):
        append_line(Path(sys.argv[1]), f"{sys.argv[2]} {i}\\n")
"""


def test_processes_share_a_state_file(tmp_path):
    path = tmp_path / "state"
    command = [sys.executable, "-c", textwrap.dedent(HAMMER), str(path)]
    started = [subprocess.Popen([*command, str(i)]) for i in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert sorted(path.read_text().split("\n")[:-1]) == sorted(
        f"{i} {j}" for i in range(3) for j in range(500)
    )


HOSTILE = {
    "nested": b"[" * 10**6 + b"\n",
    "digits": b'{"case": "a", "settings": {}, "report": ' + b"9" * 400 + b"}\n",
    "latin": b'{"case": "\xff"}\n',
    "long line": b"a" * 3 * 10**6,
}


@pytest.mark.parametrize("name", [*HOSTILE, "sparse", "fifo"])
def test_a_hostile_state_file_is_refused(name, tmp_path):
    path = tmp_path / "state"
    if name == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(HOSTILE.get(name, b""))
    if name == "sparse":
        os.truncate(path, 20 * 10**9)
    command = f"ulimit -v 2000000; {sys.executable} -m compiler verify --all --resume {path}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr


def test_a_forged_entry_is_refused(tmp_path, monkeypatch):
    """A verdict must follow from its numbers."""
    case = sweep.catalog()[0]
    settings = Settings(size=(33,))
    result = as_dict(verify(case.model(settings), settings), weights=False)
    state = tmp_path / "state"
    append(state, case.name, settings, result)
    find = {case.name: case}

    def read():
        return read_state(state, settings, lambda name: find[name].model(settings))

    assert read() == {case.name: result}
    result["quantities"][-1]["float64"] = 0.5
    append(state, case.name, settings, result)
    with pytest.raises(CompileError, match="not a line of a state file"):
        read()
