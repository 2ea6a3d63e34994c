"""Archives of checkpoints: every byte is as it was written, and every record as long as it says."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem
from ..limits import CHECKPOINT_ENTRIES
from .checkpoints import shown

AGAIN = "the file is damaged: copy or download it again"


def check_archive(path: Path) -> None:
    """Raise `CompileError` for a compressed archive and for one whose checksums do not hold.

    The libraries map records into memory or seek in them, and so never compare the checksums.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if problems := CHECKPOINT_ENTRIES.problems(
            "the number of entries", len(entries), str(path)
        ):
            raise CompileError(*problems)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            hint = "neither PyTorch nor Keras writes one: save the weights again"
            raise CompileError(Problem("it is a compressed archive", str(path), hint))
        try:
            broken = archive.testzip()
        except zipfile.BadZipFile as error:
            raise CompileError(Problem(str(error), str(path), AGAIN)) from None
    if broken:
        message = f"the checksum of its part {shown(broken)} does not match"
        raise CompileError(Problem(message, str(path), AGAIN))


def check_records(path: Path) -> None:
    """Raise `CompileError` where a record of a `.pt` is shorter than its storage.

    PyTorch maps the file and would read on in the records that follow. The pickle is read here by
    PyTorch's own restricted unpickler, with storages that hold nothing.
    """
    import torch
    from torch import _weights_only_unpickler as restricted

    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            return  # TorchScript, or no checkpoint: PyTorch says so
        folder = names[0].removesuffix("data.pkl")
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}

        def storage(reference: tuple[Any, ...]) -> Any:
            _, kind, key, _, numel = reference
            dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
            record, size = f"{folder}data/{key}", int(numel) * dtype.itemsize
            there = sizes.get(record, 0)
            if not 0 <= size <= there:
                message = (
                    f"its record {shown(record)} has {there:,} bytes, its tensors need {size:,}"
                )
                raise CompileError(Problem(message, str(path), AGAIN))
            empty = torch.UntypedStorage(size, device="meta")
            return torch.storage.TypedStorage(wrap_storage=empty, dtype=dtype, _internal=True)

        with archive.open(names[0]) as stream:
            unpickler = restricted.Unpickler(stream, encoding="utf-8")
            unpickler.persistent_load = storage
            with contextlib.suppress(pickle.UnpicklingError):  # which loading will raise again
                unpickler.load()
