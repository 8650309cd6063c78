"""The table at the head of the whole report: what was measured as a ratio to the limits, and the rivals to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from splinter_bench.experiments.runs import AF_XDP_ECHO, ALL, XDP_TX_ECHO
from splinter_bench.measurement import counterpart
from splinter_bench.observations import NotMeasuredError, Observations
from splinter_bench.subjects.rival import CONNECTIONS
from splinter_bench.table import Table

Document = dict[str, Any]
_LIMIT_DEPTH = 64
_SMALL = 0.5  # shares below are shown as one part of so many
_HEADER = ("", "beside", "p50 latency, depth 1", "rate", "with requests or connections under way")
_OF_ECHO = ("it.latency_over_echo", "it.throughput_of_echo")
_OF_OURS = ("it.latency_over_ours", "it.throughput_of_ours")
_OF_XDP_TX = ("it.p50 / XDP_TX_echo.p50", "it.per_second / XDP_TX_echo.per_second")


def ratios_table(document: Document) -> Table:
    """Ours over both echoes, each rival over ours; empty where a section is missing."""
    sections = document["sections"]
    rows = list(_rows(sections.get("limit"), "subject", {}, _OF_ECHO, AF_XDP_ECHO, _LIMIT_DEPTH))
    for name in ("get", "put"):
        rows += _rows(
            sections.get("requests"), "workload", {"workload": name, "operation": ALL}, _OF_XDP_TX, XDP_TX_ECHO, _LIMIT_DEPTH
        )
    for name in ("redis", "memcached"):
        rows += _rows(sections.get(name), "subject", {}, _OF_OURS, "", CONNECTIONS)
    return Table(_HEADER, rows)


def _rows(
    part: Document | None, by: str, at: dict[str, Any], formulas: tuple[str, str], beside: str, depth: int
) -> Iterator[list[str]]:
    """A row for each name of which there are ratios; rivals stand beside ours that does the same."""
    observations = Observations.of(part or {"runs": []})
    names = dict.fromkeys(row[by] for row in observations.rows if at.items() <= row.items())
    for name in names:
        latency = _median(observations, formulas[0], at | {by: name, "depth": 1})
        rate = _median(observations, formulas[1], at | {by: name, "depth": depth})
        if latency or rate:
            share = "" if not rate else f"{rate:.0%}" if rate > _SMALL else f"1/{1 / rate:.1f}"
            shown = beside or f"our {counterpart(name)}"
            yield [name, shown, f"{latency:.2f} ×" if latency else "", share, str(depth) if share else ""]


def _median(observations: Observations, formula: str, at: dict[str, Any]) -> float | None:
    try:
        return observations.columns(at).median(formula)
    except NotMeasuredError:
        return None
