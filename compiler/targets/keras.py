"""Keras 3: functions that call core layers, each weight named by its path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..lower import Plan
from ..model import Features, Model
from ..segmentors.nnunet import with_called_heads
from .base import Helper, Target
from .keras_layers import norm_function
from .keras_writer import KerasWriter
from .prose import LINE, wrap_sentences
from .text import Facts, words
from .writer import Writer

_MAX_POOL = (
    'x = layers.MaxPooling{rank}D({window}, strides={stride}, data_format="channels_last")(x)'
)


class Keras(Target):
    name = "keras"
    title = "Keras 3"
    tensor = "Tensor"
    mask_shape = "(N, Q, T)"
    lacks: ClassVar[Mapping[str, str]] = {
        "checkpointing": (
            "keras.RematScope of Keras 3.15 fails in `fit` on TensorFlow and JAX, and on torch it"
            " updates the moving statistics of batch norms twice"
        ),
        "training_memory": "the backend decides what is kept, and keras.RematScope fails in `fit`",
    }
    load = 'model.load_weights("w.weights.h5")'
    ops: ClassVar[Mapping[str, str]] = {
        "add": "layers.Add()([x, y])",
        "total": "layers.Add()(xs)",
        "multiply": "layers.Multiply()([x, y])",
        "rescale": "layers.Rescaling(1 / 255)(x)",
        "mean": "layers.GlobalAveragePooling{rank}D(data_format='channels_last', keepdims=True)(x)",
        "global_average": "layers.GlobalAveragePooling{rank}D(data_format='channels_last')(x)",
        "global_max": "layers.GlobalMaxPooling{rank}D(data_format='channels_last')(x)",
        "output_softmax": "layers.Activation('softmax', dtype=keras.config.floatx())(x)",
        "output_sigmoid": "layers.Activation('sigmoid', dtype=keras.config.floatx())(x)",
        "upsample": "upsample(x, y)",
        "upsample_by": "upsample(x, y, z)",
        "upsample_past": "upsample(x, y, z)",
        "crop": "crop(x, y)",
        "concat": "layers.Concatenate()(xs)",
        "linear_upsample": "Upsample(y.shape[1:-1])(x)",
        "linear_upsample_by": "Upsample(y.shape[1:-1], z)(x)",
        "stretch": "Upsample(y, [new / old for new, old in zip(y, z)])(x)",
        "corner_stretch": "corner_stretch(x, y)",
        "tokens": "layers.Reshape((-1, EMBED))(x)",
        "sizes": "x.shape[1:-1]",
        "token_grid": "[s // p for s, p in zip(x, y)]",
        "length": "x.shape[1]",
        "volume": "math.prod(x)",
        "channels": "x.shape[-1]",
        "as_map": "layers.Reshape((*z, y))(x)",
        "as_tokens": "layers.Reshape((-1, QUERIES))(x)",
        "similarity": "layers.Dot(axes=2)([y, x])",
        "scores": "layers.Dot(axes=2)([x, y])",
        "mix": "layers.Dot(axes=(2, 1))([y, x])",
        "mix_scores": "layers.Dot(axes=1)([y, x])",
        "class_softmax": "layers.Activation('softmax')(x)",
        "attention_mask": "attention_mask(x, y, z)",
        "patch_attention_mask": "patch_attention_mask(x, y, z)",
        "flat_attention_mask": "flat_attention_mask(x, y)",
        "flat_attention_bias": "flat_attention_mask(x, y)",
        "steep_leaky_relu": "layers.LeakyReLU(negative_slope=0.3)(x)",
        "relu": "layers.ReLU()(x)",
        "leaky_relu": "layers.LeakyReLU(negative_slope={slope})(x)",
        "elu": "layers.ELU()(x)",
        "gelu": "layers.Activation('gelu')(x)",
        "silu": "layers.Activation('silu')(x)",
        "mish": "layers.Activation('mish')(x)",
        "hard_swish": "layers.Activation('hard_silu')(x)",
        "tanh": "layers.Activation('tanh')(x)",
        "relu_in_place": "layers.ReLU()(x)",
        "leaky_relu_in_place": "layers.LeakyReLU(negative_slope={slope})(x)",
        "steep_leaky_relu_in_place": "layers.LeakyReLU(negative_slope=0.3)(x)",
        "elu_in_place": "layers.ELU()(x)",
        "silu_in_place": "layers.Activation('silu')(x)",
        "mish_in_place": "layers.Activation('mish')(x)",
        "hard_swish_in_place": "layers.Activation('hard_silu')(x)",
        "sigmoid": "layers.Activation('sigmoid')(x)",
    }
    statements: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "max_pool": (
            "# Zeros cannot be the maximum: x comes from a ReLU.",
            'x = layers.ZeroPadding{rank}D({pad}, data_format="channels_last")(x)',
            _MAX_POOL,
        ),
        "ceil_max_pool": (
            "x = ops.pad(x, {end})  # zeros cannot win: x >= 0",
            _MAX_POOL,
        ),
        "signed_ceil_max_pool": (
            "# x may be negative here, where padding with zeros would change the maximum.",
            'x = ops.pad(x, {end}, constant_values=float("-inf"))',
            _MAX_POOL,
        ),
        "signed_max_pool": (
            "# x may be negative here, where padding with zeros would change the maximum.",
            'x = ops.pad(x, {pads}, constant_values=float("-inf"))',
            _MAX_POOL,
        ),
    }

    first_helpers = (
        Helper("conv", "helpers/conv.py.j2"),
        Helper("norm", "helpers/norm.py.j2"),
    )
    helpers = tuple(
        Helper(name, f"helpers/{template}.py.j2")
        for name, template in (
            ("he_transposed", "he_transposed"),
            ("crop", "crop"),
            ("upsample", "upsample"),
            ("Table", "table"),
            ("Affine", "affine"),
            ("GatedAffine", "gatedaffine"),
            ("UpConv", "upconv"),
            ("attention", "attention"),
            ("Upsample", "linear_upsample"),
            ("corner_stretch", "corner_stretch"),
            ("attention_mask", "attention_mask"),
            ("patch_attention_mask", "patch_attention_mask"),
            ("flat_attention_mask", "flat_attention_mask"),
        )
    )

    def imports(self, body: str) -> list[str]:
        found = words(body)
        names = "layers" + ", ops" * ("ops." in found)
        lines = ["import math"] if "math." in found else []
        lines += ["from typing import Any"] if "Any" in found else []
        lines += [""] if lines else []
        tensor = "from keras import KerasTensor as Tensor"
        return [*lines, "import keras", tensor, f"from keras import {names}"]

    def model_doc(self, plan: Plan) -> str:
        model = plan.network.model
        doc = self.spell_doc(plan.model_doc, plan)
        if not isinstance(model.head, Features):
            doc += " The output is float32 under mixed precision too."
        aux = plan.network.aux_head
        if aux is not None:
            doc += (
                " `model.training_model` shares all weights and returns a list: this output, then"
                " those of the coarser decoder stages, the finest"
                f" first{' and the lowest left out' * aux.first}."
                " Loaded from a file as t, it gives the model back as"
                " `keras.Model(t.input, t.output[0])`."
            )
        doc += (
            f" `model.pyramid_outputs` holds P1..{plan.levels[-1]}."
            " In a loaded or cloned model m, this finds them:"
        )
        first, *rest = wrap_sentences(doc, LINE - 7)
        level, end = 'm.get_layer(f"encoder_P{i}").output', len(model.trunk.levels) + 1
        outputs = f'{{f"P{{i}}": {level} for i in range(1, {end})}}'
        return "\n    ".join([f"{first}\n", *rest, f"keras.Model(m.input, {outputs})", ""])

    def facts(self, plan: Plan) -> Facts:
        facts = super().facts(plan)
        norm, doc = norm_function(plan.model.encoder.norm, zero_init=facts.zero_init)
        return replace(facts, norm=norm, norm_doc=doc.format(unit=facts.unit))

    def built(self, model: Model) -> Model:
        """A model holds no layer that makes none of its outputs: heads need a second model."""
        return with_called_heads(model)

    def first_levels(self, plan: Plan) -> tuple[str, ...]:
        lines = super().first_levels(plan)
        named = 'x = layers.Identity(name=f"{name}_P1")(x)'
        return (named, *lines) if plan.model.encoder.first_level == 2 else lines

    def writer(self, plan: Plan) -> KerasWriter:
        return KerasWriter(self, plan)

    def model_body(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        assert isinstance(writer, KerasWriter)
        lines = []
        x = f'pyramid["{plan.levels[-1]}"]'
        if not plan.network.modules:
            lines.append(f"x = {x}")
        for module in plan.network.modules:
            given = [] if module is plan.network.modules[0] else [x]
            given += writer.used_inputs(module)[len(given) :] + writer.told(module)
            x = module.step or ("x" if writer.returned(module) == self.tensor else "stages")
            lines.append(f"{x} = {self.block_name(module.name)}({', '.join(given)})")
        lines += writer.fragment(plan.network.head, prefix="").body
        aux = plan.network.aux_head
        if aux is not None:
            lines += ["outputs = [x]", f"for i, stage in enumerate(stages{aux.stages}):"]
            lines += [f"    {line}" for line in writer.aux_head(aux.fragment)]
        return tuple(lines)

    def training_model(self, plan: Plan) -> str:
        if plan.network.aux_head is None:
            return ""
        return 'keras.Model(image, outputs, name=f"{name}_training")'

    def sizes(self, plan: Plan, writer: Writer) -> tuple[str, ...]:
        """A position table fixes the image's size: the check in the template stands for it."""
        told = {arg for module in plan.network.modules for arg in module.arguments}
        return ("image_size",) if "num_tokens" in told else ()

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        return f"(N, {', '.join(sizes)}, {channels})"

    def block_name(self, name: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
