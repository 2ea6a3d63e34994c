"""Input of any kind: a plain value or an error, within bounded work; names as they are printed."""

import enum
import hashlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import compiler
from compiler.actions import read_settings
from compiler.arguments import spell_options
from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.limits import LIMITS
from compiler.options import OPTIONS
from compiler.passes.advice import advice
from compiler.passes.validate import resolve

from .sampling import ANYWHERE

ROOT = Path(__file__).parents[1]
FEW = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


class Hostile(int):
    def __str__(self):
        return "1\nimport os"

    __repr__ = __str__

    def __format__(self, spec):
        return "1\nimport os"


class Word(str):
    def __str__(self):
        return "x\nimport os"

    __repr__ = __str__

    def __format__(self, spec):
        return "x\nimport os"


class Size(enum.IntEnum):
    SMALL = 64


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_only_plain_values_reach_a_file(target):
    encoder = compiler.custom_encoder(
        Word("my_net"),
        blocks=[Hostile(1)] * 4,
        filters=(np.int64(8),) * 4,
        block=Word("basic"),
        se_ratio=Hostile(4),
    )
    given = {
        "input_shape": [Size.SMALL, np.int32(64), Hostile(3)],
        "num_classes": Size.SMALL,
        "classifier_activation": Word("sigmoid"),
        "segmentor": Word("UNet"),
        "decoder_filters": [Hostile(8)] * 5,
    }
    text = compiler.emit(encoder, target=Word(target), **given)
    usual = compiler.custom_encoder(
        "my_net", blocks=(1,) * 4, filters=(8,) * 4, block="basic", se_ratio=4
    )
    plain = given | {"input_shape": (64, 64, 3), "num_classes": 64, "decoder_filters": (8,) * 5}
    assert text == compiler.emit(
        usual, target=target, **plain | {"classifier_activation": "sigmoid", "segmentor": "unet"}
    )
    assert "import os" not in text


@pytest.mark.parametrize("name", ENCODERS)
def test_every_printed_name_is_accepted(name):
    encoder = ENCODERS[name]
    for spelling in (name, encoder.title, encoder.class_name):
        for case in (str, str.lower, str.upper):
            assert resolve(case(spelling), {}).name == name
        for segmentor in ANYWHERE:
            model = resolve(name, {"segmentor": segmentor})
            for ending in (segmentor, f" {model.head.title}", f"_{segmentor.upper()}"):
                assert resolve(spelling + ending, {}) == model
    for segmentor in ANYWHERE:
        model = resolve(name, {"segmentor": segmentor})
        for spelling in (model.name, model.title, model.class_name):
            assert resolve(spelling, {}) == model
    assert resolve(f"{encoder.title} UNet++", {}).head.name == "unet_plus_plus"


WRONG = {
    "two segmentors": ({"segmentor": "UNet++"}, "names the segmentor unet, but --segmentor is"),
    "softmax": ({"classifier_activation": "softmax"}, "softmax over one class is 1 everywhere"),
    "first": ({"input_shape": "3,224,224"}, "has two readings: channels last, an image of 3 x 224"),
    "first in 3D": ({"input_shape": (1, 64, 64, 64)}, "an image of 64 x 64 x 64 with 1 channel"),
    "of no shape": ({"channels_last": True}, "--channels-last says how to read --input-shape"),
    "ratio": ({"se_ratio": 100000}, "--se-ratio 100000 is larger than any channel count"),
    "pool": ({"dialect": "cadene", "input_shape": (64, 2, 3)}, "has the size 2, which leaves P1"),
    "digits": ({"segmentor": "trans_unet", "dropout": "٠.١"}, "which is not a number"),
    "NaN": ({"segmentor": "trans_unet", "dropout": float("nan")}, "--dropout has nan"),
    "one size": ({"segmentor": "trans_unet", "input_shape": "64"}, "--input-shape 64 has 1 number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong(case):
    options, message = WRONG[case]
    name = (
        "seresnet18" if "segmentor" in options and case != "two segmentors" else "seresnet50_unet"
    )
    with pytest.raises(compiler.CompileError, match=re.escape(message)):
        resolve(name if case != "ratio" else "seresnet50", options)


def test_a_head_that_is_left_out_takes_no_classes():
    with pytest.raises(compiler.CompileError, match="--num-classes 5 needs the head"):
        compiler.describe("resnet18", features_only=True, num_classes=5)
    with pytest.raises(compiler.CompileError, match="softmax over one class"):
        compiler.describe("resnet18", num_classes=1, classifier_activation="softmax")


@pytest.mark.parametrize("shape", [(3, 224, 224), (4, 16, 16), (2, 64, 64, 64)])
def test_channels_last_round_trips(shape, tmp_path, capsys):
    model = resolve("resnet18", {"input_shape": shape, "channels_last": True})
    assert model.input_shape == shape
    assert resolve("resnet18", spell_options(model)) == model
    typed = ",".join(map(str, shape))
    line = ["emit", "resnet18", "--target", "torch", "--input-shape", typed, "--channels-last"]
    assert main([*line, "-o", str(tmp_path / "net.py")]) == 0
    assert main(["check", str(tmp_path / "net.py")]) == 0


@pytest.mark.parametrize(
    ("name", "options", "size", "last"),
    [
        ("resnet18", {}, 32, 33),
        ("resnet18", {"dims": 3}, 16, 33),
        ("seresnet50", {"dialect": "cadene"}, 34, 35),
        ("resnet50v2", {"segmentor": "unet", "encoder_depth": 3}, 8, 9),
    ],
)
def test_a_single_voxel_is_a_warning_that_names_the_size(name, options, size, last, capsys):
    import torch

    dims = options.get("dims", 2)

    def shape(first):
        return (first, *(size,) * (dims - 1), 3)

    told = advice(resolve(name, options | {"input_shape": shape(size)}))
    assert len(told) == 1 and f"With a size of {last} or more on one axis" in told[0]
    assert not advice(resolve(name, options | {"input_shape": shape(last)}))
    with pytest.warns(compiler.CompileWarning, match=f"With a size of {last} or more"):
        text = compiler.emit(name, target="torch", input_shape=shape(size), **options)
    namespace = {"__name__": "net"}
    exec(text, namespace)
    net = namespace[resolve(name, options).class_name]().train()
    for first, trains in ((size, False), (last, True)):
        image = torch.zeros(1, 3, first, *(size,) * (dims - 1))
        if trains:
            net(image)
        else:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                net(image)


def test_the_warning_is_on_stderr_and_not_in_json(capsys):
    assert main(["show", "resnet18", "--input-shape", "32,32,3", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("warning: at 32 x 32, P5 is a single pixel: ")
    assert said.out.startswith("{") and "warning" not in said.out


def test_instance_norm_over_a_single_voxel_is_a_warning_too():
    options = {"encoder_depth": 3, "decoder_normalization": "instance"}
    with pytest.warns(compiler.CompileWarning) as caught:
        compiler.emit("resnet18_unet", target="torch", input_shape=(4, 4, 3), **options)
    [told] = [str(w.message) for w in caught if "instance norm has one value per" in str(w.message)]
    assert told.startswith("at 4 x 4, P2 and P3 are single pixels: ")
    assert "PyTorch raises an error, Keras returns a constant" in told
    size = int(re.search(r"With a size of (\d+) or more on one axis, it sees more", told)[1])
    for shape, starves in (((size - 1, size - 1, 3), True), ((size, 4, 3), False)):
        lines = advice(resolve("resnet18_unet", options | {"input_shape": shape}))
        assert any("instance norm" in line for line in lines) == starves


@pytest.mark.parametrize(
    "name", ["resnet18", *(f"resnet18_{name}" for name in ANYWHERE), "nnunet_plain"]
)
def test_describe_and_show_say_the_whole_title(name, capsys):
    title = resolve(name, {}).title
    assert compiler.describe(name)["title"] == title
    assert main(["show", name]) == 0
    assert f"{title}, 2D, input" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{}, {"features_only": True}, {"dims": 3}])
def test_compat_is_an_error_where_it_changes_nothing(options):
    with pytest.raises(compiler.CompileError, match="--compat is an option of segmentors only"):
        compiler.emit("resnet18", target="torch", compat="medicai", **options)
    assert resolve("resnet18_unet", {"compat": "medicai"}).compat == "medicai"


@pytest.mark.parametrize(
    "command",
    [
        "resnet18 --target torch --dims 2 --input-shape 3,64,64",
        "resnet18 --target torch --dims 3 --input-shape 4,64,64,16",
        "resnet18 --target torch --dims 2 --compat medicai",
        "resnet18 --target torch --dims 2 --features-only --compat medicai",
    ],
)
def test_footers_of_the_first_version_are_still_read(command, tmp_path, capsys):
    """It wrote neither --channels-last nor an error where --compat has no effect."""
    text = compiler.emit("resnet18", target="torch").split("\n\n\n# Written by")[0] + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = tmp_path / "net.py"
    path.write_text(
        f"{text}\n\n# Written by plainnet 0.1.0, for you to own. To write it again:\n"
        f"#     python -m compiler emit {command}\n# sha256: spec {digest}, body {digest}\n"
    )
    [verdict] = compiler.check(path)
    assert verdict.state in ("clean", "stale"), verdict.problems


def test_every_limit_has_a_sentence():
    assert len(LIMITS) > 20
    for limit in LIMITS.values():
        assert limit.largest > 0 and limit.of.endswith(".") and " " in limit.of


HUGE = {
    "embed_dim": "emit('resnet18_trans_unet', target='torch', embed_dim=2147483647, heads=7)",
    "vit_layers": "emit('resnet18_trans_unet', target='torch', vit_layers=2147483647)",
    "stages": "custom_encoder('n', blocks=[1000]*3000, filters=[8]*3000, strides=[1]*3000)",
    "blocks": "custom_encoder('n', blocks=[1000]*4)",
    "stem": "custom_encoder('n', blocks=[1]*4, stem_filters=[8]*10000, stem_kernels=[3]*10000)",
    "name": "emit('n' * 5_000_000, target='torch')",
    "own name": "custom_encoder('n' * 5_000_000, blocks=(1,) * 4)",
    "text": "emit('resnet18', target='torch', input_shape='1,' * 5_000_000)",
    "digits": "emit('resnet18', target='torch', num_classes='9' * 5_000_000)",
    "sizes": "emit('resnet18', target='torch', input_shape=(2**31 - 1,) * 3)",
    "option": "emit('resnet18', target='torch', **{'x' * 5_000_000: 1})",
    "generator": "custom_encoder('n', blocks=iter(int, 1))",
    "range": "custom_encoder('n', blocks=range(1, 10**12))",
}


def test_work_is_bounded():
    """All within one process of little memory: an error before the work, not after it."""
    script = f"""
import resource, time
from compiler import *
import compiler.emitter
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
for call in {list(HUGE.values())!r}:
    began = time.process_time()
    try:
        eval(call)
        raise SystemExit("no error: " + call)
    except CompileError as error:
        assert len(str(error)) < 2000, call
    assert time.process_time() - began < 1, call
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


CALL = """plainnet.emit(
    plainnet.custom_encoder("my_net", blocks={blocks}, filters={blocks}, strides={blocks}),
    target="torch",
)"""
FOOTERS = {
    "embed_dim": "plainnet emit resnet18 --target torch --segmentor trans_unet"
    " --embed-dim 2147483647 --heads 7",
    "vit_layers": "plainnet emit resnet18 --target torch --segmentor trans_unet"
    " --vit-layers 2147483647",
    "stages": CALL.format(blocks=(1,) * 3000),
    "name": "plainnet emit " + "n" * 30_000 + " --target torch",
}


@pytest.mark.parametrize("case", FOOTERS)
def test_a_footer_is_read_within_the_same_limits(case, tmp_path, capsys):
    text = compiler.emit("resnet18", target="torch")
    lines = "".join(f"#     {line}\n" for line in FOOTERS[case].splitlines())
    changed = re.sub(r"(?:#     .*\n)+(?=# sha256)", lambda match: lines, text)
    assert changed != text
    (tmp_path / "net.py").write_text(changed)
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
from compiler.commands.cli import main
sys.exit(main(["check", {str(tmp_path / "net.py")!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr[-500:]
    assert "Traceback" not in done.stderr and len(done.stderr) < 5000


NUMBERS = st.one_of(
    st.integers(-3, 200),
    st.sampled_from([2**31, 10**400, True, Size.SMALL, Hostile(7), np.int64(3), 0.5, -0.0]),
    st.floats(),
)
VALUES = st.recursive(
    st.none() | NUMBERS | st.text(max_size=12) | st.binary(max_size=3) | st.just(object()),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(inner, inner) | st.just({"a": 1}),
    max_leaves=6,
)
SENSIBLE = {
    option.name: st.sampled_from(
        option.choices
        or {"flag": (True, False), "share": (0, 0.25, "0.5")}.get(option.kind)
        or {"shape": ((32, 48, 3), "33,64,40,2", (4, 64, 64))}.get(option.kind)
        or ("8", 16, (8, 8, 8, 8, 8), "relu", "GELU", 2)
    )
    for option in OPTIONS
}
MODELS = st.sampled_from(["seresnet18", "ResNet-50 v2", "resnet18_unet", "resnet18 TransUNet"])
GIVEN = st.fixed_dictionaries({}, optional={n: SENSIBLE[n] | VALUES for n in SENSIBLE})
FITTING = st.fixed_dictionaries({}, optional=SENSIBLE)


@FEW
@given(MODELS | VALUES, st.sampled_from(["torch", "Keras 3"]) | VALUES, GIVEN)
def test_any_call_succeeds_or_is_an_error(model, target, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text = compiler.emit(model, target=target, **options)
            assert "import os" not in text
        except compiler.CompileError as error:
            assert str(error).isprintable() or "\n" in str(error)


@FEW
@given(st.text(max_size=8) | VALUES, VALUES | st.just((1, 1)), VALUES, VALUES, VALUES, VALUES)
def test_any_encoder_succeeds_or_is_an_error(name, blocks, filters, strides, stem, ratio):
    try:
        compiler.custom_encoder(
            name, blocks=blocks, filters=filters, strides=strides, stem_filters=stem, se_ratio=ratio
        )
    except compiler.CompileError as error:
        assert error.problems


@FEW
@given(MODELS, st.sampled_from(["emit", "show"]), FITTING | GIVEN)
def test_any_command_line_ends_with_0_or_2(model, command, options):
    words = [command, model, *(["--target", "torch", "-o", "-"] if command == "emit" else [])]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        try:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        except ValueError:
            continue
        words += [flag] if value is True else [flag, text]
    assert main(words) in (0, 2)


@settings(FEW, max_examples=150)
@given(MODELS, FITTING)
def test_options_round_trip(name, options):
    try:
        model = resolve(name, options)
    except compiler.CompileError:
        return
    assert resolve(model.encoder.name, spell_options(model)) == model


def test_what_is_spelled_reads_back_and_unknown_targets_raise():
    from compiler.targets import target_named
    from compiler.targets.spelling import spell_float

    assert [spell_float(x) for x in (1e-5, 1e-3, 1.5e-5)] == ["1e-5", "1e-3", "1.5e-5"]
    for value in (1e-5, 1.5e-5, 0.1, 3.14159e-7, 0.00123):
        assert float(spell_float(value)) == value
    with pytest.raises(KeyError, match="jax"):
        target_named("jax")


def test_show_says_which_two_differ(capsys):
    for compat, follows in ((None, "plainnet (--compat medicai"), ("medicai", "medicai.")):
        main(["show", "resnet18_unet", *(["--compat", compat] if compat else [])])
        assert f"plainnet and medicai differ, this one follows {follows}" in capsys.readouterr().out
    main(["show", "resnet18_linknet"])  # which medicai does not have
    assert "medicai" not in capsys.readouterr().out


def test_the_settings_of_verify_are_read_alike_from_python_and_from_text():
    problems = []
    typed = read_settings("33,40", "7", "1e-3", "TensorFlow", problems)
    assert typed == read_settings((33, 40), 7, 1e-3, "tensorflow", problems)
    assert (typed.size, typed.backend, problems) == ((33, 40), "tensorflow", [])
    read_settings(0, -1, float("nan"), "mxnet", problems)
    assert [problem.message.split()[0] for problem in problems] == [
        "--size",
        "--seed",
        "--tolerance",
        "--backend",
    ]
