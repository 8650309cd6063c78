"""What a report is made of, and how it becomes Markdown or one HTML file with its pictures inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.15em .7em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}th{border-bottom:2px solid #888}img{max-width:100%}
pre{background:#f4f4f4;padding:.6em;overflow:auto}"""


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
class Table:
    """Rows of texts below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG that ``draw`` writes to a path. ``name`` is its file's, without suffix; ``text`` says what is to be seen."""

    name: str
    text: str
    draw: Callable[[Path], None]


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
            case Table(header, rows):
                lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
                parts.append("\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines))
            case Picture(name, text, draw):
                folder.mkdir(parents=True, exist_ok=True)
                draw(folder / f"{name}.png")
                parts.append(f"![{text}]({link}/{name}.png)")
    return "\n\n".join(parts) + "\n"


def page(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """One HTML document that needs no other file; ``folder`` is for pictures under way."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h2>{html.escape(text)}</h2>")
            case Paragraph(text):
                parts.append(f"<p>{html.escape(text)}</p>")
            case Code(text):
                parts.append(f"<pre>{html.escape(text)}</pre>")
            case Table(header, rows):
                head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
                body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
                parts.append(f"<table><tr>{head}</tr>\n{body}</table>")
            case Picture(name, text, draw):
                path = folder / f"{name}.png"
                draw(path)
                data = base64.b64encode(path.read_bytes()).decode()
                parts.append(f'<p><img alt="{html.escape(text)}" src="data:image/png;base64,{data}"></p>')
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"
