"""Keras 3: functions that call core layers, each weight named by its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from compiler.ir import (
    Conv,
)
from compiler.lower import DecoderPlan, Plan
from compiler.targets.base import Target
from compiler.targets.keras_writer import KerasWriter


class Keras(Target):
    name = "keras"
    title = "Keras 3"
    ops: ClassVar[Mapping[str, str]] = {
        "add": "layers.Add()([x, y])",
        "multiply": "layers.Multiply()([x, y])",
        "rescale": "layers.Rescaling(1 / 255)(x)",
        "mean": "layers.GlobalAveragePooling{rank}D(keepdims=True)(x)",
        "global_average": "layers.GlobalAveragePooling{rank}D()(x)",
        "global_max": "layers.GlobalMaxPooling{rank}D()(x)",
        "softmax": "layers.Activation('softmax')(x)",
        "upsample": "upsample(x, y)",
        "relu": "layers.ReLU()(x)",
        "leaky_relu": "layers.LeakyReLU(negative_slope=0.01)(x)",
        "elu": "layers.ELU()(x)",
        "gelu": "layers.Activation('gelu')(x)",
        "silu": "layers.Activation('silu')(x)",
        "mish": "layers.Activation('mish')(x)",
        "hard_swish": "layers.Activation('hard_silu')(x)",
        "tanh": "layers.Activation('tanh')(x)",
        "sigmoid": "layers.Activation('sigmoid')(x)",
    }
    statements: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "max_pool": (
            "x = layers.ZeroPadding{rank}D(1)(x)  # zeros are safe under max: x is past a ReLU",
            "x = layers.MaxPooling{rank}D(3, strides=2)(x)",
        ),
        "signed_max_pool": (
            "# x has a sign here: padded with zeros, its maxima would change",
            'x = ops.pad(x, {pad}, constant_values=float("-inf"))',
            "x = layers.MaxPooling{rank}D(3, strides=2)(x)",
        ),
    }

    def imports(self, body: str) -> list[str]:
        names = "layers, ops" if re.search(r"\bops\.", body) else "layers"
        return ["import keras", f"from keras import {names}"]

    def model_note(self, plan: Plan) -> str:
        return f"`pyramid_outputs` of the model holds P1..{plan.last_level}."

    def writer(self, plan: Plan) -> KerasWriter:
        return KerasWriter(self, plan)

    def context(self, plan: Plan) -> dict[str, object]:
        convs = list(_convs(plan))
        return {
            **super().context(plan),
            "conv_parameters": ", ".join(
                ["stride=1"]
                + ["groups=1"] * any(conv.groups != 1 for conv in convs)
                + ["bias=False"] * any(conv.bias for conv in convs)
            ),
            "conv_groups": "groups=groups, " * any(conv.groups != 1 for conv in convs),
            "conv_bias": "bias" if any(conv.bias for conv in convs) else "False",
        }

    def decoder(self, plan: Plan, decoder: DecoderPlan) -> dict[str, object]:
        learned = 'crop(up({x}, {filters}, name=f"{{name}}_{at}"), {like})'
        up = learned if decoder.learned else "upsample({x}, {like})"
        gated = 'gated = attention_gate(skip, x, filters, name=f"{name}_gates_{i}")'
        joined = up.format(x="x", filters="filters", at="ups_{i}", like="skip")
        last = "DECODER_FILTERS[-1]"
        return {
            **super().decoder(plan, decoder),
            "helpers": ["crop.py.j2"] + ["upsample.py.j2"] * (decoder.gated or not decoder.learned),
            "gates": [gated] * decoder.gated,
            "joined": joined,
            "skip": "gated" if decoder.gated else "skip",
            "last_joined": up.format(
                x="x", filters=last, at=f"ups_{len(decoder.skips)}", like="image"
            ),
            "node_joined": up.format(x="x", filters="filters", at="ups_{r}_{i}", like="skip"),
            "last_node": (
                up.format(x="below[-1]", filters=last, at="last_up", like="image")
                if decoder.learned
                else "below[-1]"
            ),
            "axis_lines": ", ".join(axis_lines(plan.network.model.dims)),
            "decoder_inputs": "pyramid" if decoder.ends_at_half else "pyramid, image",
        }

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        return f"(N, {', '.join(sizes)}, {channels})"

    def block_name(self, name: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _convs(plan: Plan) -> Iterator[Conv]:
    network = plan.network
    blocks = (*network.blocks, *network.decoder_blocks)
    layers = [layer for block in blocks for layer in block.layers]
    for layer in (*layers, *network.stem.layers, *network.head.layers):
        if isinstance(layer, Conv):
            yield layer


def axis_lines(rank: int) -> list[str]:
    """`like[0, :, 0, 0]` and so on: one line of voxels along each spatial axis."""
    axes = range(1, rank + 1)
    return [
        f"like[{', '.join(':' if i == axis else '0' for i in range(rank + 2))}]" for axis in axes
    ]
