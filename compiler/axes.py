"""Kernels and strides: one number for all spatial axes, or one for each."""

from __future__ import annotations

from collections.abc import Iterable

from .ir import Axes


def plain(value: Axes) -> Axes:
    """One number if all axes have the same value; else the value as it is."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value


def spread(value: Axes, rank: int) -> tuple[int, ...]:
    """The value of each of `rank` axes."""
    assert not isinstance(value, str)
    return value if isinstance(value, tuple) else (value,) * rank


def product(values: Iterable[tuple[int, ...]], rank: int) -> tuple[int, ...]:
    """The product of strides, axis by axis."""
    total = [1] * rank
    for value in values:
        total = [a * b for a, b in zip(total, value, strict=True)]
    return tuple(total)


def times(value: Axes, rank: int) -> str:
    """The value as a size: `7x7x7`, `1x2x2`."""
    return "x".join(map(str, spread(value, rank)))


def entry(value: Axes) -> str:
    """The value as it is typed: `2`, `1,2,2`."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
