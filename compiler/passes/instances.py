"""Where the parts of a network stand: each block, and what stands outside of blocks."""

from __future__ import annotations

from collections.abc import Iterator

from ..deployment import HEAD, STEM
from ..ir import Call
from ..network import Network
from .rows import At
from .trace import Ledger


def instances(network: Network, ledger: Ledger) -> dict[str, tuple[At, ...]]:
    """The places of each part that has weights, by its name, in the order of the ledger."""
    found: dict[str, dict[At, None]] = {}
    for row in ledger.rows:
        for owner, place in owners(network, row.at):
            found.setdefault(owner, {})[place] = None
    return {owner: tuple(places) for owner, places in found.items()}


def owners(network: Network, at: At) -> Iterator[tuple[str, At]]:
    """The parts around a row, the outermost first, and where each of them stands."""
    owner, length = "", 0
    if at[:2] == ("encoder", "stages"):
        owner, length = network.residual.name, 4  # the stage and the block
    elif at[0] == "encoder":
        yield STEM, at[:1]
    elif module := next((m for m in network.modules if m.path == at[0]), None):
        each = next(each for each in module.layers if each.name == at[1])
        if isinstance(each.of, str):
            owner, length = each.of, 2
            while isinstance(at[length], int):  # the turns of the loops
                length += 1
    else:
        yield HEAD, ()
    while owner:
        yield owner, at[:length]
        layers = {layer.name: layer for layer in network.all_blocks[owner].layers}
        layer = layers[str(at[length])]
        owner, length = (layer.block, length + 1) if isinstance(layer, Call) else ("", 0)
