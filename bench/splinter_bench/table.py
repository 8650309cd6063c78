"""Tables of texts, made once for terminals, Markdown and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from rich import table as rich_table

Row = TypeVar("Row")
_NUMBER = re.compile(r"[≤≥]? ?[-−]?\d")


@dataclass(frozen=True)
class Table:
    """Rows of texts below a header; columns of numbers stand to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    styles: Sequence[str] = ()  # of the rows, on a terminal

    def rich(self) -> rich_table.Table:
        """The table for a terminal."""
        made = rich_table.Table(title=self.title or None, title_justify="left")
        for name, is_right in zip(self.header, self._are_numbers(), strict=True):
            made.add_column(name, justify="right" if is_right else "left")
        for row, style in zip_longest(self.rows, self.styles):
            made.add_row(*row, style=style)
        return made

    def _are_numbers(self) -> list[bool]:
        columns = ([row[place] for row in self.rows if row[place]] for place in range(len(self.header)))
        return [bool(cells) and all(map(_NUMBER.match, cells)) for cells in columns]

    def markdown(self) -> str:
        """The table without its title."""
        lines = [self.header, ["---:" if is_right else "---" for is_right in self._are_numbers()], *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def table_of(rows: Collection[Row], columns: Mapping[str, Callable[[Row], str]], title: str = "") -> Table:
    """A table with a column for each text of rows; columns that have none, but for the first, are left out."""
    cells = {name: [text(row) for row in rows] for name, text in columns.items()}
    first, *others = cells
    kept = [first, *(name for name in others if any(cells[name]))]
    return Table(kept, list(zip(*(cells[name] for name in kept), strict=True)), title)
