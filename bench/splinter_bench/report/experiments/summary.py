"""Writes what experiments found into the documentation: ``python -m splinter_bench.report.experiments.summary``.

Arguments are PAGE FILE.json…, or ``--pictures FOLDER`` PAGE FILE.json… to draw the files' pictures again as well.

The text between the two markers of the page is replaced; each file is a document that ``splinter bench NAME --json`` printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splinter_bench.figure import Figure, shown, shown_interval
from splinter_bench.goals import GOALS, SCHEDULING
from splinter_bench.report.blocks import between
from splinter_bench.report.charts import draw
from splinter_bench.report.experiments.experiment import experiment_of
from splinter_bench.rounds import Verdict

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def section(document: dict[str, Any]) -> str:
    """What one document says: command, table, notes, figures with their bounds."""
    experiment = experiment_of(document["experiment"])
    machine, table = document["machine"], experiment.table(document)
    parts = [
        f"`{document['command']}` on {machine['processor']}, {machine['cpus']} CPUs, kernel {machine['kernel']}; "
        f"{table.title}:",
        table.markdown(),
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


def main(arguments: Sequence[str]) -> None:
    """Rewrite the page in place; with ``--pictures`` also draw each experiment's last document, as an SVG file."""
    pictures = Path(arguments[1]) if arguments[0] == "--pictures" else None
    page, *files = map(Path, arguments[2:] if pictures else arguments)
    titles: dict[str, list[str]] = {}
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        titles.setdefault(document["experiment"], []).append(section(document))
        if pictures is not None:
            draw(experiment_of(document["experiment"]).charts(document), pictures / f"{document['experiment']}.svg")
    sections = [f"### {name}\n\n" + "\n\n".join(found) for name, found in titles.items()]
    text = between(page.read_text(encoding="utf-8"), BEGIN, END, "\n\n".join(sections), page)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
