"""A flame graph as an SVG that needs nothing else: a rectangle for each function, as wide as its time, on top of its caller.

Brendan Gregg, "The Flame Graph", CACM 59(6), 2016. Pointing at a rectangle shows its name and figures.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from splinter.errors import SplinterError

Stacks = Mapping[tuple[str, ...], float]  # from the root to the leaf, and its own part

_WIDTH, _ROW, _MARGIN, _TITLE = 1200, 17, 10, 30
_LETTER = 6.6  # width of one, at this size of font
_LEAST = 0.2  # pixels: narrower rectangles are left out


@dataclass
class _Node:
    total: float = 0.0
    children: dict[str, _Node] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + max((child.depth() for child in self.children.values()), default=0)


def draw(stacks: Stacks, path: Path, title: str, unit: str) -> None:
    """Write the picture; values are in ``unit``. Raises :class:`SplinterError` when there is nothing to draw, or no way to."""
    root = _Node()
    for stack, value in stacks.items():
        root.total += value
        node = root
        for name in stack:
            node = node.children.setdefault(name, _Node())
            node.total += value
    if root.total <= 0:
        raise SplinterError("a flame graph needs at least one sample")
    height = _TITLE + (root.depth() - 1) * _ROW + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        "<style>text{font:11px monospace;pointer-events:none}rect:hover{stroke:#000}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="{_TITLE - 10}">{escape(title)}</text>',
    ]
    scale = (_WIDTH - 2 * _MARGIN) / root.total
    _rows(root, float(_MARGIN), height - _MARGIN, scale, unit, parts)
    parts.append("</svg>\n")
    try:
        path.write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise SplinterError(f"{path}: {error.strerror}") from error


def fold(stacks: Stacks, path: Path) -> None:
    """Write what other flame graph tools read: a line for each stack, frames separated by semicolons; the value times 1,000."""
    lines = (f"{';'.join(stack)} {round(value * 1000)}\n" for stack, value in sorted(stacks.items()))
    try:
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise SplinterError(f"{path}: {error.strerror}") from error


def _rows(node: _Node, left: float, bottom: float, scale: float, unit: str, parts: list[str]) -> None:
    """Draw what ``node`` calls, from ``left`` on, above ``bottom``."""
    for name, child in sorted(node.children.items()):
        width = child.total * scale
        if width >= _LEAST:
            top = bottom - _ROW
            hint = escape(f"{name}: {child.total:,.0f} {unit}")
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.0f}" width="{width:.1f}" height="{_ROW - 1}" fill="{_colour(name)}">'
                f"<title>{hint}</title></rect>"
            )
            letters = int((width - 4) / _LETTER)
            if letters >= 3:
                parts.append(f'<text x="{left + 2:.1f}" y="{top + 12:.0f}">{escape(name[:letters])}</text>')
            _rows(child, left, top, scale, unit, parts)
        left += width


def _colour(name: str) -> str:
    """Warm, and the same for the same name."""
    number = zlib.crc32(name.encode())
    return f"#{230 - number % 30:02x}{130 + number // 30 % 90:02x}{60 + number // 2700 % 50:02x}"
