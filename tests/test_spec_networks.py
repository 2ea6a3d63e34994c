"""Random specs as networks: built without memory, and run, in both targets.

The networks are the same in every run. With `full`, hypothesis draws others and shrinks them.
"""

import ast
import json
import warnings

import keras
import pytest
import torch
from hypothesis import given

from compiler.api import traced
from compiler.emitter import as_it_can, source
from compiler.errors import CompileError
from compiler.model import NORMS
from compiler.passes.validate import resolve
from compiler.spec.definition import Head, Segmentor, Spec, SqueezeExcite, Stage, Stem
from compiler.verify.compare import verify
from compiler.verify.settings import Settings

from .harness import constructor, keras_shapes, ledger_shapes, torch_shapes, without_layout
from .random_specs import BLOCKS, HEADS, KINDS, sample
from .random_specs import specs as drawn
from .test_fuzz import examples
from .test_spec_random import write

BUILT = [(*kind, turn) for turn in range(4) for kind in KINDS][:200]
# Each head on each block, in both ranks; each block in both ranks.
HALF = [kind for kind in KINDS if (HEADS.index(kind[0]) + kind[1] + BLOCKS.index(kind[2])) % 2 == 0]
RUN = [(*kind, 0) for kind in HALF] + [(*kind, 1) for kind in HALF[::4]]
REST = [(*kind, 0) for kind in KINDS if kind not in HALF]
# The smallest at which no norm of the network sees too few values for a comparison.
SIZES = {2: ((17, 24), (33, 40), (64, 72)), 3: ((9, 16, 10), (17, 24, 18), (33, 32, 40))}
EVEN = {2: ((16, 24), (32, 40), (64, 72)), 3: ((12, 16, 12), (20, 24, 16), (32, 32, 40))}
# In float32; in float64 it is 1e-6. Of values that are nearly equal, as after a sigmoid, the group
# norm of Keras has few digits: its variance is E[x^2] - E[x]^2.
SINGLE = 1e-3


@pytest.fixture(scope="module", autouse=True)
def fast():
    with without_layout():
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("networks") / "net.toml"


def built(path):
    """The network of a spec in both targets, without memory: its weights are the ledger's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = resolve(path, {})
    ledger = traced(model)[1]
    made = {}
    for target in ("torch", "keras"):
        text = source(as_it_can(model, target), target)
        with torch.device("meta"), keras.device("meta"):
            made[target] = constructor(text)()
    wanted = ledger_shapes(ledger)
    assert list(torch_shapes(made["torch"]).items()) == list(wanted.items())
    assert keras_shapes(made["keras"], ledger) == wanted
    assert len(made["keras"].weights) == len(wanted)


def agreed(path, spec):
    """The network of a spec in both targets: equal outputs, gradients, and steps of training."""
    sizes = (EVEN if spec.get("dialect") == "cadene" else SIZES)[spec["dims"]]
    for size in sizes:
        shape = (*size, spec["input_shape"][-1])
        try:
            model = resolve(path, {"input_shape": shape, "channels_last": True})
            report = verify(model, Settings(tolerance=SINGLE))
        except CompileError as error:
            assert size != sizes[-1], error
            continue
        assert report.passed, (report.error or report.why, spec)
        return


@pytest.mark.parametrize("head", HEADS)
def test_weights_are_the_ledgers_in_both_targets(head, path):
    for kind in BUILT:
        if kind[0] == head:
            built(write(path, sample(*kind)))


@pytest.mark.parametrize(
    "kinds",
    [
        *([kind for kind in RUN if kind[0] == head] for head in HEADS),
        *(
            pytest.param([kind for kind in REST if kind[0] == head], marks=pytest.mark.full)
            for head in HEADS
        ),
    ],
    ids=lambda kinds: kinds[0][0],
)
def test_outputs_and_gradients_agree(kinds, path):
    for kind in kinds:
        spec = sample(*kind)
        agreed(write(path, spec), spec)


@pytest.mark.full
@examples(2000)
@given(spec=drawn())
def test_drawn_networks_compile(spec, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = resolve(write(path, spec), {})
    for target in ("torch", "keras"):
        ast.parse(source(as_it_can(model, target), target))


@pytest.mark.full
@examples(200)
@given(spec=drawn())
def test_weights_of_drawn_networks_are_the_ledgers(spec, path):
    built(write(path, spec))


@pytest.mark.full
@examples(60)
@given(spec=drawn())
def test_drawn_networks_agree(spec, path):
    agreed(write(path, spec), spec)


def keys(value, path=()):
    """The keys of a spec, dotted, with their values."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from keys(each, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for each in value:
            yield from keys(each, path)
    else:
        yield ".".join(path), value


def test_the_networks_are_of_every_kind():
    run, built = ([sample(*kind) for kind in kinds] for kinds in (RUN, BUILT))
    assert len(RUN) >= 40
    assert len({json.dumps(spec, sort_keys=True) for spec in built}) >= 200
    tables = {"stages": Stage, "stem": Stem, "se": SqueezeExcite, "head": Head}
    tables["segmentor"] = Segmentor
    known = set(Spec.__struct_fields__) - tables.keys()
    known |= {f"{name}.{key}" for name, table in tables.items() for key in table.__struct_fields__}
    known -= {"deploy", "fuse"}  # which `test_deploy.py` compares with the network of training
    known -= {"unit", "segmentor.decoder_convs", "segmentor.lower_heads"}  # nnU-Net's alone
    for specs in (run, built):
        said = [pair for spec in specs for pair in keys(spec)]
        assert {key for key, _ in said} - {"se"} == known
        for key in ("stages.kernel", "stages.stride", "stem.stride", "stem.pool"):
            assert {type(value) for found, value in said if found == key} == {int, list}
        values = {key: {str(value) for found, value in said if found == key} for key in known}
        assert values["norm"] == {*NORMS}
        assert values["segmentor.decoder_normalization"] == {*NORMS, "none"}
        assert values["segmentor.encoder_depth"] == {"3", "4", "5"}
        for key, count in {
            "dialect": 4,
            "init": 2,
            "se.position": 2,
            "head.activation": 3,
            "head.pooling": 2,
            "segmentor.decoder_block": 2,
        }.items():
            assert len(values[key]) == count, key
    assert len(values["activation"]) == len(values["se.activation"]) == 9
    assert len(values["segmentor.decoder_activation"]) == 9
    heads = {kind[0] for kind in RUN}
    assert heads == {*HEADS}
    assert {kind[:2] for kind in RUN} == {kind[:2] for kind in KINDS}
    assert {kind[1:3] for kind in RUN} == {kind[1:3] for kind in KINDS}
    assert {kind[::2] for kind in HALF} == {kind[::2] for kind in KINDS}
