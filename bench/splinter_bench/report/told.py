"""Tables, notes, charts and captions of all documents, as ``experiments.toml`` and ``sections.toml`` describe them.

All are made from documents alone. ``python -m splinter_bench.report.told [--pictures FOLDER] PAGE FILE.json…`` writes what
experiments found between the two markers of a page; each file is a document that ``splinter bench NAME --json`` printed. With
``--pictures`` it also draws the last document of each experiment, as an SVG file.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
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
from splinter_bench.report.blocks import Block, Code, Paragraph, Picture, between
from splinter_bench.report.charts import MEASURED, NUMBER, Bars, Chart, Charts, Curve, Curves, Dots, Ends, beyond_limits, draw
from splinter_bench.report.palette import ECHOES
from splinter_bench.report.palette import subject as look_of
from splinter_bench.rounds import Verdict
from splinter_bench.table import Table

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_MEDIAN = (0.5, 0.5, 0.5)  # quantiles that a point and its band stand for
_EACH = "{subject}"  # in a column's head: one column for each subject
_KIB = 1024
_FALLS_SHORT = {
    Verdict.HOLDS: "",
    Verdict.FAILS: ", **which it falls short of**",
    Verdict.CANNOT_TELL: ", **which cannot be told**",
}
_BEYOND = (
    "An echo stands below Splinter in {}. Both are medians of runs that took turns on a machine whose speed changes within "
    "seconds, and with many requests under way both wait for the one core of the load generator. The table has the ratios of "
    "runs that were neighbours."
)

About = dict[str, Any]
Document = dict[str, Any]


@cache
def described() -> dict[str, About]:
    """What the two files say of each kind of document, by name; one that is ``like`` another has the rest from there."""
    files = (resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("experiments.toml", "sections.toml"))
    found = {name: about for file in files for name, about in tomllib.loads(file).items()}
    return {name: found.get(about.get("like"), {}) | about for name, about in found.items()}


def figures(document: Document) -> list[Figure]:
    """What ``goals.toml`` computes from the document."""
    return figures_of(Observations.of(document))


def tables(document: Document) -> list[Table]:
    """A row for each combination of the settings ``by``; cells are texts with formulas. Columns without any are left out."""
    about, observations = described()[document["experiment"]], Observations.of(document)
    return [made for each in about["tables"] if (made := _table(observations, each, list(about.get("looks", {})))).rows]


def _table(observations: Observations, about: About, subjects: list[str]) -> Table:
    heads: list[tuple[str, str, About]] = []
    for is_each, columns in groupby(about["columns"], key=lambda column: _EACH in column[0]):
        some = list(columns)
        for subject in about.get("subjects", subjects) if is_each else ("",):
            which = {"subject": subject} if is_each else {}
            heads += [(head.replace(_EACH, subject), text, which | dict(*at)) for head, text, *at in some]
    places = observations.places(about["by"], about.get("at"))
    cells = [_cells(observations, place, [(text, at) for _, text, at in heads]) for place in places]
    kept = [column for column in range(len(heads)) if column == 0 or any(row[column] for row in cells)]
    title = _told(observations, about["title"], about.get("at", {}))
    return Table([heads[column][0] for column in kept], [[row[column] for column in kept] for row in cells], title)


def _cells(observations: Observations, place: About, texts: Sequence[tuple[str, About]]) -> list[str]:
    """The texts of one row; those of equal settings look at the same part of the table."""
    made: dict[str, Columns | None] = {}
    for _, at in texts:
        if str(at) not in made:
            made[str(at)] = _columns(observations, place | at)
    return [_text(made[str(at)], text) for text, at in texts]


def notes(document: Document) -> list[str]:
    """What does not fit into the tables, in a sentence each, and what share of the requests had another status than OK."""
    about, observations = described()[document["experiment"]], Observations.of(document)
    said = []
    for note in about.get("notes", []):
        of = note.get("of", "rows")
        places = observations.places(note.get("by", []), note.get("at"), of)
        said += [_told(observations, note["text"], place, of) for place in places]
    if refused := about.get("refused"):
        for place in observations.places(refused["by"], refused.get("at")):
            columns = observations.columns(place)
            said += [f"{columns.told(refused['text'])}: {what}" for what in _refusals(columns.table)]
    return list(filter(None, said))


def _refusals(rows: pd.DataFrame) -> Iterator[str]:
    if "errors" in rows:
        total = sum(map(Counter, rows["errors"].dropna()), Counter[str]())
        asked = rows["count"].sum() + total.total()
        if total:
            yield ", ".join(f"{count / asked:.3%} of the requests were answered {name}" for name, count in total.items())


def _columns(observations: Observations, at: About, of: str = "rows") -> Columns | None:
    """The rows; None where there are no such settings."""
    with contextlib.suppress(NotMeasuredError):
        return observations.columns(at, of)
    return None


def _text(columns: Columns | None, text: str) -> str:
    """The text with its formulas' values; none, where something was not measured."""
    with contextlib.suppress(NotMeasuredError):
        return columns.told(text) if columns is not None else ""
    return ""


def _told(observations: Observations, text: str, at: About, of: str = "rows") -> str:
    return _text(_columns(observations, at, of), text)


def charts(document: Document) -> Charts:
    """The charts in their rows; those of which nothing was measured or simulated are left out."""
    about, observations = described()[document["experiment"]], Observations.of(document)
    rows: dict[int, list[Chart]] = {}
    for chart in about["charts"]:
        drawn = (_curves if "lines" in chart else _bars)(observations, chart, about.get("looks", {}))
        rows.setdefault(chart.get("row", 0), []).extend(drawn)
    return [row for row in rows.values() if row]


def caption(document: Document) -> str:
    """How to read the charts; what to think of rows in which a limit stands below what it limits."""
    about, observations, beyond = described()[document["experiment"]], Observations.of(document), dict[str, None]()
    for chart in about["charts"]:
        if "is_more_better" in chart:
            rows = [row for bars in _bars(observations, chart, about.get("looks", {})) for row in bars.rows]
            alone = {name: ends for _, values in rows if next(iter(values)) in ECHOES for name, ends in values.items()}
            ours = [(label, {**values, **alone}) for label, values in rows if next(iter(values)) not in ECHOES]
            beyond |= dict.fromkeys(beyond_limits(ours, is_more_better=chart["is_more_better"]))
    return " ".join([about.get("caption", ""), *([_BEYOND.format("; ".join(beyond))] if beyond else [])]).strip()


def _bars(observations: Observations, chart: About, looks: dict[str, str]) -> Iterator[Bars]:
    """A row for each of the settings ``by``, or of the formulas ``rows``; in it, each subject's value."""
    if "rows" in chart:
        asked: list[tuple[str, str, About]] = [(label, value, chart.get("at", {})) for label, value in chart["rows"]]
    else:
        places = observations.places(chart["by"], chart.get("at"))
        asked = [(_told(observations, chart["text"], place), chart["value"], place) for place in places]
    rows = []
    for label, value, at in asked:
        of = {name: observations.columns(at | {"subject": name}) for name in observations.columns(at).table["subject"]}
        found = {name if looks else look_of(name): _ends(columns, value, chart) for name, columns in of.items()}
        rows.append((label, {name: ends for name, ends in found.items() if not np.isnan(ends[1])}))
    if rows := [row for row in rows if row[1]]:
        title, label = (_told(observations, chart.get(name, ""), chart.get("at", {})) for name in ("title", "label"))
        yield (Dots if chart["kind"] == "dots" else Bars)(label, rows, title, looks, chart.get("width", 1.0))


def _curves(observations: Observations, chart: About, looks: dict[str, str]) -> Iterator[Curves]:
    """A curve of each line's value by the setting ``x`` for each subject."""
    curves: list[Curve] = []
    title = ""
    for line in chart["lines"]:
        of, at = line.get("of", "rows"), chart.get("at", {}) | line.get("at", {})
        for subject in [at["subject"]] if "subject" in at else looks:
            try:
                columns = observations.columns(at | {"subject": subject}, of)
            except NotMeasuredError:
                continue
            title = title or columns.told(chart.get("title", ""))
            places = columns.table.groupby(chart["x"])
            points = [_ends(Columns(rows, {**columns.settings, chart["x"]: x}), line["value"], chart) for x, rows in places]
            xs = [x / chart.get("x_unit", 1) for x, _ in places]
            label, style = line.get("name", _EACH).replace(_EACH, subject), line.get("style", MEASURED)
            look = looks.get(subject, look_of(subject))
            curves.append(Curve(label, look, xs, points, style, has_markers=of == "rows"))
    options = {name: chart[name] for name in ("is_log", "y_max", "width") if name in chart}
    step = {"numbers": NUMBER, "bytes": _bytes}.get(chart.get("steps", ""))
    if curves:
        yield Curves(chart["x_label"], chart["y_label"], curves, title, step=step, **options)


def _ends(columns: Columns, formula: str, chart: About) -> Ends:
    """Quantiles of the rounds; not numbers where nothing was measured."""
    try:
        values, _ = columns.kept(formula)
    except NotMeasuredError:
        values = pd.Series(dtype=float)
    if values.empty:
        return np.nan, np.nan, np.nan
    low, middle, high = np.quantile(values, chart.get("quantiles", _MEDIAN), method="weibull")
    return float(low), float(middle), float(high)


def _bytes(size: float) -> str:
    return f"{size:g}" if size < _KIB else f"{size / _KIB:g}K"


def circumstances(document: Document) -> list[str]:
    """The rivals' configurations and the machine, a line each."""
    said = [f"{name}: {rival['version']}: {rival['command']}" for name, rival in document.get("rivals", {}).items()]
    return [*said, ", ".join(f"{name} {value}" for name, value in document.get("machine", {}).items())]


def blocks(document: Document, picture: str, text: str) -> list[Block]:
    """A document as a part of a report: tables, a picture, notes, what failed, who was beside it, commands."""
    found: list[Block] = [*tables(document), Picture(picture, text, charts(document), caption(document))]
    found += [Paragraph(f"{note}.") for note in notes(document)]
    found += [Paragraph(f"Failed: {failure}") for failure in document.get("failures", [])]
    if rivals := document.get("rivals", {}).values():
        configuration = "\n".join(f"{rival['version']}\n  {rival['command']}" for rival in rivals)
        found += [Paragraph("On the same core and the same veth pair:"), Code(configuration)]
    return [*found, Code(document["command"])]


def section(document: Document) -> str:
    """What one document says: command, table, notes, figures with their bounds."""
    machine, (made, *_) = document["machine"], tables(document)
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
