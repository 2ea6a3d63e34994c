"""Digests of what this very compiler emits, so that an unchanged file needs no emission.

They stand in the user's cache, under a fingerprint of everything that an emission depends on.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import sys
from functools import cache
from pathlib import Path

from ..targets import TARGETS

VARIABLE = "PLAINNET_CACHE_DIR"
_PACKAGE = Path(__file__).resolve().parents[1]
# Beside the package in the repository, inside of it in a wheel. The emitter reads them.
TEMPLATES = [_PACKAGE / "_templates", _PACKAGE.parent / "templates"]
_LIBRARIES = ("black", "jinja2")
_LENGTH = 32  # of a digest in hexadecimal
_KEPT = 8  # files of other compilers


def is_known(digest: str) -> bool:
    """Whether this compiler has emitted a text of that digest, for the command in it."""
    path = _file()
    return path is not None and digest in _digests(path)


def remember(digest: str) -> None:
    """Note the digest of a text that this compiler has emitted. A cache may fail in silence."""
    path = _file()
    if path is None or len(digest) != _LENGTH or digest in _digests(path):
        return
    with contextlib.suppress(OSError):
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget_others(path.parent)
        # One short write at the end of a file is whole, or the line is ignored.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"\n{digest}\n".encode())
        finally:
            os.close(descriptor)
        _digests.cache_clear()


def _forget_others(folder: Path) -> None:
    found = sorted(folder.glob("emitted-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[_KEPT - 1 :]:
        path.unlink()


@cache
def _digests(path: Path) -> frozenset[str]:
    try:
        words = path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return frozenset()
    return frozenset(word for word in words if re.fullmatch(rf"[0-9a-f]{{{_LENGTH}}}", word))


def _file() -> Path | None:
    """Where the digests of this compiler are; None if there is no cache."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        usual = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        folder = os.path.join(os.path.expanduser(usual), "plainnet")
    if not os.path.isabs(folder):  # "" switches it off, and there may be no home
        return None
    name = fingerprint(tuple(TARGETS), tuple(TEMPLATES))
    return Path(folder) / f"emitted-{name}" if name else None


@cache
def fingerprint(targets: tuple[str, ...], templates: tuple[Path, ...]) -> str:
    """The digest of what an emission depends on; "" if that cannot be told.

    It covers the compiler, its templates, and the versions of Python and of the libraries that an
    emission imports. A target that somebody else registered has files that are not known here.
    """
    if any(not TARGETS[name].target.startswith(".") for name in targets):
        return ""
    made = hashlib.sha256(repr((sys.version_info[:3], templates)).encode())
    try:
        for name in _LIBRARIES:
            made.update("\n".join(_releases(name)).encode())
        for folder in (_PACKAGE, *templates):
            paths = [path for path in folder.rglob("*") if path.suffix in (".py", ".j2")]
            for path in sorted(paths):
                content = path.read_bytes()
                made.update(f"{path.relative_to(folder)}\n{len(content)}\n".encode() + content)
    except (OSError, ValueError):
        return ""
    return made.hexdigest()[:_LENGTH]


def _releases(library: str) -> list[str]:
    """The names of the installed releases: `black-26.10.1.dist-info`. Raises `OSError`."""
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.origin:
        raise OSError(f"{library} is not installed")
    with os.scandir(Path(spec.origin).parents[1]) as entries:
        starts = (f"{library}-", f"{library.capitalize()}-")
        return sorted(entry.name for entry in entries if entry.name.startswith(starts))
