"""The public API: typed keywords, lazy imports, one `verify` whatever is imported first."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import compiler
from compiler.keywords import ModelOptions
from compiler.nnunet.asked import QUESTIONS
from compiler.options import OPTIONS

ROOT = Path(__file__).parents[1]
GOOD = """
from collections.abc import Sequence
from pathlib import Path

import compiler as plainnet


def build(sizes: Sequence[int], path: Path) -> bool:
    for dims in (2, 3):
        text: str = plainnet.emit("seresnext50", target="torch", dims=dims, num_classes=5)
        path.write_text(text)
    encoder = plainnet.custom_encoder("my_net", blocks=[1, 1, 1, 1])
    print(plainnet.describe(encoder, input_shape=sizes, segmentor="unet", dropout=None)["macs"])
    print(plainnet.cost(encoder, input_shape=sizes, batch=2, precision="bf16").saved + 1)
    print(plainnet.plan(encoder, memory="24GiB", shape=sizes).training[0].largest is None)
    print([note.kind for note in plainnet.lint(encoder, dims=3)])
    svg: str = plainnet.draw(encoder, compare="resnet18", theme="dark", dims=3)
    report = plainnet.verify("resnet18", size=64, num_classes=len(svg))
    done = plainnet.convert(path, "w.safetensors", "resnet18", layout="timm", dims="3")
    try:
        states = [verdict.state for verdict in plainnet.check([path])]
    except plainnet.CompileError as error:
        print(error.problems[0].hint)
    return report.passed and done.tensors > 0 and states == ["clean"]
"""
MISSPELT = """
import compiler as plainnet

plainnet.emit("resnet18", target="torch", num_clases=5)
plainnet.describe("resnet18", num_clases=5)
plainnet.draw("resnet18", num_clases=5)
plainnet.cost("resnet18", num_clases=5)
plainnet.lint("resnet18", num_clases=5)
plainnet.plan("resnet18", memory="24GiB", num_clases=5)
plainnet.verify("resnet18", num_clases=5)
plainnet.convert("a.pt", "b.pt", "resnet18", num_clases=5)
plainnet.check("nets/", num_clases=5)
plainnet.custom_encoder("my_net", blocks=(1,), filter=(8,))
plainnet.emit("resnet18", target="torch", num_classes=[5])
"""


def test_keywords_are_the_options():
    known = [each.name for each in (*OPTIONS, *QUESTIONS)]
    assert sorted(ModelOptions.__annotations__) == sorted(known)
    types = {
        "count": int | str | None,
        "choice": str | None,
        "share": float | str | None,
        "flag": bool | None,
    }
    hints = get_type_hints(ModelOptions)
    for option in OPTIONS:
        numbers = option.kind == "choice" and all(map(str.isdecimal, option.choices or ("x",)))
        if option.kind in types:
            assert hints[option.name] == types["count" if numbers else option.kind], option.name
        else:
            assert "Sequence[int]" in str(hints[option.name])


def test_a_type_checker_finds_a_misspelt_keyword(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "misspelt.py").write_text(MISSPELT)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), "--config-file", str(tmp_path / "none")]
    (tmp_path / "none").write_text("[mypy]\n")
    done = subprocess.run(
        [*command, "good.py", "misspelt.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    wrong = [line for line in done.stdout.splitlines() if ": error:" in line]
    lines = {line.split(":")[1] for line in wrong}
    assert all(line.startswith("misspelt.py") for line in wrong), done.stdout
    assert lines == {str(i) for i in range(4, 15)}, done.stdout
    assert sum("num_clases" in line for line in wrong) == 9


@pytest.mark.parametrize(
    "call",
    [
        lambda: compiler.emit("resnet18", target="torch", num_clases=5),
        lambda: compiler.describe("resnet18", num_clases=5),
        lambda: compiler.draw("resnet18", num_clases=5),
        lambda: compiler.cost("resnet18", num_clases=5),
        lambda: compiler.lint("resnet18", num_clases=5),
        lambda: compiler.plan("resnet18", memory="24GiB", num_clases=5),
        lambda: compiler.verify("resnet18", num_clases=5),
        lambda: compiler.convert("a.safetensors", "b.safetensors", "resnet18", num_clases=5),
    ],
)
def test_a_misspelt_keyword_gets_a_suggestion(call):
    with pytest.raises(compiler.CompileError, match="Did you mean 'num_classes'"):
        call()


def test_every_public_function_has_a_docstring_that_says_what_it_raises():
    for name in (
        "emit",
        "cost",
        "describe",
        "draw",
        "verify",
        "convert",
        "check",
        "custom_encoder",
    ):
        assert name in compiler.__all__
        function = compiler.actions.verify if name == "verify" else getattr(compiler, name)
        assert "`CompileError`" in function.__doc__


IMPORTS = (
    "import compiler",
    "import compiler.commands.verify",
    "from compiler.verify import report",
    "from compiler import verify",
    "import compiler.commands.cli as cli",
    "import compiler.verify.report as deep",
)


def test_verify_is_callable_in_every_order_of_imports():
    """Importing the subpackage `compiler.verify` replaces the function of that name."""
    script = """
import sys
def fresh():
    for name in [name for name in sys.modules if name.split(".")[0] == "compiler"]:
        del sys.modules[name]
"""
    for order in itertools.permutations(IMPORTS, 2):
        script += "fresh()\n" + "".join(f"{line}\n" for line in order)
        script += f"""
import compiler
for function in (compiler.verify, sys.modules["compiler.actions"].verify):
    try:
        function("resnet18", num_clases=5)
    except compiler.CompileError as error:
        assert "num_classes" in str(error), {order!r}
assert sys.modules["compiler.verify.settings"].TOLERANCE
"""
    script += "assert not {'torch', 'keras', 'numpy', 'rich', 'black'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_check_is_what_the_command_line_says():
    folder = ROOT / "generated" / "torch"
    one = folder / "seresnet18_2d.py"
    for paths in (one, str(one), [one], (str(one),)):
        assert [verdict.state for verdict in compiler.check(paths)] == ["clean"]
    for wrong in (7, None, [7], "no/where.py", "a\0b"):
        with pytest.raises(compiler.CompileError):
            compiler.check(wrong)
