"""The blocks of a report, and how they become Markdown, one HTML page with its pictures inside, or a terminal's table."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splinter.errors import SplinterError
from splinter_bench.report.charts import Chart, draw
from splinter_bench.table import Table


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Code:
    """Lines that keep their form: commands."""

    text: str


@dataclass(frozen=True)
class Picture:
    """Charts in rows. ``name`` is its file's, without suffix; ``text`` names the subject, ``caption`` explains what is odd."""

    name: str
    text: str
    charts: Sequence[Sequence[Chart]]
    caption: str = ""


Block = Heading | Paragraph | Code | Table | Picture


def markdown(blocks: Sequence[Block], folder: Path, link: str) -> str:
    """Markdown; pictures are written into ``folder``, which the text calls ``link``."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"### {text}")
            case Paragraph(text):
                parts.append(text)
            case Code(text):
                parts.append(f"```\n{text}\n```")
            case Table():
                parts += [f"{block.title}:"] * bool(block.title) + [block.markdown()]
            case Picture(name, text, charts, caption):
                folder.mkdir(parents=True, exist_ok=True)
                draw(charts, folder / f"{name}.png")
                parts += [f"![{text}]({link}/{name}.png)"] + [caption] * bool(caption)
    return "\n\n".join(parts) + "\n"


def page(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """One HTML document that needs no other file; ``folder`` is for pictures under way. Raises :class:`SplinterError`."""
    from jinja2 import Environment, FileSystemLoader  # only who writes a page needs it

    def drawn(picture: Picture) -> str:
        path = folder / f"{picture.name}.png"
        draw(picture.charts, path)
        return base64.b64encode(path.read_bytes()).decode()

    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    named = [(type(block).__name__, block) for block in blocks]
    return templates.get_template("page.html").render(title=title, blocks=named, drawn=drawn)


def between(text: str, begin: str, end: str, made: str, where: Path) -> str:
    """The text with ``made`` between its two markers. Raises :class:`SplinterError` when it has not both."""
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise SplinterError(f"{where} has no {begin} and {end}")
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"
