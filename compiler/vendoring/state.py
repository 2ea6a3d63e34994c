"""What has become of an emitted file: edited, stale, both, or neither."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..errors import CompileError, Problem
from ..model import Model
from ..provenance import Provenance, digest_of, networks, read, refuse_newer, written_as
from ..reading import decoded, read_content
from ..tidying import canonical
from .bases import find
from .known import is_known, remember

MARKERS = ("<<<<<<< ", "||||||| ", ">>>>>>> ")


@dataclass(frozen=True)
class State:
    """One emitted file.

    `text` is the file with line ends as on Unix and without a byte order mark. `base` is what it
    began as, in the layout of plainnet; None if nobody knows any more. `fresh` is what this
    compiler emits for its command; None if that did not have to be asked, and then the file is
    neither edited nor stale. `tidied` says that tools have changed its layout.
    """

    path: Path
    text: str = field(repr=False)
    provenance: Provenance = field(repr=False)
    base: Provenance | None = field(repr=False)
    fresh: Provenance | None = field(repr=False)
    emission: str = field(repr=False)
    edited: bool
    stale: bool
    tidied: bool

    @property
    def conflicted(self) -> bool:
        """Whether conflicts of an earlier update are still marked in it."""
        return has_markers(self.text)


def has_markers(text: str) -> bool:
    """Whether lines of a text begin with every mark of a conflict."""
    lines = text.splitlines()
    return all(any(line.startswith(mark) for line in lines) for mark in MARKERS)


def provenance_of(text: str) -> Provenance | None:
    """The provenance of a text, which must hold one network. Raises `CompileError`."""
    found = read(text)
    if found is not None and (count := networks(text)) > 1:
        hint = "keep each network in a file of its own"
        raise CompileError(Problem(f"it holds {count} emitted networks", hint=hint))
    return found


def examine(path: Path, folders: tuple[Path, ...] = (), always: bool = False) -> State | None:
    """The state of a file; None if it has no provenance. Nothing in the file is run.

    Bases are looked for in `folders` first. With `always`, the emission is made even if the file
    is known to be unchanged. Raises `CompileError`.
    """
    text = decoded(read_content(path), str(path))
    provenance = provenance_of(text)
    return None if provenance is None else state_of(path, text, provenance, folders, always)


def state_of(
    path: Path,
    text: str,
    provenance: Provenance,
    folders: tuple[Path, ...] = (),
    always: bool = False,
    history: bool = False,
) -> State:
    """The state of a file with that text and provenance; see `examine`.

    With `history`, a base that was not kept may be in the history of the repository.
    """
    refuse_newer(provenance)
    if provenance.untouched and is_known(provenance.text_digest) and not always:
        return State(path, text, provenance, provenance, None, text, False, False, False)
    emission = emitted(provenance)
    fresh = read(emission)
    assert fresh is not None
    base = _base(path, provenance, fresh, folders)
    if base is None and history:
        from .history import from_history

        base = from_history(path, provenance.text_digest)
    edited = _is_edited(provenance, base, fresh)
    stale = _is_stale(provenance, base, fresh, edited)
    tidied = not provenance.untouched and not edited
    if tidied and base is None and not stale:
        base = fresh
    return State(path, text, provenance, base, fresh, emission, edited, stale, tidied)


def emitted(provenance: Provenance) -> str:
    """What this compiler emits for the command of a footer. Raises `CompileError`."""
    from .request import model_of  # with all that it takes to read a network

    return emission_of(*model_of(provenance))


def emission_of(model: Model, target: str) -> str:
    """What this compiler emits, which it remembers. Raises `CompileError`."""
    from ..emitter import source

    text = source(model, target)
    remember(digest_of(text))
    return text


def _base(
    path: Path, provenance: Provenance, fresh: Provenance, folders: tuple[Path, ...]
) -> Provenance | None:
    if provenance.untouched:
        return provenance
    if written_as(fresh.text, provenance):
        return fresh
    return find(path, provenance.text_digest, folders)


def _is_edited(provenance: Provenance, base: Provenance | None, fresh: Provenance) -> bool:
    if provenance.unedited:
        return False
    if base is not None:
        other = bool(provenance.below) or provenance.command != base.command
        return other or not same(provenance, base)
    # The first version of plainnet wrote no digest that a formatter leaves as it is.
    return bool(provenance.code_digest) or not same(provenance, fresh)


def _is_stale(
    provenance: Provenance, base: Provenance | None, fresh: Provenance, edited: bool
) -> bool:
    if base is fresh:
        return False
    if not edited or base is None:
        return not same(provenance, fresh)
    if base.command == provenance.command:
        return not same(base, fresh)
    try:  # the command was edited: what would the one before it give now?
        then = read(emitted(base))
    except CompileError:
        return True
    assert then is not None
    return not same(base, then)


def same(one: Provenance, other: Provenance) -> bool:
    """Whether two texts above a footer differ at most in what tools do to a whole file."""
    return one.text == other.text or _canonical(one.text) == _canonical(other.text)


@lru_cache(maxsize=64)
def _canonical(text: str) -> str:
    return canonical(text)


def is_known_emission(provenance: Provenance) -> bool:
    """Whether a text is what this compiler emits for its command. Raises `CompileError`."""
    if not provenance.untouched:
        return False
    if is_known(provenance.text_digest):
        return True
    fresh = read(emitted(provenance))
    return fresh is not None and fresh.text == provenance.text


def unified(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff of two texts; "" if they are equal."""
    import difflib

    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), old_name, new_name
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
