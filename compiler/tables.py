"""Tables for people. The only importer of rich."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .api import traced
from .catalog import ENCODERS
from .dialects import dialects_of, on_other_axes, reference_of
from .errors import escaped
from .model import Encoder, Model, Segmentor
from .options import COMPAT
from .passes.cost import Cost
from .passes.count import macs, non_trainable, parts, trainable
from .passes.fitting import Fits
from .passes.lint import Note
from .passes.trace import Ledger
from .segmentors import SEGMENTORS
from .segmentors.base import TableRow

Item = TypeVar("Item")
PIPE_WIDTH = 160


def console(error: bool = False) -> Console:
    """A console that keeps tables wide if its output is not a terminal."""
    made = Console(stderr=error, highlight=False, emoji=False)
    if made.is_terminal:
        return made
    return Console(stderr=error, width=PIPE_WIDTH, highlight=False, emoji=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. Columns marked > are right-aligned; those marked ~ may wrap."""
    table = Table(title=Text(escaped(title)), title_justify="left")
    for column in columns:
        right, wraps = column.startswith(">"), column.startswith("~")
        table.add_column(
            column.lstrip(">~"), justify="right" if right else "left", no_wrap=not wraps
        )
    for row in rows:
        table.add_row(*(Text(escaped(cell, kept="\n")) for cell in row))
    console().print(table)


def blocks_of(encoder: Encoder) -> str:
    """The kind of block as the catalog lists it: `bottleneck 32x4d, SE`."""
    words = encoder.block.replace("_", " ")
    if encoder.pre_activation:
        words += " v2"
    if encoder.groups > 1:
        words += f" {encoder.groups}x{encoder.width_per_group}d"
    return f"{words}, SE" if encoder.se else words


def catalog_rows(family: str | None) -> list[dict[str, object]]:
    """One dict per encoder, as `list --json` prints them."""
    from .passes.validate import resolve

    rows: list[dict[str, object]] = []
    for encoder in ENCODERS.values():
        if family in (None, encoder.family):
            counts = {}
            for dims in (2, 3):
                _, ledger = traced(resolve(encoder, {"dims": dims}))
                counts[f"{dims}d"] = trainable(ledger.rows)
            rows.append(
                {
                    "model": encoder.name,
                    "family": encoder.family,
                    "title": encoder.title,
                    "depths": list(encoder.depths),
                    "block": blocks_of(encoder),
                    "se": encoder.se is not None,
                    "parameters": counts,
                    "segmentors": [
                        name
                        for name, row in SEGMENTORS.items()
                        if encoder.units or not row.head.exact
                    ],
                    "dialects": list(dialects_of(encoder)),
                    "references": {d: reference_of(encoder, d) for d in dialects_of(encoder)},
                }
            )
    return rows


def print_catalog(rows: Iterable[dict[str, object]]) -> None:
    """Print the catalog as a table."""
    print_table(
        "Encoders; parameters as classifiers with 1000 classes in 2D, 3 in 3D;"
        " nnU-Net's with its decoder, for one class",
        ("family", "model", "depths", "blocks", ">2D", ">3D", "~dialects"),
        (
            (
                str(row["family"]),
                str(row["model"]),
                "-".join(map(str, row["depths"])),  # type: ignore[call-overload]
                str(row["block"]),
                *(f"{count:,}" for count in row["parameters"].values()),  # type: ignore[attr-defined]
                ", ".join(row["dialects"]),  # type: ignore[arg-type]
            )
            for row in rows
        ),
    )
    own = [name for name, row in SEGMENTORS.items() if row.head.exact]
    every = [name for name in SEGMENTORS if name not in own]
    console().print(f"Segmentors for every encoder: {', '.join(every)}.", markup=False)
    console().print(f"For nnU-Net's encoders alone: {', '.join(own)}.", markup=False)


def print_description(model: Model, ledger: Ledger, rows: Sequence[TableRow]) -> None:
    """Print each step of the network: output shape, parameters and MACs."""
    total = trainable(ledger.rows)
    total_macs = macs(ledger.rows)
    levels = {row.label: row.level for row in rows}
    table = [
        (
            part.name,
            levels.get(part.name, ""),
            _shape(part.output),
            f"{part.parameters:,}",
            _share(part.parameters, total),
            f"{part.macs:,}",
            _share(part.macs, total_macs),
        )
        for part in parts(ledger)
    ]
    print_table(
        f"{model.title}, {model.dims}D, input {sizes(model.input_shape)}",
        ("step", "level", "output", ">parameters", ">share", ">MACs", ">share"),
        table,
    )
    fixed = non_trainable(ledger.rows)
    console().print(
        f"{total:,} parameters, and {fixed:,} moving statistics; {total_macs:,} MACs per item.",
        markup=False,
    )
    if other := on_other_axes(model.trunk, model.encoder.dialect):
        console().print(other, markup=False, soft_wrap=True)
    if isinstance(model.head, Segmentor) and model.head.name in COMPAT:
        follows = model.compat or "plainnet (--compat medicai follows medicai)"
        console().print(
            f"Where the decoders of plainnet and medicai differ, this one follows {follows}.",
            markup=False,
            soft_wrap=True,
        )


def print_cost(cost: Cost) -> None:
    """Print the memory that a network takes, by its parts and by the steps that save it."""
    setting = f"a batch of {cost.batch}, {cost.precision}"
    if cost.training:
        print_table(
            f"Saved for the backward pass of {setting}",
            ("step", "output", ">saved", ">share"),
            (
                (step.name, _shape(step.output), memory(step.saved), _share(step.saved, cost.saved))
                for step in cost.steps
            ),
        )
    print_table(
        f"Memory of the PyTorch file for {setting}, without the workspace of kernels",
        ("part", ">bytes", ">"),
        (
            (name, f"{size:,}", memory(size))
            for name, size in (
                ("weights and statistics", cost.weights),
                ("gradients of weights", cost.gradients),
                (f"state of {cost.optimizer}", cost.optimizer_state),
                ("saved for the backward pass", cost.saved),
                ("tensors at the peak of training", cost.activations),
                ("training, at its peak", cost.training),
                ("inference, at its peak", cost.inference),
            )
            if size  # an inference file is not trained
        ),
    )


def print_fits(model: Model, fits: Fits) -> None:
    """Print what fits: a row for each choice, and the next larger one that does not."""
    for name, fields, found in (
        (f"Training with {fits.optimizer}", TRAINING, fits.training),
        ("Inference", INFERENCE, fits.inference),
    ):
        choices = [(choice, fit) for fit in found for choice in (fit.largest, fit.next) if choice]
        if choices:
            print_table(
                f"{name} in {memory(fits.memory)}, {fits.precision}:"
                f" {model.title}, {model.dims}D",
                (">batch", "patch", *(f">{part}" for part in fields), ">total", ""),
                (
                    (
                        str(choice.batch),
                        sizes(choice.patch),
                        *(memory(getattr(choice, field)) for field in fields.values()),
                        memory(choice.total),
                        "fits" if choice is fit.largest else "does not fit",
                    )
                    for choice, fit in choices
                ),
            )
    console().print(f"Patches are multiples of {sizes(fits.divisors)}.", markup=False)
    print_notes(fits.notes)


def print_notes(notes: Iterable[Note]) -> None:
    """Print advice, a line for each."""
    for note in notes:
        word = "Warning" if note.kind == "warning" else "Advice"
        console().print(f"{word}: {note}", markup=False, soft_wrap=True)


INFERENCE = {"weights": "weights", "tensors": "tensors", "margin": "margin"}
TRAINING = {
    "weights": "weights",
    "gradients": "gradients",
    "state": "optimizer_state",
    "saved": "saved",
    "other tensors": "other_tensors",
    "margin": "margin",
}


def memory(size: int) -> str:
    """Bytes as people write them: `1.5 GiB`."""
    power = max(0, min(3, (size.bit_length() - 1) // 10))
    unit = ("B", "KiB", "MiB", "GiB")[power]
    return f"{size / 2 ** (10 * power):,.{0 if power == 0 else 1}f} {unit}"


def sizes(shape: Sequence[int]) -> str:
    """Sizes as people write them: `224 x 224 x 3`."""
    return " x ".join(map(str, shape))


def _shape(shape: Sequence[int]) -> str:
    return sizes((*shape[1:], shape[0]))


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.1f} %" if total else "-"


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield the items, with a progress bar if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(error=True), transient=True) as bar:
        yield from bar.track(items, description=what)
