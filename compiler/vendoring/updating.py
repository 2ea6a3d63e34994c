"""`update`: a file with the newer emission merged in, or why that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CompileError, Problem, counted, raise_all
from ..files import may_write, replacing
from ..limits import SOURCE_BYTES
from ..provenance import Provenance, footer, read, subject
from ..reading import decoded, read_content
from ..syntax import parsed
from ..targets import target_row
from ..tidying import split_header
from .bases import HINT, keep
from .merging import Merged, lost_lines, merge
from .request import model_of, with_options
from .state import State, emission_of, provenance_of, same, state_of, unified
from .style import Layout, envelope_of, layout_of, with_imports_of

CURRENT, EMITTED, UPDATED, CONFLICTS, BESIDE, UNKNOWN = (
    "current",
    "emitted",
    "updated",
    "conflicts",
    "beside",
    "unknown",
)
_SAVED = 1000  # originals that may be beside one file


@dataclass(frozen=True)
class Update:
    """What an update would do; nothing has been written.

    `current`: nothing. `emitted`: the file was missing, and is written. `updated`: it is replaced.
    `conflicts`: it is, by one with conflicts to resolve. `beside`: another file is written.
    `unknown`: nothing, since nobody knows which lines are edits. `state` is None for a missing
    file, and `before` are its bytes. `content` is what goes to `path`, and `original` is where
    `before` is saved first.
    """

    path: Path
    outcome: str
    state: State | None = field(repr=False)
    before: bytes = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    emission: str = field(default="", repr=False)
    original: Path | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def diff(self) -> str:
        """What an update changes on the disk; without a base, the file against the emission."""
        if self.outcome == CURRENT:
            return ""
        text = self.state.text if self.state else ""
        if self.outcome == UNKNOWN:
            now = f"{self.path} (as it is emitted now)"
            return unified(text, self.emission, str(self.path), now)
        new = decoded(self.content, str(self.path))
        old = "" if self.outcome == BESIDE else text
        return unified(old, new, str(self.path), f"{self.path} (updated)")


def plan(
    path: Path,
    options: Mapping[str, object],
    target: str | None = None,
    folders: tuple[Path, ...] = (),
) -> Update:
    """What `update` does to a file. `options` replace those in its footer.

    Raises `CompileError` where the file is not an emission, cannot be emitted again, or has
    conflicts of an earlier update in it.
    """
    before = read_content(path)
    text = decoded(before, str(path))
    provenance = provenance_of(text)
    if provenance is None:
        hint = "only files that `emit` wrote can be updated"
        raise CompileError(Problem("it has no provenance comment of plainnet", str(path), hint))
    again = bool(options or target)
    state = state_of(path, text, provenance, folders, always=again, history=True)
    if target is not None and target != model_of(provenance)[1]:
        return _beside(path, state, before, options, target)
    emission = state.emission
    if options:
        model, usual = model_of(provenance)
        emission = emission_of(with_options(model, options), usual)
    return merged_into(state, before, emission)


def merged_into(state: State, before: bytes, emission: str) -> Update:
    """A file, whose bytes are `before`, with an emission merged into it. Raises `CompileError`."""
    path, provenance = state.path, state.provenance
    fresh = read(emission)
    assert fresh is not None
    known = state.base.command if state.base else provenance.command
    if not state.stale and known == provenance.command == fresh.command:
        return Update(path, CURRENT, state, before)
    if state.conflicted:
        hint = "resolve them: delete what you do not want, and the lines of <, |, = and >"
        raise CompileError(Problem("it has conflicts of an earlier update", str(path), hint))
    base = _base_text(state, fresh)
    if base is None:
        problem = Problem(
            "nobody knows which of its lines are edits: its base was not kept",
            str(path),
            HINT,
        )
        return Update(path, UNKNOWN, state, before, emission=emission, problems=(problem,))
    header, edited = ("", provenance.text)
    if not split_header(base)[0]:
        header, edited = split_header(provenance.text)
    merged, layout = _merge(state, base, edited, fresh.text)
    if merged.conflicts and not state.edited:  # of layout alone
        merged = Merged(fresh.text, 0)
    notes = []
    shown = layout(base) if layout else base
    lost = lost_lines(with_imports_of(shown, edited), edited, merged.text)
    broken = not merged.conflicts and bool(parsed(edited)) and not parsed(merged.text)
    if merged.conflicts:
        notes.append(counted(merged.conflicts, "conflict"))
    elif broken:
        notes.append("the result is not valid Python: compare it with your version")
    elif lost:
        notes.append("your formatting could not be kept" if state.edited else "laid out again")
    elif state.edited:
        notes.append("your edits are kept")
    envelope = envelope_of(before)
    content = envelope.around(header + merged.text + footer(emission) + provenance.below)
    original = None
    if merged.conflicts or broken or (lost and state.edited):
        original = _original(path, before)
        notes.append(f"your version is {original}")
    outcome = CONFLICTS if merged.conflicts or broken else UPDATED
    return Update(path, outcome, state, before, content, emission, original, tuple(notes))


def _base_text(state: State, fresh: Provenance) -> str | None:
    """The text that edits are told from; None if nobody knows it."""
    from ..emitter import formatted

    if state.base is not None:
        return state.base.text
    if not state.edited:  # the file itself, in the layout of plainnet
        return formatted(split_header(state.provenance.text)[1])
    return fresh.text if same(state.provenance, fresh) else None  # only its footer is edited


def _merge(state: State, base: str, edited: str, fresh: str) -> tuple[Merged, Layout | None]:
    """The merge in the layout of the file, or in that of plainnet where only this has no conflict.

    Returns the layout that the base had in it; None for plainnet's.
    """
    from ..emitter import formatted

    layout = layout_of(base, edited, state.path)
    sides = [with_imports_of(layout(side) if layout else side, edited) for side in (base, fresh)]
    first = merge(sides[0], edited, sides[1])
    if not first.conflicts or not state.edited:
        return first, layout
    plain = formatted(with_imports_of(edited, base))
    if plain != edited:
        second = merge(base, plain, fresh)
        if second.conflicts < first.conflicts:
            return second, layout
    return first, layout


def _original(path: Path, before: bytes) -> Path:
    """Where to save a file's bytes beside it, over nothing else. Raises `CompileError`."""
    for number in range(_SAVED):
        end = f".{number}" if number else ""
        saved = path.with_name(f"{path.name}.orig{end}")
        try:
            if saved.is_symlink():
                continue
            if not saved.exists() or saved.read_bytes() == before:
                return saved
        except OSError:
            continue
    message = f"there are {_SAVED} originals beside it"
    raise CompileError(Problem(message, str(path), "delete those that you do not need"))


def _beside(
    path: Path, state: State, before: bytes, options: Mapping[str, object], target: str
) -> Update:
    """The network for another target, in a file of its own. Edits cannot carry over."""
    model = with_options(model_of(state.provenance)[0], options)
    suffix = target_row(target).suffix
    other = path.with_name(f"{path.stem}_{target}{suffix}")
    emission = emission_of(model, target)
    raise_all(may_write(other, subject(model, target), force=False))
    notes: tuple[str, ...] = (f"{path} is left as it is",)
    if state.edited:
        notes = (f"the edits in {path} are not in it: they cannot carry over to {target}", *notes)
    content = emission.encode()
    return Update(other, BESIDE, state, before, content, emission, None, notes)


def apply(update: Update, source: Path) -> None:
    """Write what was planned for the file at `source`. Raises `CompileError`.

    The base comes first, then the original, then the file: a run that is killed has lost nothing,
    and the next one completes it.
    """
    if update.outcome == UNKNOWN:
        return
    if update.outcome == CURRENT:
        if update.state and (kept := emission_in(update.state)):
            keep(source, kept)
        return
    now = read_content(source, SOURCE_BYTES) if source.exists() else b""
    if now != update.before:
        hint = "run the update again"
        raise CompileError(Problem("it was changed meanwhile", str(source), hint))
    keep(update.path, update.emission)
    if update.original is not None:
        _write(update.original, update.before)
    _write(update.path, update.content)


def emission_in(state: State) -> str | None:
    """The emission that the footer of the file names, if it is at hand."""
    if state.provenance.untouched:
        return state.text
    fresh = state.fresh
    return state.emission if fresh and fresh.text_digest == state.provenance.text_digest else None


def _write(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CompileError(Problem(f"cannot write: {error.strerror}", at=str(path))) from None
