"""Keras 3: functions that call core layers, each weight named by its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ..ir import (
    Conv,
)
from ..lower import DecoderPlan, Plan
from ..lower_trans import UNITS, TransPlan
from .base import Target
from .keras_writer import KerasWriter
from .prose import ATTEND, docstring, in_lines


class Keras(Target):
    name = "keras"
    title = "Keras 3"
    mask_shape = "(N, Q, T)"
    load = 'model.load_weights("w.weights.h5")'
    ops: ClassVar[Mapping[str, str]] = {
        "add": "layers.Add()([x, y])",
        "multiply": "layers.Multiply()([x, y])",
        "rescale": "layers.Rescaling(1 / 255)(x)",
        "mean": "layers.GlobalAveragePooling{rank}D(keepdims=True)(x)",
        "global_average": "layers.GlobalAveragePooling{rank}D()(x)",
        "global_max": "layers.GlobalMaxPooling{rank}D()(x)",
        "softmax": "layers.Activation('softmax')(x)",
        "upsample": "upsample(x, y)",
        "crop": "crop(x, y)",
        "tokens": "layers.Reshape((-1, EMBED))(x)",
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
            "x = layers.ZeroPadding{rank}D(1)(x)  # zeros cannot win: x comes from a ReLU",
            "x = layers.MaxPooling{rank}D(3, strides=2)(x)",
        ),
        "ceil_max_pool": (
            "x = ops.pad(x, {pad_end})  # zeros cannot win: x comes from a ReLU",
            "x = layers.MaxPooling{rank}D(3, strides=2)(x)",
        ),
        "signed_max_pool": (
            "# x may be negative here, where padding with zeros would change the maxima",
            'x = ops.pad(x, {pad}, constant_values=float("-inf"))',
            "x = layers.MaxPooling{rank}D(3, strides=2)(x)",
        ),
    }

    def imports(self, body: str) -> list[str]:
        names = "layers, ops" if re.search(r"\bops\.", body) else "layers"
        lines = ["import math", ""] if re.search(r"\bmath\.", body) else []
        return [*lines, "import keras", f"from keras import {names}"]

    def model_note(self, plan: Plan) -> str:
        return f"The model's `pyramid_outputs` hold P1..{plan.last_level}."

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
            "crop_more": [
                "count = ops.minimum(count, ops.shape(x)[axis])  # the pool rounds odd sizes down"
            ]
            * decoder.extends,
            "crop_doc": f", or extend it by its last {UNITS[plan.network.model.dims]}"
            * decoder.extends,
            "crop_where": "size != x.shape[axis]" if decoder.extends else "size % 2",
            "axis_lines": ", ".join(axis_lines(plan.network.model.dims)),
            "decoder_inputs": "pyramid" if decoder.ends_at_half else "pyramid, image",
        }

    def transformer(self, plan: Plan, trans: TransPlan) -> dict[str, object]:
        names = super().transformer(plan, trans)
        rank = plan.network.model.dims
        mask = self._mask(trans, str(names["axes"]))
        patch = 'conv(x, EMBED, 1, bias=True, name=f"{name}_patch")'
        if trans.patched:
            patch = f'layers.Conv{rank}D(EMBED, PATCH, strides=PATCH, name=f"{{name}}_patch")(x)'
        scaled = trans.patched and not trans.compat
        return {
            **names,
            "decoder_constants": [
                *in_lines(plan.network.decoder_constants),
                *([("PATCH", trans.patch)] if trans.patched else []),
                ("DECODER_FILTERS", trans.head.stage_filters),
            ],
            "package": f"{plan.network.model.class_name}{rank}D",
            "patch": patch,
            "mask": mask,
            "mask_doc": docstring(
                str(mask["doc"]),
                f"{mask['logits'] or names['query_map']} -> booleans (N, Q, {names['voxels']}).",
            ),
            "mask_decoder": self._mask_decoder(trans),
            "upsample": {
                "doc": docstring(
                    f"Linear {'upsampling by `scale`' if scaled else 'x2 upsampling'}"
                    " (half-pixel centers), cropped to `size`.",
                    f"{names['half_shape']} -> {names['map_shape']}.",
                ),
                "parameter": f"scale={(2.0,) * rank}, " * scaled,
                "declarations": ["self.scale = tuple(scale)"] * scaled,
                "scale": "self.scale" if scaled else (2.0,) * rank,
                "translation": (0.0,) * rank,
                "axes": tuple(range(1, 1 + rank)),
                "config": ', "scale": self.scale' * scaled,
            },
        }

    def _mask(self, trans: TransPlan, axes: str) -> dict[str, object]:
        """The mask's function: its inputs, its documentation, and its lines."""
        rank = len(trans.patch)
        if trans.compat:
            return {
                "inputs": "logits, level",
                "doc": "Where each query may attend on a level: outside its mask, as in medicai.",
                "logits": "(N, Q, T)",
                "lines": [
                    "# medicai resizes the mask along the flattened tokens, not over space.",
                    f"{axes} = level.shape[1:-1]",
                    f"size = (QUERIES, {axes.replace(', ', ' * ')})",
                    'mask = layers.Activation("sigmoid")(logits)[..., None]',
                    'mask = ops.image.resize(mask, size, interpolation="nearest")',
                    "return ops.squeeze(mask, axis=-1) <= 0.5",
                ],
            }
        crops = ", ".join(f":{axis}" for axis in axes.split(", "))
        unit = UNITS[rank]
        resize = [
            f"# Spread each token's logit over its {unit}s.",
            f"_, {axes}, _ = level.shape",
            f"logits = layers.UpSampling{rank}D(scale)(logits)[:, {crops}]",
        ]
        if trans.patched:
            resize = [
                f"# Spread each token's logit over its {unit}s, the last one's over the rest.",
                "for axis, patch in enumerate(PATCH, start=1):",
                "    last = logits.shape[axis] - 1",
                "    token = [min(i // (patch * scale), last) for i in range(level.shape[axis])]",
                "    logits = ops.take(logits, token, axis=axis)",
            ]
        return {
            "inputs": "logits, scale, level",
            "doc": "Where each query may attend on a level.",
            "logits": None,
            "lines": [
                *resize,
                ATTEND,
                "inside = layers.Permute((2, 1))(layers.Reshape((-1, QUERIES))(logits)) > 0",
                "return inside | ~ops.any(inside, axis=2, keepdims=True)",
            ],
        }

    def _mask_decoder(self, trans: TransPlan) -> dict[str, object]:
        """What differs in the mask decoder: how masks are made, and how they end."""
        deepest = f'pyramid["{trans.deepest_level}"].shape[1:-1]'
        grid, sizes, resize = deepest, "grid", []
        loop = [
            f"for i, (level, scale) in enumerate(zip(levels, {trans.scales})):",
            "    logits = layers.Reshape((*grid, QUERIES))(layers.Dot(axes=2)([tokens, queries]))",
            "    mask = attention_mask(logits, scale, level)",
        ]
        if trans.compat:
            loop = [
                "for i, level in enumerate(levels):",
                "    mask = attention_mask(layers.Dot(axes=2)([queries, tokens]), level)",
            ]
            if trans.patched:
                resize = [
                    "masks = layers.Permute((2, 1))(masks)",
                    'masks = layers.Dense(math.prod(grid), name=f"{name}_resize")(masks)',
                    "masks = layers.Permute((2, 1))(masks)",
                ]
        elif trans.patched:
            sizes = deepest
            grid = f"[s // p for s, p in zip({deepest}, PATCH)]"
            resize = [
                f"size = {deepest}",
                "masks = layers.Reshape((*grid, QUERIES))(masks)",
                "masks = Upsample(size, [s / g for s, g in zip(size, grid)])(masks)",
                "masks = layers.Reshape((-1, QUERIES))(masks)",
            ]
        call = 'masked_cross_attention(queries, level, mask, name=f"{name}_levels_{i}")'
        return {
            "grid": grid,
            "sizes": sizes,
            "loop": [*loop, f"    queries = {call}"],
            "resize": resize,
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
