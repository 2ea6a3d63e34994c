"""The tests themselves: their map is whole, and none of them is skipped unseen."""

import ast
import re
from pathlib import Path

import pytest

from .sampling import by_kind, half_of

ROOT = Path(__file__).parents[1]
FILES = {path.name: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
SKIPS = re.compile(r"pytest\.(?:importorskip|skip)\(|mark\.(?:skip|xfail)")
LIBRARY = re.compile(r"^\w+ = pytest\.importorskip\(\s*\"(?:medicai|monai|nnunetv2)", re.MULTILINE)


def _of_the_oracle():
    """Those that the second step of `.ci/run` runs."""
    (command,) = re.findall(r"python -m pytest -n 2 (tests/.*)", (ROOT / ".ci/run").read_text())
    return {word.removeprefix("tests/") for word in command.split()}


def test_the_map_is_whole():
    rows = re.findall(r"^\| `(test_\w+\.py)` \| .+ \|$", _map(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == FILES.keys()


def _map():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.partition("\n## What is tested where\n")[2].partition("\n## ")[0]


def test_what_needs_the_reference_is_run_with_it():
    """A file of the first step that imported one of these would be skipped as a whole."""
    needing = {name for name, text in FILES.items() if LIBRARY.search(text)}
    assert needing == _of_the_oracle()
    modules = {name.removesuffix(".py") for name in needing}
    for name in FILES.keys() - needing:
        for node in ast.walk(ast.parse(FILES[name])):
            if isinstance(node, ast.ImportFrom):
                parts = {*(node.module or "").split("."), *(alias.name for alias in node.names)}
                assert not parts & modules, f"{name} is skipped with {parts & modules}"


def test_nothing_else_is_skipped():
    """But what a system cannot do."""
    own = Path(__file__).name
    found = {name for name in FILES.keys() - _of_the_oracle() - {own} if SKIPS.search(FILES[name])}
    assert found == {"test_escapes.py"}
    assert 'skipif(sys.platform == "win32"' in FILES["test_escapes.py"]


def _kept(cases):
    return [case.values for case in cases if pytest.mark.full not in case.marks]


def test_samples_hold_every_value_and_every_kind():
    pairs = _kept(half_of("abc", "xy"))
    assert {a for a, _ in pairs} == set("abc") and {b for _, b in pairs} == set("xy")
    three = _kept(half_of("ab", "xy", (2, 3)))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert len({(case[first], case[second]) for case in three}) == 4
    numbers = _kept(by_kind(range(10), lambda n: n % 3))
    assert numbers == [(0,), (1,), (2,)]
