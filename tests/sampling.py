"""Which cases of a big matrix run by default; the rest carries the mark `full`.

`python -m pytest -n 2 -m "full or not full"` runs all of them.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest

from compiler.catalog import ENCODERS
from compiler.options import BY_NAME, COMPAT
from compiler.segmentors import SEGMENTORS

UNETS = BY_NAME["decoder_block"].of  # UNet and its relatives
ANYWHERE = tuple(name for name, row in SEGMENTORS.items() if not row.head.exact)  # any encoder
MEDICAI = tuple(COMPAT)  # the segmentors that medicai has


def host(segmentor: str, usual: str) -> str:
    """An encoder for a segmentor: the usual one, unless it is for encoders of its own."""
    return usual if segmentor in ANYWHERE else "nnunet_resenc"


def only(chosen: Callable[..., bool], cases: Iterable[Any]) -> list[Any]:
    """The cases as pytest parameters; those that are not `chosen` are marked `full`."""
    found = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        found.append(pytest.param(*values, marks=[] if chosen(*values) else [pytest.mark.full]))
    return found


def by_kind(cases: Iterable[Any], kind: Callable[..., Hashable]) -> list[Any]:
    """The cases as pytest parameters; those whose kind came before are marked `full`."""
    seen: set[Hashable] = set()

    def is_first(*values: Any) -> bool:
        what = kind(*values)
        first = what not in seen
        seen.add(what)
        return first

    return only(is_first, cases)


def third_of(*choices: Iterable[Any]) -> list[Any]:
    """Every combination as a pytest parameter; two of three are marked `full`.

    Each value of a choice is there, if it has no more than three values.
    """
    return _one_of(3, choices)


def half_of(*choices: Iterable[Any]) -> list[Any]:
    """Every combination as a pytest parameter; every other one is marked `full`.

    Of three choices any two values still meet, where one of the three has two values.
    """
    return _one_of(2, choices)


def _one_of(count: int, choices: tuple[Iterable[Any], ...]) -> list[Any]:
    found = []
    for case in itertools.product(*map(enumerate, choices)):
        turn = sum(place for place, _ in case)
        marks = [pytest.mark.full] if turn % count else []
        found.append(pytest.param(*(value for _, value in case), marks=marks))
    return found


def block_kind(encoder: str) -> tuple[Hashable, ...]:
    """What makes the blocks of one catalog encoder differ from those of another, but for SE."""
    row = ENCODERS[encoder]
    return row.block, row.pre_activation, row.groups > 1, row.dialect


def encoder_kind(encoder: str) -> tuple[Hashable, ...]:
    """The kind of its blocks, and whether they have squeeze-and-excitation."""
    return *block_kind(encoder), ENCODERS[encoder].se is not None
