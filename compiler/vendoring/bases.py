"""Emissions kept beside the files that began as them: what edits are compared with later.

A folder `.plainnet` holds each as `DIGEST.gz`, under the digest that the footer of the file names.
So a file is known again whatever it is called, and damage is seen.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

from ..errors import CompileError, Problem
from ..files import lock, opened_folder, remove_leftovers, replacing, resolved, write
from ..limits import SOURCE_BYTES
from ..provenance import Provenance, read
from ..reading import read_source

FOLDER = ".plainnet"
README = "README.md"
HINT = "--base PATH names it: a folder .plainnet, or the emission as it was"
_PARENTS = 30  # folders above a file in which its base is looked for
_ABOUT = """\
plainnet keeps here what it emitted, before anybody edited it. `plainnet update` needs that to
merge edits with a newer emission. Commit this folder. A file whose name stands in no
`# sha256: text ...` line of your networks is not needed any more.
"""


def keep(path: Path, emission: str) -> None:
    """Keep an emission for the file at the path. Raises `CompileError`."""
    provenance = read(emission)
    assert provenance is not None and provenance.untouched
    try:
        folder = resolved(path).parent / FOLDER
        stored = folder / _name(provenance.text_digest)
        if _open(stored, provenance.text_digest) is not None:
            remove_leftovers(folder)
            return
        folder.mkdir(exist_ok=True)
        if not (folder / README).exists():
            write(folder / README, _ABOUT)
        import gzip

        with replacing(stored) as temporary:
            temporary.write_bytes(gzip.compress(emission.encode(), mtime=0))
    except OSError as error:
        at = str(path.parent / FOLDER)
        hint = f"{FOLDER} is a folder that can be written; `emit --no-base` does without"
        raise CompileError(Problem(f"cannot keep the base: {error.strerror}", at, hint)) from None


def find(path: Path, digest: str, folders: tuple[Path, ...] = ()) -> Provenance | None:
    """The emission of that digest that was kept for the file; None if there is none.

    It is looked for in the given folders, beside the file, and in the folders above as far as the
    root of the repository. One of the given may also be the file of an emission.
    """
    for folder in folders:
        if folder.is_file():
            with contextlib.suppress(CompileError):
                if given := as_base(read_source(folder), digest):
                    return given
    for folder in (*folders, *_folders(path)):
        if found := _open(folder / _name(digest), digest):
            return found
    return None


def _folders(path: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for folder in list(resolved(path).parents)[:_PARENTS]:
            yield folder / FOLDER
            if (folder / ".git").exists():
                return


def _name(digest: str) -> str:
    return f"{digest}.gz"


def _open(stored: Path, digest: str) -> Provenance | None:
    """What is stored, if it is whole and has that digest."""
    if not stored.is_file():
        return None
    import gzip
    import zlib

    try:
        with open(stored, "rb") as file:
            content = file.read(SOURCE_BYTES.largest + 1)
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            text = unpacked.read(SOURCE_BYTES.largest + 1)
        return as_base(text.decode(), digest)
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def as_base(text: str, digest: str) -> Provenance | None:
    """The text as the base of that digest; None if it is something else."""
    try:
        found = read(text)
    except CompileError:
        return None
    return found if found and found.untouched and found.text_digest == digest else None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other runs from updating files in the same folder meanwhile, where the disk has locks.

    The lock belongs to the process and ends with it, however it ends. What a run that was killed
    has left is removed.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder = resolved(path).parent
            lock(stack.enter_context(opened_folder(folder)))
            for each in (folder, folder / FOLDER):
                remove_leftovers(each)
        yield
