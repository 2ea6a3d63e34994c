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
from ..model import Features
from .base import Target
from .keras_writer import KerasWriter
from .prose import ATTEND, LINE, docstring, in_lines, wrap_sentences


class Keras(Target):
    name = "keras"
    title = "Keras 3"
    mask_shape = "(N, Q, T)"
    load = 'model.load_weights("w.weights.h5")'
    ops: ClassVar[Mapping[str, str]] = {
        "add": "layers.Add()([x, y])",
        "multiply": "layers.Multiply()([x, y])",
        "rescale": "layers.Rescaling(1 / 255)(x)",
        "mean": "layers.GlobalAveragePooling{rank}D(data_format='channels_last', keepdims=True)(x)",
        "global_average": "layers.GlobalAveragePooling{rank}D(data_format='channels_last')(x)",
        "global_max": "layers.GlobalMaxPooling{rank}D(data_format='channels_last')(x)",
        "output_softmax": "layers.Activation('softmax', dtype=keras.config.floatx())(x)",
        "output_sigmoid": "layers.Activation('sigmoid', dtype=keras.config.floatx())(x)",
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
            "# Zeros cannot be the maximum: x comes from a ReLU.",
            'x = layers.ZeroPadding{rank}D(1, data_format="channels_last")(x)',
            'x = layers.MaxPooling{rank}D(3, strides=2, data_format="channels_last")(x)',
        ),
        "ceil_max_pool": (
            "x = ops.pad(x, {pad_end})  # zeros cannot win: x >= 0",
            'x = layers.MaxPooling{rank}D(3, strides=2, data_format="channels_last")(x)',
        ),
        "signed_max_pool": (
            "# x may be negative here, where padding with zeros would change the maximum.",
            'x = ops.pad(x, {pad}, constant_values=float("-inf"))',
            'x = layers.MaxPooling{rank}D(3, strides=2, data_format="channels_last")(x)',
        ),
    }

    def imports(self, body: str) -> list[str]:
        names = "KerasTensor, layers" + ", ops" * bool(re.search(r"\bops\.", body))
        lines = ["import math"] if re.search(r"\bmath\.", body) else []
        lines += ["from typing import Any"] if re.search(r"\bAny\b", body) else []
        lines += [""] if lines else []
        return [*lines, "import keras", f"from keras import {names}"]

    def model_doc(self, plan: Plan) -> str:
        model = plan.network.model
        doc = self.spell_doc(plan.model_doc, plan)
        if not isinstance(model.head, Features):
            doc += " The output is float32 under mixed precision too."
        doc += (
            f" `model.pyramid_outputs` holds P1..{plan.last_level}."
            " In a loaded or cloned model m, this finds them:"
        )
        first, *rest = wrap_sentences(doc, LINE - 7)
        outputs = (
            '{f"P{i}": m.get_layer(f"encoder_P{i}").output for i in range(1, LAST)}'
        ).replace("LAST", str(len(model.trunk.levels) + 1))
        return "\n    ".join([f"{first}\n", *rest, f"keras.Model(m.input, {outputs})", ""])

    def writer(self, plan: Plan) -> KerasWriter:
        return KerasWriter(self, plan)

    def context(self, plan: Plan) -> dict[str, object]:
        convs = list(_convs(plan))
        return {
            **super().context(plan),
            "conv_parameters": ", ".join(
                ["stride: int | tuple[int, ...] = 1"]
                + ["groups: int = 1"] * any(conv.groups != 1 for conv in convs)
                + ["bias: bool = False"] * any(conv.bias for conv in convs)
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
            "crop_extend": [
                "if size is None or size > x.shape[axis]:  # the pool rounds odd sizes down",
                "    x = ops.concatenate([x, x[(*whole, slice(-1, None))]], axis=axis)",
            ]
            * decoder.extends,
            "crop_doc": f", or extend it by its last {UNITS[plan.network.model.dims]}"
            * decoder.extends,
            "axis_lines": ", ".join(axis_lines(plan.network.model.dims)),
            "decoder_inputs": "pyramid" if decoder.ends_at_half else "pyramid, image",
            "decoder_parameters": "pyramid: dict[str, KerasTensor]"
            + ", image: KerasTensor" * (not decoder.ends_at_half),
            "upsample_dtype": ", dtype=x.dtype" * decoder.ends_at_half,
        }

    def transformer(self, plan: Plan, trans: TransPlan) -> dict[str, object]:
        names = super().transformer(plan, trans)
        rank = plan.network.model.dims
        mask = self._mask(trans, str(names["axes"]))
        patch = 'conv(x, EMBED, 1, bias=True, name=f"{name}_patch")'
        if trans.patched:
            patch = (
                f"layers.Conv{rank}D(EMBED, PATCH, strides=PATCH, data_format='channels_last',"
                ' name=f"{name}_patch")(x)'
            )
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
                "parameter": f"scale: tuple[float, ...] = {(2.0,) * rank}, " * scaled,
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
                "inputs": "logits: KerasTensor, level: KerasTensor",
                "doc": "Where each query may attend on a level: outside its mask, as in medicai.",
                "logits": "(N, Q, T)",
                "lines": [
                    "# medicai resizes the mask along the flattened tokens, not over space.",
                    f"{axes} = level.shape[1:-1]",
                    f"size = (QUERIES, {axes.replace(', ', ' * ')})",
                    'mask = layers.Activation("sigmoid")(logits)[..., None]',
                    "mask = ops.image.resize("
                    "mask, size, interpolation='nearest', data_format='channels_last')",
                    "return ops.squeeze(mask, axis=-1) <= 0.5",
                ],
            }
        crops = ", ".join(f":{axis}" for axis in axes.split(", "))
        unit = UNITS[rank]
        resize = [
            f"# Spread each token's logit over its {unit}s.",
            f"_, {axes}, _ = level.shape",
            f"logits = layers.UpSampling{rank}D(scale, data_format='channels_last')(logits)",
            f"logits = logits[:, {crops}]",
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
            "inputs": "logits: KerasTensor, scale: int, level: KerasTensor",
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
                "scale = tuple(s / g for s, g in zip(size, grid))",
                "masks = Upsample(size, scale)(masks)",
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
