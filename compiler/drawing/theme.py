"""Colors, for light and for dark pages, as the style sheet of a drawing."""

from __future__ import annotations

from collections.abc import Mapping

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
    """The rules of a drawing: of one theme, or of the one that its reader prefers."""
    first = _colors(DARK, DARK_PAGE) if theme == "dark" else _colors(LIGHT, LIGHT_PAGE)
    rules = [*_SHAPES, *first]
    if theme == "auto":
        rules.append("@media (prefers-color-scheme: dark) {")
        rules += [f"  {rule}" for rule in _colors(DARK, DARK_PAGE)]
        rules.append("}")
    return "\n".join(rules)


_SHAPES = (
    f".plainnet text {{ font-family: {FAMILY}; }}",
    ".plainnet .bold { font-weight: 600; }",
    ".plainnet .middle { text-anchor: middle; }",
    ".plainnet .end { text-anchor: end; }",
    ".plainnet .line { fill: none; stroke-width: 1.4; stroke-linejoin: round; }",
    ".plainnet .rule { stroke-width: 1; }",
    ".plainnet .shape { stroke-width: 1.2; stroke-linejoin: round; }",
    ".plainnet .slice { stroke-width: 0.6; stroke-opacity: 0.5; }",
    ".plainnet .table .shape { stroke-dasharray: 3 2; }",
    ".plainnet .arrow.up .line { stroke-dasharray: 4 2.5; }",
    ".plainnet .side { fill-opacity: 0.6; }",
    ".plainnet .macs { fill-opacity: 0.45; }",
)


def _colors(kinds: Mapping[str, tuple[str, str]], page: Mapping[str, str]) -> list[str]:
    lines = {
        "flow": page["ink"],
        "skip": page["muted"],
        "down": kinds["encoder"][1],
        "up": kinds["decoder"][1],
        "learned": kinds["decoder"][1],
    }
    return [
        f".plainnet .paper {{ fill: {page['paper']}; }}",
        f".plainnet text {{ fill: {page['ink']}; }}",
        f".plainnet .muted {{ fill: {page['muted']}; }}",
        f".plainnet .rule {{ stroke: {page['rule']}; }}",
        *(rule for kind, pair in kinds.items() for rule in _of_kind(kind, *pair)),
        *(rule for name, color in lines.items() for rule in _of_line(name, color)),
    ]


def _of_kind(kind: str, fill: str, line: str) -> tuple[str, ...]:
    return (
        f".plainnet .{kind} .shape {{ fill: {fill}; stroke: {line}; }}",
        f".plainnet .{kind} .slice {{ stroke: {line}; }}",
        f".plainnet .bar.{kind} {{ fill: {line}; }}",
    )


def _of_line(name: str, color: str) -> tuple[str, ...]:
    return (
        f".plainnet .arrow.{name} .line {{ stroke: {color}; }}",
        f".plainnet .arrow.{name} .tip {{ fill: {color}; }}",
    )
