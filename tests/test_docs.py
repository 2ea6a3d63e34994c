"""The documentation: its commands exist, its Python runs, its links lead somewhere."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

import compiler
from compiler.commands.cli import cli, main
from compiler.provenance import read
from compiler.vendoring.request import model_of
from compiler.weights.layouts import validate_layout

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CHECKPOINT = ROOT / "tests/oracle/nnunet/tiny_checkpoint/checkpoint_final.pth"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def _commands() -> list[list[str]]:
    """The words of every `plainnet ...` in the shell examples and in running text."""
    found = []
    for page in PAGES:
        text = page.read_text()
        lines = "\n".join(_blocks(page, "sh")).replace("\\\n", " ").splitlines()
        lines += re.findall(r"`((?:plainnet|python -m compiler) [^`]*)`", " ".join(text.split()))
        for line in lines:
            for part in line.split("&&"):
                words = shlex.split(part.replace("\\|", "|"), comments=True)
                if words[:3] == ["python", "-m", "compiler"]:
                    words = ["plainnet", *words[3:]]
                words = words[: words.index(">")] if ">" in words else words
                if words[:1] == ["plainnet"] and "..." not in words and len(words) > 1:
                    found.append(words[1:])
    return found


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_commands_parse(words):
    """Every command and option is there. Nothing is run."""
    name, *rest = words
    command = cli.get_command(None, name)
    try:
        command.make_context(name, rest, resilient_parsing=False)
    except click.MissingParameter:
        assert not rest  # a command named in passing, without its arguments


@pages
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


@pages
def test_what_a_page_emits_takes_the_checkpoint_that_it_converts(page, tmp_path, monkeypatch):
    """A checkpoint of another dialect would be rejected."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fold_0").mkdir()
    shutil.copy(CHECKPOINT, tmp_path / "fold_0")
    for block in _blocks(page, "sh"):
        commands = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
        for words in commands:
            if "--layout" in words:
                for other in commands:
                    if other[1] == "emit":
                        assert main(other[1:]) == 0
                provenance = read(Path(words[words.index("--model") + 1]).read_text())
                model, _ = model_of(provenance)
                assert not validate_layout(words[words.index("--layout") + 1], model)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


def test_the_readme_shows_what_comes_out():
    """The excerpt is the emitted file's: its docstring, and the lines that run a block."""
    (excerpt,) = (block for block in _blocks(ROOT / "README.md", "python") if "..." in block[400:])
    text = compiler.emit("seresnext50", target="torch", dims=3)
    for part in excerpt.split("\n...\n"):
        assert part.strip("\n") in text
    said = re.search(r"in (\d+) lines", (ROOT / "README.md").read_text())
    assert said and int(said[1]) == len(text.splitlines())


def test_the_api_examples_run(tmp_path, monkeypatch):
    """Those of the compiler itself; the ones that need a framework are run in test_export."""
    import plainnet

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").write_text('extends = "resnet18"')
    names = {}
    for page in ("docs/anisotropic.md", "README.md", "docs/python.md"):
        for block in _blocks(ROOT / page, "python"):
            if "plainnet." in block:
                exec(block, names)
                for line in block.splitlines():
                    expression, mark, value = line.partition("  # ")
                    if mark and expression.startswith("facts["):
                        assert eval(expression, names) == eval(value), line
    assert names["source"] == plainnet.emit(names["encoder"], target="keras", dims=3)
