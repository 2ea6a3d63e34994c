"""The networks that a plans file of nnU-Net describes, in its new form and its old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CompileError, Problem, raise_all, shown, suggest
from ..limits import STAGES
from ..parts import EPS, SLOPE
from .architecture import LEAST_STAGES, Architecture
from .documents import Table
from .kwargs import (
    BLOCK_CLASSES,
    BLOCKS,
    CONV_CLASSES,
    NETWORK_CLASSES,
    NETWORKS,
    TORCH,
    Arguments,
    per_axis,
    per_stage,
    units,
)
from .trainers import BATCH_NORM

IMPORTED = ("conv_op", "norm_op", "dropout_op", "nonlin", "block")


# Fields of an architecture, and the keys that say them.
NEW_KEYS = {
    "features": "features_per_stage",
    "kernels": "kernel_sizes",
    "strides": "strides",
    "blocks": "n_blocks_per_stage",
    "decoder_convs": "n_conv_per_stage_decoder",
    "norm_eps": "norm_op_kwargs.eps",
    "norm_affine": "norm_op_kwargs.affine",
    "dropout": "dropout_op_kwargs.p",
    "slope": "nonlin_kwargs.negative_slope",
}
OLD_KEYS = {
    "features": "n_conv_per_stage_encoder",
    "kernels": "conv_kernel_sizes",
    "strides": "pool_op_kernel_sizes",
    "blocks": "n_conv_per_stage_encoder",
    "decoder_convs": "n_conv_per_stage_decoder",
}
PLAIN_BLOCKS = "n_conv_per_stage"


@dataclass(frozen=True)
class Configuration:
    """One configuration of a plans file, with what it inherits."""

    name: str
    table: Table

    @property
    def is_cascade(self) -> bool:
        """Whether it also sees the labels of a previous stage, one channel each."""
        return self.table.values.get("previous_stage") is not None

    @property
    def patch_size(self) -> tuple[int, ...]:
        """The patch, in the order of the network's axes. Raises `CompileError`."""
        value = self.table.need("patch_size")
        patch = tuple(value) if isinstance(value, list | tuple) else ()
        if len(patch) not in (2, 3) or not all(type(n) is int and n > 0 for n in patch):
            hint = "two or three whole numbers"
            self.table.refuse("patch_size", f"patch_size is {shown(value)}", hint)
        return patch


def configuration(plans: Table, name: str | None) -> Configuration:
    """The configuration of that name; None is the only one. Raises `CompileError`."""
    there = plans.table("configurations")
    listed = ", ".join(map(shown, [*there.values][:20])) or "none"
    if name is None:
        if len(there.values) != 1:
            hint = f"add --configuration; there are {listed}"
            raise CompileError(Problem("no configuration given", there.file, hint))
        (name,) = there.values
    return Configuration(name, _resolved(there, name, listed))


def _resolved(there: Table, name: str, listed: str) -> Table:
    """A configuration's own keys over those that it inherits."""
    chain: list[Mapping[str, Any]] = []
    seen: list[str] = []
    wanted: object = name
    while True:
        if not isinstance(wanted, str) or wanted not in there.values:
            at = there.at(f"{seen[-1]}.inherits_from") if seen else there.file
            near = suggest(wanted, there.values) if isinstance(wanted, str) else ""
            message = f"there is no configuration {shown(wanted)}.{near}".rstrip(".")
            raise CompileError(Problem(message, at, f"there are {listed}"))
        if wanted in seen:
            circle = " -> ".join(map(shown, [*seen[:10], wanted]))
            at = there.at(f"{seen[-1]}.inherits_from")
            raise CompileError(Problem(f"configurations inherit in a circle: {circle}", at))
        seen.append(wanted)
        chain.append(there.table(wanted).values)
        if "inherits_from" not in chain[-1]:
            break
        wanted = chain[-1]["inherits_from"]
    merged = {key: value for each in reversed(chain) for key, value in each.items()}
    return Table(merged, there.file, there.at(name).removeprefix(f"{there.file}, "))


def architecture(
    found: Configuration, in_channels: int, num_classes: int, trainer: str = ""
) -> Architecture:
    """The network of a configuration. Raises `CompileError` with every problem.

    `trainer` is the class that trained it, if one did.
    """
    table = found.table
    fields, keys, at = _new_form(table) if "architecture" in table.values else _old_form(table)
    if trainer == BATCH_NORM:
        fields |= {"norm": "batch", "norm_eps": EPS, "norm_affine": True}
    if fields["network"] == "plain" and keys is NEW_KEYS:
        keys = keys | {"blocks": PLAIN_BLOCKS}
    try:
        made = Architecture(in_channels=in_channels, num_classes=num_classes, **fields)
    except CompileError as error:
        raise CompileError(*(_placed(problem, keys, at) for problem in error.problems)) from None
    patch = found.patch_size
    if len(patch) != made.dims:
        message = f"patch_size is {shown(list(patch))}, but the network has {made.dims} axes"
        table.refuse("patch_size", message)
    return made


def _placed(problem: Problem, keys: Mapping[str, str], at: Table) -> Problem:
    """A problem of an architecture in the words of the plans."""
    name, bracket, index = problem.field.partition("[")
    if problem.field in ("in_channels", "num_classes"):
        return replace(problem, at=at.file)
    key = keys.get(name, name)
    message = problem.message.replace(name, key.rpartition(".")[2], 1)
    return replace(problem, message=message, at=at.at(f"{key}{bracket}{index}"))


def _new_form(table: Table) -> tuple[dict[str, Any], dict[str, str], Table]:
    """Fields of an architecture, the keys that say them, and the table of these."""
    outer = table.table("architecture")
    problems: list[Problem] = []
    asked = Arguments(outer, problems)
    network = asked.named("network_class_name", NETWORKS, NETWORK_CLASSES)
    raise_all(problems)
    inner = outer.table("arch_kwargs")
    arguments = Arguments(inner, problems)
    _check_imports(asked, inner, problems)
    asked.take("arch_kwargs")
    asked.finish("the architecture")
    stages = _stages(arguments.take("n_stages"), inner.at("n_stages"))
    dims = arguments.named("conv_op", TORCH, CONV_CLASSES)
    raise_all(problems)
    required = ["features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage_decoder"]
    blocks = PLAIN_BLOCKS if network == "plain" else NEW_KEYS["blocks"]
    for key in (*required, blocks):
        if key not in inner.values:
            problems.append(Problem(f"it has no {shown(key)}", inner.at()))
    features = per_stage(arguments.take("features_per_stage"), stages)
    fields = {
        "network": network,
        "dims": dims,
        "features": features,
        "kernels": per_axis(arguments.take("kernel_sizes"), stages, dims),
        "strides": per_axis(arguments.take("strides"), stages, dims),
        "blocks": per_stage(arguments.take(blocks), stages),
        "decoder_convs": per_stage(arguments.take("n_conv_per_stage_decoder"), stages - 1),
        "conv_bias": arguments.take("conv_bias", False),
        **units(arguments, dims),
    }
    if isinstance(features, tuple) and len(features) != stages:
        message = f"features_per_stage has {len(features)} entries, but n_stages is {stages}"
        problems.append(Problem(message, inner.at("features_per_stage")))
    arguments.take("deep_supervision")  # nnU-Net replaces it: it trains with it, and infers without
    if network == "plain":
        fields["nonlin_first"] = arguments.take("nonlin_first", False)
    else:
        fields |= _residual(arguments, stages, features)
    arguments.finish("arch_kwargs")
    raise_all(problems)
    return fields, NEW_KEYS, inner


def _residual(arguments: Arguments, stages: int, features: object) -> dict[str, Any]:
    block = "basic"
    if "block" in arguments.table.values:
        block = arguments.named("block", BLOCKS, BLOCK_CLASSES)
    stem, inner = arguments.take("stem_channels"), arguments.take("bottleneck_channels")
    first = features[0] if isinstance(features, tuple) and features else None
    return {
        "block": block,
        "stem_channels": first if stem is None else stem,
        "bottleneck_channels": () if inner is None else per_stage(inner, stages),
    }


def _stages(value: object, at: str) -> int:
    """The number of stages, which is checked first: a number stands for a list of that length."""
    if type(value) is not int or not LEAST_STAGES <= value <= STAGES.largest:
        hint = f"a network has {LEAST_STAGES} to {STAGES.largest} stages"
        raise CompileError(Problem(f"n_stages is {shown(value)}", at, hint))
    return value


def _check_imports(asked: Arguments, inner: Table, problems: list[Problem]) -> None:
    """nnU-Net replaces the arguments that are listed by what they name, and only those."""
    listed = asked.take("_kw_requires_import", [])
    if not isinstance(listed, list | tuple) or not all(isinstance(key, str) for key in listed):
        return asked.wrong("_kw_requires_import", listed, "a list of names")
    at = asked.table.at("_kw_requires_import")
    for key in dict.fromkeys(listed):
        if key not in inner.values:
            problems.append(Problem(f"arch_kwargs has no {shown(key)}", at))
        elif key not in IMPORTED:
            problems.append(Problem(f"{shown(key)} is not the name of a class", at))
    for key in IMPORTED:
        if isinstance(inner.values.get(key), str) and key not in listed:
            hint = "nnU-Net would not import the class that it names"
            problems.append(Problem(f"{shown(key)} is not listed", at, hint))
    return None


def _old_form(table: Table) -> tuple[dict[str, Any], dict[str, str], Table]:
    """Plans of nnU-Net 2.0 to 2.2, which only planned instance norm and leaky ReLU."""
    name = table.values.get("UNet_class_name")
    if not isinstance(name, str) or name not in NETWORK_CLASSES:
        if "UNet_class_name" not in table.values:
            table.refuse("", "it has neither 'architecture' nor the older 'UNet_class_name'")
        hint = f"a network is emitted with {' or '.join(NETWORK_CLASSES)}"
        table.refuse("UNet_class_name", f"UNet_class_name is {shown(name)}", hint)
    blocks = table.need("n_conv_per_stage_encoder")
    count = len(blocks) if isinstance(blocks, list | tuple) else None
    stages = _stages(count, table.at("n_conv_per_stage_encoder"))
    base = _positive(table, "UNet_base_num_features")
    most = _positive(table, "unet_max_num_features")
    features = tuple(min(base * 2**stage, most) for stage in range(stages))
    dims = len(Configuration("", table).patch_size)
    network = NETWORK_CLASSES[name]
    fields = {
        "network": network,
        "dims": dims,
        "features": features,
        "kernels": per_axis(table.need("conv_kernel_sizes"), stages, dims),
        "strides": per_axis(table.need("pool_op_kernel_sizes"), stages, dims),
        "blocks": tuple(blocks),
        "decoder_convs": per_stage(table.need("n_conv_per_stage_decoder"), stages - 1),
        "conv_bias": True,
        "norm_eps": EPS,
        "slope": SLOPE,
        "stem_channels": features[0] if network == "resenc" else None,
    }
    return fields, OLD_KEYS, table


def _positive(table: Table, key: str) -> int:
    value = table.need(key)
    if type(value) is not int or value < 1:
        table.refuse(key, f"{key} is {shown(value)}", "a whole number from 1 on")
    return value
