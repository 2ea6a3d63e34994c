"""The house: imports run downwards, frameworks stay out, targets hold the same rooms."""

import ast
import re
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from compiler.arguments import spell_options
from compiler.errors import CompileError
from compiler.initialization import init_of
from compiler.ir import Layer
from compiler.model import Head
from compiler.operations import OPERATIONS
from compiler.options import BY_NAME
from compiler.passes.declarations import Declaration
from compiler.passes.rows import row_of
from compiler.passes.validate import resolve
from compiler.passes.values import parse
from compiler.program import Expression, Statement, code_of, lines_of, rewritten
from compiler.segmentors import segmentor_named
from compiler.spec.definition import _type
from compiler.targets import TARGETS, target_named
from compiler.targets.keras_layers import called as keras_called
from compiler.targets.runtime import files_of, runtime_of
from compiler.targets.spelling import simple
from compiler.targets.torch_layers import declare as torch_declare
from compiler.targets.torch_lists import used as declared

ROOT = Path(__file__).parents[1]
FLOORS = (
    ("errors", "layout", "limits", "program", "syntax", "targets"),
    ("reading", "spec.positions", "tidying", "vendoring.known"),
    ("ir", "parsing", "expressions"),
    ("axes", "operations", "initialization", "unit_blocks", "parts", "binding"),
    ("dialect", "deployment", "nnunet.architecture", "nnunet.documents"),
    ("nnunet.planner", "nnunet.dataset", "nnunet.kwargs", "nnunet.trainers"),
    ("nnunet.plans",),
    ("weights.checkpoints",),
    ("weights.pickles",),
    ("weights.archives", "weights.contents"),
    ("weights.stored",),
    ("nnunet.checkpoint",),
    ("model", "option"),
    ("network", "blocks", "catalog", "dialects"),
    ("passes", "passes.rows", "passes.variants", "passes.declarations", "passes.kernels"),
    ("passes.joined", "passes.wires"),
    ("passes.steps", "passes.kept"),
    ("passes.kept_layers", "passes.interpret", "passes.channels", "passes.units"),
    ("segmentors.base",),
    ("segmentors.supervision",),
    ("segmentors.unet",),
    ("segmentors.attention_unet", "segmentors.unet_plus_plus", "segmentors.nnunet"),
    ("segmentors.fpn", "segmentors.linknet", "segmentors.trans_head"),
    ("segmentors.trans_unet",),
    ("segmentors",),
    ("names", "options", "keywords", "passes.axes", "passes.per_axis"),
    (
        "passes.values",
        "passes.heads",
        "passes.choices",
        "passes.initialized",
        "passes.fold",
        "passes.fuse",
        "passes.inference",
        "passes.specialize",
        "passes.trace",
        "passes.instances",
    ),
    ("passes.custom", "passes.custom_units", "passes.count", "passes.advice", "passes.tape"),
    ("passes.cost", "passes.fields"),
    ("passes.lint",),
    ("passes.fitting",),
    ("nnunet.asked",),
    ("nnunet.sources",),
    ("spec.definition",),
    ("spec.checks", "spec.schema"),
    ("spec.encoders",),
    ("spec.loading", "nnunet.encoders"),
    ("nnunet.request",),
    ("passes.validate",),
    ("lower", "arguments", "nnunet.network"),
    ("targets.prose", "targets.text", "targets.spelling"),
    ("targets.writer", "targets.torch_layers", "targets.keras_layers", "targets.torch_init"),
    ("targets.constants", "targets.torch_lists", "targets.torch_nodes"),
    ("targets.facts", "targets.torch_joined"),
    ("targets.base", "targets.torch_writer", "targets.keras_writer"),
    ("targets.torch_supervision",),
    ("targets.torch", "targets.keras"),
    ("targets.runtime",),
    ("provenance", "emitter", "showcase", "files"),
    ("drawing.fonts", "drawing.kinds", "drawing.signed"),
    ("drawing.graph", "drawing.scene", "drawing.theme"),
    ("drawing.grid", "drawing.scale", "drawing.legend", "drawing.bars", "drawing.svg"),
    ("drawing.labels", "drawing.tracks"),
    ("drawing.geometry",),
    ("drawing.layout",),
    ("drawing.picture", "drawing.gallery"),
    ("api", "spec.writing"),
    ("costs",),
    ("vendoring.bases", "vendoring.merging", "vendoring.request", "vendoring.style"),
    ("vendoring.project", "vendoring.history"),
    ("vendoring.state",),
    ("vendoring.updating",),
    ("vendoring.syncing", "checker"),
    ("vendoring.report",),
    ("page.form", "page.marks", "page.networks", "page.serving"),
    ("page.dropped", "page.gallery"),
    ("page.answers",),
    ("tables",),
    ("weights.keras_variables",),
    ("verify.settings",),
    ("verify.doubles", "verify.loading", "verify.parity", "verify.report"),
    ("verify.measure", "verify.pairs", "verify.divergence", "verify.conditioning"),
    ("verify.joint", "verify.state", "verify.gradients"),
    ("verify.runtimes",),
    ("verify.compare",),
    ("verify.sweep",),
    ("verify.table",),
    ("weights.adapt", "weights.patterns", "weights.nnunet", "weights.layouts", "weights.headers"),
    ("weights.torch_files", "weights.keras_files", "weights.naming"),
    ("weights.formats", "weights.matching"),
    ("weights.deployed",),
    ("verify.deployed",),
    ("verify.child", "verify.isolated", "verify.serving"),
    ("verify.shapes",),
    ("weights.writers",),
    ("weights.files", "weights.convert"),
    ("weights.renaming",),
    ("vendoring.weights",),
    ("actions",),
    ("commands.options",),
    ("commands.emit", "commands.show", "commands.plan", "commands.check", "commands.update"),
    ("commands.draw",),
    ("commands.sync",),
    ("commands.verify", "commands.convert", "commands.new", "commands.page"),
    ("commands.cli",),
    ("__main__",),
)
UNIONS = (Expression, Statement, Declaration, Layer, Head)
HEIGHT = {f"compiler.{name}": height for height, floor in enumerate(FLOORS) for name in floor}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "compiler").rglob("*.py")
}
PACKAGES = {
    "compiler",
    "compiler.commands",
    "compiler.drawing",
    "compiler.nnunet",
    "compiler.page",
    "compiler.spec",
    "compiler.vendoring",
    "compiler.verify",
    "compiler.weights",
}  # they only say what they hold
FRAMEWORKS = {"torch", "keras", "tensorflow", "jax", "numpy", "safetensors", "h5py", "ml_dtypes"}


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module that `from ... import` names, dots resolved."""
    package = path.relative_to(ROOT).parent.parts
    kept = package[: len(package) - node.level + 1] if node.level else ()
    return ".".join((*kept, *filter(None, [node.module])))


def _imports(path: Path) -> dict[str, bool]:
    """Modules that a file imports, and whether it does so at its top."""
    tree = ast.parse(path.read_text())
    found = {}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            found[name] = found.get(name, False) or node in tree.body
    return found


@pytest.mark.parametrize("module", sorted(MODULES.keys() - PACKAGES))
def test_imports_run_downwards(module):
    assert module in HEIGHT, f"{module} has no floor"
    for imported in _imports(MODULES[module]):
        if imported in HEIGHT and imported != module:
            assert HEIGHT[imported] <= HEIGHT[module], f"{module} imports {imported}"


def test_no_imports_go_in_a_circle():
    """Within a floor neither, and not by way of a function."""
    graph = {
        module: {name for name in _imports(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
        if module not in PACKAGES
    }
    assert len([*TopologicalSorter(graph).static_order()]) >= len(graph)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_framework_at_the_top(module):
    for imported, at_top in _imports(MODULES[module]).items():
        assert not (at_top and imported.split(".")[0] in FRAMEWORKS), imported


@pytest.mark.parametrize(
    ("library", "room"),
    [("jinja2", "emitter"), ("black", "emitter"), ("rich", "tables"), ("click", "commands")],
)
def test_one_room_knows_a_library(library, room):
    users = {
        re.sub(r"(compiler\.commands)\..*", r"\1", module)
        for module, path in MODULES.items()
        if any(imported.split(".")[0] == library for imported in _imports(path))
    }
    assert users == {f"compiler.{room}"}


def test_targets_spell_the_same_operations():
    spelled = {name: {*target_named(name).ops, *target_named(name).statements} for name in TARGETS}
    assert spelled == {name: {*OPERATIONS} for name in TARGETS}


def test_targets_have_templates_of_the_same_names():
    names = {
        frozenset(path.name for path in (ROOT / "templates" / t).glob("*.j2")) for t in TARGETS
    }
    assert len(names) == 1


def test_each_helper_has_a_template():
    for name in TARGETS:
        target = target_named(name)
        helpers = {helper.template for helper in (*target.first_helpers, *target.helpers)}
        folder = ROOT / "templates" / name
        assert helpers == {f"helpers/{path.name}" for path in (folder / "helpers").iterdir()}


@pytest.mark.parametrize("path", sorted((ROOT / "templates").rglob("*.j2")), ids=lambda p: p.name)
def test_templates_stay_short_and_plain(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    assert "{% set" not in text
    for condition in text.split("{% if ")[1:]:
        assert condition.split(" %}")[0].removeprefix("not ").replace(".", "").isidentifier()


def _strange(*_args, **_fields):
    """A node, a layer, a head or a kind that nobody has heard of."""
    return SimpleNamespace(name="strange", when="", kind="dial", zero_init=False)


STATEMENT = (_strange(),)


@pytest.mark.parametrize(
    "look",
    [
        lambda: code_of(_strange()),
        lambda: lines_of(STATEMENT),
        lambda: rewritten(STATEMENT, lambda node: node),
        lambda: simple(_strange()),
        lambda: torch_declare(_strange(), 2),
        lambda: keras_called(_strange(), (), "", 2, "", ()),
        lambda: row_of(_strange(), ("a",), (1, 1, 1), {}, 2),
        lambda: init_of(_strange()),
        lambda: declared((_strange(),)),
        lambda: spell_options(replace(resolve("resnet18", {}), head=_strange())),
        lambda: parse(replace(BY_NAME["dims"], kind="dial"), "2"),
        lambda: _type(replace(BY_NAME["dims"], kind="dial")),
        lambda: segmentor_named("vnet"),
        lambda: target_named("jax"),
        lambda: runtime_of("jax"),
        lambda: files_of("jax"),
    ],
)
def test_what_no_table_knows_is_an_error(look):
    with pytest.raises(
        (AssertionError, KeyError, CompileError), match=r"(?i)strange|vnet|jax|dial"
    ):
        look()


OURS = {kind.__name__ for union in UNIONS for kind in get_args(union)}


def _matched(case):
    """The classes of ours that a case of a `match` names."""
    patterns = getattr(case.pattern, "patterns", [case.pattern])
    return {
        ast.unparse(pattern.cls).removeprefix("program.").removeprefix("ir.")
        for pattern in patterns
        if isinstance(pattern, ast.MatchClass)
    } & OURS


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_match_says_what_becomes_of_the_rest(module):
    """A new kind of node, layer or head falls through none: mypy or an error stops it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Match) and any(map(_matched, node.cases)):
            last = ast.unparse(node.cases[-1].pattern)
            assert last == "_", f"{module}, line {node.lineno}: no `case _`"


EDITS = {"replace", "removeprefix", "removesuffix", "sub", "subn", "translate"}
NOT_CODE = {  # functions that change a sentence or a name
    "passes.per_axis._scaled_block",
    "passes.variants.with_norm",
    "targets.base.spell_doc",
    "targets.keras.block_name",
}


def _edits(tree):
    """The functions that change a text, with the line."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr in EDITS:
                    yield function.name, node.lineno


def test_code_is_not_edited_as_text():
    """Code is nodes until it is spelled: passes change programs, targets change expressions."""
    found = {
        f"{module.removeprefix('compiler.')}.{name}": line
        for module, path in MODULES.items()
        if module.split(".")[1:2] in (["passes"], ["targets"], ["segmentors"])
        for name, line in _edits(ast.parse(path.read_text()))
    }
    assert found.keys() == NOT_CODE, found
    planted = ast.parse('def head(line):\n    return line.replace("self.head(x)", "self.head(y)")')
    assert [*_edits(planted)] == [("head", 2)]


def test_contributing_names_every_module():
    """By its name, or by that of its folder where each of its modules is much like the others."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| floor |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)/?`", table))
    folders = ("commands", "segmentors", "targets", "vendoring", "verify", "weights")
    alike = {f"compiler.{name}" for name in folders}
    for module in MODULES.keys() - PACKAGES:
        folder, _, name = module.rpartition(".")
        assert name in named or (folder in alike and folder.split(".")[1] in named), module


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_room_is_too_large(module):
    assert len(MODULES[module].read_text().splitlines()) <= 320
