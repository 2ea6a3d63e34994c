"""nnU-Net's recorded networks: their architectures, weights by name, and outputs."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
import torch

from compiler.nnunet.architecture import Architecture
from compiler.nnunet.documents import Table
from compiler.nnunet.network import model_of
from compiler.nnunet.plans import Configuration, architecture
from compiler.passes.specialize import specialize
from compiler.passes.trace import trace
from compiler.verify import parity
from compiler.verify.doubles import floating
from compiler.weights.layouts import LAYOUTS, name_there
from compiler.weights.naming import places_of

from .harness import constructor

ORACLE = Path(__file__).parent / "oracle/nnunet"
RECORDED = json.loads((ORACLE / "fixtures.json").read_text())
NETWORKS = RECORDED["networks"] | RECORDED["extras"]
(LAYOUT,) = (layout for layout in LAYOUTS if layout.name == "nnunet")


@cache
def recorded(name: str) -> Architecture:
    """The architecture of a recorded network."""
    fixture = NETWORKS[name]
    table = {"architecture": fixture["architecture"], "patch_size": fixture["input_shape"][2:]}
    found = Configuration("2d", Table(table, "plans.json"))
    made = architecture(found, fixture["input_channels"], fixture["num_classes"])
    ratio = fixture.get("squeeze_excitation_reduction_ratio")  # which no plans file has
    return replace(made, se_ratio=round(1 / ratio)) if ratio else made


def made(name: str, **options):
    """The model of a recorded network, for images of its size."""
    return model_of(recorded(name), tuple(NETWORKS[name]["input_shape"][2:]), **options)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor that the recipe of `tests/oracle/README.md` makes of a name."""
    g = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var") or (len(shape) == 1 and not name.endswith(("mean", "bias"))):
        return g.uniform(0.5, 1.5, shape).astype(np.float32)
    value = g.standard_normal(shape)
    small = name.endswith(("running_mean", "bias"))
    return (0.1 * value if small else value / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def names(model) -> dict[str, tuple[str, tuple[int, ...]]]:
    """nnU-Net's first name of each weight, with our name and its shape."""
    return {
        f"{name_there(LAYOUT, model, place.row)}.{place.weight}": (place.name, place.shape)
        for place in places_of(model)
    }


def values(model) -> dict[str, np.ndarray]:
    """The weights of the recipe, by our names."""
    return {ours: weight(theirs, shape) for theirs, (ours, shape) in names(model).items()}


def torch_outputs(text: str, model, x: np.ndarray) -> list[np.ndarray]:
    """The outputs of a file in float64, full resolution first, without statistics or dropout."""
    network = constructor(text)().double()
    state = {name: torch.from_numpy(value) for name, value in values(model).items()}
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    for module in network.modules():
        module.training = module is network  # which asks for the list
    with torch.no_grad():
        outputs = network(torch.from_numpy(x).double())
        single = network.eval()(torch.from_numpy(x).double())
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert torch.equal(outputs[0], single)
    return [output.numpy() for output in outputs]


def keras_outputs(text: str, model, x: np.ndarray) -> list[np.ndarray]:
    """The same of a Keras file."""
    with floating("float64"):
        network = constructor(text)()
        whole = getattr(network, "training_model", network)
        parity.assign_to_keras(whole, trace(specialize(model)), values(model))
        image = np.moveaxis(x, 1, -1).astype("float64")
        outputs = whole(image, training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        arrays = [keras.ops.convert_to_numpy(y) for y in (*outputs, network(image))]
    *arrays, single = (np.moveaxis(array, -1, 1) for array in arrays)
    assert np.array_equal(arrays[0], single)
    return arrays


def image_of(name: str) -> np.ndarray:
    """The input of the recorded run."""
    shape = NETWORKS[name]["input_shape"]
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def worst(outputs: list[np.ndarray], name: str) -> float:
    """The largest difference from what was recorded of a network."""
    return worst_of(outputs, NETWORKS[name]["outputs"])


def worst_of(outputs: list[np.ndarray], wanted: list[dict]) -> float:
    """The largest difference from what was recorded; infinite where a shape is another."""
    if [list(output.shape) for output in outputs] != [each["shape"] for each in wanted]:
        return float("inf")
    found = 0.0
    for output, each in zip(outputs, wanted, strict=True):
        flat = output.reshape(-1)
        strided = flat[np.linspace(0, flat.size - 1, 32).astype(np.int64)]
        pairs = (flat[:32], each["first_32"]), (strided, each["strided_32"])
        found = max(found, *(float(np.abs(a - np.array(b)).max()) for a, b in pairs))
    return found


def digest(keys: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def named(model, state) -> dict[str, str]:
    """Every name that nnU-Net has for the tensors of our state dict, and ours."""
    there = {}
    for place in places_of(model):
        there[place.path] = name_there(LAYOUT, model, place.row)
    table = {}
    for name in state:
        path, _, weight_name = name.rpartition(".")
        for each in LAYOUT.names(model, f"{there[path]}.{weight_name}"):
            table[each] = name
    return table
