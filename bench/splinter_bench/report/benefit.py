"""The section on benefit: code that runs at the data against gets; its tables, and times above rates in its picture."""

from __future__ import annotations

from typing import Any

from splinter_bench.experiments.benefit_cases import AGGREGATION, FORESTS, TAO, TREE, WAYS
from splinter_bench.report.blocks import Block, Code, Picture
from splinter_bench.report.charts import NUMBER, Chart, Charts, Curve, Curves, Dots, ends
from splinter_bench.report.palette import INVOKE, REDIS, REDIS_LUA, SPLINTER
from splinter_bench.table import Table

_X_LABELS = {
    TREE: "steps up WordNet's hypernyms",
    AGGREGATION: "records added up",
    TAO: "users' lists",
    FORESTS: "trees",
}
_SUBJECTS = dict(zip(WAYS, (SPLINTER, INVOKE, REDIS, REDIS_LUA), strict=True))
_UNIT = 1e3
_FIELDS = {"time_ns": "µs for one question", "per_second": "thousand questions a second"}
_LABELS = {"time_ns": "one question, p50 or mean, µs", "per_second": "thousand questions a second"}
CAPTION = (
    "Medians of the rounds; bands and whiskers from the smallest to the largest. A question's time is the p50 of its requests; "
    "where several are under way together, or differ, it is the mean."
)


def show(document: dict[str, Any]) -> list[Block]:
    """The tables, the picture, the command."""
    rows = document["benefit"]
    picture = Picture("benefit", "Code at the data against gets", charts(rows), CAPTION)
    return [*tables(rows), picture, Code(document["command"])]


def tables(rows: list[dict[str, Any]]) -> list[Table]:
    """Times and rates of each question by each way."""
    by_way = {(row["case"], row["x"], row["way"]): row for row in rows}
    made = []
    for field, text in _FIELDS.items():
        cells = []
        for case, x in dict.fromkeys((row["case"], row["x"]) for row in rows):
            found = [by_way.get((case, x, way)) for way in WAYS]
            cells.append([f"{case}, {x}", *(f"{row[field]['median'] / _UNIT:,.1f}" if row else "" for row in found)])
        made.append(Table([text, *WAYS], cells))
    return made


def charts(rows: list[dict[str, Any]]) -> Charts:
    """A column for each case of what :func:`splinter_bench.benefit.measure` returned."""
    return [[_chart(case, rows, field) for case in dict.fromkeys(row["case"] for row in rows)] for field in _FIELDS]


def _chart(case: str, rows: list[dict[str, Any]], field: str) -> Chart:
    found = [row for row in rows if row["case"] == case]
    xs = sorted({row["x"] for row in found})
    if len(xs) == 1:
        values = [(row["way"], {row["way"]: ends(row[field], _UNIT)}) for row in found]
        return Dots(_LABELS[field], values, f"{case}, {_X_LABELS.get(case, '')}: {xs[0]:,}", _SUBJECTS, width=0.85)
    curves = []
    for way, who in _SUBJECTS.items():
        mine = [row for row in found if row["way"] == way]
        curves += [Curve(way, who, [row["x"] for row in mine], [ends(row[field], _UNIT) for row in mine])] if mine else []
    return Curves(_X_LABELS.get(case, ""), _LABELS[field], curves, case, step=NUMBER)
