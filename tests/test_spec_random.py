"""Random specs: a valid one compiles and is written again as it is, a spoilt one is an error."""

import copy
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compiler
from compiler.errors import CompileError
from compiler.operations import ACTIVATIONS
from compiler.passes.validate import resolve
from compiler.spec.writing import spec_text

from .test_fuzz import examples
from .test_spec_hostile import toml


@st.composite
def specs(draw):
    """A small valid network, over all fields of a spec."""

    def one(*choices):
        return draw(st.sampled_from(choices))

    dims = one(2, 3)

    def axes(*numbers):
        return one(*numbers, [one(*numbers) for _ in range(dims)])

    block = one("basic", "bottleneck", "basic_vd", "bottleneck_vd")
    basic = block.startswith("basic")
    groups = 1 if basic else one(1, 2, 4)
    count = one(2, 3, 4)
    stages = []
    for i in range(count):
        channels = one(8, 12, 16) if basic else one(8, 10, 20, 32)
        stage = {"depth": one(1, 2), "channels": channels}
        if not basic:
            stage["width"] = groups * one(1, 2, 3)
        if one(True, False):
            stage["kernel"] = axes(1, 3, 5)
        stages.append(stage | ({"stride": axes(1, 2)} if i and one(True, False) else {}))
    spec = {
        "name": one("net", "my_net", "x1"),
        "dims": dims,
        "input_shape": [one(33, 40, 64) for _ in range(dims)] + [one(1, 3)],
        "block": block,
        "pre_activation": one(True, False),
        "norm": one("batch", "instance", "group", "layer"),
        "activation": one(*ACTIVATIONS),
        "stages": stages,
        "stem": {"filters": [8, 4], "kernels": [axes(3, 5), axes(1, 3)], "pool": axes(1, 2)},
    }
    if not basic:
        spec["groups"] = groups
    if one(True, False):
        spec["se"] = {
            "ratio": one(1, 4, 8),
            "activation": one(*ACTIVATIONS),
            "position": one(
                "before_norm", "before_norm" if spec["pre_activation"] else "after_norm"
            ),
            "divisor": one(1, 4, 8),
        }
    head = one("classes", "features", "unet", "unet_plus_plus", "attention_unet", "linknet", "fpn")
    if head == "features":
        spec["head"] = {"features_only": True} | one({}, {"pooling": "max"})
        return spec
    spec["head"] = {"num_classes": one(2, 5), "activation": one("none", "softmax", "sigmoid")}
    if head != "classes":
        spec["segmentor"] = {"name": head, "encoder_depth": count + 1}
    if "unet" in head:
        spec["segmentor"] |= {
            "decoder_filters": [4, 6, 8, 10, 12],
            "decoder_normalization": one("batch", "instance", "group", "layer", "none"),
            "decoder_block": one("upsampling", "transpose"),
        }
    return spec


def write(path, spec):
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in spec.items()))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("random") / "net.toml"


@examples(60)
@given(spec=specs())
def test_a_valid_spec_compiles_and_is_written_again(spec, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert compiler.describe(write(path, spec))["parameters"]["trainable"] > 0
    model = resolve(path, {})
    path.write_text(spec_text(model))
    assert resolve(path, {}) == model


def paths(value, path=()):
    items = enumerate(value) if isinstance(value, list) else ()
    for key, each in value.items() if isinstance(value, dict) else items:
        yield (*path, key)
        yield from paths(each, (*path, key))


@examples(60)
@given(spec=specs(), data=st.data())
def test_a_spoilt_spec_is_an_error_at_its_line(spec, data, path):
    where = data.draw(st.sampled_from(list(paths(spec))))
    bad = data.draw(st.sampled_from([0, -1, 2.5, "no such thing", [], {"no": 1}, 10**12]))
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
