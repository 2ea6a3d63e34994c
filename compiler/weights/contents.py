"""Recognize files that are not checkpoints, or not of the kind that their names say."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

from ..errors import Problem, shown
from .archives import entries_of
from .checkpoints import suffixes

HEAD = 4096  # bytes that are read to recognize a file
UNPACK = "unpack it and name the checkpoint in it"
FOREIGN = (  # first bytes, what such a file is, a hint
    (b"\x89PNG", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"%PDF", "a PDF document", ""),
    (b"\x7fELF", "a compiled program or library", ""),
    (b"GGUF", "a GGUF file", "use the checkpoint that it was made from"),
    (b"\x93NUMPY", "a NumPy array", ""),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file itself", "git lfs pull"),
    (b"<!doctype html", "a web page", "download the checkpoint itself"),
    (b"<html", "a web page", "download the checkpoint itself"),
)
SAVE_KERAS = 'save the weights alone: model.save_weights("x.weights.h5")'
SAVE_TORCH = 'export from the weights instead: torch.save(model.state_dict(), "x.pt")'


def mistaken(path: Path) -> Problem | None:
    """Why the path is not the checkpoint that its name says; None if it may be one.

    Reads the first bytes of a regular file, and the list of files in an archive. What cannot be
    read or recognized is left to the reader of the format.
    """
    at = str(path)
    try:
        information = path.stat()
        if stat.S_ISDIR(information.st_mode):
            return _of_folder(path)
        if not stat.S_ISREG(information.st_mode) or not information.st_size:
            return None
        with open(path, "rb") as file:
            head = file.read(HEAD)
        if foreign := _foreign(head):
            what, hint = foreign
            return Problem(f"it is {what}, not a checkpoint", at, hint)
        content = _checkpoint(path, head, information.st_size)
    except (OSError, zipfile.BadZipFile):
        return None
    if content == ".zip":
        return Problem("it is a zip archive without a PyTorch or Keras checkpoint", at)
    suffix = _suffix(path.name)
    if not content and suffix not in ("", ".safetensors"):  # which has no signature
        message = f"it is not a readable {suffix} file: it does not contain a checkpoint"
        return Problem(message, at)
    if not content or suffix in _alike(content):
        return None
    stem = path.name.removesuffix(suffix or path.suffix)
    renamed = ("weights" if stem in suffixes() else stem) + content
    return Problem(f"it contains a {content} file", at, f"rename it to {shown(renamed)}")


def _of_folder(path: Path) -> Problem:
    names = sorted(os.listdir(path))
    at = str(path)
    if "saved_model.pb" in names:
        return Problem("it is a TensorFlow SavedModel, not a checkpoint", at, SAVE_KERAS)
    checkpoints = [name for name in names if _suffix(name)]
    hint = f"name a file in it: {shown(checkpoints[0])}" if checkpoints else ""
    return Problem("it is a folder, not a checkpoint", at, hint)


def _foreign(head: bytes) -> tuple[str, str] | None:
    for magic, what, hint in FOREIGN:
        if head[: len(magic)].lower() == magic.lower():
            return what, hint
    if head[257:262] == b"ustar":
        return "a tar archive", UNPACK
    # The version of ONNX's format, and the name of the library that wrote the file.
    if len(head) > 4 and head[0] == 0x08 and head[1] < 0x40 and head[2] in (0x12, 0x3A):
        return "an ONNX file", SAVE_TORCH
    return ("a text file", "") if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < HEAD - 3:  # not just a character cut in two
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character in "\t\n\r\f" for character in text)


def _checkpoint(path: Path, head: bytes, size: int) -> str:
    """The suffix of the content's format; `.zip` for any other archive, "" if unknown."""
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return ".weights.h5"
    if head.startswith((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")):
        names = [entry.filename for entry in entries_of(path)]
        if "model.weights.h5" in names:
            return ".keras"
        return ".pt" if any(name.endswith("data.pkl") for name in names) else ".zip"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return ".safetensors"
    return ".pt" if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" else ""


def _alike(suffix: str) -> tuple[str, ...]:
    """The suffixes that share a content format."""
    return (".pt", ".pth", ".ckpt") if suffix == ".pt" else (suffix,)


def _suffix(name: str) -> str:
    """The suffix of a checkpoint's name; "" if the name is not that of a checkpoint."""
    return next((suffix for suffix in suffixes() if name.endswith(suffix) and name != suffix), "")
