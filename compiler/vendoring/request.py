"""The model that a file was emitted from, read back from its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..api import custom_encoder
from ..arguments import spell_options
from ..errors import CompileError, Problem
from ..model import Model
from ..passes.validate import resolve
from ..passes.values import find_target
from ..provenance import Provenance, parse_command, read, refuse_newer
from ..reading import read_source
from ..spec.loading import overridden
from ..targets import suffixes


def model_of(provenance: Provenance) -> tuple[Model, str]:
    """The model that a file was emitted from, and its target. Raises `CompileError`."""
    refuse_newer(provenance)
    request = parse_command(provenance.command)
    try:
        encoder = (
            request.name
            if request.custom is None
            else custom_encoder(request.name, **request.custom)  # type: ignore[arg-type]
        )
        problems: list[Problem] = []
        target = find_target(request.target, problems)
        return resolve(encoder, _as_written(request.options), problems), target
    except CompileError as error:
        raise CompileError(
            *(
                Problem(f"its provenance is garbled: {p.message}", p.at, p.hint)
                for p in error.problems
            )
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise CompileError(Problem(f"its provenance is garbled: {error}")) from None


def resolve_any(
    model: str, options: Mapping[str, object], found_so_far: Iterable[Problem] = ()
) -> Model:
    """The model of what `resolve` takes, or of an emitted file, whose options are replaced.

    Raises `CompileError`, with the problems found so far first.
    """
    if not model.endswith(suffixes()):
        return resolve(model, options, found_so_far)
    try:
        provenance = read(read_source(Path(model)))
        if provenance is None:
            hint = "only a file that `emit` wrote says its network"
            raise CompileError(Problem("it has no provenance of plainnet at its end", hint=hint))
        found, _ = model_of(provenance)
    except CompileError as error:
        problems = (Problem(p.message, p.at or model, p.hint) for p in error.problems)
        raise CompileError(*found_so_far, *problems) from None
    encoder = found.encoder if found.encoder.custom else found.encoder.name
    return resolve(encoder, spell_options(found) | given_options(options), found_so_far)


def _as_written(options: Mapping[str, object]) -> dict[str, object]:
    """The options of a footer, as its version of plainnet meant them.

    A footer spells a shape with its channels last, though 0.1.0 did not yet say so where a person
    could read it the other way round; and that version took `compat` where it has no effect.
    """
    written = dict(options)
    if "input_shape" in written:
        written["channels_last"] = True
    if "segmentor" not in written:
        written.pop("compat", None)
    return written


def given_options(options: Mapping[str, object]) -> dict[str, object]:
    """The options that were given, without those that the command line filled in."""
    return {n: value for n, value in options.items() if value is not None and value is not False}


def with_options(model: Model, given: Mapping[str, object]) -> Model:
    """The model with other values of these options. Raises `CompileError`."""
    if not given:
        return model
    own = spell_options(model)
    if "input_shape" in own:
        own["input_shape"] = list(model.input_shape)
    encoder = model.encoder if model.encoder.custom else model.encoder.name
    return resolve(encoder, overridden(own, given))
