"""`verify`: whether the two files of a network hold the same network, or where they diverge."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..api import traced
from ..errors import CompileError
from ..model import Model
from ..passes.count import non_trainable, trainable
from ..passes.rows import NOT_TRAINED
from ..passes.trace import Ledger
from .conditioning import batch_of, check_size
from .divergence import name_first, name_first_weight, name_last, spell
from .doubles import floating
from .joint import changes, joint_ledger, run_once
from .parity import (
    Source,
    build_keras,
    build_torch,
    copy_to_keras,
    difference,
    image,
    mismatches,
    randomize,
    use_backend,
)
from .report import FLOOR, Quantity, Report, Settings


def compile_pair(model: Model) -> tuple[Source, Source]:
    """Both targets of a model, as `emit` writes them."""
    from ..emitter import source

    return Source(source(model, "torch")), Source(source(model, "keras"))


def verify(
    model: Model,
    settings: Settings,
    files: tuple[Source, Source] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Report:
    """Run the torch and the Keras file of a model, or compile them now, and compare the numbers.

    `model` has the size of the comparison already. An exception in a file is reported as a failure;
    `notify` is called with each step. Raises `CompileError` if a framework is missing, or the size
    is too small to judge.
    """
    check_size(model)
    use_backend(settings.backend)
    report = Report(model, settings, notify=notify)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a file's prints are not part of the report
            _verify(report, files)
    except (CompileError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a file may raise anything
        words = str(error).strip().splitlines()
        message = f": {words[0]}" if words else ""
        report.error = f"{report.doing}: {type(error).__name__}{message}"
    finally:
        import keras

        keras.backend.clear_session()
        gc.collect()
    return report


def _verify(report: Report, files: tuple[Source, Source] | None) -> None:
    model = report.model
    report.begin("compiling")
    _, ledger = traced(model)
    torch_source, keras_source = files or compile_pair(model)
    report.begin("building in torch")
    torch_model = build_torch(torch_source, model).double()
    with floating("float64"):
        report.begin("building in Keras")
        keras_model = build_keras(keras_source, model)
        report.begin("matching weights")
        note = ""
        if files:
            emitted, ledger = ledger, joint_ledger(ledger, torch_model, keras_model)
            note = changes(emitted, ledger)
        if not _match(report, torch_model, keras_model, ledger, note):
            return
        randomize(torch_model, report.settings.seed)
        copy_to_keras(torch_model, keras_model, ledger)
        if files:
            report.begin("running torch")
            ledger = run_once(ledger, torch_model, model.input_shape)
        report.batch = batch_of(ledger)
        x = image(model.input_shape, report.batch, report.settings.seed + 1)
        _in_float64(report, ledger, torch_model, keras_model, x)
        del keras_model
    _in_float32(report, ledger, torch_model, keras_source, x)


def _in_float64(report: Report, ledger: Ledger, torch_model: Any, keras_model: Any, x: Any) -> None:
    """Outputs row by row, gradients, a training step."""
    from .measure import run_keras, run_torch

    report.begin("running torch")
    ours = run_torch(torch_model, ledger.rows, x)
    report.begin("running Keras")
    theirs = run_keras(keras_model, ledger.rows, x)
    report.begin("comparing outputs")
    _outputs(report, ledger, ours, theirs, "float64")
    name_first(report, ledger, ours, theirs)
    del ours.rows, theirs.rows
    _gradients(report, ledger, torch_model, keras_model, x)


def _match(report: Report, torch_model: Any, keras_model: Any, ledger: Ledger, edited: str) -> bool:
    """Whether weights have the same names and shapes in both, and parameters the same count."""
    problems = mismatches(torch_model, keras_model, ledger)
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
    counts = {
        "torch": sum(p.numel() for p in torch_model.parameters()),
        "keras": sum(math.prod(w.shape) for w in keras_model.weights) - statistics,
    }
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
    if not len(ours.aux) == len(theirs.aux) == len(ledger.aux):
        found = f"{len(ours.aux)} in torch, {len(theirs.aux)} in keras, {len(ledger.aux)} expected"
        raise ValueError(f"outputs of auxiliary heads: {found}")
    for step, a, b in zip(ledger.aux, theirs.aux, ours.aux):
        _measure(report, f"output {step.name}", step.output, a, b, dtype)


def _measure(report: Report, name: str, shape: tuple[int, ...], a: Any, b: Any, dtype: str) -> None:
    quantity = next((q for q in report.quantities if q.name == name), None)
    if quantity is None:
        quantity = Quantity(name, _last(shape))
        report.quantities.append(quantity)
    if a.shape != b.shape:
        quantity.note, quantity.failed = f"shapes {b.shape} in torch, {a.shape} in keras", True
    elif len(shape) > 1 and name.startswith(("P", "output")) and b.shape[1:] != shape:
        quantity.note, quantity.failed = f"{b.shape[1:]} in torch, in the ledger {shape}", True
    else:
        setattr(quantity, dtype, difference(a, b))


def _last(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[1:], shape[0])


def _gradients(report: Report, ledger: Ledger, torch_model: Any, keras_model: Any, x: Any) -> None:
    """By the image and by each weight, in evaluation mode; then a step of training."""
    from . import gradients

    cotangents = [
        image(shape, report.batch, report.settings.seed + 2 + i)
        for i, shape in enumerate([ledger.output, *(step.output for step in ledger.aux)])
    ]
    report.begin("differentiating in torch")
    torch_model.eval()
    ours = gradients.torch_gradients(torch_model, ledger, x, cotangents)
    report.begin("differentiating in Keras")
    theirs = gradients.keras_gradients(keras_model, ledger, x, cotangents)[0]
    report.begin("comparing gradients")
    value = difference(theirs.image, ours.image)
    report.quantities.append(Quantity("gradient of the image", float64=value))
    report.gradients = _differences(theirs.weights, ours.weights)
    _worst(report, "gradients of the weights", report.gradients)
    name_last(report, ledger, report.gradients, "its gradient")
    del ours, theirs  # each copy of the largest networks is a gigabyte
    report.begin("a training step in torch")
    momenta = {
        row.path: torch_model.get_submodule(row.path).momentum
        for row in ledger.rows
        if row.kind == "batch_norm"
    }
    before = {
        name: value.numpy().copy()
        for name, value in torch_model.state_dict().items()
        if name.endswith("running_var")
    }
    stepped, rate = gradients.train_torch(torch_model, ledger, x, cotangents)
    report.begin("a training step in Keras")
    keras_steps = gradients.train_keras(keras_model, ledger, x, cotangents, rate)
    report.begin("comparing the training step")
    for row in ledger.rows:
        name = f"{row.path}.running_var"
        if momenta.get(row.path):
            count = report.batch * math.prod(row.output[1:])
            stepped[name] = gradients.biased(stepped[name], before[name], momenta[row.path], count)
    _step(report, ledger, stepped, keras_steps)


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
    report: Report, ledger: Ledger, torch_model: Any, keras_source: Source, x: Any
) -> None:
    """The outputs once more, as people run them."""
    from .measure import run_keras, run_torch

    report.begin("building in Keras, in float32")
    with floating("float32"):
        keras_model = build_keras(keras_source, report.model)
    torch_model.float()
    randomize(torch_model, report.settings.seed)
    copy_to_keras(torch_model, keras_model, ledger)
    stages = {path for path, _ in stage_rows(ledger).values()}
    rows = [row for row in ledger.rows if row.path in stages]
    report.begin("running torch in float32")
    ours = run_torch(torch_model, rows, x)
    report.begin("running Keras in float32")
    theirs = run_keras(keras_model, rows, x)
    report.begin("comparing outputs in float32")
    _outputs(report, ledger, ours, theirs, "float32")
    for quantity in report.quantities:
        if not report.ok(quantity):
            report.blame("", f"{quantity.name} differs in float32 ({spell(quantity)})")
