"""`verify`: whether the two files of a network hold the same network, or where they diverge."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..api import traced
from ..errors import CompileError
from ..model import Model
from ..passes.count import non_trainable, trainable
from ..passes.rows import NOT_TRAINED
from ..passes.trace import Ledger
from ..segmentors.nnunet import with_called_heads
from ..targets.runtime import Runtime, runnable, runtime_of
from .conditioning import amplifies, batch_of, check_size
from .divergence import name_first, name_first_weight, name_last, spell
from .joint import changes
from .loading import Source
from .parity import difference, image, ledger_shapes, mismatches, random_values
from .report import FLOOR, Quantity, Report
from .settings import Settings

Both: TypeAlias = "tuple[tuple[Runtime, Any], tuple[Runtime, Any]]"  # each with its network


def compile_pair(model: Model) -> tuple[Source, ...]:
    """A model in the targets that are compared, as `emit` writes them."""
    from ..emitter import as_it_can, source

    return tuple(Source(source(as_it_can(model, name), name), target=name) for name in compared())


def compared() -> tuple[str, str]:
    """The targets that are compared unless files say others: the first two that run."""
    first, second, *_ = runnable()
    return first, second


@dataclass(frozen=True)
class Sides:
    """The targets of the two files: ours is what theirs is compared with."""

    ours: Runtime
    theirs: Runtime


def _sides(files: Sequence[Source] | None) -> Sides:
    """The targets of the files, which both run."""
    usual = compared()
    named = [file.target or name for file, name in zip(files, usual)] if files else usual
    ours, theirs = map(runtime_of, named)
    assert ours and theirs
    return Sides(ours, theirs)


def verify(
    model: Model,
    settings: Settings,
    files: tuple[Source, ...] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Report:
    """Run the torch and the Keras file of a model, or compile them now, and compare the numbers.

    Of a model that is compiled now, heads that are there for their weights only are called too.
    `model` has the size of the comparison already. An exception in a file is reported as a failure;
    `notify` is called with each step. Raises `CompileError` if a framework is missing, or the size
    is too small to judge.
    """
    check_size(model)
    model = model if files else with_called_heads(model)
    sides = _sides(files)
    for runtime in (sides.ours, sides.theirs):
        runtime.prepare(settings.backend)
    report = Report(model, settings, notify=notify)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a file's prints are not part of the report
            _verify(report, sides, files)
    except (CompileError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a file may raise anything
        words = str(error).strip().splitlines()
        message = f": {words[0]}" if words else ""
        report.error = f"{report.doing}: {type(error).__name__}{message}"
    finally:
        for runtime in (sides.ours, sides.theirs):
            runtime.release()
        gc.collect()
    return report


def _verify(report: Report, sides: Sides, files: tuple[Source, ...] | None) -> None:
    model = report.model
    ours, theirs = sides.ours, sides.theirs
    report.begin("compiling")
    _, ledger = traced(model)
    our_source, their_source = files or compile_pair(model)
    with ours.computing("float64"), theirs.computing("float64"):
        report.begin(f"building in {ours.label}")
        our_network = ours.build(our_source, model, "float64")
        report.begin(f"building in {theirs.label}")
        their_network = theirs.build(their_source, model, "float64")
        report.begin("matching weights")
        note = ""
        if files:
            emitted, ledger = ledger, theirs.common(their_network, ledger, our_network)
            note = changes(emitted, ledger)
        both = ((ours, our_network), (theirs, their_network))
        if not _match(report, both, ledger, note):
            return
        _same_weights(report, both, ledger)
        if files:
            report.begin(f"running {ours.label}")
            ledger = ours.observed(our_network, ledger, model.input_shape)
        report.batch, report.amplifies = batch_of(ledger), amplifies(ledger)
        x = image(model.input_shape, report.batch, report.settings.seed + 1)
        _in_float64(report, ledger, both, x)
        del both, our_network, their_network
    gc.collect()
    _in_float32(report, ledger, sides, (our_source, their_source), x)


def _same_weights(report: Report, both: Both, ledger: Ledger) -> None:
    (ours, our_network), (theirs, their_network) = both
    values = random_values(ledger_shapes(ledger), report.settings.seed)
    ours.assign(our_network, ledger, dict(values))
    theirs.assign(their_network, ledger, ours.values(our_network, ledger))


def _in_float64(report: Report, ledger: Ledger, both: Both, x: Any) -> None:
    """Outputs row by row, gradients, a training step."""
    (ours, our_network), (theirs, their_network) = both
    report.begin(f"running {ours.label}")
    our_run = ours.run(our_network, ledger.rows, x)
    report.begin(f"running {theirs.label}")
    their_run = theirs.run(their_network, ledger.rows, x)
    report.begin("comparing outputs")
    _outputs(report, ledger, our_run, their_run, "float64")
    name_first(report, ledger, our_run, their_run)
    del our_run.rows, their_run.rows
    _gradients(report, ledger, both, x)


def _match(report: Report, both: Both, ledger: Ledger, edited: str) -> bool:
    """Whether weights have the same names and shapes in both, and parameters the same count."""
    problems = mismatches(both, ledger)
    count = sum(len(row.weights) for row in ledger.rows)
    note = problems[0].message if problems else f"{count} matched one to one, none left over"
    if len(problems) > 1:
        note += f"; and {len(problems) - 1} more"
    elif edited and not problems:
        note += f"; {edited}"
    report.quantities.append(Quantity("weights", note=note, failed=bool(problems)))
    if problems:
        report.blame(problems[0].row, problems[0].message)
    statistics = non_trainable(ledger.rows)
    wanted = trainable(ledger.rows)
    counts = {runtime.name: runtime.parameters(network, ledger) for runtime, network in both}
    failed = any(count != wanted for count in counts.values())
    note = f"{wanted:,}, and {statistics:,} moving statistics"
    if failed:
        note = f"{wanted:,} in the ledger, " + ", ".join(f"{n:,} in {f}" for f, n in counts.items())
        report.blame("", f"parameters: {note}")
    report.quantities.append(Quantity("parameters", note=note, failed=failed))
    return not problems


def stage_rows(ledger: Ledger) -> dict[str, tuple[str, int]]:
    """Where each decoder stage is seen: the row, and 0 for its input or 1 for its output."""
    return {step.name: step.seen for step in ledger.stages}


def _outputs(report: Report, ledger: Ledger, ours: Any, theirs: Any, dtype: str) -> None:
    """Every level, decoder stage and the output."""
    if list(ours.levels) != list(theirs.levels) or list(ours.levels) != list(dict(ledger.pyramid)):
        raise ValueError(f"levels {list(ours.levels)} in torch, {list(theirs.levels)} in keras")
    for level, shape in ledger.pyramid:
        _measure(report, level, shape, theirs.levels[level], ours.levels[level], dtype)
    for (stage, shape), (path, end) in zip(ledger.decoder, stage_rows(ledger).values()):
        name = f"decoder {stage}"
        if path in ours.rows and path in theirs.rows:
            a, b = theirs.rows[path][-1][end], ours.rows[path][-1][end]
            _measure(report, name, shape, a, b, dtype)
        elif dtype == "float64":
            note = f"not seen: {path} is not called as a layer"
            report.quantities.append(Quantity(name, _last(shape), note=note))
    _measure(report, "output", ledger.output, theirs.output, ours.output, dtype)
    if with_called_heads(report.model) != report.model:  # of files: Keras calls them, PyTorch not
        theirs.aux = theirs.aux[: len(ours.aux)]
    if not len(ours.aux) == len(theirs.aux) == len(ledger.aux):
        found = f"{len(ours.aux)} in torch, {len(theirs.aux)} in keras, {len(ledger.aux)} expected"
        raise ValueError(f"outputs of auxiliary heads: {found}")
    for step, a, b in zip(ledger.aux, theirs.aux, ours.aux):
        _measure(report, f"output {step.name}", step.output, a, b, dtype)


def _measure(report: Report, name: str, shape: tuple[int, ...], a: Any, b: Any, dtype: str) -> None:
    quantity = next((q for q in report.quantities if q.name == name), None)
    if quantity is None:
        quantity = Quantity(name, _last(b.shape[1:]))
        report.quantities.append(quantity)
    if a.shape != b.shape:
        quantity.note, quantity.failed = f"shapes {b.shape} in torch, {a.shape} in keras", True
    elif len(shape) > 1 and name.startswith(("P", "output")) and b.shape[1:] != shape:
        quantity.note, quantity.failed = f"{b.shape[1:]} in torch, in the ledger {shape}", True
    else:
        setattr(quantity, dtype, difference(a, b))
        if dtype == "float64" and report.amplifies:
            report.exact[name] = a, b
        elif dtype == "float32" and name in report.exact:
            pairs = zip((a, b), report.exact[name])
            quantity.rounding = min(difference(single, exact) for single, exact in pairs)
            if quantity.float32 is not None and quantity.float32 > report.settings.tolerance:
                quantity.note = f"float32 itself is off by {quantity.rounding:.1e}"


def _last(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[1:], shape[0])


def _gradients(report: Report, ledger: Ledger, both: Both, x: Any) -> None:
    """By the image and by each weight, in evaluation mode; then a step of training."""
    (ours, our_network), (theirs, their_network) = both
    cotangents = [
        image(shape, report.batch, report.settings.seed + 2 + i)
        for i, shape in enumerate([ledger.output, *(step.output for step in ledger.aux)])
    ]
    report.begin(f"differentiating in {ours.label}")
    our_gradients = ours.gradients(our_network, ledger, x, cotangents)
    report.begin(f"differentiating in {theirs.label}")
    their_gradients = theirs.gradients(their_network, ledger, x, cotangents)
    report.begin("comparing gradients")
    value = difference(their_gradients.image, our_gradients.image)
    report.quantities.append(Quantity("gradient of the image", float64=value))
    report.gradients = _differences(their_gradients.weights, our_gradients.weights)
    _worst(report, "gradients of the weights", report.gradients)
    name_last(report, ledger, report.gradients, "its gradient")
    del our_gradients, their_gradients  # each copy of the largest networks is a gigabyte
    report.begin(f"a training step in {ours.label}")
    stepped, rate = ours.train(our_network, ledger, x, cotangents, None)
    report.begin(f"a training step in {theirs.label}")
    their_steps, _ = theirs.train(their_network, ledger, x, cotangents, rate)
    report.begin("comparing the training step")
    _step(report, ledger, stepped, their_steps)


def _step(report: Report, ledger: Ledger, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Changes of weights against the largest change of any; statistics each against its own."""
    fixed = [name for name in theirs if name.rpartition(".")[2] in NOT_TRAINED]
    moved = [name for name in theirs if name not in set(fixed)]
    weights = _differences({n: theirs[n] for n in moved}, {n: ours[n] for n in moved})
    statistics = {name: difference(theirs[name], ours[name]) for name in fixed}
    report.step = {name: {**weights, **statistics}[name] for name in theirs}
    if statistics:
        _worst(report, "statistics after a step", statistics)
        name_first_weight(report, ledger, statistics)
    _worst(report, "weights after a step", weights)
    name_last(report, ledger, weights, "its change in a training step")


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Per weight; a gradient that does not exist is zero."""
    import numpy as np

    sizes = [float(np.abs(value).max()) for value in ours.values() if value is not None]
    floor = FLOOR * max(sizes, default=0.0)
    result = {}
    for name, b in ours.items():
        a = theirs[name]
        if a is None and b is None:
            result[name] = 0.0
            continue
        a, b = np.zeros_like(b) if a is None else a, np.zeros_like(a) if b is None else b
        result[name] = difference(a, b, floor)
    return result


def _worst(report: Report, name: str, differences: dict[str, float]) -> None:
    worst = max(
        differences, key=lambda n: math.inf if math.isnan(differences[n]) else differences[n]
    )
    note = f"{len(differences)}, most at {worst}"
    report.quantities.append(Quantity(name, float64=differences[worst], note=note))


def _in_float32(
    report: Report, ledger: Ledger, sides: Sides, sources: tuple[Source, Source], x: Any
) -> None:
    """The outputs once more, as people run them."""
    both = []
    for runtime, source in zip((sides.ours, sides.theirs), sources):
        report.begin(f"building in {runtime.label}, in float32")
        with runtime.computing("float32"):
            both.append((runtime, runtime.build(source, report.model, "float32")))
    _same_weights(report, (both[0], both[1]), ledger)
    stages = {path for path, _ in stage_rows(ledger).values()}
    rows = [row for row in ledger.rows if row.path in stages]
    runs = []
    for runtime, network in both:
        report.begin(f"running {runtime.label} in float32")
        runs.append(runtime.run(network, rows, x))
    report.begin("comparing outputs in float32")
    _outputs(report, ledger, runs[0], runs[1], "float32")
    for quantity in report.quantities:
        if not report.ok(quantity):
            report.blame("", f"{quantity.name} differs in float32 ({spell(quantity)})")
