"""PyTorch: modules that are declared once and called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..ir import Norm
from ..lower import DecoderPlan, Plan
from ..lower_trans import UNITS, TransPlan
from .base import Target
from .prose import ATTEND, channel_constants, docstring, in_lines
from .torch_writer import TorchWriter


class Torch(Target):
    name = "torch"
    title = "PyTorch"
    mask_shape = "(N, 1, Q, T)"
    load = 'model.load_state_dict(safetensors.torch.load_file("w.safetensors"))'
    ops: ClassVar[Mapping[str, str]] = {
        "add": "x + y",
        "multiply": "x * y",
        "rescale": "x / 255",
        "max_pool": "F.max_pool{rank}d(x, 3, stride=2, padding=1)",
        "signed_max_pool": "F.max_pool{rank}d(x, 3, stride=2, padding=1)",
        "ceil_max_pool": "F.max_pool{rank}d(x, 3, stride=2, ceil_mode=True)",
        "mean": "x.mean({axes}, keepdim=True)",
        "global_average": "x.mean({axes})",
        "global_max": "x.amax({axes})",
        "output_softmax": "x.softmax(1)",
        "output_sigmoid": "torch.sigmoid(x)",
        "upsample": "upsample(x, y)",
        "crop": "crop(x, y)",
        "tokens": "x.flatten(2).mT",
        "relu": "F.relu(x)",
        "leaky_relu": "F.leaky_relu(x, 0.01)",
        "elu": "F.elu(x)",
        "gelu": "F.gelu(x)",
        "silu": "F.silu(x)",
        "mish": "F.mish(x)",
        "hard_swish": "F.hardswish(x)",
        "tanh": "torch.tanh(x)",
        "sigmoid": "torch.sigmoid(x)",
    }

    def imports(self, body: str) -> list[str]:
        lines = ["import math", ""] if re.search(r"\bmath\.", body) else []
        if re.search(r"\bAny\b", body):
            lines = [*lines[:1], "from typing import Any", ""]
        lines += ["import torch"] if re.search(r"\btorch\.", body) else []
        lines.append("from torch import Tensor, nn")
        if re.search(r"\bF\.", body):
            lines.append("from torch.nn import functional as F")
        return lines

    def writer(self, plan: Plan) -> TorchWriter:
        return TorchWriter(self, plan)

    def context(self, plan: Plan) -> dict[str, object]:
        context = super().context(plan)
        writer = self.writer(plan)
        head = writer.body(plan.network.head)
        column = plan.columns.index("channels")
        last = f"STAGES[-1][{column}]"
        if plan.decoder or plan.transformer:
            last = "DECODER_FILTERS[-1]"
        lines = [f'x = self.encoder(x)["{plan.last_level}"]', *head]
        if plan.decoder:
            image = ", image" * (not plan.decoder.ends_at_half)
            lines = [f"x: Tensor = self.decoder(self.encoder(image){image})", *head]
        if plan.transformer:
            lines = ["x: Tensor = self.decoder(maps, pyramid, image)", *head]
        if lines[-1].startswith("x = self."):  # what modules return has no type
            lines.append("return x")
        else:
            lines[-1] = "return" + lines[-1].removeprefix("x =")
        declarations = [
            line.replace("last_channels", last) for line in writer.declarations(plan.network.head)
        ]
        return {**context, "forward": lines, "head_declarations": declarations}

    def decoder(self, plan: Plan, decoder: DecoderPlan) -> dict[str, object]:
        context = super().decoder(plan, decoder)
        kinds = {
            layer.kind
            for block in plan.network.decoder_blocks
            for layer in block.layers
            if isinstance(layer, Norm)
        }
        joined = "filters" if decoder.learned else "channels"
        blocks = {  # module list, the name of one of them -> how it is made
            ("gates", "gate"): "AttentionGate(skip_channels, channels, filters)",
            ("ups", "up"): "Up(channels, filters)",
            ("blocks", "block"): f"DecoderBlock({joined} + skip_channels, filters)",
        }
        if not decoder.gated:
            del blocks["gates", "gate"]
        if not decoder.learned:
            del blocks["ups", "up"]
        lists = [name for name, _ in blocks]
        filters = "DECODER_FILTERS[-1]"
        last = {
            "ups": f"Up(channels, {filters})",
            "blocks": f"DecoderBlock({filters if decoder.learned else 'channels'}, {filters})",
        }
        up = "crop({up}({x}), {like})" if decoder.learned else "upsample({x}, {like})"
        return {
            **context,
            "decoder_constants": [
                *channel_constants(plan.columns, decoder.skips),
                *_listed(context["decoder_constants"]),
            ],
            "helpers": ["crop.py.j2"] * (decoder.learned or decoder.extends)
            + ["upsample.py.j2"] * (decoder.gated or not decoder.learned)
            + ["layers.py.j2"] * ("layer" in kinds),
            "module_lists": [(name, made) for (name, _), made in blocks.items()],
            "last_modules": [(name, last[name]) for name in lists if name in last],
            "loop_names": ", ".join(name for _, name in blocks),
            "loop_lists": ", ".join(f"self.{name}" for name in lists),
            "joined": up.format(up="up", x="x", like="skip"),
            "skip": "gate(skip, x)" if decoder.gated else "skip",
            "last_joined": up.format(up="self.ups[-1]", x="x", like="image"),
            "node_lists": [
                (name, made.replace("skip_channels", "sum(row)"))
                for (name, _), made in blocks.items()
            ],
            "row_names": ", ".join(lists),
            "node_names": "(up, block)" if decoder.learned else "block",
            "node_sources": "zip(ups, blocks)" if decoder.learned else "blocks",
            "node_joined": up.format(up="up", x="below[i]", like="skip"),
            "last_up": ["self.last_up = Up(filters, filters)"] * decoder.learned,
            "last_node": (
                up.format(up="self.last_up", x="below[-1]", like="image")
                if decoder.learned
                else "below[-1]"
            ),
            "decoder_inputs": "pyramid: dict[str, Tensor]"
            + ", image: Tensor" * (not decoder.ends_at_half),
            **self._crop(decoder, plan.network.model.dims),
            "map_shape": self.spell_doc("[C]", plan),
        }

    def _crop(self, decoder: DecoderPlan, rank: int) -> dict[str, object]:
        """The names of the functions that bring a tensor to a skip's size."""
        unit = UNITS[rank]
        pads = ", ".join(f"0, missing[{i}]" for i in range(rank))
        repeat = f"x = F.pad(x, {(0, 1) * rank}, mode='replicate')  # the pool may round down"
        size = 'F.interpolate(x, size=like.shape[2:], mode="nearest")'
        twice = 'crop(F.interpolate(x, scale_factor=2.0, mode="nearest"), like)'
        return {
            "crop_doc": (
                f", or extend it by its last {unit}"
                if decoder.extends
                else f", which is one {unit} smaller along odd axes"
            ),
            "crop_axes": tuple(range(1 + rank, 1, -1)),
            "crop_pads": f"({pads})",
            "crop_more": [repeat] * decoder.extends,
            "upsample_doc": ("plus or minus one" if decoder.extends else "or one less if odd"),
            "upsampled": twice if decoder.extends else size,
        }

    def transformer(self, plan: Plan, trans: TransPlan) -> dict[str, object]:
        constants = [
            *in_lines(plan.network.decoder_constants),
            *([("PATCH", trans.patch)] if trans.patched else []),
            *channel_constants(plan.columns, trans.skips),
            ("DECODER_FILTERS", trans.head.stage_filters),
        ]
        names = super().transformer(plan, trans)
        deepest = f'pyramid["{trans.deepest_level}"].shape[2:]'
        linear = {2: "bilinear", 3: "trilinear"}[plan.network.model.dims]
        scales: Sequence[object] = trans.scales
        if not trans.patched:
            scales = [float(scale) for scale in trans.scales]
        axes = names["axes"]
        mask = self._mask(trans)
        down = f"-(-s // {names['halvings']})"
        return {
            **names,
            "decoder_constants": constants,
            "linear": linear,
            "class_probabilities": (
                "torch.sigmoid(self.classes(queries))"
                if names["class_probability"] == "sigmoid"
                else "self.classes(queries).softmax(2)"
            ),
            "patch": "PATCH, stride=PATCH" if trans.patched else "1",
            "mask": mask,
            "mask_doc": docstring(
                str(mask["doc"]),
                f"{mask['logits'] or names['query_map']} -> booleans (N, 1, Q, {names['voxels']}).",
            ),
            "crops": ", ".join(f": like.shape[{axis}]" for axis in _rank_axes(names)),
            "mask_decoder": self._mask_decoder(trans, deepest, linear, tuple(scales)),
            "token_grid": (
                [f"{axes} = [{down} // p for s, p in zip(image_size, PATCH)]"]
                if trans.patched
                else [
                    f"{axes} = [{down} for s in image_size]"
                    f"  # {trans.deepest_level}: halved {names['times']} times, rounded up"
                ]
            ),
            "token_count": str(axes).replace(", ", " * "),
            "mask_decoder_arguments": self._resize_arguments(trans, names, down),
        }

    def _mask(self, trans: TransPlan) -> dict[str, object]:
        """The mask's function: its inputs, its documentation, and its lines."""
        if trans.compat:
            return {
                "inputs": "logits: Tensor, level: Tensor",
                "doc": "Where each query may attend on a level: outside its mask, as in medicai.",
                "logits": "(N, Q, T)",
                "lines": [
                    "# medicai resizes the mask along the flattened tokens, not over space.",
                    "mask = torch.sigmoid(logits)",
                    'mask = F.interpolate(mask, size=level[0, 0].numel(), mode="nearest-exact")',
                    "return mask.unsqueeze(1) <= 0.5",
                ],
            }
        unit = UNITS[len(trans.patch)]
        resize = [
            f"# Spread each token's logit over its {unit}s.",
            'logits = resize(logits, scale, "nearest", level)',
        ]
        if trans.patched:
            resize = [
                f"# Spread each token's logit over its {unit}s, the last one's over the rest.",
                "for axis, patch in enumerate(PATCH, start=2):",
                "    token = torch.arange(level.shape[axis], device=level.device)",
                "    token = (token // (patch * scale)).clamp(max=logits.shape[axis] - 1)",
                "    logits = logits.index_select(axis, token)",
            ]
        number = "int" if trans.patched else "float"
        return {
            "inputs": f"logits: Tensor, scale: {number}, level: Tensor",
            "doc": "Where each query may attend on a level.",
            "logits": None,
            "lines": [
                *resize,
                ATTEND,
                "inside = logits.flatten(2).unsqueeze(1) > 0",
                "return inside | ~inside.any(3, keepdim=True)",
            ],
        }

    def _mask_decoder(
        self, trans: TransPlan, deepest: str, linear: str, scales: tuple[object, ...]
    ) -> dict[str, object]:
        """What differs in the mask decoder: how masks are made, and how they end."""
        divided = f"[s // p for s, p in zip({deepest}, PATCH)]"
        loop = [
            f"for refine, level, scale in zip(self.levels, levels, {scales}):",
            "    logits = torch.unflatten(queries @ tokens.mT, 2, grid)",
            "    queries = refine(queries, level, attention_mask(logits, scale, level))",
        ]
        last = ["masks = torch.sigmoid(queries @ tokens.mT)"]
        if trans.compat:
            loop = [
                "for refine, level in zip(self.levels, levels):",
                "    mask = attention_mask(queries @ tokens.mT, level)",
                "    queries = refine(queries, level, mask)",
            ]
        resized = trans.patched and trans.compat
        if resized:
            last.append("masks = self.resize(masks)")
        elif trans.patched:
            last += [
                f"size = {deepest}",
                "masks = torch.unflatten(masks, 2, grid)",
                f'masks = F.interpolate(masks, size=size, mode="{linear}")',
            ]
        grid = [] if trans.compat else [f"grid = {divided if trans.patched else deepest}"]
        whole = "grid" if not trans.patched and not trans.compat else deepest
        masks = "masks.flatten(2)" if trans.patched and not trans.compat else "masks"
        if not trans.patched:
            masks, last = "torch.sigmoid(queries @ tokens.mT)", []
        return {
            "parameters": ", num_tokens: int, num_voxels: int" * resized,
            "declarations": ["self.resize = nn.Linear(num_tokens, num_voxels)"] * resized,
            "before": grid,
            "loop": [*loop, *last],
            "result": f"torch.unflatten(classes.mT @ {masks}, 2, {whole})",
        }

    def _resize_arguments(self, trans: TransPlan, names: Mapping[str, object], down: str) -> str:
        if not (trans.patched and trans.compat):
            return "num_classes"
        tokens = str(names["axes"]).replace(", ", " * ")
        return f"num_classes, {tokens}, math.prod({down} for s in image_size)"

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        return f"(N, {channels}, {', '.join(sizes)})"

    def block_name(self, name: str) -> str:
        return name


def _listed(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _rank_axes(names: Mapping[str, object]) -> tuple[int, ...]:
    axes = names["rank_axes"]
    assert isinstance(axes, tuple)
    return axes
