"""The table at the head of the whole report: what was measured as a ratio to the limits, and the rivals to it."""

from __future__ import annotations

from typing import Any

from splinter_bench.experiments.runs import XDP_TX_ECHO
from splinter_bench.measurement import COUNTERPARTS
from splinter_bench.report.blocks import Table
from splinter_bench.subjects.rival import CONNECTIONS

Document = dict[str, Any]
_LIMIT_DEPTH = 64
_SMALL = 0.5  # shares below are shown as one part of so many
_HEADER = ("", "beside", "p50 latency, depth 1", "rate", "with requests or connections under way")


def ratios_table(document: Document) -> Table:
    """Ours over both echoes, each rival over ours; empty where a section is missing."""
    sections = document["sections"]
    rows = [*_over_echo(sections.get("limit")), *_over_xdp(sections.get("requests"))]
    for name in ("redis", "memcached"):
        rows += _over_ours(sections.get(name))
    return Table(_HEADER, rows)


def _ratios(part: Document) -> dict[tuple[str, int, str], float]:
    return {(r["name"], r["depth"], r["ratio"]): r["median"] for r in part["ratios"]}


def _over_echo(part: Document | None) -> list[list[str]]:
    if part is None:
        return []
    found = _ratios(part)
    return [
        _row(
            name, "AF_XDP echo", found.get((name, 1, "latency_over_echo")),
            found.get((name, _LIMIT_DEPTH, "throughput_of_echo")), _LIMIT_DEPTH,
        )
        for name in dict.fromkeys(name for name, _, _ in found)
    ]  # fmt: skip


def _over_xdp(part: Document | None) -> list[list[str]]:
    if part is None:
        return []
    found = {
        (row["workload"], row["settings"]["depth"]): row["of_limits"].get(XDP_TX_ECHO)
        for row in part["cases"]
        if row["workload"] in ("get", "put")
    }
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        alone, many = found.get((name, 1)), found.get((name, _LIMIT_DEPTH))
        if alone and many:
            ratios = alone["latency"]["median"], many["throughput"]["median"]
            rows.append(_row(name, XDP_TX_ECHO, *ratios, _LIMIT_DEPTH))
    return rows


def _over_ours(part: Document | None) -> list[list[str]]:
    if part is None:
        return []
    found = _ratios(part)
    names = dict.fromkeys(name for name, _, ratio in found if ratio == "latency_over_ours")
    return [
        _row(
            name, f"our {COUNTERPARTS[name.partition(',')[0]]}", found.get((name, 1, "latency_over_ours")),
            found.get((name, CONNECTIONS, "throughput_of_ours")), CONNECTIONS,
        )
        for name in names
    ]  # fmt: skip


def _row(name: str, beside: str, latency: float | None, rate: float | None, depth: int) -> list[str]:
    share = "" if not rate else f"{rate:.0%}" if rate > _SMALL else f"1/{1 / rate:.1f}"
    return [name, beside, f"{latency:.2f} ×" if latency else "", share, str(depth) if share else ""]
