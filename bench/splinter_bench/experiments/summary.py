"""Writes what experiments found into the documentation: ``python -m splinter_bench.experiments.summary PAGE FILE.json…``.

The text between the two markers of the page is replaced; each file is a document that ``splinter bench NAME --json`` printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from splinter.errors import SplinterError
from splinter_bench.experiments.commands import experiment_of
from splinter_bench.figure import Figure, shown, shown_interval
from splinter_bench.goals import GOALS, SCHEDULING
from splinter_bench.rounds import Verdict

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def markdown(table: Table) -> str:
    """A table of plain texts."""
    lines = [[str(column.header) for column in table.columns], ["---"] * len(table.columns)]
    lines += zip(*(column.cells for column in table.columns), strict=True)  # type: ignore[arg-type]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def section(document: dict[str, Any]) -> str:
    """What one document says: command, table, notes, figures with their bounds."""
    experiment = experiment_of(document["experiment"])
    machine = document["machine"]
    parts = [
        f"`{document['command']}` on {machine['processor']}, {machine['cpus']} CPUs, kernel {machine['kernel']}; "
        f"{experiment.table(document).title}:",
        markdown(experiment.table(document)),
        *(f"{note[0].upper()}{note[1:]}." for note in experiment.notes(document)),
        "\n".join(f"* {_line(figure)}" for figure in experiment.figures(document)),
    ]
    return "\n\n".join(part for part in parts if part)


def _line(figure: Figure) -> str:
    text = f"{figure.text}: **{shown(figure.median, figure.unit)}** ({shown_interval(figure.interval, figure.unit)})"
    goal = next((goal for goal in GOALS if (goal.area, goal.figure) == (SCHEDULING, figure.name)), None)
    if goal is None:
        return text
    verdict = goal.verdict(figure)
    said = {
        Verdict.HOLDS: "",
        Verdict.FAILS: ", **which it falls short of**",
        Verdict.CANNOT_TELL: ", **which cannot be told**",
    }
    return f"{text}; wanted: {goal.bound_text(figure.unit)}{said[verdict]}"


def rewrite(page: str, sections: Sequence[str]) -> str:
    """The page with new sections between its markers. Raises :class:`SplinterError` when it has not both."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SplinterError(f"the page has no {BEGIN} … {END}")
    return before + BEGIN + "\n\n" + "\n\n".join(sections) + "\n\n" + END + after


def main(arguments: Sequence[str]) -> None:
    """Rewrite the page in place."""
    page, *files = map(Path, arguments)
    titles: dict[str, list[str]] = {}
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        titles.setdefault(document["experiment"], []).append(section(document))
    sections = [f"### {name}\n\n" + "\n\n".join(found) for name, found in titles.items()]
    page.write_text(rewrite(page.read_text(encoding="utf-8"), sections), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
