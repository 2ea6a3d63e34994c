"""Specs that are hostile or broken: an error within bounds, and no text of theirs in a file."""

import ast
import os
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compiler
from compiler.errors import CompileError
from compiler.limits import SPEC_BYTES, SPEC_PROBLEMS
from compiler.spec.checks import checked
from compiler.spec.definition import Spec
from compiler.spec.loading import load

from .test_fuzz import examples

GOOD = 'extends = "resnet18"\nname = "n"\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.toml"


def message(path):
    start = time.perf_counter()
    with pytest.raises(CompileError) as error:
        compiler.describe(path)
    assert time.perf_counter() - start < 5
    assert all(line.isprintable() for line in str(error.value).splitlines())
    return str(error.value)


def test_not_a_file(path, tmp_path):
    assert "cannot read it: No such file or directory" in message(path)
    path.mkdir()
    assert "it has neither checkpoints nor plans" in message(path)
    os.mkfifo(tmp_path / "pipe.toml")
    assert "it is not a regular file" in message(tmp_path / "pipe.toml")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    assert "cannot read it" in message(tmp_path / "loop.toml")
    assert "cannot read it" in message("null\0.toml")


def test_not_a_text(path):
    path.write_bytes(b"\xff\xfe\0")
    assert "it is not valid UTF-8" in message(path)
    path.write_bytes(b"a = 1\0")
    assert "it is not valid TOML" in message(path)
    with open(path, "wb") as file:
        file.truncate(100 * 2**20)
    assert f"above the limit of {SPEC_BYTES.largest:,}" in message(path)


def test_marks_and_line_ends_of_other_systems(path):
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode() + b"groups = 3\r\n")
    assert "net.toml:3, groups" in message(path)
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert compiler.describe(path)["model"] == "n"


BOMBS = {
    "unknown keys": "".join(f"k{i} = 1\n" for i in range(5000)),
    "similar keys": "".join(f"stage{i} = 1\n" for i in range(4000)),
    "dotted key": ".".join(["a"] * 30000) + " = 1",
    "dotted header": "[" + ".".join(["a"] * 30000) + "]",
    "arrays": "stages = " + "[" * 30000,
    "closed arrays": "stages = " + "[" * 90 + "]" * 90,
    "inline tables": "se = " + "{a = " * 12000,
    "many stages": "stages = [" + "{}," * 20000 + "]",
    "many numbers": "stem.filters = [" + "1," * 30000 + "]",
    "hexadecimal": "groups = 0x" + "f" * 60000,
    "decimal": "groups = " + "9" * 4000,
    "exponent": "[segmentor]\nname = 'fpn'\ndropout = 1e999999999",
    "long string": "name = '" + "n" * 60000 + "'",
    "long key": "n" * 60000 + " = 1",
    "quoted keys": "".join(f'"k\\u00e9{i}" = 1\n' for i in range(2000)),
    "tables": "".join(f"[[x.y{i}]]\n" for i in range(4000)),
    "backslashes": 'name = "' + "\\\\" * 20000,
    "quotes": "name = '''" + "''\n" * 15000,
    "comment": "#" * 65000 + "\n=",
    "control": 'name = "\\u001b[2J\\u202e"',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_at_once(bomb, path):
    head = "" if BOMBS[bomb].startswith("name") else 'name = "n"\n'
    path.write_text(head + BOMBS[bomb])
    assert message(path).count("error: ") <= SPEC_PROBLEMS.largest + 3


# -- injection -------------------------------------------------------------------------------------

TEXTS = [
    'x"',
    "x'",
    'x"""',
    "x\\",
    "x\nimport os",
    "x\r",
    "{{ x }}",
    "{% x %}",
    "x{y}",
    "x#",
    "x:pass",
    "x y",
    "x.y",
    "x()",
    "e\u0301x",
    "\u0435ncoder",  # Cyrillic
    "\ufb01x",  # a ligature, which Python reads as fi
    "x\u2028y",
    "__",
    "class",
    "True",
    "# Written by plainnet 9.9.9 with black 1.1.1, for you to own. To write it again:",
    "# sha256: text 0, code 0",
]
STRINGS = [
    'extends = "resnet18"\nname = T',
    'extends = "resnet18"\nblock = T',
    'extends = "resnet18"\ndialect = T',
    'extends = "seresnet18"\n[se]\nactivation = T',
    'extends = "resnet18"\n[head]\nactivation = T',
    'extends = "resnet18"\n[head]\nfeatures_only = true\npooling = T',
    'extends = "resnet18"\n[segmentor]\nname = T',
    'extends = "resnet18"\n[segmentor]\nname = "unet"\ndecoder_activation = T',
]


@pytest.mark.parametrize("text", TEXTS)
def test_no_string_but_an_identifier_is_taken(text, path):
    quoted = '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'
    for spec in STRINGS:
        path.write_text(spec.replace("T", quoted))
        message(path)
        path.write_text(f'extends = "resnet18"\n{quoted} = 1\n')
        assert "unknown key" in message(path)


@pytest.mark.parametrize("name", ["sha256", "Written_by_plainnet", "x0", "print"])
def test_a_name_changes_nothing_but_itself(name, path):
    """The syntax tree is that of a harmless spec but for the name; its comments stay behind."""
    trees = []
    for each in (name, "harmless"):
        path.write_text(
            f'# """ {{{{ x }}}} # Written by plainnet\nname = "{each}"\nextends = "resnet18"\n'
        )
        for target in ("torch", "keras"):
            text = compiler.emit(path, target=target)
            code = text.partition("# Written by plainnet")[0]
            made = "".join(part[:1].upper() + part[1:] for part in each.split("_"))
            trees.append(ast.dump(ast.parse(code)).replace(made, "N").replace(each, "n"))
    assert trees[:2] == trees[2:]


# -- everything else -------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(0, 9)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["resnet18", "seresnext50", "basic", "unet", "relu", "timm"])
    | st.dates(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.text(max_size=3)
        | st.sampled_from(["depth", "width", "channels", "stride", "name", "ratio", "filters"]),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)
KEYS = list(Spec.__struct_fields__)


@examples(120)
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), VALUES, max_size=5))
def test_checks_find_what_msgspec_finds(data):
    """A value is wrong exactly where it is wrong for the library, which stops at the first."""
    import msgspec

    wrong = []
    checked(data, Spec, (), wrong)
    try:
        msgspec.convert(data, Spec)
    except msgspec.ValidationError:
        assert wrong
    else:
        assert not wrong


def toml(value):
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml(str(key))} = {toml(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return str(value).lower()


@examples(80)
@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
    st.sampled_from(["", GOOD, 'extends = "seresnext50"\n']),
)
def test_any_values(tmp_path_factory, data, head):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    lines = [f"{key} = {toml(value)}\n" for key, value in data.items() if f"{key} =" not in head]
    path.write_text(head + "".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert compiler.describe(path)["ledger"]
        except CompileError as error:
            assert len(str(error)) < 200_000


@examples(150)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes(tmp_path_factory, content, at):
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    good = (GOOD + "stages = [{depth = 1}]\n").encode()
    path.write_bytes(good[:at] + content + good[at:])
    try:
        load(str(path))
    except CompileError as error:
        assert error.problems
