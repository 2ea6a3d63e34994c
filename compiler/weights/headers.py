"""Headers of `.safetensors` files: every byte must belong to exactly one tensor."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CompileError, Problem
from ..limits import CHECKPOINT_ENTRIES, HEADER_BYTES
from .checkpoints import shown
from .pickles import AGAIN

METADATA = "__metadata__"
AXES = 64  # PyTorch's own limit
LENGTH = 8  # bytes before the header
BITS = {  # per item
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8),
    **dict.fromkeys(("I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


def check_header(path: Path) -> None:
    """Raise `CompileError` if the header does not describe the bytes that follow it."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(LENGTH)
        length = struct.unpack("<Q", head)[0] if len(head) == LENGTH else 0
        if length > size - LENGTH or length < 2:
            _refuse(path, f"it declares a header of {length:,} bytes, but the file has {size:,}")
        if problems := HEADER_BYTES.problems("the length of its header", length, str(path)):
            raise CompileError(*problems)
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Twice) else "it is not JSON"
        _refuse(path, f"its header cannot be read: {reason}")
    if not isinstance(header, dict):
        _refuse(path, "its header is not a JSON object")
    entries = [(name, entry) for name, entry in header.items() if name != METADATA]
    if problems := CHECKPOINT_ENTRIES.problems(
        "the number of its tensors", len(entries), str(path)
    ):
        raise CompileError(*problems)
    places = sorted((*_place(path, name, entry), name) for name, entry in entries)
    end = 0
    for first, last, name in places:
        if first != end:
            fault = "overlaps the one before it" if first < end else "leaves a gap before it"
            _refuse(path, f"the tensor {shown(name)} {fault}")
        end = last
    if end != size - LENGTH - length:
        _refuse(path, f"its tensors take {end:,} bytes, but it has {size - LENGTH - length:,}")


def _place(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes begin and end, counted from the end of the header."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [first, last]} if (
            len(entry) == 3 and len(shape) <= AXES and all(map(_counts, (*shape, first, last)))
        ):
            if dtype not in BITS:
                _refuse(path, f"the tensor {shown(name)} has the unknown dtype {shown(dtype)}")
            if last < first:
                message = f"the tensor {shown(name)} ends at byte {last:,}, before it begins"
                _refuse(path, f"{message} at {first:,}")
            bits = math.prod(shape) * BITS[dtype]
            if bits != 8 * (last - first):
                message = f"the tensor {shown(name)} has {last - first:,} bytes"
                _refuse(path, f"{message}, but its shape and dtype need {(bits + 7) // 8:,}")
            return first, last
    _refuse(path, f"the tensor {shown(name)} is not described by dtype, shape and offsets")


def _counts(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


class _Twice(ValueError):
    """Two entries share a name, and parsers differ in which one they use."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice("two tensors share a name")
    return found


def _refuse(path: Path, message: str) -> NoReturn:
    message = f"it is not a readable .safetensors file: {message}"
    raise CompileError(Problem(message, str(path), AGAIN))
