"""The lines of a spec's keys, compared with what tomllib reads from the same text."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from compiler.spec.positions import DEEPEST, positions, spelled

from .test_fuzz import examples

KEYS = st.sampled_from(["a", "b-1", "c_2", '"d"', "'e f'", '"g.h"', '"\\u00e9\\""', "3"])
BREAKS = st.sampled_from(["", " ", "\n", " # note ] } = \n", "\n\n\t"])


class Writer:
    """Writes random TOML. Every scalar holds a number of its own, which tells its line."""

    def __init__(self, draw):
        self.draw, self.count = draw, 0

    def one(self, *choices):
        return self.draw(st.sampled_from(choices))

    def scalar(self):
        self.count += 1
        token = f"90{self.count}09"
        form = (
            '{}|"{} # = ]"|\'{} [\'|"""{} \n\n \\" ""{}"""|\'\'\'{}\n\' ]\'\'\'|{}.5|[]|{{}}|true'
        )
        return self.one(*form.split("|")).replace("{}", token, 1).replace("{}", "")

    def value(self, depth):
        kind = self.one("scalar", "scalar", "array", "inline") if depth else "scalar"
        if kind == "scalar":
            return self.scalar()
        if kind == "array":
            items = [self.draw(BREAKS) + self.value(depth - 1) for _ in range(self.one(0, 1, 3))]
            comma = self.one("", ",") if items else ""
            return f"[{','.join(items)}{self.draw(BREAKS)}{comma}{self.draw(BREAKS)}]"
        pairs = [self.pair(depth - 1, f"k{i}") for i in range(self.one(0, 1, 2))]
        return "{ " + ", ".join(pairs) + " }"

    def pair(self, depth, own):
        key = self.one("", "dotted . ", '"q" .') + own
        return f"{key} {self.one('=', ' = ')}{self.value(depth)}"

    def text(self):
        lines = [self.pair(2, f"top{i}") for i in range(self.one(0, 1, 2))]
        for i in range(self.one(0, 1, 3)):
            name = f"t{self.one(0, 1)} . {self.draw(KEYS)}"
            lines.append(self.one(f"[[ {name} ]]", f"[[{name}]] # ]", f"[ {name}.u{i} ]"))
            lines += [self.pair(1, f"k{j}") for j in range(self.one(0, 1, 2))]
        gaps = [self.one("\n", "\n\n", " # x = [\n", "\r\n") for _ in lines]
        return "".join(line + gap for line, gap in zip(lines, gaps))


@st.composite
def tomls(draw):
    return Writer(draw).text()


def paths(value, path=()):
    """Every path of the values that tomllib has read, with the value."""
    items = enumerate(value) if isinstance(value, list) else ()
    for key, each in value.items() if isinstance(value, dict) else items:
        yield (*path, key), each
        yield from paths(each, (*path, key))


def read(text):
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


def agree(text, data):
    found = positions(text.replace("\r\n", "\n"))
    known = {path: value for path, value in paths(data) if len(path) <= DEEPEST}
    assert found.keys() == known.keys()
    return found, known


@examples(300)
@given(tomls())
def test_paths_and_lines_are_those_of_tomllib(text):
    data = read(text)
    if data is None:  # a table that is defined twice
        return
    for path, value in (both := agree(text, data))[1].items():
        token = "".join(filter(str.isdecimal, str(value).split(".")[0]))
        if token and not isinstance(value, dict | list):
            line = text.count("\n", 0, text.index(token)) + 1
            assert both[0][path] == line, path


@examples(300)
@given(
    tomls(), st.lists(st.tuples(st.integers(0, 400), st.text("ab.='\"[]{}#\n,\\ 0", max_size=2)))
)
def test_what_tomllib_reads_has_positions(text, edits):
    for at, new in edits[:3]:
        text = text[:at] + new + text[at + 1 :]
    data = read(text)
    if data is not None:
        agree(text, data)


def test_deep_paths_cost_nothing():
    text = ".".join(["a"] * 20000) + " = 1"
    assert len(positions(text)) == DEEPEST
    assert spelled(("stages", 0, "width")) == "stages[0].width"
    assert spelled(("a b", "c")) == "'a b'.c"
