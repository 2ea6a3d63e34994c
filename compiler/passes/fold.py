"""Network -> Network: batch norms folded into the convolutions before them.

In inference a batch norm is a scale and a shift of each channel. Behind a convolution both go into
its weights. Behind a gate on the channels, the scale multiplies the gate, which is exact for any
scale, and the shift is added in the same pass over the map. Where neither stands before it (a
pre-activation block begins with its norm), an `Affine` layer is left: the ReLU behind such a norm
keeps it out of the next convolution. Other norms than batch norm depend on the image and stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..blocks import SQUEEZE_EXCITE
from ..deployment import HEAD, STEM, Fold, Rescale, Settle, Step
from ..ir import Affine, Block, Call, Conv, ConvTranspose, Layer, Module, Norm
from ..network import Network
from ..program import Apply, Assign, Body, Expression, Name, calls, chain, rewritten
from .variants import Part

BN = "bn"  # what is left of a norm behind a gate is called in the gate's block


def folded(network: Network) -> Network:
    """The network without batch norms, and with the steps that fold them."""
    constants = {c.name: c.value for c in (*network.constants, *network.more_constants)}
    fold = _Folding(constants)
    stem = fold.part(fold.rescaled(network.stem), STEM)
    head = fold.part(network.head, HEAD)
    blocks = fold.gates(tuple(fold.part(block, block.name) for block in network.blocks))
    modules = tuple(fold.module(module) for module in network.modules)
    return replace(
        network,
        stem=stem,
        head=head,
        blocks=blocks,
        modules=modules,
        steps=(*network.steps, *fold.steps),
    )


@dataclass
class _Folding:
    constants: Mapping[str, object]
    steps: list[Step] = field(default_factory=list)
    gated: set[str] = field(default_factory=set)  # blocks that take the norm behind them

    def module(self, module: Module) -> Module:
        blocks = tuple(self.part(block, block.name) for block in module.blocks)
        return replace(module, blocks=self.gates(blocks))

    def gates(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """The blocks, the gates among them with what is left of the norm behind them."""
        return tuple(_with_affine(b) if b.name in self.gated else b for b in blocks)

    def part(self, part: Part, owner: str) -> Part:
        """The block or fragment without batch norms."""
        layers = {layer.name: layer for layer in part.layers}

        def change(node: Expression) -> Expression:
            norm = layers.get(node.function) if isinstance(node, Apply) else None
            if not isinstance(node, Apply) or not isinstance(norm, Norm) or norm.kind != "batch":
                return node
            (inner,) = node.args
            before = layers.get(inner.function) if isinstance(inner, Apply) else None
            eps = self.eps(norm)
            match before:
                case Conv(when="") | ConvTranspose(when=""):
                    transposed = isinstance(before, ConvTranspose)
                    self.steps.append(Fold(owner, before.name, norm.name, eps, transposed))
                    layers[before.name] = replace(before, bias=True)
                    del layers[norm.name]
                    return inner
                case Call(block=SQUEEZE_EXCITE.name):
                    self.steps.append(Settle(owner, norm.name, eps, f"{before.name}.{BN}"))
                    self.gated.add(before.block)
                    del layers[norm.name]
                    return inner
                case _:
                    self.steps.append(Settle(owner, norm.name, eps, norm.name))
                    layers[norm.name] = Affine(norm.name, norm.channels)
                    return node

        body = rewritten(part.body, change)
        kept: list[Layer] = [layers[x.name] for x in part.layers if x.name in layers]
        return replace(part, layers=tuple(kept), body=body)

    def rescaled(self, part: Part) -> Part:
        """The stem without the division of the image, which its first convolution takes over."""
        first = next((x for x in part.layers if isinstance(x, Conv)), None)
        if first is None or Assign("x", chain("rescale")) not in part.body:
            return part
        self.steps.append(Rescale(STEM, first.name, 1 / 255))
        body: Body = tuple(s for s in part.body if s != Assign("x", chain("rescale")))
        return replace(part, body=body)

    def eps(self, norm: Norm) -> float:
        value = self.constants[norm.eps] if isinstance(norm.eps, str) else norm.eps
        assert isinstance(value, float | int)
        return float(value)


def _with_affine(block: Block) -> Block:
    """The gate with a scale and a shift: `x * gate` becomes `bn(x, gate)`."""

    def change(node: Expression) -> Expression:
        match node:
            case Apply("multiply", (Name("x") as x, Name("gate") as gate)):
                return Apply(BN, (x, gate))
            case _:
                return node

    body = rewritten(block.body, change)
    assert any(call.function == BN for call in calls(body)), "the gate is not applied as x * gate"
    layers = (*block.layers, Affine(BN, "channels", gated=True))
    return replace(
        block, layers=layers, body=body, additions=(*block.additions, "the norm after it")
    )
