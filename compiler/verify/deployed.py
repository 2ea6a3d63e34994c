"""`verify --deploy`: whether an inference file computes what the training file of a network does.

Both have the same weights: of a checkpoint, or random ones with random statistics. Those of the
inference file are made as `convert` makes them, but for its rounding.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..api import traced
from ..axes import times
from ..errors import CompileError
from ..model import Model
from ..passes.inference import decided
from ..passes.trace import Ledger
from ..targets.runtime import Runtime, runnable, runtime_of
from ..weights.deployed import check_whole, fold_weights, training_of
from ..weights.formats import open_checkpoint
from ..weights.matching import Adapting, match
from .conditioning import sized
from .loading import Source
from .parity import difference, image, ledger_shapes, mismatches, random_values
from .report import BATCH, Quantity, Report
from .settings import Settings, of_deployed


def sizes_of(model: Model, size: tuple[int, ...] | None, fixed: bool) -> list[tuple[int, ...]]:
    """The image's sizes of a comparison: those asked for, or mixed ones and even ones.

    Where sizes are odd, upsampling is not fused, so both are run. A network with a table of
    positions in a file (`fixed`), or in a checkpoint, has one size.
    """
    first = sized(model, size, fixed=fixed).input_shape[:-1]
    if size or (fixed and any(row.kind == "table" for row in traced(model)[1].rows)):
        return [first]
    even = (-(-n // by) * by for n, by in zip(first, model.divisors[-1], strict=True))
    return list(dict.fromkeys([first, tuple(even)]))


def verify(
    model: Model,
    settings: Settings,
    files: tuple[Source, Source] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Report:
    """Run the training file and the inference file of a model, and compare every level and output.

    `model` is that of the inference file. `files` are the two, of one target; without them, both
    are compiled for each target that runs. Raises `CompileError` if a framework is missing, or a
    checkpoint does not hold the network.
    """
    settings = of_deployed(settings)
    # Float32 is held against its own rounding where that is larger than the tolerance.
    report = Report(model, settings, notify=notify, amplifies=True, batch=BATCH)
    targets = [files[0].target] if files else [*runnable()]
    runtimes = [runtime for name in targets if (runtime := runtime_of(name))]
    given = _checkpoint(model, settings.checkpoint) if settings.checkpoint else None
    fixed = files is not None or given is not None
    for runtime in runtimes:
        runtime.prepare(settings.backend)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a file's prints are not part of the report
            for runtime in runtimes:
                for size in sizes_of(model, settings.size, fixed):
                    at = replace(model, input_shape=(*size, model.in_channels))
                    at = decided(at, runtime.name)
                    _compare(report, runtime, at, files or _compiled(at, runtime.name), given)
    except (CompileError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a file may raise anything
        words = str(error).strip().splitlines()
        report.error = f"{report.doing}: {type(error).__name__}{f': {words[0]}' if words else ''}"
    finally:
        for runtime in runtimes:
            runtime.release()
        gc.collect()
    return report


def _compiled(model: Model, target: str) -> tuple[Source, Source]:
    """The training file and the inference file, as `emit` writes them."""
    from ..emitter import as_it_can, source

    training = source(as_it_can(model.training, target), target)
    return Source(training, target=target), Source(source(model, target), target=target)


def _checkpoint(model: Model, path: str) -> dict[str, Any]:
    """The weights of a checkpoint of the training file, by PyTorch's names, in float64."""
    with open_checkpoint(Path(path)) as opened:
        found = match(opened, training_of(opened, model), None, Adapting())
        check_whole(found)
        return {name: read().astype("float64") for name, read in found.values.items()}


def _compare(
    report: Report,
    runtime: Runtime,
    model: Model,
    files: tuple[Source, Source],
    given: Mapping[str, Any] | None,
) -> None:
    """Run both files in float64 and in float32 at the model's size."""
    training = model.training
    ledgers = traced(training)[1], traced(model)[1]
    shapes = ledger_shapes(ledgers[0])
    values = given or dict(random_values(shapes, report.settings.seed))
    reads = {name: (lambda value=value: value) for name, value in values.items()}
    folded = fold_weights(model, reads, ledger_shapes(ledgers[1]))
    weights = {name: values[name] for name in shapes}, {
        name: read() for name, read in folded.items()
    }
    x = image(model.input_shape, report.batch, report.settings.seed + 1)
    runs: dict[str, list[Any]] = {}
    for dtype in ("float64", "float32"):
        with runtime.computing(dtype):
            for file, one, ledger, own in zip(files, (training, model), ledgers, weights):
                kind = "inference file" if one.deploy else "training file"
                report.begin(f"running the {kind} in {runtime.label} in {dtype}")
                network = runtime.build(file, one, dtype)
                if not _fits(report, runtime, network, ledger, kind):
                    return
                runtime.assign(network, ledger, own)
                runs.setdefault(dtype, []).append(runtime.run(network, (), x))
                del network
        runtime.release()
        gc.collect()
    report.begin("comparing outputs")
    _measure(report, runtime, model, runs)


def _fits(report: Report, runtime: Runtime, network: Any, ledger: Ledger, kind: str) -> bool:
    """Whether a file has the weights of the ledger."""
    problems = mismatches([(runtime, network)], ledger)
    if problems:
        note = f"the {kind}: {problems[0].message}"
        report.quantities.append(Quantity(f"{runtime.label}: weights", note=note, failed=True))
        report.blame(problems[0].row, note)
    return not problems


def _measure(report: Report, runtime: Runtime, model: Model, runs: dict[str, list[Any]]) -> None:
    """Each level and the output, in float64 and in float32."""
    names = [*runs["float64"][0].levels, "output"]
    for name in names:
        found = {
            dtype: [run.output if name == "output" else run.levels[name] for run in both]
            for dtype, both in runs.items()
        }
        exact, single = found["float64"], found["float32"]
        shape = exact[0].shape[1:]
        size = times(model.input_shape[:-1], model.dims)
        quantity = Quantity(f"{runtime.label}, {size}: {name}", (*shape[1:], shape[0]))
        report.quantities.append(quantity)
        if exact[0].shape != exact[1].shape:
            quantity.note, quantity.failed = f"shapes {shape} and {exact[1].shape[1:]}", True
        else:
            quantity.float64 = difference(exact[1], exact[0])
            quantity.float32 = difference(single[1], single[0])
            quantity.rounding = difference(single[0], exact[0])
            if quantity.float32 > report.settings.tolerance:
                quantity.note = f"float32 itself is off by {quantity.rounding:.1e}"
        if not report.ok(quantity):
            report.blame(name, "the inference file computes something else")
