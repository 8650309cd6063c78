"""Sections of the whole benchmark that are the benchmark of ``splinter bench``: beside the echo, Redis, memcached."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from splinter.errors import SplinterError
from splinter_bench import goals
from splinter_bench.experiments.suite import Settings, measure
from splinter_bench.measurement import half_range
from splinter_bench.progress import Progress
from splinter_bench.report.blocks import Block, Code, Paragraph, Picture
from splinter_bench.report.case_charts import Told, caption
from splinter_bench.report.charts import Bars, beyond_limits, ends
from splinter_bench.report.palette import AF_XDP_ECHO, subject
from splinter_bench.report.ratios import ratios_of
from splinter_bench.subjects import rivals
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.table import Table, table_of

Document = dict[str, Any]
_RIVAL_DEPTHS = (1,)  # besides theirs
_SLICES, _RIVAL_SLICES = 5, 4  # of each run
_MANY = (50, 64)  # under way at a time: the rivals', ours
_UNIT = 1e3


@dataclass(frozen=True)
class SuiteSection:
    """Splinter beside the AF_XDP echo and one rival, or none. ``figures`` are those that this section is to find."""

    rival: str | None
    figures: tuple[str, ...]
    command: str

    def measure(self, is_quick: bool, progress: Progress) -> Document:
        """Make a lab and a server, measure, remove both. Raises :class:`SplinterError` when the rival is not installed."""
        if self.rival is not None and self.rival not in rivals.installed():
            raise SplinterError(f"{self.rival} is not installed")
        settings = Settings(slices=_SLICES)
        if self.rival is not None:
            settings = replace(settings, slices=_RIVAL_SLICES, rivals=(self.rival,), depths=_RIVAL_DEPTHS)
        if is_quick:
            settings = replace(settings, runs=2, slices=2)
        with lab_server(max(os.sched_getaffinity(0))) as info:
            report = measure(info, settings, progress)
        figures = [figure.to_json() for figure in goals.figures_of(report.observations()) if figure.name in self.figures]
        return {**report.to_json(), "command": self.command, "figures": figures}

    def show(self, document: Document) -> list[Block]:
        """A table, a picture, the rival's configuration."""
        name = self.rival or "echo"
        blocks: list[Block] = [
            table(document),
            Picture(f"beside-{name}", f"Rates and latencies beside {name}", *charts(document)),
        ]
        if programs := _programs(document):
            blocks += [
                Paragraph("By the distribution's load generators:"),
                Table(("", "connections", "per second", "p50 µs"), programs),
            ]
        if document["rivals"]:
            configuration = "\n".join(f"{rival['version']}\n  {rival['command']}" for rival in document["rivals"].values())
            blocks += [Paragraph("On the same core and the same veth pair:"), Code(configuration)]
        return [*blocks, Code(document["command"])]


def table(document: Document) -> Table:
    """The measurements of a report's document; ratios to the echo, and of rivals to ours, where these were measured."""
    ratios = ratios_of(document)

    def ratio(of: str, shown: Callable[[float], str]) -> Callable[[Document], str]:
        return lambda row: shown(found) if (found := ratios.get((row["name"], row["depth"], of))) else ""

    def latency(percentile: str) -> Callable[[Document], str]:
        return lambda row: f"{found / _UNIT:,.2f}" if (found := row["latency_ns"][percentile]["median"]) else ""

    beside = {(r["name"], r["depth"]): r["over"] for r in document["ratios"]}
    columns: dict[str, Callable[[Document], str]] = {
        "": lambda row: row["name"],
        "depth": lambda row: str(row["depth"]),
        "per second": lambda row: f"{row['per_second']['median']:,.0f}",
        "±": lambda row: f"{half_range(row['per_second']):.0%}",
        **{f"{name} µs": latency(name) for name in document["results"][0]["latency_ns"]},
        "beside": lambda row: beside.get((row["name"], row["depth"]), ""),
        "p50 / echo": ratio("latency_over_echo", "{:.2f} ×".format),
        "rate / echo": ratio("throughput_of_echo", "{:.0%}".format),
        "p50 / ours": ratio("latency_over_ours", "{:.1f} ×".format),
        "rate / ours": ratio("throughput_of_ours", lambda share: f"1/{1 / share:.1f}"),
        "failed": lambda row: f"{row['failed']:,}" if row["failed"] else "",
    }
    return table_of(document["results"], columns, "medians of the runs")


def notes(document: Document) -> list[str]:
    """What does not fit into the table, a line each: other programs' figures, rivals' configurations, the machine."""
    said = [
        f"{name}, connections: {connections}: {rate} per second{f', p50 {median} µs' if median else ''}"
        for name, connections, rate, median in _programs(document)
    ]
    said += [f"{name}: {rival['version']}: {rival['command']}" for name, rival in document.get("rivals", {}).items()]
    return [*said, ", ".join(f"{name} {value}" for name, value in document.get("machine", {}).items())]


def charts(document: Document) -> Told:
    """Latencies at depth 1, and rates at the rivals' depth, or at ours where there is none; their caption."""
    results = document["results"]
    most = next((depth for depth in _MANY if any(result["depth"] == depth for result in results)), _MANY[0])
    latencies, rates = (
        [(r["name"], {subject(r["name"]): ends(value(r), _UNIT)}) for r in results if r["depth"] == depth]
        for depth, value in ((1, _p50), (most, _rate))
    )
    shown = [[Bars("p50 latency at depth 1, µs", latencies), Bars(f"thousand a second, {most} under way", rates)]]
    echo = dict(rates).get("echo", {})
    return shown, caption(*beyond_limits([(name, {**values, **echo}) for name, values in rates if AF_XDP_ECHO not in values]))


def _p50(result: Document) -> dict[str, float]:
    return dict(result["latency_ns"]["p50"])


def _rate(result: Document) -> dict[str, float]:
    return dict(result["per_second"])


def _median_microseconds(latencies_ns: Iterable[float | None]) -> str:
    """Nothing for programs that do not tell."""
    known = [latency for latency in latencies_ns if latency is not None]
    return f"{statistics.median(known) / 1000:.0f}" if known else ""


def _programs(document: Document) -> list[list[str]]:
    found: dict[tuple[str, str], list[Document]] = {}
    for extra in document["extras"]:
        found.setdefault((extra["name"], str(extra["connections"])), []).append(extra)
    return [
        [
            *key,
            f"{statistics.median(e['per_second'] for e in extras):,.0f}",
            _median_microseconds(extra["latency_ns"]["p50"] for extra in extras),
        ]
        for key, extras in found.items()
    ]


LIMIT = SuiteSection(None, goals.names_found_by("echo"), "splinter bench --lab --seconds 0.5")
REDIS = SuiteSection(
    "redis",
    goals.names_found_by("redis"),
    "splinter bench --lab --redis --depth 1 --seconds 0.4",
)
MEMCACHED = SuiteSection(
    "memcached",
    goals.names_found_by("memcached"),
    "splinter bench --lab --memcached --depth 1 --seconds 0.4",
)
