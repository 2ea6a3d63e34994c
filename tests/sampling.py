"""Which cases of a big matrix run by default: one of each kind. The rest carries the mark `full`.

`python -m pytest -n 2 -m "full or not full"` runs all of them.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest

from compiler.catalog import ENCODERS


def by_kind(cases: Iterable[Any], kind: Callable[..., Hashable]) -> list[Any]:
    """The cases as pytest parameters; those whose kind came before are marked `full`."""
    seen: set[Hashable] = set()
    found = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        what = kind(*values)
        found.append(pytest.param(*values, marks=[pytest.mark.full] if what in seen else []))
        seen.add(what)
    return found


def block_kind(encoder: str) -> tuple[Hashable, ...]:
    """What makes the blocks of one catalog encoder differ from those of another, but for SE."""
    row = ENCODERS[encoder]
    return row.block, row.pre_activation, row.groups > 1, row.dialect


def encoder_kind(encoder: str) -> tuple[Hashable, ...]:
    """The kind of its blocks, and whether they have squeeze-and-excitation."""
    return *block_kind(encoder), ENCODERS[encoder].se is not None
