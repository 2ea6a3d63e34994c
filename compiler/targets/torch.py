"""PyTorch: modules that are declared once and called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from compiler.ir import (
    Norm,
)
from compiler.lower import DecoderPlan, Plan
from compiler.targets.base import Target
from compiler.targets.torch_writer import TorchWriter


class Torch(Target):
    name = "torch"
    title = "PyTorch"
    ops: ClassVar[Mapping[str, str]] = {
        "add": "x + y",
        "multiply": "x * y",
        "rescale": "x / 255",
        "max_pool": "F.max_pool{rank}d(x, 3, stride=2, padding=1)",
        "signed_max_pool": "F.max_pool{rank}d(x, 3, stride=2, padding=1)",
        "mean": "x.mean({axes}, keepdim=True)",
        "global_average": "x.mean({axes})",
        "global_max": "x.amax({axes})",
        "softmax": "x.softmax(1)",
        "upsample": "upsample(x, y)",
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
        lines = ["import torch"] if re.search(r"\btorch\.", body) else []
        lines.append("from torch import Tensor, nn")
        if re.search(r"\bF\.", body):
            lines.append("from torch.nn import functional as F")
        return lines

    def writer(self, plan: Plan) -> TorchWriter:
        return TorchWriter(self, plan)

    def context(self, plan: Plan) -> dict[str, object]:
        context = super().context(plan)
        head = self.writer(plan).body(plan.network.head)
        lines = [f'x = self.encoder(x)["{plan.last_level}"]', *head]
        if plan.decoder:
            image = ", image" * (not plan.decoder.ends_at_half)
            lines = [f"x = self.decoder(self.encoder(image){image})", *head]
        lines[-1] = "return" + lines[-1].removeprefix("x =")
        return {**context, "forward": lines}

    def decoder(self, plan: Plan, decoder: DecoderPlan) -> dict[str, object]:
        context = super().decoder(plan, decoder)
        skips = f"{decoder.skip_channels}  # {', '.join(decoder.skips)}"
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
        axes = ("depth", "height", "width")[-plan.network.model.dims :]
        return {
            **context,
            "decoder_constants": [("SKIP_CHANNELS", skips), *_listed(context["decoder_constants"])],
            "helpers": ["crop.py.j2"] * decoder.learned
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
            "crop_axes": tuple(enumerate(axes, start=2)),
            "crop_pads": ", ".join(f"0, {axis}" for axis in reversed(axes)),
            "map_shape": self.spell_doc("[C]", plan),
        }

    def shape(self, channels: str, sizes: Sequence[str]) -> str:
        return f"(N, {channels}, {', '.join(sizes)})"

    def block_name(self, name: str) -> str:
        return name


def _listed(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
