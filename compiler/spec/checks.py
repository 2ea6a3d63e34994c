"""Checks a spec against its typed definition: every problem, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from ..errors import shown, suggest
from .positions import KeyPath, spelled

MANY = 12  # choices of which an error lists none


@dataclass(frozen=True)
class Wrong:
    """A value that is wrong, and what would be right."""

    path: KeyPath
    message: str
    hint: str = ""


def checked(value: object, kind: Any, path: KeyPath, wrong: list[Wrong]) -> Any:
    """The value without its wrong parts, each of which is noted; `UNSET` if none is left."""
    kind, meta = _plain(kind)
    if _is_table(kind) and isinstance(value, dict):
        return _table(value, kind, path, wrong)
    if get_origin(kind) in (Union, UnionType):
        tables = [part for part in get_args(kind) if _is_table(part)]
        lists = [part for part in get_args(kind) if get_origin(_plain(part)[0]) is list]
        nested = tables if isinstance(value, dict) else lists if isinstance(value, list) else []
        if nested:
            return checked(value, nested[0], path, wrong)
    if get_origin(kind) is list and isinstance(value, list) and _length_fits(value, meta):
        (item,) = get_args(kind)
        return [checked(each, item, (*path, i), wrong) for i, each in enumerate(value)]
    try:
        return msgspec.convert(value, Annotated[kind, meta] if meta else kind)
    except msgspec.ValidationError:
        near = suggest(value, _choices(kind)) if isinstance(value, str) else ""
        hint = f"use {expected(Annotated[kind, meta] if meta else kind)}"
        wrong.append(Wrong(path, f"{_last_key(path)} is {_toml(value)}.{near}".rstrip("."), hint))
        return msgspec.UNSET


def _table(
    value: dict[str, Any], kind: type[msgspec.Struct], path: KeyPath, wrong: list[Wrong]
) -> dict[str, Any]:
    kinds = {field.name: field.type for field in msgspec.structs.fields(kind)}
    where = f"[{spelled(path)}]" if path else "a spec"
    for key in (key for key in value if key not in kinds):
        hint = f"the keys of {where} are {', '.join(kinds)}"
        wrong.append(
            Wrong((*path, key), f"unknown key {shown(key)}.{suggest(key, kinds)}".rstrip("."), hint)
        )
    found = {
        key: checked(value[key], kinds[key], (*path, key), wrong) for key in kinds if key in value
    }
    return {key: each for key, each in found.items() if each is not msgspec.UNSET}


def _last_key(path: KeyPath) -> str:
    """The key, with the index of an item: `kernels[1]`."""
    last = max((i for i, part in enumerate(path) if isinstance(part, str)), default=0)
    return spelled(path[last:])


def _toml(value: object) -> str:
    """A value as an error prints it."""
    return str(value).lower() if isinstance(value, bool) else shown(value)


def _plain(kind: Any) -> tuple[Any, msgspec.Meta | None]:
    """The type without its description and without `UnsetType`, and its bounds."""
    bounds = None
    while True:
        if get_origin(kind) is Annotated:
            kind, *metas = get_args(kind)
            bounds = next((meta for meta in metas if meta.description is None), bounds)
        elif get_origin(kind) in (Union, UnionType) and msgspec.UnsetType in get_args(kind):
            (kind,) = (part for part in get_args(kind) if part is not msgspec.UnsetType)
        else:
            return kind, bounds


def tables_of(table: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """The tables in a table, by their keys."""
    found = {}
    for field in msgspec.structs.fields(table):
        kind, _ = _plain(field.type)
        for part in (kind, *get_args(kind)):
            if _is_table(part):
                found[field.name] = part
    return found


def description(kind: Any) -> str:
    """What a key means."""
    while get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not msgspec.UnsetType)
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((meta.description for meta in metas if meta.description), "")


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _length_fits(value: list[Any], meta: msgspec.Meta | None) -> bool:
    least, most = (meta.min_length or 0, meta.max_length) if meta else (0, None)
    return least <= len(value) and (most is None or len(value) <= most)


def _choices(kind: Any) -> list[str]:
    return [str(value) for value in get_args(kind)] if get_origin(kind) is Literal else []


def expected(kind: Any) -> str:
    """What a type takes, in words: `a whole number from 1 to 255`."""
    kind, meta = _plain(kind)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(expected(part) for part in get_args(kind))
    if origin is Literal:
        names = [str(name) if isinstance(name, int) else f'"{name}"' for name in get_args(kind)]
        if len(names) == 1:
            return names[0]
        few = f"one of {', '.join(names)}"
        return few if len(names) <= MANY else "a name that `plainnet list` shows"
    if origin is list:
        (item,) = get_args(kind)
        return f"a list of {_count(meta)}, each {expected(item)}" if meta else "a list"
    if kind is int and meta:
        return f"a whole number from {meta.ge} to {meta.le:,}"
    if kind is float and meta:
        return f"a number from {meta.ge} up to, but below, {meta.lt}"
    if kind is str and meta:
        return f"text of at most {meta.max_length:,} characters"
    return {bool: "true or false"}.get(kind, "a table")


def _count(meta: msgspec.Meta) -> str:
    return f"{meta.min_length} to {meta.max_length} items"
