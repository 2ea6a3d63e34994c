"""A third target is one module and one folder: `pseudo` beside this file writes every network."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

import compiler
from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.emitter import compiled
from compiler.errors import CompileError
from compiler.operations import OPERATIONS
from compiler.passes.specialize import specialize
from compiler.passes.validate import resolve
from compiler.program import lines_of
from compiler.segmentors import SEGMENTORS
from compiler.targets import TARGETS, TargetRow, register, target_named
from compiler.targets.runtime import files_of, runtime_of
from compiler.targets.torch import Torch
from compiler.verify.compare import verify
from compiler.verify.conditioning import sized
from compiler.verify.loading import Source
from compiler.verify.runtimes import TorchRuntime
from compiler.verify.settings import Settings

from .pseudo import ROW
from .sampling import ANYWHERE, host

KINDS = ("resnet18", "seresnext50", "resnet50v2", "resnet50vd", "nnunet_resenc")
OWN = ("nnunet_plain", "nnunet_resenc")  # of nnU-Net's decoder
VARIANTS = (
    {},
    {"decoder_block": "transpose", "decoder_normalization": "group"},
    {"encoder_depth": 3, "num_classes": 4, "classifier_activation": "softmax"},
    {"compat": "medicai"},
)
ATTENTION = dict.fromkeys(("query", "key", "value"), "attention_in")
ATTENTION |= {"attention_output": "attention_out"}


@pytest.fixture(autouse=True)
def _third():
    register(ROW)
    yield
    del TARGETS[ROW.name]


def parts_of(text):
    """Each part of a file: its layers in words, by name, and the lines of its program."""
    parts = {}
    for part in re.split(r"^part ", text.partition("\n\n# Written by")[0], flags=re.M)[1:]:
        head, _, steps = part.partition("    steps:\n")
        layers = dict(re.findall(r"^    has (\w+): (.*)$", head, flags=re.M))
        lines = [line[8:] for line in steps.splitlines() if line]
        parts[part.partition("(")[0]] = layers, lines
    return parts


def kind_at(parts, path, part):
    """The kind of the layer that a path of the ledger leads to, part by part."""
    first, *rest = (name for name in path.split(".") if not name.isdigit())
    words = parts[part][0][first]
    if words in parts:
        return kind_at(parts, ".".join(rest), words)
    kind = re.match(r"\w+", words)[0]
    if kind == "attention":
        return ATTENTION[".".join(rest)]
    assert not rest, f"{path} goes on below a {kind}"
    return kind


class _Spread(ast.NodeTransformer):
    """`concat([x, *row])` as a program has it: `concat(x, *row)`."""

    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in OPERATIONS:
            node.args = node.args[0].elts
        return node


def read_back(lines):
    """The text of the program whose lines these are, in the language of programs."""
    python = []
    for line in lines:
        code = line.partition("  # ")[0]
        indent = code[: len(code) - len(code.lstrip())]
        code = re.sub(r"^give ", "return ", code.strip())
        code = re.sub(r"^(\w+) <- ", r"\1 = ", code)
        code = re.sub(r"^(\w+) takes (.*)$", r"\1.append(\2)", code)
        code = re.sub(r"^each (\w+) of (.*):$", r"for \1 in \2:", code)
        code = re.sub(r"^each (.*) of (.*):$", r"for \1 in zip(\2):", code)
        python.append(indent + code)
    return ast.unparse(_Spread().visit(ast.parse("\n".join(python))))


def program_of(body):
    return ast.unparse(ast.parse("\n".join(lines_of(body))))


def assert_whole(encoder, **options):
    """Every row of the ledger and every statement of every program stands in the text."""
    model = resolve(encoder, options)
    text, ledger = compiled(model, ROW.name)
    parts = parts_of(text)
    for row in ledger.rows:
        assert kind_at(parts, row.path, model.class_name) == row.kind, row.path
    network = specialize(model)
    for program in (*network.all_blocks.values(), *network.modules):
        assert read_back(parts[program.name][1]) == program_of(program.body), program.name
    steps = parts[model.class_name][1]
    assert read_back(steps).endswith(program_of(network.head.body))
    return text


@pytest.mark.parametrize("dims", [2, 3])
def test_it_writes_every_encoder(dims):
    for encoder in ENCODERS:
        assert_whole(encoder, dims=dims)
    for encoder in KINDS:
        assert_whole(encoder, dims=dims, features_only=True, pooling="max")


@pytest.mark.parametrize("segmentor", SEGMENTORS)
def test_it_writes_every_segmentor(segmentor):
    for encoder in KINDS if segmentor in ANYWHERE else OWN:
        for dims in (2, 3):
            assert_whole(encoder, dims=dims, segmentor=segmentor)
    for options in VARIANTS:
        taken = {name: value for name, value in options.items() if _takes(segmentor, name)}
        assert_whole(host(segmentor, "seresnet50"), dims=3, segmentor=segmentor, **taken)


def _takes(segmentor, option):
    try:
        resolve(host(segmentor, "resnet18"), {"segmentor": segmentor, option: _VALUES[option]})
    except CompileError:
        return False
    return True


_VALUES = {name: value for options in VARIANTS for name, value in options.items()}
_VALUES["classifier_activation"] = "sigmoid"


@pytest.mark.parametrize(
    ("segmentor", "options", "words"),
    [
        (
            "unet",
            {"deep_supervision": True},
            ["stages takes x", "aux_heads: conv 1 to num_classes"],
        ),
        (
            "unet",
            {"strides": "1,2,2/1,2,2/2/2/2", "kernels": "3/1,3,3/3/3/3"},
            ["SCALES", "kernel"],
        ),
        (
            "fpn",
            {"norm": "group", "activation": "leaky_relu"},
            ["norm1: group_norm", "leaky_relu("],
        ),
        (
            None,
            {"drop_path": "0.2", "dropout": "0.3", "num_classes": 2},
            ["drop_path: dropout of rate"],
        ),
    ],
)
def test_it_knows_the_options_of_the_encoder_and_of_training(segmentor, options, words):
    taken = {"segmentor": segmentor, **options} if segmentor else options
    text = assert_whole("resnet18", dims=3, **taken)
    usual = compiled(resolve("resnet18", {"dims": 3, "segmentor": segmentor}), ROW.name)[0]
    for word in words:
        assert word in text and word not in usual, word


def test_a_fault_of_the_target_is_seen(monkeypatch):
    target = target_named(ROW.name)
    monkeypatch.setattr(type(target), "ops", {**target.ops, "concat": "add(xs)"})
    with pytest.raises(AssertionError, match="Decoder"):
        assert_whole("resnet18", segmentor="unet")


def test_an_operation_without_a_spelling_is_an_error(monkeypatch):
    target = target_named(ROW.name)
    spelled = {name: spelling for name, spelling in target.ops.items() if name != "concat"}
    monkeypatch.setattr(type(target), "ops", spelled)
    with pytest.raises(CompileError, match="pseudo-code has no spelling of the operation 'concat'"):
        compiler.emit("resnet18", target="pseudo", segmentor="unet")


def test_a_target_has_words_of_its_own():
    with pytest.raises(ValueError, match="'pytorch' is the target torch already"):
        register(replace(ROW, name="other", spellings=("pytorch",)))
    with pytest.raises(KeyError, match="no target 'jax': it is one of torch, keras, pseudo"):
        target_named("jax")


def test_the_command_line_knows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "resnet18_2d.txt"
    assert main(["emit", "resnet18", "--target", "Pseudo"]) == 0
    assert path.read_text() == compiler.emit("resnet18", target="pseudo")
    assert main(["emit", "resnet18", "--target", "torch"]) == 0
    assert main(["check", "."]) == 0
    assert "resnet18_2d.txt" in capsys.readouterr().out
    path.write_text(path.read_text().replace("relu", "gelu"))
    assert main(["check", ".", "--diff"]) == 1
    assert "+        x <- gelu(" in capsys.readouterr().out
    with pytest.raises(CompileError, match="pseudo"):
        compiler.emit("resnet18", target="jax")


TINY = compiler.custom_encoder(
    "tiny", blocks=(1, 1), block="basic", filters=(8, 8), strides=(1, 2), stem_filters=(8,)
)


class Twin(Torch):
    """PyTorch under another name: a third target whose files run."""

    name, title = "twin", "Twin"
    templates = Path(__file__).parents[1] / "templates" / "torch"


class TwinRuntime(TorchRuntime):
    name = label = "twin"


@pytest.fixture
def _twin():
    module = __name__
    register(TargetRow("twin", "Twin", f"{module}:Twin", f"{module}:TwinRuntime", suffix=".py"))
    yield
    del TARGETS["twin"]


def _twins(change=lambda text: text):
    model = sized(resolve(TINY, {"num_classes": 5}), (32, 32))
    ours = Source(compiled(model, "torch")[0], target="torch")
    theirs = Source(change(compiled(model, "twin")[0]), target="twin")
    return verify(model, Settings(size=(32, 32)), (ours, theirs))


@pytest.mark.usefixtures("_twin")
def test_verify_compares_any_two_targets():
    report = _twins()
    assert report.passed, report.why
    assert {q.name for q in report.quantities} >= {"P3", "output", "weights after a step"}
    report = _twins(
        lambda text: text.replace(
            "x = F.relu(self.bn1(self.conv1(x)))", "x = F.silu(self.bn1(self.conv1(x)))"
        )
    )
    assert not report.passed and report.first.startswith("encoder.")
    missing = _twins(
        lambda text: text.replace("self.bn1 = ", "self.norm1 = ").replace(
            "self.bn1(", "self.norm1("
        )
    )
    assert not missing.passed and "is missing in twin" in missing.why


def test_verify_says_which_files_run(tmp_path):
    names = [tmp_path / "a.py", tmp_path / "b.txt"]
    for path, target in zip(names, ("torch", "pseudo")):
        path.write_text(compiler.emit("resnet18", target=target))
    with pytest.raises(
        CompileError, match=r"b.txt is a pseudo file: verify runs those of torch and keras"
    ):
        compiler.verify(*map(str, names))


def test_weights_are_asked_of_targets_that_have_some(tmp_path):
    with pytest.raises(CompileError, match="--to"):
        compiler.convert("x.pt", str(tmp_path / "x.safetensors"), "resnet18", to="pseudo")
    with pytest.raises(KeyError, match="'pseudo' has no files of weights"):
        files_of("pseudo")
    assert runtime_of("pseudo") is None
    for name in ("torch", "keras"):
        assert runtime_of(name).name == files_of(name).name == name


def test_its_files_are_vendored_as_any_others(tmp_path, monkeypatch, capsys):
    """Edited, told apart, and updated; they do not run, so that their weights stay unknown."""
    monkeypatch.chdir(tmp_path)
    assert main(["emit", "resnet18", "--target", "pseudo", "-o", "net.txt"]) == 0
    text = (tmp_path / "net.txt").read_text()
    edited = text.replace("has conv1: ", "has conv1, as in the paper: ", 1)
    (tmp_path / "net.txt").write_text(edited)
    assert main(["check", "net.txt"]) == 1 and main(["diff", "net.txt"]) == 1
    assert main(["update", "net.txt", "--num-classes", "7"]) == 0
    assert "weights may change: files of its kind do not run" in capsys.readouterr().out
    seven = compiler.emit("resnet18", target="pseudo", num_classes=7)
    expected = seven.replace("has conv1: ", "has conv1, as in the paper: ", 1)
    assert (tmp_path / "net.txt").read_text() == expected
    assert main(["update", "net.txt", "--target", "torch"]) == 0
    assert (tmp_path / "net_torch.py").exists() and (tmp_path / "net.txt").read_text() == expected
