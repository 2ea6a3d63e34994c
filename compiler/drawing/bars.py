"""Ledger -> bars: the parameters and MACs of each step, as shares of the network's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..passes.count import Part, macs, parts, trainable
from ..passes.rows import Row
from ..passes.trace import Ledger
from .fonts import width_of
from .graph import Graph
from .kinds import Kind
from .scene import Area, Bar, Rule, Scene, Text

HEIGHT = 64.0  # of the longest bar
WIDTH = 16.0
APART = 15.0  # between the two bars of a step
NARROWEST = 64.0  # of a step
SIZE = 8.5
TOP = 18.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The parameters and MACs of a network, or the larger of several."""

    parameters: int
    macs: int

    @property
    def written(self) -> tuple[str, str]:
        return f"{rounded(self.parameters)} parameters", f"{rounded(self.macs)} MACs"


@dataclass(frozen=True, slots=True)
class Measures:
    """The scale of bars: networks compared share one, on which `longest` is as long as can be."""

    totals: Totals
    longest: float

    def height(self, values: Sequence[int]) -> tuple[float, float]:
        """How long the two bars of a step are."""
        first, second = self.shares(values)
        return HEIGHT * first / self.longest, HEIGHT * second / self.longest

    def shares(self, values: Sequence[int]) -> tuple[float, float]:
        first, second = values
        return first / max(1, self.totals.parameters), second / max(1, self.totals.macs)


def totals_of(ledger: Ledger) -> Totals:
    return Totals(trainable(ledger.rows), macs(ledger.rows))


def measures_of(ledgers: Iterable[Ledger]) -> Measures:
    """One scale for these networks: shares of the largest of them."""
    found = [(totals_of(ledger), part) for ledger in ledgers for part in parts(ledger)]
    most = Totals(max(t.parameters for t, _ in found), max(t.macs for t, _ in found))
    plain = Measures(most, 1.0)
    longest = max(max(plain.shares(_values(part))) for _, part in found)
    return Measures(most, longest or 1.0)


def bars_of(graph: Graph, ledger: Ledger, width: float, measures: Measures) -> Scene:
    """Two bars for each step, in at least the width that is asked for."""
    steps = [part for part in parts(ledger) if part.parameters or part.macs]
    kinds = _kinds(graph, ledger)
    own = Measures(totals_of(ledger), 1.0)
    cell = max(NARROWEST, *(width_of(step.name, SIZE + 1) + 6 for step in steps))
    width = max(width, cell * len(steps))
    cell = width / max(1, len(steps))
    bottom = TOP + HEIGHT
    bars: list[Bar] = []
    texts: list[Text] = []
    for i, step in enumerate(steps):
        x = (i + 0.5) * cell
        texts.append(Text(x, bottom + 12, step.name, SIZE + 1))
        values = _values(step)
        sides = (x - APART / 2 - WIDTH, x + APART / 2)
        rows = zip(
            sides, ("parameters", "MACs"), values, own.shares(values), measures.height(values)
        )
        for left, measure, value, share, height in rows:
            if not value:
                continue
            title = f"{step.name}: {value:,} {measure}, {percent(share)}"
            area = Area(left, bottom - height, WIDTH, height)
            bars.append(Bar(area, kinds[step.name], measure.lower(), title))
            above = Text(left + WIDTH / 2, bottom - height - 3, percent(share), SIZE, role="muted")
            texts.append(above)
    rule = Rule((0, bottom), (width, bottom))
    return Scene(width, bottom + 16, rules=(rule,), bars=tuple(bars), texts=tuple(texts))


def percent(share: float) -> str:
    """A share as it is written at its bar: `12%`, `0.4%`."""
    value = 100 * share
    if value < 0.05:
        return "<0.1%"
    return f"{value:.0f}%" if value >= 9.95 else f"{value:.1f}%"


def rounded(value: int) -> str:
    """A count with three digits: `27.6 M`."""
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= factor:
            digits = value / factor
            return f"{digits:.{2 if digits < 9.995 else 1 if digits < 99.95 else 0}f} {unit}"
    return str(value)


def _values(step: Part) -> tuple[int, int]:
    return step.parameters, step.macs


def _kinds(graph: Graph, ledger: Ledger) -> dict[str, Kind]:
    """The kind of each step: that of the box with most of its parameters."""
    kinds = {row.path: node.kind for node in graph.nodes.values() for row in node.rows}

    def kind(rows: Sequence[Row]) -> Kind:
        sums: dict[Kind, int] = {}
        for row in rows:
            name = kinds.get(row.path, "decoder")
            sums[name] = sums.get(name, 0) + trainable((row,))
        return max(sums, key=lambda name: sums[name], default="decoder")

    return {step.name: kind(step.rows) for step in ledger.steps}
