"""Colors, for light and for dark pages, as the style sheet of a drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from .fonts import FAMILY

THEMES = ("auto", "light", "dark")

# Of each kind of box, what fills it and what lines it.
LIGHT = {
    "image": ("#eef1f4", "#7b8794"),
    "encoder": ("#cfe0f6", "#3a6cb0"),
    "decoder": ("#cfeadb", "#2b8259"),
    "up": ("#cfeadb", "#2b8259"),
    "gate": ("#fde8bf", "#a9740c"),
    "tokens": ("#e3daf7", "#7152b6"),
    "table": ("#f4f0fc", "#7152b6"),
    "head": ("#f9d6d8", "#b53f4c"),
    "output": ("#f9d6d8", "#b53f4c"),
    "join": ("#ffffff", "#3d4852"),
}
DARK = {
    "image": ("#2a323b", "#93a1af"),
    "encoder": ("#1f3a5f", "#79aef0"),
    "decoder": ("#1c4433", "#62c795"),
    "up": ("#1c4433", "#62c795"),
    "gate": ("#4d3a10", "#e3b24d"),
    "tokens": ("#3a2d5c", "#b49bf0"),
    "table": ("#251f38", "#b49bf0"),
    "head": ("#552229", "#f08a94"),
    "output": ("#552229", "#f08a94"),
    "join": ("#12171d", "#c6d0da"),
}
LIGHT_PAGE = {"paper": "#ffffff", "ink": "#1d2731", "muted": "#5d6a76", "rule": "#e4e9ee"}
DARK_PAGE = {"paper": "#12171d", "ink": "#e6ebf0", "muted": "#98a5b1", "rule": "#29323b"}


def style_sheet(theme: str) -> str:
    """The rules of a drawing: of one theme, or of the one that its reader prefers.

    They only apply to drawings of this theme, as a page may have several.
    """
    first = _colors(DARK, DARK_PAGE) if theme == "dark" else _colors(LIGHT, LIGHT_PAGE)
    lines = [_rule(theme, *rule) for rule in (*_SHAPES, *first)]
    if theme == "auto":
        lines.append("@media (prefers-color-scheme: dark) {")
        lines += [f"  {_rule(theme, *rule)}" for rule in _colors(DARK, DARK_PAGE)]
        lines.append("}")
    return "\n".join(lines)


Rule: TypeAlias = tuple[str, str]  # a selector inside of the drawing, and what it declares

_SHAPES: tuple[Rule, ...] = (
    ("text", f"font-family: {FAMILY};"),
    (".bold", "font-weight: 600;"),
    (".middle", "text-anchor: middle;"),
    (".end", "text-anchor: end;"),
    (".line", "fill: none; stroke-width: 1.4; stroke-linejoin: round;"),
    (".rule", "stroke-width: 1;"),
    (".shape", "stroke-width: 1.2; stroke-linejoin: round;"),
    (".slice", "stroke-width: 0.6; stroke-opacity: 0.5;"),
    (".table .shape", "stroke-dasharray: 3 2;"),
    (".arrow.up .line", "stroke-dasharray: 4 2.5;"),
    (".side", "fill-opacity: 0.6;"),
    (".macs", "fill-opacity: 0.45;"),
)


def _rule(theme: str, selector: str, declarations: str) -> str:
    return f".plainnet.{theme} {selector} {{ {declarations} }}"


def _colors(kinds: Mapping[str, tuple[str, str]], page: Mapping[str, str]) -> list[Rule]:
    lines = {
        "flow": page["ink"],
        "skip": page["muted"],
        "down": kinds["encoder"][1],
        "up": kinds["decoder"][1],
        "learned": kinds["decoder"][1],
    }
    return [
        (".paper", f"fill: {page['paper']};"),
        ("text", f"fill: {page['ink']};"),
        (".muted", f"fill: {page['muted']};"),
        (".rule", f"stroke: {page['rule']};"),
        *(rule for kind, pair in kinds.items() for rule in _of_kind(kind, *pair)),
        *(rule for name, color in lines.items() for rule in _of_line(name, color)),
    ]


def _of_kind(kind: str, fill: str, line: str) -> tuple[Rule, ...]:
    return (
        (f".{kind} .shape", f"fill: {fill}; stroke: {line};"),
        (f".{kind} .slice", f"stroke: {line};"),
        (f".bar.{kind}", f"fill: {line};"),
    )


def _of_line(name: str, color: str) -> tuple[Rule, ...]:
    return (
        (f".arrow.{name} .line", f"stroke: {color};"),
        (f".arrow.{name} .tip", f"fill: {color};"),
    )
