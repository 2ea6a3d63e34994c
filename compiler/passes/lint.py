"""Advice about a network, with figures: never an error, and often a matter of taste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ..model import RANK_NAMES, UNITS, Model, Segmentor
from ..network import Network
from ..segmentors.trans_head import TransUNet
from .advice import advice
from .count import Part, macs, parts
from .fields import receptive_field
from .specialize import specialize
from .trace import Ledger, trace

KINDS = ("warning", "share", "sizes", "decoder", "field")
MOST = 0.5  # the share of all from which a step is said to have most


@dataclass(frozen=True)
class Note:
    """A piece of advice, or a warning: what is the case, with figures, and what one may do.

    `kind` is one of `KINDS`, and `steps` are the steps of `show` that it is about.
    """

    kind: str
    message: str
    hint: str = ""
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def described(self) -> dict[str, object]:
        """The note as JSON has it."""
        return asdict(self) | {"steps": list(self.steps)}


def notes_of(model: Model) -> tuple[Note, ...]:
    """Warnings and advice about a model at the size of its image."""
    network = specialize(model)
    ledger = trace(network)
    return (*(Note("warning", message) for message in advice(model)), *hints_of(network, ledger))


def hints_of(network: Network, ledger: Ledger) -> tuple[Note, ...]:
    """Advice alone, without the warnings that commands print on their own."""
    model = network.model
    return (
        *_shares(model, ledger),
        *_sizes(model, ledger),
        *_decoder(model, ledger),
        *_field(network, ledger),
    )


def _shares(model: Model, ledger: Ledger) -> Iterator[Note]:
    """Steps that have most of the parameters or of the MACs."""
    every = parts(ledger)
    for part in every:
        shares = [
            (_share(part.parameters, sum(p.parameters for p in every)), "parameters"),
            (_share(part.macs, sum(p.macs for p in every)), "MACs"),
        ]
        if max(share for share, _ in shares) > MOST:
            of = " and ".join(f"{share:.0%} of the {what}" for share, what in sorted(shares)[::-1])
            yield Note("share", f"{part.name} has {of}.", _without(model, part), (part.name,))


def _share(part: int, total: int) -> float:
    return part / total if total else 0.0


def _without(model: Model, part: Part) -> str:
    """How to do without the deepest stage of an encoder."""
    head = model.head
    deepest = f"stage {len(model.trunk.stages) - 1}"
    if not isinstance(head, Segmentor) or head.exact or part.name != deepest or head.depth < 4:
        return ""
    return f"--encoder-depth {head.depth - 1} leaves it out."


def _sizes(model: Model, ledger: Ledger) -> Iterator[Note]:
    """Sizes of the image that are not multiples of what its levels divide them by."""
    found: dict[tuple[int, int], list[int]] = {}
    for axis, (size, by) in enumerate(zip(model.input_shape, model.divisors[-1])):
        if size % by:
            found.setdefault((size, by), []).append(axis)
    for (size, by), places in found.items():
        sizes = [shape[1 + places[0]] for _, shape in ledger.pyramid]
        names = " and ".join(RANK_NAMES[model.dims][axis] for axis in places)
        verb = "are" if len(places) > 1 else "is"
        levels = ", ".join(map(str, sizes))
        last = ledger.levels[-1]
        near = [n for n in (size // by * by, -(-size // by) * by) if n]
        yield Note(
            "sizes",
            f"{names} {verb} {size}, not a multiple of {by}: the levels have {levels}"
            f" {UNITS[model.dims]}s, and those of {last} cover {sizes[-1] * by}.",
            f"{' or '.join(map(str, near))} would be divided evenly.",
            tuple(ledger.level_steps[level].name for level in ledger.levels),
        )


def _decoder(model: Model, ledger: Ledger) -> Iterator[Note]:
    """Stages of a decoder with more channels than the encoder has at the same size."""
    levels = {shape[1:]: (name, shape[0]) for name, shape in ledger.pyramid[::-1]}
    wider = [
        (step, *levels[step.output[1:]])
        for step in ledger.stages
        if step.output[1:] in levels and step.output[0] > levels[step.output[1:]][1]
    ]
    if not wider:
        return
    each = ", ".join(
        f"{step.name} has {step.output[0]} channels and {level} {channels}"
        for step, level, channels in wider
    )
    share = _share(sum(macs(step.rows) for step in ledger.stages), macs(ledger.rows))
    yield Note(
        "decoder",
        f"The decoder is wider than its encoder: {each}. It has {share:.0%} of the MACs.",
        "",
        tuple(step.name for step, _, _ in wider),
    )


def _field(network: Network, ledger: Ledger) -> Iterator[Note]:
    """A deepest level whose values see less than the image. Attention sees all of it."""
    model = network.model
    if isinstance(model.head, TransUNet):
        return
    fields, sizes = receptive_field(network), model.input_shape[: model.dims]
    short = [
        f"{field} of {size} {UNITS[model.dims]}s along {name}"
        for field, size, name in zip(fields, sizes, RANK_NAMES[model.dims])
        if field < size
    ]
    if short:
        last = ledger.levels[-1]
        yield Note(
            "field",
            f"The receptive field of {last} is smaller than the image: {', '.join(short)}.",
            "Smaller patches, more levels or larger strides would let it see all of one.",
            (ledger.level_steps[last].name,),
        )
