"""Hypothesis over the public functions and commands: `CompileError` or success, nothing else.

Bounded for CI; `PLAINNET_FUZZ=10` runs ten times as many examples, at random. No example reaches a
framework: checkpoints are tiny nonsense, and arguments of `verify` are wrong.
"""

import os
import warnings
from functools import cache
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import compiler
from compiler.actions import read_settings
from compiler.checker import STATES
from compiler.commands.cli import main
from compiler.drawing.picture import scene
from compiler.options import OPTIONS
from compiler.passes.validate import resolve

from .drawing_faults import geometric_faults
from .test_input import FITTING, GIVEN, MODELS, SENSIBLE, VALUES

MORE = int(os.environ.get("PLAINNET_FUZZ", "1"))


def examples(count):
    return settings(
        max_examples=count * MORE,
        deadline=None,
        derandomize=MORE == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def succeeds_or_is_an_error(call, *arguments, **options):
    """The result, or None: an error whose text a terminal can show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*arguments, **options)
        except compiler.CompileError as error:
            text = str(error)
            assert error.problems and len(text) < 10_000
            assert all(line.isprintable() for line in text.split("\n")), text
            return None


@examples(60)
@given(MODELS | VALUES, st.none() | st.just("torch") | VALUES, GIVEN)
def test_describe(model, target, options):
    done = succeeds_or_is_an_error(compiler.describe, model, target=target, **options)
    assert done is None or done["macs"] > 0


@examples(60)
@given(MODELS | VALUES, FITTING | GIVEN, st.sampled_from(["auto", "Dark"]) | VALUES)
def test_draw(model, options, theme):
    """What is drawn is a document, in which no text meets another."""
    done = succeeds_or_is_an_error(compiler.draw, model, theme=theme, **options)
    if done is not None:
        ElementTree.fromstring(done)
        assert not geometric_faults(scene([resolve(model, options)]))


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "batch": VALUES | st.sampled_from((2, "3")),
        "precision": VALUES | st.just("bf16"),
        "optimizer": VALUES | st.just("SGD"),
    },
)


@examples(40)
@given(MODELS | VALUES, FITTING | GIVEN, SETTINGS)
def test_cost(model, options, setting):
    done = succeeds_or_is_an_error(compiler.cost, model, **setting, **options)
    assert done is None or (done.training >= done.saved and done.inference > done.weights)
    found = succeeds_or_is_an_error(compiler.lint, model, **options)
    assert found is not None or done is None


@examples(40)
@given(
    MODELS | VALUES,
    st.just("900MiB") | VALUES,
    FITTING | GIVEN,
    SETTINGS,
    st.none() | VALUES | st.sampled_from(((96, 200), (40, 96, 96))),
)
def test_plan(model, memory, options, setting, shape):
    done = succeeds_or_is_an_error(
        compiler.plan, model, memory=memory, shape=shape, **setting, **options
    )
    for fit in (*done.training, *done.inference) if done else ():
        assert fit.largest is None or fit.largest.total <= done.memory
        assert fit.next is None or fit.next.total > done.memory


# Text that a command line can hold: no null character.
WORDS = st.text(st.characters(exclude_characters="\0"), max_size=12)
NUMBERS = st.integers(-9, 10**30).map(str) | st.sampled_from(
    ["9" * 5000, "1e999", "nan", "٣", "-0"]
)
ENDINGS = st.sampled_from(
    ("", ".py", ".pt", ".pth", ".ckpt", ".safetensors", ".weights.h5", ".h5", ".keras", "/", "/.")
)
NAMES = st.builds(lambda stem, ending: stem + ending, WORDS | st.just("no"), ENDINGS)
LINE_VALUES = (
    WORDS | NUMBERS | st.sampled_from(["torch", "Keras", "timm", "mean", "unet", "3", "64"])
)


def as_words(options):
    """Options as they are typed."""
    words = []
    for name, value in options.items():
        try:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        except ValueError:  # a number of more digits than Python spells
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [text])]
    return words


def ends_with(words, codes, capsys):
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    assert code in codes, said.err
    assert "Traceback" not in said.err
    if code == 2:
        assert "error: " in said.err or "Usage" in said.err, (words, said.err)


@examples(150)
@given(st.lists(st.sampled_from(["--json", "--family", "resnet", "--help"]) | WORDS, max_size=4))
def test_list(capsys, words):
    if "--help" not in words and words.count("--family") == words.count("resnet") == 0:
        words = ["--family", *words]  # the whole catalog takes a second
    ends_with(["list", *words], (0, 2), capsys)


ENCODERS = st.fixed_dictionaries(
    {"blocks": st.just((1, 1)) | VALUES},
    optional={
        name: VALUES | st.sampled_from(good)
        for name, good in {
            "block": ("basic", "bottleneck_vd"),
            "filters": ((8, 16),),
            "strides": ((1, 2),),
            "stem_filters": ((8, 8),),
            "stem_kernels": ((3, 3),),
            "pre_activation": (True, False),
            "groups": (1, 4),
            "width_per_group": (4,),
            "se_ratio": (2,),
            "se_activation": ("silu",),
        }.items()
    },
)


@examples(150)
@given(st.just("my_net") | st.text(max_size=8) | VALUES, ENCODERS)
def test_custom_encoder(name, fields):
    encoder = succeeds_or_is_an_error(compiler.custom_encoder, name, **fields)
    if encoder is not None:
        options = {"features_only": True, "input_shape": (64, 64, 3)}
        succeeds_or_is_an_error(compiler.describe, encoder, **options)


@cache
def _emitted():
    return compiler.emit("resnet18", target="torch")


FOOTERS = st.one_of(
    st.tuples(st.just("plainnet emit "), MODELS | WORDS, GIVEN | FITTING).map(
        lambda made: made[0] + " ".join([made[1], "--target torch", *as_words(made[2])])
    ),
    WORDS,
    st.builds(
        lambda name, fields: "plainnet.emit(\n    plainnet.custom_encoder("
        + ", ".join([repr(name), *(f"{key}={value!r}" for key, value in fields.items())])
        + "), target='torch')",
        WORDS,
        ENCODERS,
    ),
    st.sampled_from(["(" * 5000, "plainnet.emit(" * 300, "plainnet emit '", "-" * 9999 + "1"]),
)


@examples(150)
@given(FOOTERS, st.sampled_from(["0.1.0", "9" * 9, "9" * 30, "0..1", "٣"]), st.booleans())
def test_check_of_doctored_footers(tmp_path_factory, capsys, command, version, json):
    above, _, below = _emitted().partition("# Written by plainnet 0.1.0")
    first, _, rest = below.partition("\n")
    lines = [line for line in rest.split("\n") if line.startswith("# sha256")]
    comment = "".join(f"#     {line}\n" for line in command.split("\n"))
    text = f"{above}# Written by plainnet {version}{first}\n{comment}{lines[0]}\n"
    path = tmp_path_factory.getbasetemp() / "footer.py"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    [verdict] = compiler.check(path)
    assert verdict.state in STATES
    ends_with(["check", path, *(["--json"] if json else ["--diff"])], (0, 1, 2), capsys)
    ends_with(["diff", path], (0, 1, 2), capsys)
    ends_with(["update", "--dry-run", path], (0, 1, 2), capsys)


@examples(150)
@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "replace")),
    st.sampled_from([b"", b"\n# Written by plainnet ", b"\n# sha256: text "]),
)
def test_check_of_any_file(tmp_path_factory, capsys, content, before):
    path = tmp_path_factory.getbasetemp() / "any.py"
    path.write_bytes(content[:50] + before + content[50:])
    [verdict] = compiler.check(path)
    assert verdict.state == "not ours"
    ends_with(["check", path], (2,), capsys)


@examples(100)
@given(NAMES | VALUES | st.lists(NAMES, max_size=3), VALUES | st.lists(WORDS, max_size=2))
def test_arguments_of_check(tmp_path_factory, monkeypatch, capsys, paths, exclude):
    folder = tmp_path_factory.getbasetemp() / "empty"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    succeeds_or_is_an_error(compiler.check, paths, exclude=exclude)
    if isinstance(paths, str) and "\0" not in paths:
        ends_with(["check", "--", paths], (2,), capsys)


CONVERT = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("to", "layout", "inflate", "axis"), VALUES | LINE_VALUES)
)


@examples(150)
@given(NAMES | VALUES, NAMES | VALUES, MODELS | NAMES | VALUES, CONVERT, GIVEN | st.just({}))
def test_arguments_of_convert(
    tmp_path_factory, monkeypatch, capsys, source, output, model, how, given
):
    folder = tmp_path_factory.getbasetemp() / "empty"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    succeeds_or_is_an_error(compiler.convert, source, output, model, **how, **given)
    if all(isinstance(word, str) and "\0" not in word for word in (source, output, model)):
        words = as_words({k: v for k, v in (how | given).items() if "\0" not in str_of(v)})
        ends_with(
            ["convert", f"--model={model}", f"-o{output}", *words, "--", source], (2,), capsys
        )
    assert not os.listdir(folder)


def str_of(value):
    try:
        return str(value)
    except ValueError:
        return ""


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".ckpt", ".weights.h5", ".keras"])
@examples(12)
@given(
    content=st.binary(max_size=64),
    magic=st.sampled_from(
        [b"", b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"\x80\x02", b"\x08\0\0\0\0\0\0\0"]
    ),
)
def test_convert_of_any_file(tmp_path_factory, capsys, ending, content, magic):
    folder = tmp_path_factory.getbasetemp() / f"nonsense{ending}"
    folder.mkdir(exist_ok=True)
    (folder / f"a{ending}").write_bytes(magic + content)
    words = [
        "convert",
        folder / f"a{ending}",
        "--model",
        "resnet18",
        "-o",
        folder / "b.safetensors",
    ]
    ends_with(words, (2,), capsys)
    assert os.listdir(folder) == [f"a{ending}"]


@examples(150)
@given(VALUES | LINE_VALUES, VALUES | LINE_VALUES, VALUES | LINE_VALUES, VALUES | LINE_VALUES)
def test_settings_of_verify(size, seed, tolerance, backend):
    problems = []
    succeeds_or_is_an_error(read_settings, size, seed, tolerance, backend, problems)
    if not problems:
        made = read_settings(size, seed, tolerance, backend, [])
        assert made.seed >= 0 and 0 <= made.tolerance < 1


@examples(100)
@given(st.lists(VALUES | NAMES, max_size=3), GIVEN, VALUES | LINE_VALUES)
def test_arguments_of_verify(tmp_path_factory, monkeypatch, capsys, models, options, seed):
    folder = tmp_path_factory.getbasetemp() / "empty"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    with pytest.raises(compiler.CompileError):
        compiler.verify(*models, seed=seed, tolerance=-1, **options)
    if all(isinstance(word, str) and "\0" not in word for word in models):
        words = as_words({k: v for k, v in options.items() if "\0" not in str_of(v)})
        ends_with(["verify", *words, "--tolerance=-1", "--", *models], (2,), capsys)


def test_every_option_is_drawn():
    assert set(SENSIBLE) == {option.name for option in OPTIONS}
