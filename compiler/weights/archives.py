"""Integrity of checkpoint archives: checksums hold, and every record has its declared size."""

from __future__ import annotations

import gc
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..limits import CHECKPOINT_ENTRIES, DIRECTORY_BYTES, PICKLE_BYTES
from .checkpoints import shown
from .pickles import AGAIN, ALONE, Node, Scan, refuse_call

PICKLE = "data.pkl"
END, END_BYTES, LONGEST_COMMENT = b"PK\5\6", 22, 2**16  # end-of-central-directory record
LOCATOR_BYTES, LONG_END_BYTES = 20, 56  # its ZIP64 counterparts
LEGACY_PICKLES = 5  # in a row: magic number, protocol, system, content, names


def check_archive(path: Path) -> bool:
    """Raise `CompileError` if an archive is compressed or a checksum does not match.

    PyTorch and Keras map records into memory or seek in them, so they never compare checksums.
    Returns False if every checksum is zero, as `torch.serialization.set_crc32_options(False)`
    leaves them, which damage to a single record cannot cause.
    """
    entries = check_directory(path)
    if entries and not any(entry.CRC for entry in entries):
        return False
    with zipfile.ZipFile(path) as archive:
        try:
            broken = archive.testzip()
        except zipfile.BadZipFile as error:
            raise CompileError(Problem(str(error), str(path), AGAIN)) from None
    if broken:
        message = f"the checksum of its part {shown(broken)} does not match"
        raise CompileError(Problem(message, str(path), AGAIN))
    return True


def check_directory(path: Path) -> list[zipfile.ZipInfo]:
    """List the parts of an archive, none of which may be compressed, twofold or overlapping."""
    entries = entries_of(path)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        hint = "neither PyTorch nor Keras writes such a file: save the weights again"
        raise CompileError(Problem("it is a compressed archive", str(path), hint))
    names = {entry.filename.lower() for entry in entries}
    if len(names) != len(entries):  # libraries differ in which of two they take
        raise CompileError(Problem("two parts of the archive share a name", str(path), AGAIN))
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CompileError(Problem("parts of the archive overlap", str(path), AGAIN))
    return entries


def entries_of(path: Path) -> list[zipfile.ZipInfo]:
    """List the parts of an archive, after checking that the list is not too large to read."""
    if problems := DIRECTORY_BYTES.problems(
        "the length of its directory", _directory_bytes(path), str(path)
    ):
        raise CompileError(*problems)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if problems := CHECKPOINT_ENTRIES.problems("the number of entries", len(entries), str(path)):
        raise CompileError(*problems)
    return entries


def _directory_bytes(path: Path) -> int:
    """The declared size of an archive's directory, which `zipfile` reads in one go."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - END_BYTES - LONGEST_COMMENT))
        tail = file.read()
        at = len(tail) - END_BYTES  # its place if no comment follows
        if tail[at:][:4] != END:
            at = tail.rfind(END)
        if at < 0 or at + END_BYTES > len(tail):
            return 0  # `zipfile` reports it
        length = int(struct.unpack("<L", tail[at + 12 : at + 16])[0])
        before = tail[max(0, at - LOCATOR_BYTES) : at]
        if before.startswith(b"PK\6\7") and len(before) == LOCATOR_BYTES:  # ZIP64
            file.seek(max(0, size - len(tail) + at - LOCATOR_BYTES - LONG_END_BYTES))
            record = file.read(LONG_END_BYTES)
            if record.startswith(b"PK\6\6"):
                length = int(struct.unpack("<Q", record[40:48])[0])
    return length


class Part(io.RawIOBase):
    """An uncompressed member of an archive as a file object, without copying it."""

    def __init__(self, path: Path, member: zipfile.ZipInfo):
        self.file = open(path, "rb")  # noqa: SIM115
        self.file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", self.file.read(4))
        self.start = member.header_offset + 30 + name + extra
        self.size = max(0, min(member.file_size, os.fstat(self.file.fileno()).st_size - self.start))
        self.place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        self.file.seek(self.start + self.place)
        count = self.file.readinto(view[: max(0, self.size - self.place)])
        self.place += count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


@dataclass(frozen=True)
class Records:
    """What the pickle of a `.pt` describes, and the parts of the archive by name, in a folder.

    `foreign` is a function that it calls and no state dict needs, "" if there is none.
    """

    content: Any
    folder: str
    parts: Mapping[str, zipfile.ZipInfo]
    foreign: str


def read_records(path: Path) -> Records:
    """Describe the content of a `.pt`. Raises `CompileError` if it needs more bytes than it has.

    PyTorch maps the archive into memory: if a record is too short, it would read the records that
    follow.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.lower().endswith(PICKLE)]
        if any(name.endswith("/constants.pkl") for name in names):
            raise CompileError(Problem("it is a TorchScript program", str(path), ALONE))
        folder = pickles[0].removesuffix(PICKLE) if len(pickles) == 1 else ""
        if folder.count("/") != 1 or not all(name.startswith(folder) for name in names):
            message = f"it has no {PICKLE!r} where `torch.save` puts it"
            raise CompileError(Problem(message, str(path)))
        entry = archive.getinfo(pickles[0])
        if problems := PICKLE_BYTES.problems(
            "the length of its pickle", entry.file_size, str(path)
        ):
            raise CompileError(*problems)
        with Part(path, entry) as part:
            data = part.read()
        parts = {entry.filename: entry for entry in archive.infolist()}
    if entry.CRC and zlib.crc32(data) != entry.CRC:
        message = f"the checksum of its part {shown(entry.filename)} does not match"
        raise CompileError(Problem(message, str(path), AGAIN))
    scan = Scan(data, str(path))
    with _uncollected():
        content = scan.load()
    for key, (count, item) in scan.storages.items():
        record = f"{folder}data/{key}"
        there = parts[record].file_size if record in parts else 0
        _check_size(record, there, count * item, path)
    return Records(content, folder, parts, scan.foreign)


@contextmanager
def _uncollected() -> Iterator[None]:
    """A pickle may make millions of placeholders: to look for garbage among them takes as long."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def refuse_foreign(path: Path, records: Records) -> None:
    """Raise `CompileError` if the pickle makes other things than tensors."""
    if records.foreign:
        refuse_call(records.foreign, str(path))


def check_legacy(path: Path) -> None:
    """Check a file in the format before PyTorch 1.6: pickles, followed by the storages.

    PyTorch does not initialize a storage that the file does not list.
    """
    with open(path, "rb") as file:
        scan = Scan(file.read(PICKLE_BYTES.largest + 1), str(path))
        with _uncollected():
            listed = [scan.load() for _ in range(LEGACY_PICKLES)][-1]
        if scan.foreign:
            refuse_call(scan.foreign, str(path))
        keys = listed.items if isinstance(listed, Node) else []
        texts = [key for key in keys if isinstance(key, str)]
        if len(texts) != len(keys) or sorted(texts) != sorted(scan.storages):
            message = "its list of storages does not match its tensors"
            raise CompileError(Problem(message, str(path), AGAIN))
        size, place = path.stat().st_size, scan.place
        for key in texts:
            count, item = scan.storages[key]
            file.seek(place)
            head = file.read(8)
            there = struct.unpack("<q", head)[0] if len(head) == 8 else 0
            place += 8
            if there != count:
                _check_size(f"storage {key}", there * item, count * item, path, exactly=True)
            _check_size(f"storage {key}", max(0, size - place), count * item, path)
            place += count * item


def _check_size(name: str, there: int, need: int, path: Path, exactly: bool = False) -> None:
    if there < need or exactly:
        message = f"its record {shown(name)} has {there:,} bytes, but its tensors need {need:,}"
        raise CompileError(Problem(message, str(path), AGAIN))
