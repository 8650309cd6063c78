"""The experiments' tables, notes and charts, as ``experiments.toml`` describes them, made from documents alone.

``python -m splinter_bench.report.experiment [--pictures FOLDER] PAGE FILE.json…`` writes what experiments found between the two
markers of a page; each file is a document that ``splinter bench NAME --json`` printed. With ``--pictures`` it also draws the
last document of each experiment, as an SVG file.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from splinter_bench.figure import Figure, shown, shown_interval
from splinter_bench.goals import GOALS, SCHEDULING, figures_of
from splinter_bench.observations import Columns, NotMeasuredError, Observations
from splinter_bench.report.blocks import between
from splinter_bench.report.charts import MEASURED, NUMBER, Chart, Charts, Curve, Curves, Dots, Ends, draw
from splinter_bench.rounds import Verdict
from splinter_bench.table import Table

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_MEDIAN = (0.5, 0.5, 0.5)  # quantiles that a point and its band stand for
_EACH = "{subject}"  # in a column's head: one column for each subject
_FALLS_SHORT = {
    Verdict.HOLDS: "",
    Verdict.FAILS: ", **which it falls short of**",
    Verdict.CANNOT_TELL: ", **which cannot be told**",
}

About = dict[str, Any]
Document = dict[str, Any]


@cache
def experiments() -> dict[str, About]:
    """What ``experiments.toml`` says of each experiment, by name."""
    return tomllib.loads(resources.files(__package__).joinpath("experiments.toml").read_text("utf-8"))


def figures(document: Document) -> list[Figure]:
    """What ``goals.toml`` computes from the document."""
    return figures_of(Observations.of(document))


def table(document: Document) -> Table:
    """A row for each combination of the settings ``by``; cells are texts with formulas."""
    about, observations = experiments()[document["experiment"]], Observations.of(document)
    heads: list[tuple[str, str, About]] = []
    for is_each, columns in groupby(about["table"]["columns"], key=lambda column: _EACH in column[0]):
        some = list(columns)
        for subject in about["table"].get("subjects", about["looks"]) if is_each else ("",):
            which = {"subject": subject} if is_each else {}
            heads += [(head.replace(_EACH, subject), text, which | dict(*at)) for head, text, *at in some]
    cells = [
        [_told(observations, text, place | at) for _, text, at in heads]
        for place in _places(observations.columns(), about["table"]["by"])
    ]
    return Table([head for head, _, _ in heads], cells, about["table"]["title"])


def notes(document: Document) -> list[str]:
    """What does not fit into the table, in a sentence each, and what share of the requests had another status than OK."""
    about, observations = experiments()[document["experiment"]], Observations.of(document)
    said = []
    for note in about.get("notes", []):
        at, of = note.get("at", {}), note.get("of", "rows")
        try:
            places = list(_places(observations.columns(at, of), note.get("by", [])))
        except NotMeasuredError:
            continue
        said += [_told(observations, note["text"], at | place, of) for place in places]
    if refused := about.get("refused"):
        for place in _places(observations.columns(), refused["by"]):
            columns = observations.columns(place).in_peace()
            said += [f"{columns.told(refused['text'])}: {what}" for what in _refusals(columns.table)]
    return list(filter(None, said))


def _refusals(rows: pd.DataFrame) -> Iterator[str]:
    if "errors" in rows:
        total = sum(map(Counter, rows["errors"].dropna()), Counter[str]())
        asked = rows["count"].sum() + total.total()
        if total:
            yield ", ".join(f"{count / asked:.3%} of the requests were answered {name}" for name, count in total.items())


def _places(columns: Columns, by: Sequence[str]) -> Iterator[About]:
    """The combinations of settings that a table has, in its order."""
    for place in columns.table[list(by)].drop_duplicates().to_dict("records") if by else [{}]:
        yield {str(name): value for name, value in place.items()}


def _told(observations: Observations, text: str, at: About, of: str = "rows") -> str:
    try:
        return observations.columns(at, of).in_peace().told(text)
    except NotMeasuredError:
        return ""


def charts(document: Document) -> Charts:
    """The charts in their rows; those of which nothing was measured or simulated are left out."""
    about, observations = experiments()[document["experiment"]], Observations.of(document)
    rows: dict[int, list[Chart]] = {}
    for chart in about["charts"]:
        drawn = _dots(observations, chart, about["looks"]) if "dots" in chart else _curves(observations, chart, about["looks"])
        rows.setdefault(chart.get("row", 0), []).extend(drawn)
    return [row for row in rows.values() if row]


def _dots(observations: Observations, chart: About, looks: dict[str, str]) -> Iterable[Chart]:
    shown = [
        (label, {subject: _ends(observations.columns({"subject": subject}), formula, chart) for subject in looks})
        for label, formula in chart["dots"]
    ]
    yield Dots(chart["label"], shown, chart["title"], looks)


def _curves(observations: Observations, chart: About, looks: dict[str, str]) -> Iterable[Chart]:
    curves, title = [], ""
    for line in chart["lines"]:
        of, at = line.get("of", "rows"), chart.get("at", {}) | line.get("at", {})
        for subject, look in looks.items():
            try:
                columns = observations.columns(at | {"subject": subject}, of)
            except NotMeasuredError:
                continue
            title = title or columns.told(chart["title"])
            places = {x: Columns(rows, columns.settings) for x, rows in columns.table.groupby(chart["x"])}
            points = {x: _ends(place, line["value"], chart) for x, place in places.items()}
            label, style = line.get("name", _EACH).replace(_EACH, subject), line.get("style", MEASURED)
            curves.append(Curve(label, look, list(points), list(points.values()), style, has_markers=of == "rows"))
    options = {name: chart[name] for name in ("is_log", "y_max", "width") if name in chart}
    if curves:
        yield Curves(chart["x_label"], chart["y_label"], curves, title, step=NUMBER if chart.get("steps") else None, **options)


def _ends(columns: Columns, formula: str, chart: About) -> Ends:
    values = columns.in_peace().evaluate(formula)
    low, middle, high = np.quantile(values, chart.get("quantiles", _MEDIAN), method="weibull")
    return float(low), float(middle), float(high)


def section(document: Document) -> str:
    """What one document says: command, table, notes, figures with their bounds."""
    machine, made = document["machine"], table(document)
    parts = [
        f"`{document['command']}` on {machine['processor']}, {machine['cpus']} CPUs, kernel {machine['kernel']}; {made.title}:",
        made.markdown(),
        *(f"{note[0].upper()}{note[1:]}." for note in notes(document)),
        "\n".join(f"* {_line(figure)}" for figure in figures(document)),
    ]
    return "\n\n".join(part for part in parts if part)


def _line(figure: Figure) -> str:
    text = f"{figure.text}: **{shown(figure.median, figure.unit)}** ({shown_interval(figure.interval, figure.unit)})"
    goal = next((goal for goal in GOALS if (goal.area, goal.figure) == (SCHEDULING, figure.name)), None)
    if goal is None:
        return text
    return f"{text}; wanted: {goal.bound_text(figure.unit)}{_FALLS_SHORT[goal.verdict(figure)]}"


def main(arguments: Sequence[str]) -> None:
    """Rewrite the page in place, and draw where that was asked for."""
    pictures = Path(arguments[1]) if arguments[0] == "--pictures" else None
    page, *files = map(Path, arguments[2:] if pictures else arguments)
    titles: dict[str, list[str]] = {}
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        titles.setdefault(document["experiment"], []).append(section(document))
        if pictures is not None:
            draw(charts(document), pictures / f"{document['experiment']}.svg")
    sections = [f"### {name}\n\n" + "\n\n".join(found) for name, found in titles.items()]
    text = between(page.read_text(encoding="utf-8"), BEGIN, END, "\n\n".join(sections), page)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
