"""`check` as a gate: what a formatter may do, what is skipped, and what must never pass."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys

import pytest

import compiler
from compiler import emitter
from compiler.checker import Found, check_file
from compiler.provenance import parse_command, read
from compiler.syntax import normal_form
from tests.test_cli import GENERATED, SEX50, Terminal, environment, terminal

__all__ = ["environment", "terminal"]  # fixtures

RUFF = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated"]
BLACK = [sys.executable, "-m", "black", "--quiet"]
FORMATTERS = {
    "ruff, 88 columns": RUFF,
    "ruff, 60 columns": [*RUFF, "--line-length", "60"],
    "ruff, single quotes": [
        *[*RUFF, "--line-length", "79", "--config", "format.quote-style='single'"],
        *["--config", "indent-width=2"],
    ],
    "black, 120 columns": [*BLACK, "--line-length", "120"],
    "black, no magic commas": [*BLACK, "--line-length", "88", "-C", "-S"],
}


@pytest.fixture(scope="session")
def emitted() -> str:
    return compiler.emit("seresnext50", target="torch", dims=3, segmentor="unet")


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_formatter_is_no_edit(terminal, formatter):
    folder = terminal.folder / "nets"
    turn = list(FORMATTERS).index(formatter)  # each takes its share of `generated/`
    files = sorted(GENERATED.rglob("*.py"))[turn :: len(FORMATTERS)]
    for path in files:
        copy = folder / path.relative_to(GENERATED)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    subprocess.run([*FORMATTERS[formatter], str(folder)], check=True)
    changed = {
        str(path.relative_to(terminal.folder))
        for path in folder.rglob("*.py")
        if path.read_bytes() != (GENERATED / path.relative_to(folder)).read_bytes()
    }
    assert len(changed) > len(files) / 6  # black at 120 columns changes a quarter of them
    lines = terminal.succeeds("check nets").splitlines()
    assert {line.split()[1] for line in lines if line.startswith("reformatted")} == changed
    assert {line.split()[0] for line in lines} <= {"clean", "reformatted"}


def test_emit_replaces_a_reformatted_file(terminal):
    terminal.succeeds(f"{SEX50} -o net.py")
    before = terminal.read("net.py")
    subprocess.run([*RUFF, "net.py"], cwd=terminal.folder, check=True)
    formatted = terminal.read("net.py")
    assert formatted != before
    terminal.succeeds(f"{SEX50} -o net.py")
    assert terminal.read("net.py") == before
    # A formatted file of another version of the compiler, too, is known by its digest alone.
    terminal.succeeds(f"{SEX50} -o net.py --num-classes 7")
    subprocess.run([*RUFF, "net.py"], cwd=terminal.folder, check=True)
    terminal.succeeds(f"{SEX50} -o net.py")
    assert terminal.read("net.py") == before


def test_line_ends_and_a_byte_order_mark_are_no_edit(terminal, emitted):
    (terminal.folder / "a.py").write_bytes(b"\xef\xbb\xbf" + emitted.replace("\n", "\r\n").encode())
    assert terminal.succeeds("check a.py") == "clean     a.py\n"
    terminal.succeeds(f"{SEX50} --segmentor unet -o a.py")
    assert terminal.read("a.py") == emitted


EDITS = {
    "a number": ("DECODER_EPS = 1e-3", "DECODER_EPS = 1e-2"),
    "a comment": ("# depth, width", "# depth, breadth"),
    "a comment less": ("  # depth, width, channels, stride", ""),
    "a docstring": ('"""SE-ResNeXt-50', '"""SE-ResNeXt-51'),
    "a name": ("GROUPS", "GROUP"),
    "a parenthesis that counts": ("F.relu(x + residual)", "F.relu(x) + residual"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_an_edit_also_when_it_is_formatted(terminal, emitted, edit):
    old, new = EDITS[edit]
    assert old in emitted
    terminal.write("a.py", emitted.replace(old, new))
    line = "edited    a.py: edited since plainnet 0.1.0 wrote it\n"
    assert (terminal("check a.py").stdout, terminal("check a.py").returncode) == (line, 1)
    subprocess.run([*RUFF, "a.py"], cwd=terminal.folder, check=True)
    done = terminal("check --diff a.py")
    assert (done.returncode, done.stdout[: len(line)]) == (1, line)
    # The layout is ours again in the difference, so that the edit is all that is shown.
    shown = [text for text in done.stdout.splitlines()[3:] if text[:1] in "+-"]
    assert 0 < len(shown) <= 2 * emitted.count(old) + 4, "\n".join(shown)
    assert "was edited" in terminal.fails(f"{SEX50} --segmentor unet -o a.py")


CODE = """def f(a):
    # about x
    x = a  # why
    if x:
        y = (  # joined or not
            1,
            2,
        )
        # about nothing
    return x
"""
SAME = [
    CODE.replace("    ", "\t"),
    re.sub(r"\((  # joined or not)[^)]*\)", r"(1, 2)\1", CODE),
    CODE.replace("x = a ", "x = (a) "),
    CODE.replace("# why", "#why"),
    CODE.replace("if x:", "if x :\n"),
]
MOVED = [
    CODE.replace("    # about x\n    x = a  # why", "    x = a  # about x\n    # why"),
    CODE.replace("        # about nothing", "    # about nothing"),
    CODE.replace("    # about x\n", "").replace("def", "# about x\ndef"),
    CODE.replace("  # why\n    if x:", "\n    if x:  # why"),
    CODE.replace("# about x", "# about X"),
]


def test_the_normal_form_knows_layout_from_comments():
    assert {normal_form(text) for text in SAME} == {normal_form(CODE)}
    forms = [normal_form(text) for text in [CODE, *MOVED]]
    assert len(set(forms)) == len(forms)
    strings = ["x = 'a' 'b'  # c", 'x = (\n    "a"\n    "b"\n)  # c', 'x = "ab"  # c']
    assert len({normal_form(text) for text in strings}) == 1
    assert normal_form("x = (a + b) * c") != normal_form("x = a + b * c")
    assert normal_form("x = (") is None
    assert normal_form("-" * 100_000 + "1") is None


# --- the footer ---------------------------------------------------------------------------------


def test_a_changed_command_is_an_edit(terminal, emitted):
    """Also one that asks for the same network: the digests cover the command."""
    for command, state in (("--num-classes 1", "edited"), ("--num-classes 2", "edited and stale")):
        text = emitted.replace("--segmentor unet\n", f"--segmentor unet {command}\n")
        assert text != emitted
        provenance = read(text)
        assert provenance is not None
        assert not provenance.untouched and not provenance.unedited
        terminal.write("a.py", text)
        done = terminal("check a.py --json")
        assert (done.returncode, json.loads(done.stdout)["files"][0]["state"]) == (1, state)


def test_another_black_is_no_difference(terminal, emitted, tmp_path, monkeypatch):
    """The footer names the one that wrote the file; its layout is not held against it."""
    import black

    with monkeypatch.context() as patch:
        patch.setattr(emitter, "WRITER", "black 99.1.0")
        patch.setattr(emitter, "_MODE", black.Mode(line_length=92))
        patch.setattr(emitter, "_is_laid_out", emitter._is_laid_out.__wrapped__)
        other = compiler.emit("seresnext50", target="torch", dims=3, segmentor="unet")
    assert " with black 99.1.0, for you" in other
    assert f" with black {black.__version__}, for you" in emitted
    assert read(other).text != read(emitted).text  # type: ignore[union-attr]
    terminal.write("a.py", other)
    assert terminal.succeeds("check a.py") == "clean     a.py\n"
    terminal.write("a.py", other.replace("GROUPS = 32", "GROUPS = 16"))
    assert terminal("check a.py").returncode == 1


OLD = """

# Written by plainnet 0.1.0, for you to own. To write it again:
#     {command}
# sha256: spec 0123456789abcdef0123456789abcdef, body {digest}
"""


def test_a_footer_of_the_first_version_is_read(tmp_path, emitted):
    from hashlib import sha256

    text = read(emitted).text  # type: ignore[union-attr]
    command = "python -m compiler emit seresnext50 --target torch --dims 3 --segmentor unet"
    path = tmp_path / "a.py"
    digest = sha256(text.encode()).hexdigest()[:32]
    path.write_text(text + OLD.format(command=command, digest=digest))
    assert check_file(Found(path)).state == "clean"
    path.write_text(path.read_text().replace("GROUPS = 32", "GROUPS = 16"))
    verdict = check_file(Found(path))
    assert (verdict.state, verdict.note[:6]) == ("edited", "edited")


def test_the_footer_of_an_encoder_of_ones_own_is_a_call_of_the_api():
    import plainnet

    encoder = plainnet.custom_encoder("mine", blocks=(1, 1, 1, 1))
    text = plainnet.emit(encoder, target="torch")
    provenance = read(text)
    assert provenance is not None
    assert eval(provenance.command, {"plainnet": plainnet}) == text
    old = provenance.command.replace("plainnet.", "compiler.")
    assert parse_command(old) == parse_command(provenance.command)


# --- folders ------------------------------------------------------------------------------------


def test_files_without_provenance_are_skipped_and_counted(terminal, emitted):
    (terminal.folder / "nets").mkdir()
    terminal.write("nets/a.py", emitted)
    for name in ("__init__.py", "helpers.py"):
        terminal.write(f"nets/{name}", "import os  # Written by plainnet 0.1.0? no\n")
    out = terminal.succeeds("check nets")
    assert out == "clean     nets/a.py\nskipped   2 files without provenance\n"
    assert terminal("check nets nets/helpers.py").returncode == 2  # it is named
    out = json.loads(terminal.succeeds("check nets --json"))
    assert out == {
        "passed": True,
        "files": [{"path": "nets/a.py", "state": "clean", "passed": True, "note": ""}],
        "skipped": ["nets/__init__.py", "nets/helpers.py"],
        "problems": [],
    }


def test_a_folder_without_an_emission_does_not_pass(terminal, emitted):
    for name in ("empty", "nets"):
        (terminal.folder / name).mkdir()
    terminal.write("empty/__init__.py", "")
    terminal.write("nets/a.py", emitted)
    done = terminal("check nets empty")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no file in 'empty' was written by plainnet\n")
    done = terminal("check empty --json")
    assert (done.returncode, json.loads(done.stdout)["passed"]) == (2, False)


def test_json_holds_what_the_table_does(terminal, emitted):
    terminal.write("a.py", emitted.replace("GROUPS = 32", "GROUPS = 16"))
    terminal.write("b.py", "x = 1\n")
    done = terminal("check a.py b.py --json --diff")
    report = json.loads(done.stdout)
    assert (done.returncode, report["passed"]) == (2, False)
    assert [file["state"] for file in report["files"]] == ["edited", "not ours"]
    assert "\n+GROUPS = 16\n" in report["files"][0]["edits"]
    assert [problem["at"] for problem in report["problems"]] == ["b.py"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["old"], ["nets/a.py", "nets/deep/b.py"]),
        (["nets/old"], ["nets/a.py", "nets/deep/b.py"]),
        (["old/*"], ["nets/a.py", "nets/deep/b.py"]),
        (["[bc].py"], ["nets/a.py"]),
        (["deep/", "c.py"], ["nets/a.py"]),
        (["A.py"], ["nets/a.py", "nets/deep/b.py", "nets/old/c.py"]),
    ],
)
def test_exclude(terminal, emitted, patterns, left):
    for name in ("nets/a.py", "nets/deep/b.py", "nets/old/c.py"):
        (terminal.folder / name).parent.mkdir(parents=True, exist_ok=True)
        terminal.write(name, emitted)
    words = [word for pattern in patterns for word in ("--exclude", pattern)]
    out = terminal.succeeds(["check", "nets", *words])
    assert [line.split()[1] for line in out.splitlines()] == left


def test_exclude_leaves_nothing(terminal, emitted):
    terminal.write("a.py", emitted)
    assert terminal.fails("check a.py --exclude *.py").startswith("error: --exclude leaves no")
    assert terminal.fails("check . --exclude a.py").startswith("error: there is no Python file")


def test_a_write_that_is_under_way_is_not_checked(terminal, emitted):
    (terminal.folder / ".plainnet-abcd1234.tmp").mkdir()
    terminal.write(".plainnet-abcd1234.tmp/new.py", "half")
    terminal.write("a.py", emitted)
    assert terminal.succeeds("check .") == "clean     a.py\n"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "sparse", "newlines", "numbers"])
def test_a_checked_folder_with_what_has_no_end(terminal, emitted, kind):
    """Within time and memory, whatever stands in the folder."""
    terminal.write("a.py", emitted)
    path = terminal.folder / "x.py"
    footer = emitted[emitted.rindex("\n# Written by") :]
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(20 * 2**30)
    elif kind == "newlines":
        path.write_text("\n" * 1_000_000 + footer)
    else:
        path.write_text("x = [" + "1," * 100_000 + "]" + footer)
    done = terminal(
        "check .",
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30)),
    )
    assert "Traceback" not in done.stderr
    expected = {"sparse": 0, "newlines": 1, "numbers": 1}
    assert done.returncode == expected.get(kind, 2), done.stderr
    assert done.stdout.startswith("clean     a.py\n")
    if kind == "sparse":
        assert "skipped   1 file without provenance" in done.stdout
        assert terminal("check x.py", timeout=60).returncode == 2  # it is named


# --- a folder with a compiler of its own --------------------------------------------------------

ENTRY = "import sys\nfrom plainnet.__main__ import run\nsys.exit(run())\n"  # as pip writes it


@pytest.fixture(params=["module", "package"])
def own(request, terminal) -> Terminal:
    """A repository whose `compiler` is not ours."""
    if request.param == "module":
        terminal.write("compiler.py", "MINE = True\nclass CompileError(Exception): ...\n")
    else:
        (terminal.folder / "compiler").mkdir()
        terminal.write("compiler/__init__.py", "MINE = True\nfrom . import errors\n")
        terminal.write("compiler/errors.py", "MINE = True\n")
    return terminal


@pytest.mark.parametrize("how", ["script", "-m plainnet"])
def test_the_gate_holds_beside_somebody_elses_compiler(own, tmp_path, emitted, how):
    script = tmp_path / "bin" / "plainnet"
    script.parent.mkdir()
    script.write_text(ENTRY)
    command = [str(script)] if how == "script" else how.split()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command, *words],
            cwd=own.folder,
            env=own.environment,
            capture_output=True,
            text=True,
        )

    done = run("emit", "resnet18", "--target", "torch", "-o", "nets/")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("check", "nets/")
    assert (done.returncode, done.stdout) == (0, "clean     nets/resnet18_2d.py\n")
    own.write("nets/a.py", emitted.replace("GROUPS = 32", "GROUPS = 16"))
    assert run("check", "nets/").returncode == 1
    assert run("check", "nowhere/").returncode == 2
    assert run("--version").stdout == f"plainnet {compiler.__version__}\n"


def test_importing_plainnet_leaves_them_their_compiler(own):
    code = (
        "import plainnet, compiler\n"
        "assert compiler.MINE\n"
        "text = plainnet.emit('resnet18', target='torch')\n"
        "assert 'plainnet emit resnet18' in text\n"
        "try:\n    plainnet.emit('resnet19', target='torch')\n"
        "except plainnet.CompileError as error:\n    print(len(error.problems))\n"
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.split('.')[0] == 'compiler':\n"
        "        assert module.MINE, name\n"
    )
    for first in ("", "import compiler\n"):
        done = subprocess.run(
            [sys.executable, "-c", first + code],
            cwd=own.folder,
            env=own.environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_plainnet_is_the_compiler_where_the_name_is_ours():
    import plainnet

    assert plainnet.CompileError is compiler.CompileError
    assert plainnet.emit is compiler.emit
    assert set(plainnet.__all__) == set(compiler.__all__)
    assert plainnet.__version__ == compiler.__version__


def test_importing_plainnet_is_light(environment):
    code = (
        "import sys, plainnet\n"
        "heavy = {'black', 'jinja2', 'click', 'rich', 'asyncio', 'ssl'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_type_checker_sees_the_api(tmp_path):
    (tmp_path / "use.py").write_text(
        "import plainnet\n"
        "text: str = plainnet.emit('resnet18', target='torch')\n"
        "version: str = plainnet.__version__\n"
        "number: int = plainnet.emit('resnet18', target='torch')\n"
        "plainnet.emitt\n"
    )
    root = str(GENERATED.parent)
    done = subprocess.run(
        [*[sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]]
        + ["--cache-dir", str(tmp_path / "cache"), str(tmp_path / "use.py")],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": root},
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stdout.splitlines() if "use.py:" in line]
    assert [line.split(":")[1] for line in errors] == ["4", "5"], done.stdout
    assert (GENERATED.parent / "plainnet" / "py.typed").exists()
    assert (GENERATED.parent / "compiler" / "py.typed").exists()
