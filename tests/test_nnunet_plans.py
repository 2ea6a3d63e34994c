"""nnU-Net: what plans, checkpoints and the planner's rules describe, and what is refused."""

import contextlib
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import CompileError
from compiler.nnunet.architecture import Architecture
from compiler.nnunet.asked import Asked, asked
from compiler.nnunet.checkpoint import read_checkpoint
from compiler.nnunet.dataset import channels, labels
from compiler.nnunet.documents import Table, read_json
from compiler.nnunet.planner import planned, topology
from compiler.nnunet.plans import architecture, configuration
from compiler.nnunet.sources import Channels, describe
from compiler.nnunet.trainers import doubt
from compiler.weights.archives import read_records
from compiler.weights.formats import open_checkpoint
from compiler.weights.stored import entries, tensors

ORACLE = Path(__file__).parent / "oracle/nnunet"
PRESETS = json.loads((ORACLE / "presets.json").read_text())
FACTS = json.loads((ORACLE / "plans_examples/facts.json").read_text())
FIXTURES = json.loads((ORACLE / "fixtures.json").read_text())
FIXTURES = FIXTURES["networks"] | FIXTURES["extras"]

PLAIN = Architecture(
    *("plain", 2, 1, 2),
    features=(4, 8),
    kernels=((3, 3), (3, 3)),
    strides=((1, 1), (2, 2)),
    blocks=(2, 2),
    decoder_convs=(2,),
)
RESENC = replace(PLAIN, network="resenc", stem_channels=4)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"network": "primus"}, "network", "network is 'primus'"),
        ({"dims": True}, "dims", "dims is True"),
        ({"in_channels": 10**400}, "in_channels", "more than 20 digits"),
        ({"num_classes": 0}, "num_classes", "num_classes is 0"),
        ({"features": (4,) * 10**6}, "features", "1,000,000 stages"),
        ({"features": [4, 8]}, "features", "0 stages"),
        ({"features": (4, "8")}, "features[1]", "features[1] is '8'"),
        ({"blocks": (2,)}, "blocks", "blocks has 1 entry"),
        ({"blocks": (999, 1000), "decoder_convs": (2,)}, "blocks", "2,001"),
        ({"decoder_convs": (2, 2)}, "decoder_convs", "decoder_convs has 2 entries"),
        ({"strides": ((1, 1), (0, 2))}, "strides[1]", "strides[1] is 0"),
        ({"strides": ((1, 1), (2, 10**9))}, "strides[1]", "strides[1] is 1000000000"),
        ({"strides": ((1, 1), (2, 2, 2))}, "strides[1]", "strides[1] is (2, 2, 2)"),
        ({"strides": ((2, 2), (2, 2))}, "strides[0]", "strides[0] is (2, 2)"),
        ({"kernels": ((3, 3), (2, 3))}, "kernels[1]", "kernels[1] is (2, 3)"),
        ({"norm": "group"}, "norm", "norm is 'group'"),
        ({"norm_eps": float("nan")}, "norm_eps", "norm_eps is nan"),
        ({"norm_eps": 10**400}, "norm_eps", "norm_eps is"),
        ({"dropout": 1.0}, "dropout", "dropout is 1.0"),
        ({"slope": -0.1}, "slope", "slope is -0.1"),
        ({"activation": "relu"}, "slope", "slope is 0.01"),
        ({"conv_bias": 1}, "conv_bias", "conv_bias is 1"),
        ({"stem_channels": 4}, "stem_channels", "stem_channels is 4"),
        ({"network": "resenc"}, "stem_channels", "stem_channels is None"),
    ],
)
def test_an_architecture_is_checked_whoever_makes_it(changes, field, message):
    with pytest.raises(CompileError) as caught:
        replace(PLAIN, **changes)
    (problem,) = caught.value.problems
    assert problem.field == field and message in problem.message and problem.hint


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"nonlin_first": True}, "nonlin_first"),
        ({"block": "bottleneck"}, "bottleneck_channels"),
        ({"bottleneck_channels": (2, 2)}, "bottleneck_channels"),
        ({"se_ratio": -1}, "se_ratio"),
    ],
)
def test_a_residual_encoder_has_fields_of_its_own(changes, field):
    with pytest.raises(CompileError) as caught:
        replace(RESENC, **changes)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_strides_multiply_to_at_most_an_axis():
    stages = 9
    deep = {
        "features": (4,) * stages,
        "kernels": ((3, 3),) * stages,
        "blocks": (1,) * stages,
        "decoder_convs": (1,) * (stages - 1),
    }
    assert replace(PLAIN, **deep, strides=((1, 1), *((2, 4),) * 8)).divisors == (256, 65536)
    with pytest.raises(CompileError, match="product of the strides"):
        replace(PLAIN, **deep, strides=((1, 1), *((2, 8),) * 8))


# -- plans -----------------------------------------------------------------------------------------


def read(name, configuration_name, trainer=""):
    """Channels, classes and the architecture of a configuration of one of the examples."""
    plans = read_json(ORACLE / f"plans_examples/{name}.plans.json")
    dataset = read_json(ORACLE / f"plans_examples/{name}.dataset.json")
    found = configuration(plans, configuration_name)
    classes, foreground = labels(dataset)
    entering = channels(dataset) + foreground * found.is_cascade
    return found, architecture(found, entering, classes, trainer)


def of_fixture(fixture, key="architecture"):
    """The architecture of a fixture, in its new form or its old one."""
    own = {"patch_size": fixture["input_shape"][2:]}
    own |= {key: fixture[key]} if key == "architecture" else fixture[key]
    found = configuration(Table({"configurations": {"2d": own}}, "plans.json"), None)
    return architecture(found, fixture["input_channels"], fixture["num_classes"])


@pytest.mark.parametrize("case", sorted(FACTS))
def test_plans_are_read_as_nnunet_reads_them(case):
    fact = FACTS[case]
    found, made = read(*case.split("/"))
    assert (made.in_channels, made.num_classes) == (fact["input_channels"], fact["num_classes"])
    assert list(found.patch_size) == fact["output"][2:]
    assert made.dims == len(found.patch_size)


def test_a_configuration_inherits():
    assert read("thick_slices_resenc_m", "3d_fullres_bs4")[1:] == (
        read("thick_slices_resenc_m", "3d_fullres")[1:]
    )
    full, cascade = (
        read("isotropic_plain_old_form", name)[1] for name in ("3d_fullres", "3d_cascade_fullres")
    )
    assert replace(full, in_channels=3) == cascade


def test_own_keys_stand_over_inherited_ones_as_a_whole():
    """A child's architecture replaces that of its parent, arguments and all."""
    first, second = (FIXTURES[name]["architecture"] for name in ("plain_2d", "se_encoder_2d"))
    there = {
        "a": {"patch_size": [64, 48], "architecture": first},
        "b": {"inherits_from": "a", "architecture": second},
        "c": {"inherits_from": "b", "patch_size": [32, 32]},
    }
    plans = Table({"configurations": there}, "plans.json")
    found = configuration(plans, "c")
    assert found.patch_size == (32, 32)
    assert architecture(found, 2, 3) == of_fixture(FIXTURES["se_encoder_2d"])


@pytest.mark.parametrize("name", sorted(FIXTURES))
def test_each_fixture_is_an_architecture(name):
    fixture = FIXTURES[name]
    given, made = fixture["architecture"]["arch_kwargs"], of_fixture(fixture)
    assert made.network == ("resenc" if "n_blocks_per_stage" in given else "plain")
    assert made.features == tuple(given["features_per_stage"])
    assert [list(kernel) for kernel in made.kernels] == given["kernel_sizes"]
    assert [list(stride) for stride in made.strides] == given["strides"]
    blocks = given.get("n_blocks_per_stage") or given["n_conv_per_stage"]
    assert (list(made.blocks), list(made.decoder_convs)) == (
        *(blocks, given["n_conv_per_stage_decoder"]),
    )
    assert made.norm == ("batch" if "BatchNorm" in given["norm_op"] else "instance")


def test_what_only_some_fixtures_have():
    odd = of_fixture(FIXTURES["resenc_2d_bottleneck"])
    assert (odd.block, odd.stem_channels, odd.bottleneck_channels) == (
        *("bottleneck", 6, (4, 6, 8, 10)),
    )
    norms = of_fixture(FIXTURES["plain_3d_bn"])
    assert (norms.dropout, norms.activation, norms.slope, norms.conv_bias) == (
        *(0.2, "relu", 0.0, False),
    )
    first = of_fixture(FIXTURES["plain_2d_nonlin_first"])
    assert (first.nonlin_first, first.slope) == (True, 0.1)


@pytest.mark.parametrize("name", [n for n in FIXTURES if "old_configuration" in FIXTURES[n]])
def test_old_plans_are_the_same_architecture(name):
    assert of_fixture(FIXTURES[name], "old_configuration") == of_fixture(FIXTURES[name])


def test_old_plans_of_a_residual_encoder_count_its_blocks():
    fixture = FIXTURES["plain_3d_aniso"]
    new, old = json.loads(json.dumps([fixture["architecture"], fixture["old_configuration"]]))
    new["network_class_name"] = new["network_class_name"].replace("PlainConv", "ResidualEncoder")
    new["arch_kwargs"]["n_blocks_per_stage"] = new["arch_kwargs"].pop("n_conv_per_stage")
    old["UNet_class_name"] = "ResidualEncoderUNet"
    fixture = fixture | {"architecture": new, "old_configuration": old}
    assert of_fixture(fixture, "old_configuration") == of_fixture(fixture)


def test_the_trainer_with_batch_norm_is_honoured():
    usual = read("thick_slices_resenc_m", "2d")[1]
    batch = read("thick_slices_resenc_m", "2d", trainer="nnUNetTrainerBN")[1]
    assert batch == replace(usual, norm="batch")


def test_numbers_stand_for_lists():
    """One number for all stages, and one for all axes of a stage; defaults of the classes."""
    kwargs = {
        "n_stages": 3,
        "features_per_stage": 8,
        "conv_op": "torch.nn.Conv2d",
        "kernel_sizes": 3,
        "strides": [1, [2, 1], 2],
        "n_blocks_per_stage": 2,
        "n_conv_per_stage_decoder": 1,
        "norm_op": "torch.nn.BatchNorm2d",
        "nonlin": "torch.nn.SiLU",
        "deep_supervision": True,
    }
    made = of_kwargs(kwargs, "ResidualEncoderUNet")
    assert made == Architecture(
        *("resenc", 2, 1, 2),
        features=(8, 8, 8),
        kernels=((3, 3),) * 3,
        strides=((1, 1), (2, 1), (2, 2)),
        blocks=(2, 2, 2),
        decoder_convs=(1, 1),
        conv_bias=False,
        norm="batch",
        activation="silu",
        slope=0.0,
        stem_channels=8,
    )
    with pytest.raises(CompileError, match="affine is False"):  # unless it says otherwise
        of_kwargs(kwargs | {"norm_op": "torch.nn.InstanceNorm2d"}, "ResidualEncoderUNet")


def of_kwargs(kwargs, network="PlainConvUNet"):
    listed = ["conv_op", "norm_op", "nonlin", *(["block"] if "block" in kwargs else [])]
    fixture = {
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
            "arch_kwargs": kwargs,
            "_kw_requires_import": [*listed, *(["dropout_op"] if "dropout_op" in kwargs else [])],
        },
        "input_shape": [1, 1, 16, 16],
        "input_channels": 1,
        "num_classes": 2,
    }
    return of_fixture(fixture)


SMALL = FIXTURES["plain_2d_nonlin_first"]["architecture"]["arch_kwargs"]
BRAIN = "fran.networks.Brain"


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"se_ratio": 16}, "'se_ratio'", "unknown argument 'se_ratio'"),
        ({"squeeze_excitation": True}, "'squeeze_excitation'", "unknown argument"),
        ({"stem_channels": 8}, "'stem_channels'", "unknown argument"),
        ({"n_stages": 10**6}, "n_stages", "n_stages is 1000000"),
        ({"n_stages": "3"}, "n_stages", "n_stages is '3'"),
        ({"n_stages": 4}, "features_per_stage", "has 3 entries, but n_stages is 4"),
        ({"features_per_stage": [4, "8", 8]}, "features_per_stage[1]", "[1] is '8'"),
        ({"strides": [[1, 1], [0, 2], [2, 2]]}, "strides[1]", "strides[1] is 0"),
        ({"strides": [[1, 1], [2, 2], [2, 10**9]]}, "strides[2]", "is 1000000000"),
        ({"strides": "122"}, "strides", "strides is '122'"),
        ({"strides": [[1, 1], [2, 2]]}, "strides", "strides has 2 entries"),
        ({"strides": None}, "strides", "strides is None"),
        ({"kernel_sizes": [[3, 3], [3, 3], [3, 4]]}, "kernel_sizes[2]", "is (3, 4)"),
        ({"kernel_sizes": [[3] * 10**5] * 3}, "kernel_sizes[0]", "kernel_sizes[0] is (3, 3"),
        ({"n_conv_per_stage": [2, 2, 10**6]}, "n_conv_per_stage[2]", "is 1000000"),
        ({"n_conv_per_stage_decoder": [2]}, "n_conv_per_stage_decoder", "has 1 entry"),
        ({"conv_bias": None}, "conv_bias", "conv_bias is None"),
        ({"conv_op": "torch.nn.Conv1d"}, "conv_op", "conv_op is 'torch.nn.Conv1d'"),
        ({"conv_op": "torch.nn.ConvTranspose2d"}, "conv_op", "is 'torch.nn.ConvTranspose2d'"),
        ({"conv_op": BRAIN}, "conv_op", f"conv_op is '{BRAIN}'"),
        ({"norm_op": None}, "norm_op", "norm_op is None"),
        ({"norm_op": "torch.nn.InstanceNorm3d"}, "norm_op", "is 'torch.nn.InstanceNorm3d'"),
        ({"norm_op": "torch.nn.GroupNorm"}, "norm_op", "is 'torch.nn.GroupNorm'"),
        ({"norm_op_kwargs": None}, "norm_op_kwargs.affine", "affine is False"),
        ({"norm_op_kwargs": {"affine": False}}, "norm_op_kwargs.affine", "affine is False"),
        ({"strides": [2, 2, 2]}, "strides[0]", "strides[0] is (2, 2)"),
        ({"norm_op_kwargs": {"eps": "1e-5"}}, "norm_op_kwargs.eps", "eps is '1e-5'"),
        ({"norm_op_kwargs": {"eps": float("inf")}}, "norm_op_kwargs.eps", "eps is inf"),
        ({"norm_op_kwargs": {"momentum": 0.2}}, "norm_op_kwargs.momentum", "momentum is 0.2"),
        (
            {"norm_op_kwargs": {"track_running_stats": True}},
            "norm_op_kwargs.track_running_stats",
            "track_running_stats is True",
        ),
        ({"norm_op_kwargs": {"groups": 8}}, "norm_op_kwargs.'groups'", "the norm has the unknown"),
        ({"norm_op_kwargs": [1e-5]}, "norm_op_kwargs", "norm_op_kwargs is [1e-05]"),
        ({"dropout_op": "torch.nn.Dropout"}, "dropout_op", "is 'torch.nn.Dropout'"),
        (
            {"dropout_op": "torch.nn.Dropout2d", "dropout_op_kwargs": {"p": 1}},
            "dropout_op_kwargs.p",
            "p is 1",
        ),
        ({"nonlin": None}, "nonlin", "nonlin is None"),
        ({"nonlin": "torch.nn.PReLU"}, "nonlin", "nonlin is 'torch.nn.PReLU'"),
        (
            {"nonlin_kwargs": {"negative_slope": -1}},
            "nonlin_kwargs.negative_slope",
            "negative_slope is -1",
        ),
        ({"nonlin_kwargs": {"alpha": 1}}, "nonlin_kwargs.'alpha'", "the activation has"),
        ({"nonlin_first": "yes"}, "nonlin_first", "nonlin_first is 'yes'"),
    ],
)
def test_what_a_file_could_not_hold_is_named(changes, key, message):
    kwargs = {**SMALL, "dropout_op_kwargs": None, **changes}
    with pytest.raises(CompileError) as caught:
        of_kwargs(kwargs)
    problem = caught.value.problems[0]
    assert message in problem.message
    assert problem.at == f"plans.json, configurations.2d.architecture.arch_kwargs.{key}"


@pytest.mark.parametrize("missing", ["features_per_stage", "kernel_sizes", "n_conv_per_stage"])
def test_a_missing_argument_is_named(missing):
    with pytest.raises(CompileError, match=f"it has no '{missing}'"):
        of_kwargs({key: value for key, value in SMALL.items() if key != missing})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network_class_name": BRAIN}, f"network_class_name is '{BRAIN}'"),
        ({"network_class_name": "PlainConvUNet"}, "network_class_name is 'PlainConvUNet'"),
        ({"network_class_name": None}, "network_class_name is None"),
        ({"arch_kwargs": [3]}, r"arch_kwargs is \[3\], which is not a table"),
        ({"plan_b": 1}, "the architecture has the unknown argument 'plan_b'"),
        ({"_kw_requires_import": ["conv_op", "norm_op"]}, "'nonlin' is not listed"),
        ({"_kw_requires_import": [*SMALL]}, "'n_stages' is not the name of a class"),
        ({"_kw_requires_import": ["block"]}, "arch_kwargs has no 'block'"),
        ({"_kw_requires_import": 3}, "_kw_requires_import is 3"),
    ],
)
def test_the_table_around_the_arguments_is_checked(changes, message):
    fixture = FIXTURES["plain_2d_nonlin_first"]
    with pytest.raises(CompileError, match=message):
        of_fixture(fixture | {"architecture": fixture["architecture"] | changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"UNet_class_name": "Generic_UNet"}, "UNet_class_name is 'Generic_UNet'"),
        ({"UNet_class_name": None}, "UNet_class_name is None"),
        ({"UNet_base_num_features": "32"}, "UNet_base_num_features is '32'"),
        ({"unet_max_num_features": 0}, "unet_max_num_features is 0"),
        ({"n_conv_per_stage_encoder": [2] * 10**6}, "n_stages is 1000000"),
        ({"n_conv_per_stage_encoder": 2}, "n_stages is None"),
        ({"pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]]}, "pool_op_kernel_sizes has 2 entries"),
        ({"patch_size": [64]}, r"patch_size is \[64\]"),
    ],
)
def test_old_plans_are_checked(changes, message):
    fixture = FIXTURES["plain_3d_aniso"]
    with pytest.raises(CompileError, match=message):
        of_fixture(
            fixture | {"old_configuration": fixture["old_configuration"] | changes},
            "old_configuration",
        )


@pytest.mark.parametrize(
    ("plans", "name", "message"),
    [
        ({}, None, "it has no 'configurations'"),
        ({"configurations": [1]}, None, "configurations is [1], which is not a table"),
        ({"configurations": {}}, None, "no configuration given"),
        ({"configurations": {"2d": {}, "3d": {}}}, None, "there are '2d', '3d'"),
        (
            {"configurations": {"2d": {}, "3d": {}}},
            "3dd",
            "no configuration '3dd'. Did you mean '3d'",
        ),
        ({"configurations": {"2d": 3}}, "2d", "2d is 3, which is not a table"),
        ({"configurations": {"2d": {}}}, "2d", "it has neither 'architecture' nor the older"),
        ({"configurations": {"2d": {"inherits_from": "2d"}}}, "2d", "in a circle: '2d' -> '2d'"),
        (
            {"configurations": {"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}},
            "a",
            "in a circle: 'a' -> 'b' -> 'a'",
        ),
        ({"configurations": {"a": {"inherits_from": "b"}}}, "a", "there is no configuration 'b'"),
        ({"configurations": {"a": {"inherits_from": [1]}}}, "a", "no configuration [1]"),
    ],
)
def test_configurations_are_checked(plans, name, message):
    with pytest.raises(CompileError) as caught:
        architecture(configuration(Table(plans, "plans.json"), name), 1, 2)
    assert message in str(caught.value)


# -- datasets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"background": 0, "a": 1, "b": 2}, (3, 2)),
        ({"background": 0, "a": 1, "b": 2, "ignore": 3}, (3, 2)),
        ({"background": 0, "a": 1, "also a": 1}, (2, 1)),
        ({"background": 0, "a": [1], "b": [2]}, (3, 2)),  # one label each: no regions
        ({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "spot": 3}, (3, 3)),
        ({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, (2, 2)),
    ],
)
def test_classes_are_counted_as_nnunet_counts_them(given, expected):
    dataset = {"labels": given, "regions_class_order": [1] * expected[0]}
    assert labels(Table(dataset, "dataset.json")) == expected


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({}, "it has no 'labels'"),
        ({"labels": ["background"]}, "which is not a table"),
        ({"labels": {"a": 1}}, "the label 'background' is not 0"),
        ({"labels": {"background": 0, "a": "1"}}, "the label 'a' is '1'"),
        ({"labels": {"background": 0, "a": True}}, "the label 'a' is True"),
        ({"labels": {"background": 0, "a": []}}, "the region 'a' has no label"),
        ({"labels": {"background": 0, "a": 1, "ignore": 5}}, "the label 'ignore' is 5"),
        ({"labels": {"background": 0, "a": [1, 2]}}, "the 1 region"),
    ],
)
def test_labels_are_checked(dataset, message):
    with pytest.raises(CompileError) as caught:
        labels(Table(dataset, "dataset.json"))
    assert message in str(caught.value)


def test_channels_have_two_names():
    assert channels(Table({"channel_names": {"0": "CT"}}, "dataset.json")) == 1
    assert channels(Table({"modality": {"0": "T1", "1": "T2"}}, "dataset.json")) == 2
    for wrong in ({}, {"modality": "CT"}, {"channel_names": {}}, {"channel_names": 3}):
        with pytest.raises(CompileError):
            channels(Table(wrong, "dataset.json"))
    with pytest.raises(CompileError, match="'modality' has 1 entries, but 'channel_names' 2"):
        channels(Table({"modality": {"0": 1}, "channel_names": {"0": 1, "1": 2}}, "dataset.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not valid JSON"),
        ("[1]", "it is not a JSON object"),
        ('{"a": 1,\n"a": 2}', "the key 'a' is there twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' is there twice"),
        ('{"a": NaN}', "NaN is not a number of JSON"),
        ('{"a": -Infinity}', "-Infinity is not a number of JSON"),
        ('{"a": ' + "9" * 5000 + "}", "a number has too many digits"),
        ("[" * 10**6, "nest too deeply"),
        ('{"a": ' * 10**5, "nest too deeply"),
        ('{"a":\n 1,,}', "plans.json:2"),
        ("\udcff", "it is not valid UTF-8"),
        (" " * (16 * 2**20 + 1), "above the limit"),
    ],
)
def test_json_is_read_within_bounds(tmp_path, text, message):
    path = tmp_path / "plans.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CompileError) as caught:
        read_json(path)
    assert message in str(caught.value)


# -- the planner -----------------------------------------------------------------------------------

# Of the data that the planners saw. Those of 3d_lowres are not recorded: these have their ratio.
SPACINGS = {
    "Dataset901_CardiacLike": (5, 1.56, 1.56),
    "Dataset902_ProstateLike": (3, 0.625, 0.625),
    "Dataset903_BrainTumorLike": (1, 1, 1),
    "Dataset904_LiverLike": (1, 0.77, 0.77),
    "Dataset905_HippocampusLike": (1, 1, 1),
    "Dataset906_AbdomenLike": (2.5, 0.76, 0.76),
}
LOWRES = {"nnUNetPlannerResEncL": (2.5, 1.2, 1.2)}
PLANNED = [case for case, row in PRESETS.items() if "arch" in row]


@pytest.mark.parametrize("case", PLANNED)
def test_the_planner_chooses_what_nnunets_chose(case):
    data, planner, name = case.split("|")
    row = PRESETS[case]
    spacing = SPACINGS[data]
    if name == "3d_lowres" and data == "Dataset906_AbdomenLike":
        spacing = LOWRES.get(planner, (2.5, 1.5, 1.5))
    own = {"patch_size": row["patch"], "architecture": row["arch"]}
    found = configuration(Table({"configurations": {name: own}}, "plans.json"), name)
    network = "plain" if planner == "ExperimentPlanner" else "resenc"
    dims = len(row["patch"])
    assert planned(network, row["patch"], spacing[-dims:], 4, 3) == architecture(found, 4, 3)


@pytest.mark.parametrize(
    ("patch", "spacing", "strides", "kernels"),
    [
        # Stride 2 where the kernel is still 1.
        ((64, 8, 8), (6, 1, 1), "111 122 211 211 211", "133 133 133 133 333"),
        ((11, 3, 3), (1, 1, 1), "111", "333"),  # a single axis is strided over from 12 on
        ((12, 3, 3), (1, 1, 1), "111 211", "333 333"),
        ((9, 9), (1, 1), "11 22", "33 33"),
        ((15, 16), (1, 1), "11 22 22", "33 33 33"),  # half of an odd size is rounded up
        ((8, 16), (2, 1), "11 12 22", "13 33 33"),  # twice the finest is coarse
    ],
)
def test_rules_of_the_planner(patch, spacing, strides, kernels):
    found = [" ".join("".join(map(str, each)) for each in row) for row in topology(patch, spacing)]
    assert found == [strides, kernels]


def test_a_patch_that_nothing_strides_over_is_refused():
    with pytest.raises(CompileError, match="a patch of 7 x 7 is too small"):
        planned("plain", (7, 7), (1, 1), 1, 2)
    with pytest.raises(CompileError, match="the spacing has 2 numbers, but the patch has 3 axes"):
        planned("plain", (64, 64, 64), (1, 1), 1, 2)


# -- checkpoints -----------------------------------------------------------------------------------

TINY = ORACLE / "tiny_checkpoint/checkpoint_final.pth"


STEM = b"(K\x03K\x02K\x01K\x03K\x03t"  # its shape, as it is pickled


def edited(path, change, source=TINY):
    """A checkpoint whose pickle is changed, with the checksums of the new one."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, change(data) if "data.pkl" in entry.filename else data)
    return path


def saved(path, **changes):
    """A checkpoint of our own with the weights of the real one."""
    content = torch.load(TINY, weights_only=False)
    for key in ("optimizer_state", "logging", "_best_ema"):
        content.pop(key)
    content["init_args"]["device"] = None
    for key, value in changes.items():
        within = content["init_args"] if key in content["init_args"] else content
        within[key] = value
    torch.save(content, path)
    return path


def test_a_checkpoint_names_its_plans():
    found = read_checkpoint(TINY)
    assert dict(found.plans.values) == json.loads((TINY.parent / "plans.json").read_text())
    assert dict(found.dataset.values) == json.loads((TINY.parent / "dataset.json").read_text())
    assert (found.configuration, found.trainer) == ("3d_fullres", "nnUNetTrainer")
    assert found.heads == {0, 1, 2}


def test_its_weights_are_read_bit_by_bit():
    """All names, the aliases too, without PyTorch's reader, which refuses the file."""
    weights = torch.load(TINY, weights_only=False)["network_weights"]
    with open_checkpoint(TINY) as opened:
        assert [*opened.tensors] == [*weights]
        assert "'optimizer_state'" in opened.notes[0]
        for name, expected in weights.items():
            values = opened.tensors[name].load()
            assert values.dtype == np.float32 and values.tobytes() == expected.numpy().tobytes()
    with pytest.raises(Exception, match="weights_only"):
        torch.load(TINY, weights_only=True)


def test_every_dtype_and_view_is_read(tmp_path):
    """Also tensors that share a storage, and views that are not contiguous."""
    base = torch.arange(24.0).reshape(4, 6)
    weights = {
        "whole": base,
        "turned": base.T,
        "part": base[1:3, ::2],
        "spread": torch.ones(1).expand(5),
        "number": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base[0]),
        **{
            str(dtype): torch.tensor([0.5, -2, 7]).to(dtype)
            for dtype in (torch.float64, torch.float16, torch.bfloat16)
        },
    }
    records = {"network_weights": weights}
    torch.save(records, tmp_path / "x.pth")
    found = read_records(tmp_path / "x.pth")
    state = entries(entries(found.content, "x.pth")["network_weights"], "x.pth")
    read_tensors = tensors(tmp_path / "x.pth", found, state)
    assert [*read_tensors] == [*weights]
    for name, expected in weights.items():
        values = read_tensors[name].load()
        expected = expected.detach().contiguous()
        assert values.shape == tuple(expected.shape)
        assert read_tensors[name].dtype == str(expected.dtype).removeprefix("torch.")
        assert values.tobytes() == expected.view(-1).view(torch.uint8).numpy().tobytes()


def test_a_checkpoint_of_numpy_1_is_the_same(tmp_path):
    new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    assert new in zipfile.ZipFile(TINY).read("checkpoint_final/data.pkl")
    path = edited(tmp_path / "old.pth", lambda data: data.replace(new, old))
    assert read_checkpoint(path).plans.values == read_checkpoint(TINY).plans.values
    with open_checkpoint(path) as opened:
        assert len(opened.tensors) == 224


def test_prefixes_of_wrappers_hide_no_head(tmp_path):
    weights = torch.load(TINY, weights_only=False)["network_weights"]
    weights = {f"module._orig_mod.{name}": value for name, value in weights.items()}
    assert read_checkpoint(saved(tmp_path / "x.pth", network_weights=weights)).heads == {0, 1, 2}


class Calls:
    def __reduce__(self):
        return os.system, ("touch /tmp/plainnet_a_plan_was_run",)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value, value]
    return value


HOSTILE = {
    "a call": ({"plans": Calls()}, "it calls"),
    "a call in the log": ({"logging": Calls()}, "it calls"),
    "no table": ({"plans": [1]}, "plans is [1], which is not a table"),
    "no plans": ({"plans": None}, "plans is None, which is not a table"),
    "keys that are no text": ({"plans": {1: 2}}, "the key 1 is not text"),
    "no name": ({"configuration": 3}, "configuration is 3"),
    "no trainer": ({"trainer_name": None}, "trainer_name is None"),
    "no arguments": ({"init_args": 3}, "it has no 'network_weights' and 'init_args'"),
    "lists in lists": ({"plans": {"a": nested(40)}}, "the number of its values is 300,001"),
    "depth": ({"plans": {"a": nested(80)}}, "the depth of its pickle"),
    "an object": ({"dataset_json": torch.device("cpu")}, "dataset_json is an object, which"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoints_are_refused(name, tmp_path):
    changes, message = HOSTILE[name]
    path = saved(tmp_path / "x.pth", **changes)
    with pytest.raises(CompileError) as caught:
        read_checkpoint(path)
    assert message in str(caught.value)
    assert not os.path.exists("/tmp/plainnet_a_plan_was_run")


def test_a_list_that_holds_itself_is_refused(tmp_path):
    circle = []
    circle.append(circle)
    with pytest.raises(CompileError, match="the depth of its values"):
        read_checkpoint(saved(tmp_path / "x.pth", plans={"a": circle}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # The shape (3, 2, 1, 3, 3) of the stem as (255, 2, 1, 3, 3): outside its storage.
        (
            lambda data: data.replace(STEM, STEM.replace(b"(K\x03", b"(K\xff")),
            "but its tensors need",
        ),
        # An optimizer's number of NumPy becomes a call of the system.
        (lambda data: data.replace(b"cnumpy\ndtype\n", b"cposix\nsystem\n"), "it calls 'posix.sys"),
        (lambda data: data[:2000], "damaged or truncated"),
    ],
    ids=["a tensor outside of its storage", "a call", "the end is missing"],
)
def test_edited_pickles_are_refused(tmp_path, change, message):
    path = edited(tmp_path / "x.pth", change)
    assert zipfile.ZipFile(path).read("checkpoint_final/data.pkl") != (
        zipfile.ZipFile(TINY).read("checkpoint_final/data.pkl")
    )
    for reader in (read_checkpoint, lambda path: open_checkpoint(path).__enter__()):
        with pytest.raises(CompileError) as caught:
            reader(path)
        assert message in str(caught.value)


def test_what_is_no_checkpoint_of_nnunet_is_refused(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name, message in {
        "other.pth": "it has no 'network_weights' and 'init_args', but 'state_dict'",
        "old.pth": "it is not a checkpoint of nnU-Net",
        "text.pth": "it is a text file, not a checkpoint",
        "empty.pth": "it is not a checkpoint of nnU-Net",
        "missing.pth": "No such file",
    }.items():
        with pytest.raises(CompileError, match=message):
            read_checkpoint(tmp_path / name)


def test_a_changed_plan_is_noticed(tmp_path):
    """By the checksum of the pickle, though no other part is read."""
    content = bytearray(TINY.read_bytes())
    content[content.index(b"3d_fullres")] ^= 1
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CompileError, match="checksum"):
        read_checkpoint(tmp_path / "x.pth")


def test_other_checkpoints_with_numbers_of_numpy_are_refused_still(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "best": np.float64(1)}, tmp_path / "x.pt")
    with (
        pytest.raises(CompileError, match="which no state dict needs"),
        open_checkpoint(tmp_path / "x.pt"),
    ):
        pass


# -- where a network is described ------------------------------------------------------------------

FULL = Asked("3d_fullres")
NONE = Channels()


@pytest.fixture
def results(tmp_path):
    """A folder of results as nnU-Net leaves it, with one fold."""
    folder = tmp_path / "nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres"
    (folder / "fold_1").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        shutil.copy(TINY.parent / name, folder)
    shutil.copy(TINY, folder / "fold_1")
    return folder


def test_checkpoint_folder_and_plans_are_one_network(results):
    trained = describe(TINY, Asked(), NONE)
    assert trained.architecture.deep_supervision  # it has a head at each level
    assert (trained.patch_size, trained.warnings) == ((12, 48, 40), ())
    for path in (results / "fold_1/checkpoint_final.pth", results / "fold_1", results):
        assert describe(path, Asked(), NONE) == trained
    planned_alone = describe(results / "plans.json", FULL, NONE)
    assert planned_alone.architecture == replace(trained.architecture, deep_supervision=False)
    shutil.rmtree(results / "fold_1")
    assert describe(results, Asked(), NONE) == planned_alone  # by the name of the folder


def test_the_folder_names_the_trainer_too(results):
    shutil.rmtree(results / "fold_1")
    batch = results.with_name(results.name.replace("Trainer__", "TrainerBN__"))
    results.rename(batch)
    assert describe(batch, Asked(), NONE).architecture.norm == "batch"
    other = batch.with_name(batch.name.replace("TrainerBN__", "TrainerFancy__"))
    batch.rename(other)
    found = describe(other, Asked(), NONE)
    assert found.architecture.norm == "instance"
    (warning,) = found.warnings
    assert "'nnUNetTrainerFancy' is not one of nnU-Net's own" in warning


@pytest.mark.parametrize(
    ("trainer", "doubtful"),
    [
        ("", False),
        ("nnUNetTrainer", False),
        ("nnUNetTrainerBN", False),
        ("nnUNetTrainer_250epochs", False),
        ("nnUNetTrainerNoDeepSupervision", False),
        ("nnUNetTrainerUMambaBot", True),
        ("nnUNet_Primus_M_Trainer", True),
    ],
)
def test_trainers_of_others_are_doubted(trainer, doubtful):
    assert bool(doubt(trainer)) == doubtful


def test_the_trainer_of_a_checkpoint_is_honoured(tmp_path):
    path = saved(tmp_path / "x.pth", trainer_name="nnUNetTrainerBN")
    assert describe(path, Asked(), NONE).architecture.norm == "batch"
    path = saved(tmp_path / "y.pth", trainer_name="MyTrainer")
    assert "'MyTrainer'" in describe(path, Asked(), NONE).warnings[0]


def test_heads_of_a_checkpoint(tmp_path):
    """Before 2023, a network built without deep supervision had the last head alone."""
    weights = torch.load(TINY, weights_only=False)["network_weights"]
    last = {
        n: v
        for n, v in weights.items()
        if not n.startswith(("decoder.seg_layers.0", "decoder.seg_layers.1"))
    }
    path = saved(tmp_path / "x.pth", network_weights=last)
    assert not describe(path, Asked(), NONE).architecture.deep_supervision
    odd = {n: v for n, v in weights.items() if not n.startswith("decoder.seg_layers.2")}
    path = saved(tmp_path / "y.pth", network_weights=odd)
    with pytest.raises(CompileError, match="its decoder has the heads 0, 1, but the plans"):
        describe(path, Asked(), NONE)


def test_channels_are_those_of_the_dataset_unless_they_are_given(results, tmp_path):
    plans = results / "plans.json"
    shutil.copy(results / "dataset.json", tmp_path / "elsewhere.json")
    (results / "dataset.json").unlink()
    with pytest.raises(CompileError, match=r"there is no dataset\.json beside it"):
        describe(plans, FULL, NONE)
    with pytest.raises(CompileError, match=r"there is no dataset\.json beside it"):
        describe(plans, FULL, Channels(2, None))
    given = describe(plans, FULL, Channels(2, 2))
    there = describe(plans, replace(FULL, dataset=str(tmp_path / "elsewhere.json")), NONE)
    assert given == there
    assert there == describe(TINY.parent / "plans.json", FULL, NONE)
    other = describe(TINY.parent / "plans.json", FULL, Channels(None, 7)).architecture
    assert (other.in_channels, other.num_classes) == (2, 7)


def test_a_missing_dataset_and_what_says_nothing_are_errors(results):
    missing = str(results / "none.json")
    with pytest.raises(CompileError, match="No such file"):
        describe(results / "plans.json", replace(FULL, dataset=missing), Channels(1, 1))
    with pytest.raises(CompileError, match="--dataset: a checkpoint has its own"):
        describe(TINY, Asked(dataset="dataset.json"), NONE)
    with pytest.raises(CompileError, match="it is of the configuration '3d_fullres', not '2d'"):
        describe(TINY, Asked("2d"), NONE)
    assert describe(TINY, FULL, NONE) == describe(TINY, Asked(), NONE)
    with pytest.raises(CompileError, match="it has neither checkpoints nor plans"):
        describe(results.parent, Asked(), NONE)


def test_a_label_manager_of_somebody_counts_in_its_own_way(results):
    plans = json.loads((results / "plans.json").read_text()) | {"label_manager": "Mine"}
    (results / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(CompileError, match="label_manager is 'Mine'"):
        describe(results / "plans.json", FULL, NONE)
    assert describe(results / "plans.json", FULL, Channels(None, 2))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"patch_size": "20,256,224"}, Asked(patch_size=(20, 256, 224))),
        ({"patch_size": [64, 64]}, Asked(patch_size=(64, 64))),
        ({"spacing": "5,1.56,1.56"}, Asked(spacing=(5.0, 1.56, 1.56))),
        ({"spacing": (1, 0.5)}, Asked(spacing=(1.0, 0.5))),
        ({"configuration": "2d", "dataset": Path("a.json")}, Asked("2d", "a.json")),
        ({"dims": 3, "spacing": None}, Asked()),
    ],
)
def test_what_is_asked_is_read(given, expected):
    problems = []
    found, others = asked(given, problems)
    assert (found, problems) == (expected, [])
    assert others == {name: value for name, value in given.items() if name == "dims"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patch_size": "0,64"}, "--patch-size has 0, which is below 1"),
        ({"patch_size": "64"}, "--patch-size is '64'"),
        ({"patch_size": "1,2,3,4"}, "--patch-size is '1,2,3,4'"),
        ({"patch_size": 64}, "--patch-size is 64"),
        ({"patch_size": "64,9999999999999"}, "which is above 1,048,576"),
        ({"spacing": "1,0"}, "--spacing has '0', which is not the size of a voxel"),
        ({"spacing": "1,nan"}, "--spacing has 'nan'"),
        ({"spacing": "1,inf"}, "--spacing has 'inf'"),
        ({"spacing": "1,-1"}, "--spacing has '-1'"),
        ({"spacing": "1,1e999"}, "--spacing has '1e999'"),
        ({"spacing": (1, 10**400)}, "--spacing has a number of more than 20 digits"),
        ({"spacing": (True, 1)}, "--spacing has True"),
        ({"spacing": "1," * 10**6}, "--spacing is '1,1,1"),
        ({"configuration": 3}, "--configuration is 3"),
        ({"configuration": ""}, "--configuration is ''"),
        ({"configuration": "a" * 2000}, "the length of --configuration"),
        ({"dataset": b"x"}, "--dataset is b'x'"),
    ],
)
def test_what_is_asked_is_checked(given, message):
    problems = []
    asked(given, problems)
    assert len(problems) == 1 and message in problems[0].message


# -- anything at all -------------------------------------------------------------------------------

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def places(value, path=()):
    """The paths of everything in a JSON value."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield from places(value[key], (*path, key))


SOUND = [
    {"patch_size": fixture["input_shape"][2:], **own}
    for fixture in FIXTURES.values()
    for own in ({"architecture": fixture["architecture"]}, fixture.get("old_configuration"))
    if own
]


@settings(max_examples=200 * int(os.environ.get("PLAINNET_FUZZ", "1")), deadline=None)
@given(st.data())
def test_spoilt_plans_are_an_architecture_or_an_error(data):
    """One value anywhere in a configuration is replaced by another, or taken away."""
    own = json.loads(json.dumps(data.draw(st.sampled_from(SOUND))))
    path = data.draw(st.sampled_from([*places(own)][1:]))
    *outer, last = path
    within = own
    for key in outer:
        within = within[key]
    if isinstance(within, dict) and data.draw(st.booleans()):
        del within[last]
    else:
        within[last] = data.draw(JUNK)
    plans = Table({"configurations": {"3d": own}}, "plans.json")
    with contextlib.suppress(CompileError):
        assert isinstance(architecture(configuration(plans, "3d"), 1, 2), Architecture)


@settings(max_examples=200 * int(os.environ.get("PLAINNET_FUZZ", "1")), deadline=None)
@given(st.dictionaries(st.sampled_from(["labels", "modality", "regions_class_order"]), JUNK), JUNK)
def test_spoilt_datasets_are_counts_or_an_error(dataset, background):
    if isinstance(dataset.get("labels"), dict):
        dataset["labels"]["background"] = background
    for count in (channels, labels):
        with contextlib.suppress(CompileError):
            count(Table(dataset, "dataset.json"))


def test_a_damaged_pickle_is_an_error_or_what_was_saved(tmp_path):
    """One byte of the pickle is another, with a checksum that says nothing."""
    data = zipfile.ZipFile(TINY).read("checkpoint_final/data.pkl")
    generator = np.random.default_rng(0)
    outcomes = set()
    for _ in range(40):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] = generator.integers(256)
        path = edited(tmp_path / "x.pth", lambda _, new=bytes(damaged): new)
        try:
            outcomes.add(type(describe(path, Asked(), NONE)).__name__)
        except CompileError:
            outcomes.add("an error")
    assert outcomes == {"Described", "an error"}
