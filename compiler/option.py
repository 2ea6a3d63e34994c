"""One option: its kind, its words and its limit. The table of them is `options`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from .axes import entry
from .limits import NUMBER, Limit

_FLAG = re.compile(r"--[a-z][a-z0-9-]*")
Kind: TypeAlias = Literal["count", "counts", "axes", "share", "shape", "choice", "flag"]


@dataclass(frozen=True)
class Option:
    """One option.

    `of` names the heads that take it and is empty if every model does; `field` is the field of
    these heads that it fills. `limit` applies to each of its numbers. A `choice` without `choices`
    is one of the activations. Without a value, an option that `follows` a field of the encoder has
    the value of that field. `also` is a shorter flag, in commands where it means nothing else.
    """

    name: str
    kind: Kind
    help: str
    choices: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    limit: Limit = NUMBER
    field: str = ""
    follows: str = ""
    also: str = ""

    @property
    def flag(self) -> str:
        """The option as people type it: `--in-channels`."""
        return "--" + self.name.replace("_", "-")

    def typed(self, value: object) -> str:
        """A value of the option as people type it: `64,32`, `1,2,2/2/2`."""
        if not isinstance(value, tuple):
            return str(value)
        return "/".join(map(entry, value)) if self.kind == "axes" else entry(value)


def flagged(text: str) -> list[str]:
    """The names of the options whose flags are in a text: `["in_channels"]`."""
    return [flag.removeprefix("--").replace("-", "_") for flag in _FLAG.findall(text)]


def option(
    default: object,
    kind: Kind,
    help: str,
    choices: tuple[str, ...] = (),
    limit: Limit = NUMBER,
    name: str = "",
    follows: str = "",
) -> Any:
    """A field of a head that an option fills, which has the field's name unless `name` is given.

    `options_of` adds the sentence about the default to the help text.
    """
    made = Option(name, kind, help, choices, limit=limit, follows=follows)
    return field(default=default, metadata={"option": made})


def options_of(heads: Iterable[tuple[str, type]]) -> tuple[Option, ...]:
    """The options of all heads, by their fields. Raises `ValueError`.

    Heads may share an option, with a different default in each.
    """
    found: dict[str, Option] = {}
    defaults: dict[str, dict[str, str]] = {}
    for name, head in heads:
        for each in fields(head):
            if "option" not in each.metadata:
                continue
            asked = each.metadata["option"]
            asked = replace(asked, name=asked.name or each.name, field=each.name)
            known = found.setdefault(asked.name, asked)
            if replace(known, of=()) != asked:
                raise ValueError(f"{known.of[0]} and {name} differ in {asked.flag}")
            found[asked.name] = replace(known, of=(*known.of, name))
            usual = "that of the encoder" if asked.follows else _spelled(each.default)
            defaults.setdefault(asked.name, {})[name] = usual
    return tuple(
        (
            replace(one, help=f"{one.help} Default: {_joined(defaults[one.name])}.")
            if one.kind != "flag"
            else one
        )
        for one in found.values()
    )


def _spelled(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _joined(defaults: dict[str, str]) -> str:
    if len(set(defaults.values())) == 1:
        return next(iter(defaults.values()))
    return ", ".join(f"{value} for {segmentor}" for segmentor, value in defaults.items())
