"""Random specs: compiled, written again, built, run in both targets; spoilt ones are errors."""

import copy
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import compiler
from compiler.errors import CompileError
from compiler.passes.validate import resolve
from compiler.spec.writing import spec_text

from .random_specs import specs
from .test_fuzz import examples, succeeds_or_is_an_error
from .test_spec_hostile import toml


def write(path, spec):
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in spec.items()))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("random") / "net.toml"


# What hypothesis found before, shrunk.
UNEVEN = {  # 5 filters at half the usual width make 2 channels, which say 25 of 64
    "name": "net",
    "block": "bottleneck",
    "width_per_group": 32,
    "stages": [{"depth": 1, "channels": 20}],
}


@examples(200)
@example(spec=UNEVEN)
@given(spec=specs())
def test_a_valid_spec_compiles_and_is_written_again(spec, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert compiler.describe(write(path, spec))["parameters"]["trainable"] > 0
    model = resolve(path, {})
    path.write_text(spec_text(model))
    assert resolve(path, {}) == model


def pairs(value, path=()):
    """Every value inside of a spec, with its path."""
    items = enumerate(value) if isinstance(value, list) else ()
    for key, each in value.items() if isinstance(value, dict) else items:
        yield (*path, key), each
        yield from pairs(each, (*path, key))


def paths(value):
    return [path for path, _ in pairs(value)]


@examples(100)
@given(spec=specs(), data=st.data())
def test_a_spoilt_spec_is_an_error_at_its_line(spec, data, path):
    where = data.draw(st.sampled_from(paths(spec)))
    zero = [] if where[-1] in ("dropout", "drop_path") else [0]
    bad = data.draw(st.sampled_from([*zero, -1, 2.5, "no such thing", [], {"no": 1}, 10**12]))
    spoilt = copy.deepcopy(spec)
    *outer, last = where
    holder = spoilt
    for part in outer:
        holder = holder[part]
    if data.draw(st.booleans()) and isinstance(last, str):
        holder[f"{last}s_no"] = holder.pop(last)
    else:
        holder[last] = bad
    write(path, spoilt)
    line = list(spoilt).index(where[0]) + 1 if where[0] in spoilt else len(spoilt)
    with pytest.raises(CompileError) as error:
        compiler.describe(path)
    assert any(problem.at.startswith(f"{path}:{line}, ") for problem in error.value.problems)


VALUES = st.integers(0, 9) | st.booleans() | st.lists(st.integers(0, 9), max_size=4) | st.floats()


@examples(100)
@given(spec=specs(), other=specs(), data=st.data())
def test_a_changed_spec_compiles_or_is_an_error(spec, other, data, path):
    """Changed in one place: left out, another value, or what another network has there."""
    where = data.draw(st.sampled_from(paths(spec)))
    changed = copy.deepcopy(spec)
    *outer, last = where
    place = changed
    for part in outer:
        place = place[part]
    how = data.draw(st.sampled_from(["out", "value", "other"]))
    if how == "out":
        del place[last]
    else:
        place[last] = dict(pairs(other)).get(where) if how == "other" else data.draw(VALUES)
    write(path, changed)
    for target in ("torch", "keras"):
        succeeds_or_is_an_error(compiler.describe, path, target=target)
