"""Reads single values: what Python has or what a person typed -> plain int, str, float and tuple.

Subclasses (an `IntEnum`, a `str` with its own `__str__`, NumPy's integers) are reduced to the plain
value, so that no text of theirs reaches an emitted file.
"""

from __future__ import annotations

import contextlib
import itertools
import numbers
import operator
import re
from collections.abc import Iterable, Sequence
from typing import assert_never

from ..axes import plain as plain_axes
from ..errors import CompileError, Problem, raise_all, shown, suggest
from ..ir import Axes
from ..limits import DECODER_FILTERS, DIGITS, NUMBER, STAGES, STEM, TEXT, Limit
from ..names import plain, target_of
from ..operations import ACTIVATIONS
from ..option import Option
from ..options import RANKS
from ..targets import TARGETS

FLAG_HINT = "it is True or False"
RANK = Limit(16, "An image has two or three sizes, and its channels.")
ENTRIES = Limit(STEM.largest + STAGES.largest, f"The stem and its pool, and {STAGES.of.lower()}")
AXES_HINT = "as 2, or with a number for each axis: (1, 2, 2)"


def find_target(target: object, problems: list[Problem]) -> str:
    """The name of a target, whatever its spelling; the problem is noted if there is none."""
    found = target_of(plain_text(target) or "")
    if found is None:
        missing = Problem("--target is missing", hint=f"one of {', '.join(TARGETS)}")
        problems.append(missing if target is None else not_one_of("--target", target, TARGETS))
    return found or next(iter(TARGETS))


def parse(option: Option, value: object) -> object:
    """The value of one option, from Python or from text. Raises `CompileError`."""
    if isinstance(value, str):
        value = str.__str__(value)
        raise_all(TEXT.problems(f"the length of {option.flag}", len(value)))
    match option.kind:
        case "count":
            return count(option.flag, value, option.limit)
        case "shape":
            return _counts(option, value, RANK, "sizes and channels")
        case "counts":
            return _counts(option, value, DECODER_FILTERS, "one number per stage")
        case "axes":
            return _axes_option(option, value)
        case "share":
            return share(option.flag, value)
        case "flag":
            if value is not True:
                raise CompileError(Problem(f"{option.flag} is {shown(value)}", hint=FLAG_HINT))
            return True
        case "choice":
            return choice(option.flag, value, option.choices or ACTIVATIONS)
        case _:
            assert_never(option.kind)


def choice(what: str, value: object, choices: Iterable[str]) -> str:
    """The one of the choices that the value spells. Raises `CompileError`."""
    text = plain_text(value)
    if text is not None:
        for name in choices:
            exact = name.isdecimal()  # "-3" is not 3
            if text.strip() == name or (not exact and plain(text) == plain(name)):
                return name
    raise CompileError(not_one_of(what, value, choices))


def not_one_of(what: str, value: object, choices: Iterable[str]) -> Problem:
    """The problem of a value that is none of the choices."""
    names = tuple(choices)
    near = suggest(plain_text(value) or "", names)
    return Problem(f"{what} is {shown(value)}.{near}", hint=f"one of {', '.join(names)}")


def plain_text(value: object) -> str | None:
    """The text of a `str` or of a whole number; None for anything else."""
    if isinstance(value, str):
        return str.__str__(value)
    number = whole(value)
    return str(number) if number is not None and abs(number) <= NUMBER.largest else None


def whole(value: object) -> int | None:
    """The plain `int` of a whole number of any type; None for anything else, and for a bool."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int.__index__(value)
    with contextlib.suppress(Exception):  # the code of somebody's class
        return operator.index(value)  # type: ignore[arg-type]
    return None


def count(
    what: str, value: object, limit: Limit = NUMBER, typed: bool = True, least: int = 1
) -> int:
    """The value as a whole number from `least` up to the limit. Raises `CompileError`.

    With `typed`, it may be text.
    """
    if typed and isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        digits = len(value.strip())
        if digits > DIGITS.largest:
            raise CompileError(Problem(f"{what} has a number of {digits:,} digits", hint=DIGITS.of))
        value = int(value)
    number = whole(value)
    if number is None:
        raise CompileError(Problem(f"{what} has {shown(value)}, which is not a whole number"))
    if number < least:
        raise CompileError(Problem(f"{what} has {shown(number)}, which is below {least}"))
    if number > limit.largest:
        message = f"{what} has {shown(number)}, which is above {limit.largest:,}"
        raise CompileError(Problem(message, hint=limit.of))
    return number


def counts(
    what: str, values: object, each: Limit, problems: list[Problem], length: Limit
) -> tuple[int, ...]:
    """A sequence as a tuple of whole numbers, whatever is wrong with it being noted."""
    items = sequence(values, length)
    if not items:
        problems.append(Problem(f"{what} is {shown(values)}", hint="a tuple of whole numbers"))
        return ()
    return _each(what, items, each, problems, length, typed=False)


def axes(
    what: str,
    values: object,
    each: Limit,
    problems: list[Problem],
    length: Limit,
    typed: bool = False,
) -> tuple[Axes, ...]:
    """A sequence of kernels or strides: one number for all axes, or one for each of them."""
    items = sequence(values, length)
    if not items:
        problems.append(Problem(f"{what} is {shown(values)}", hint="a tuple of whole numbers"))
        return ()
    if len(items) > length.largest:
        message = f"{what} has more than {length.largest} entries"
        problems.append(Problem(message, hint=length.of))
        return ()
    found: list[Axes] = []
    for item in items:
        numbers = sequence(item, RANK) or (item,)
        if len(numbers) > 1 and len(numbers) not in RANKS:
            message = f"{what} has {shown(item)}, which is not for 2 or 3 axes"
            problems.append(Problem(message, hint=AXES_HINT))
            continue
        read = _each(what, numbers, each, problems, length, typed)
        if len(read) == len(numbers):
            found.append(plain_axes(read))
    return tuple(found)


def _axes_option(option: Option, value: object) -> tuple[Axes, ...]:
    """Entries as a person types them, 1,2,2/2/2, or as Python has them."""
    if isinstance(value, str):
        value = [entry.split(",") for entry in value.split("/")]
    elif whole(value) is not None:
        value = [value]
    problems: list[Problem] = []
    found = axes(option.flag, value, option.limit, problems, ENTRIES, typed=True)
    raise_all(problems)
    return found


def sequence(values: object, length: Limit) -> tuple[object, ...]:
    """The items of a sequence, at most one more than the limit; () for what is not a sequence."""
    if isinstance(values, Sequence) and not isinstance(values, str | bytes | bytearray):
        with contextlib.suppress(Exception):  # the code of somebody's class
            return tuple(itertools.islice(values, length.largest + 1))
    return ()


def _each(
    what: str,
    items: Sequence[object],
    each: Limit,
    problems: list[Problem],
    length: Limit,
    typed: bool,
) -> tuple[int, ...]:
    if len(items) > length.largest:
        message = f"{what} has more than {length.largest} entries"
        problems.append(Problem(message, hint=length.of))
        return ()
    found = []
    for item in items:
        try:
            found.append(count(what, item, each, typed))
        except CompileError as error:
            problems += error.problems
    return tuple(found)


def _counts(option: Option, value: object, length: Limit, wanted: str) -> tuple[int, ...]:
    items = value.split(",") if isinstance(value, str) else sequence(value, length)
    if not items:
        raise CompileError(Problem(f"{option.flag} is {shown(value)}, but takes {wanted}"))
    problems: list[Problem] = []
    found = _each(option.flag, items, option.limit, problems, length, typed=True)
    raise_all(problems)
    return found


def share(what: str, value: object) -> float:
    """A number from 0 up to, but not including, 1."""
    number: float | None = None
    if isinstance(value, str):
        if re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*", value.lower()):
            number = float(value)
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        with contextlib.suppress(Exception):  # an integer that no float holds, somebody's class
            number = float.__float__(value if isinstance(value, float) else float(value))
    if number is None:
        raise CompileError(Problem(f"{what} has {shown(value)}, which is not a number"))
    if not 0 <= number < 1:
        raise CompileError(
            Problem(f"{what} has {shown(value)}, which is not from 0 up to, but below, 1")
        )
    return abs(number)  # -0.0 is 0
