"""Ledger -> Graph: what is drawn as a box, and which boxes feed it.

Layers become boxes. Operations without weights become part of an arrow, of the box that they feed,
or a sign where several arrows meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..ir import AUX_HEADS, Shape
from ..model import Features
from ..network import Network
from ..passes.rows import At, Row, path_of
from ..passes.steps import Step
from ..passes.trace import Ledger
from ..passes.wires import Tensor, Wire
from .kinds import Kind, detail_of, grows, kind_of, reads

SUMS = {"add": "+", "total": "+", "multiply": "×"}  # operations that always have a sign
SIGNS = {**SUMS, "concat": "c"}
PRODUCT = "×"  # of queries and tokens, in what form ever


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow from the box `source`, perhaps `grown` on its way, or `cropped`.

    Upsampling that is learned has the `paths` of its layers.
    """

    source: int
    grown: bool = False
    paths: tuple[str, ...] = ()
    cropped: bool = False

    def after(self, inner: Link) -> Link:
        """This link behind another one, as one."""
        grown, cropped = inner.grown or self.grown, inner.cropped or self.cropped
        return Link(inner.source, grown, (*inner.paths, *self.paths), cropped)


@dataclass(frozen=True, slots=True)
class Node:
    """A box: what it is, the paths of the ledger that it stands for, and what feeds it.

    `detail` names its layer or block, of which it has `count` in a row. `sign` is that of a join,
    and `joins` says how its inputs come together where a join before it is part of it.
    """

    kind: Kind
    name: str
    shape: Shape
    inputs: tuple[Link, ...] = ()
    paths: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    detail: str = ""
    count: int = 1
    level: str = ""
    sign: str = ""
    joins: str = ""
    at: At = ()

    @property
    def sizes(self) -> Shape:
        return self.shape[1:]


@dataclass(frozen=True, slots=True)
class Graph:
    """The boxes by number, each after those that feed it, and which of them are outputs."""

    nodes: dict[int, Node]
    outputs: frozenset[int]

    @property
    def links(self) -> Iterator[tuple[Link, int]]:
        """Every arrow, and the box where it ends."""
        for key, node in self.nodes.items():
            for link in node.inputs:
                yield link, key


def graph_of(network: Network, ledger: Ledger) -> Graph:
    """The graph of a network."""
    builder = _Builder(network, ledger)
    builder.encoder()
    aux = iter(ledger.aux)
    for wire in ledger.flow.wires:
        if wire.layer is not None and wire.at[0] == AUX_HEADS:
            builder.aux(wire, next(aux))
        elif wire.layer is not None:
            builder.layer(wire)
        else:
            builder.operation(wire)
    nodes = builder.shared()
    outputs = builder.end(nodes)
    nodes = _without(nodes, _absorbed_ups(nodes, outputs))
    nodes = _without(nodes, _absorbed_joins(nodes, outputs))
    return Graph(nodes, frozenset(outputs))


class _Builder:
    """Collects the nodes, and which of them made each tensor."""

    def __init__(self, network: Network, ledger: Ledger):
        self.network, self.ledger = network, ledger
        self.nodes: dict[int, Node] = {}
        self.made: dict[Tensor, Link] = {}
        self.blocks = network.all_blocks
        self.singles = {
            (module.path, each.name): each.one
            for module in network.modules
            for each in module.layers
        }

    def add(self, node: Node) -> Link:
        self.nodes[len(self.nodes)] = node
        return Link(len(self.nodes) - 1)

    def encoder(self) -> None:
        """The image, the stem and the stages."""
        ledger, stages = self.ledger, iter(self.network.model.trunk.stages)
        link = self.add(Node("image", "image", self.network.model.image))
        self.made[ledger.flow.image] = link
        levels = {id(step): name for name, step in ledger.level_steps.items()}
        tensors = dict(zip(ledger.levels, ledger.flow.levels, strict=True))
        for step in ledger.encoder:
            level = levels.get(id(step), "")
            first = step.rows[0].at[:3]
            stage = next(stages) if first[1] == "stages" else None
            node = Node(
                "encoder",
                step.name,
                step.output,
                (link,),
                (path_of(first),) if stage else tuple(row.path for row in step.rows),
                step.rows,
                self.network.residual.name if stage else "",
                stage.depth if stage else 1,
                level,
            )
            link = self.add(node)
            if level:
                self.made[tensors[level]] = link

    def operation(self, wire: Wire) -> None:
        links = tuple(self.made[x] for x in wire.inputs)
        if len(links) > 1:
            sign = SIGNS.get(wire.function, PRODUCT)
            links = (self.add(Node("join", wire.function, wire.output.shape, links, sign=sign)),)
        (link,) = links
        before, after = wire.inputs[0].shape, wire.output.shape
        grown, cropped = link.grown or grows(before, after), link.cropped or grows(after, before)
        self.made[wire.output] = replace(link, grown=grown, cropped=cropped)

    def layer(self, wire: Wire) -> None:
        links = tuple(self.made[wire.inputs[i]] for i in reads(wire, self.blocks))
        node = Node(
            kind_of(wire, self.blocks),
            self.name(wire.at),
            wire.output.shape,
            links,
            (path_of(wire.at),),
            wire.rows,
            detail_of(wire),
            at=wire.at,
        )
        self.made[wire.output] = self.add(node)

    def name(self, at: At) -> str:
        """What a layer is called: its own name, that of one of several, and the turns of loops."""
        path, *rest = at
        names = [part for part in rest if isinstance(part, str)] or [str(path)]
        turns = ".".join(str(part) for part in rest if isinstance(part, int))
        single = self.singles.get((str(path), names[0])) if turns else ""
        return f"{single or names[0]} {turns}".strip()

    def aux(self, wire: Wire, step: Step) -> None:
        """The head of a coarser stage."""
        links = tuple(self.made[x] for x in wire.inputs)
        paths = tuple(row.path for row in step.rows)
        head = self.network.aux_head
        when = "in training only" if head and head.used else "for its weights only"
        detail = f"{detail_of(wire)}, {when}"
        node = Node("head", step.name, wire.output.shape, links, paths, step.rows, detail)
        self.made[wire.output] = self.add(node)

    def shared(self) -> dict[int, Node]:
        """Equal layers that feed nothing but each other, one after the other, as one box."""
        consumers = consumers_of(self.nodes)
        found = dict(self.nodes)
        for key, node in self.nodes.items():
            if len(node.inputs) != 1 or not node.at:
                continue
            (link,) = node.inputs
            before = found[link.source]
            at = before.at if before.count > 1 else before.at[:-1]
            same = (at, before.shape, before.detail) == (node.at[:-1], node.shape, node.detail)
            if same and not link.grown and consumers[link.source] == [key]:
                del found[link.source]
                found[key] = replace(
                    node,
                    name=self.name(at),
                    inputs=before.inputs,
                    paths=(*before.paths, *node.paths),
                    rows=(*before.rows, *node.rows),
                    count=before.count + 1,
                    at=at,
                )
        return self.numbered(found)

    def numbered(self, nodes: dict[int, Node]) -> dict[int, Node]:
        """The nodes without the last number of their names where the others tell them apart."""
        turns: dict[At, set[At]] = {}
        for node in nodes.values():
            if len(node.at) > 3 and isinstance(node.at[-2], int):
                turns.setdefault(node.at[:2], set()).add(node.at)
        single = {
            role for role, places in turns.items() if len({x[:-1] for x in places}) == len(places)
        }
        return {
            key: (
                replace(node, name=self.name(node.at[:-1]))
                if node.at[:2] in single and node.at in turns[node.at[:2]]
                else node
            )
            for key, node in nodes.items()
        }

    def end(self, nodes: dict[int, Node]) -> set[int]:
        """The outputs, with a box for what has no layer of its own."""
        if self.network.model.head == Features():
            return {key for key, node in nodes.items() if node.level}
        output = self.ledger.flow.output
        link = self.made[output]
        if nodes[link.source].shape != output.shape:
            name = "features" if isinstance(self.network.model.head, Features) else "logits"
            key = max(nodes) + 1
            nodes[key] = Node("output", name, output.shape, (link,))
            return {key}
        return {link.source}


# -- fewer boxes -----------------------------------------------------------------------------------


def consumers_of(nodes: dict[int, Node]) -> dict[int, list[int]]:
    """Which boxes each box feeds."""
    found: dict[int, list[int]] = {key: [] for key in nodes}
    for key, node in nodes.items():
        for link in node.inputs:
            found[link.source].append(key)
    return found


def _absorbed_ups(nodes: dict[int, Node], outputs: Iterable[int]) -> set[int]:
    """Layers that upsample for nothing but a concatenation: they are the arrow to it."""

    def absorbed(node: Node, consumer: Node, link: Link) -> bool:
        return node.kind == "up" and len(node.inputs) == 1 and consumer.name == "concat"

    return _only_for(nodes, absorbed, outputs)


def _absorbed_joins(nodes: dict[int, Node], outputs: Iterable[int]) -> set[int]:
    """Joins that stand for nothing but the inputs of the box behind them."""

    def absorbed(node: Node, consumer: Node, link: Link) -> bool:
        tokens = len(node.shape) == len(consumer.shape) == 2
        same = tokens or node.sizes == consumer.sizes
        joins = node.kind == "join" and node.name not in SUMS
        return joins and same and not link.grown

    return _only_for(nodes, absorbed, outputs)


def _only_for(
    nodes: dict[int, Node], absorbed: Callable[[Node, Node, Link], bool], outputs: Iterable[int]
) -> set[int]:
    """The boxes that feed a single one and are absorbed by it."""
    consumers = consumers_of(nodes)
    found = set()
    for link, key in Graph(nodes, frozenset()).links:
        alone = consumers[link.source] == [key] and link.source not in {*outputs}
        if alone and absorbed(nodes[link.source], nodes[key], link):
            found.add(link.source)
    return found


def _without(nodes: dict[int, Node], gone: set[int]) -> dict[int, Node]:
    """The nodes without those which become part of arrows."""

    def expanded(link: Link) -> Iterator[Link]:
        node = nodes[link.source]
        if link.source not in gone:
            yield link
            return
        own = replace(link, grown=link.grown or node.kind == "up", paths=(*node.paths, *link.paths))
        for inner in node.inputs:
            yield from expanded(own.after(inner))

    def distinct(links: Sequence[Link]) -> tuple[Link, ...]:
        found: dict[int, Link] = {}
        for link in links:
            for each in expanded(link):
                found.setdefault(each.source, each)
        return tuple(found.values())

    def joins(node: Node) -> str:
        inner = (nodes[link.source] for link in node.inputs if link.source in gone)
        return next((each.joins or each.name for each in inner if each.kind == "join"), node.joins)

    return {
        key: replace(node, inputs=distinct(node.inputs), joins=joins(node))
        for key, node in nodes.items()
        if key not in gone
    }
