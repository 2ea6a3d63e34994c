"""How wide a text is: Helvetica's widths, with a margin for the font that stands in for it."""

from __future__ import annotations

FAMILY = "Helvetica, Arial, 'Liberation Sans', sans-serif"
MARGIN = 1.15  # DejaVu and Verdana are this much wider
BOLD = 1.18
OTHER = 1000  # of what is not in the table: as wide as the font is high

_BY_WIDTH = {  # in thousandths of the font's size
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft·",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jcksvxyz",
    556: "#$0123456789?L_abdeghnopqu",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    730: "+<=>~×−",  # 584 in Helvetica, and much wider in DejaVu
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    1015: "@",
}
WIDTHS = {character: width for width, text in _BY_WIDTH.items() for character in text}


def width_of(text: str, size: float, bold: bool = False) -> float:
    """The width that a text may have, in the units of its size."""
    total = sum(WIDTHS.get(character, OTHER) for character in text)
    return total / 1000 * size * MARGIN * (BOLD if bold else 1)


def shortened(text: str, size: float, width: float, bold: bool = False) -> str:
    """The text, with dots for the end that has no room."""
    if width_of(text, size, bold) <= width:
        return text
    while text and width_of(text + "…", size, bold) > width:
        text = text[:-1]
    return text + "…"
