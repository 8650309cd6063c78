"""The table at the head of the whole report: what was measured as a ratio to the limits, and the rivals to it."""

from __future__ import annotations

from typing import Any

from splinter_bench.experiments.runs import AF_XDP_ECHO, XDP_TX_ECHO
from splinter_bench.measurement import counterpart
from splinter_bench.subjects.rival import CONNECTIONS
from splinter_bench.table import Table

Document = dict[str, Any]
_LIMIT_DEPTH = 64
_SMALL = 0.5  # shares below are shown as one part of so many
_HEADER = ("", "beside", "p50 latency, depth 1", "rate", "with requests or connections under way")
_Ratios = dict[tuple[str, int, str], float]  # by name, depth and kind


def ratios_table(document: Document) -> Table:
    """Ours over both echoes, each rival over ours; empty where a section is missing."""
    sections = document["sections"]
    rows = _rows(ratios_of(sections.get("limit")), "echo", AF_XDP_ECHO, _LIMIT_DEPTH)
    rows += _rows(_of_cases(sections.get("requests")), "echo", XDP_TX_ECHO, _LIMIT_DEPTH)
    for name in ("redis", "memcached"):
        rows += _rows(ratios_of(sections.get(name)), "ours", "", CONNECTIONS)
    return Table(_HEADER, rows)


def ratios_of(part: Document | None) -> _Ratios:
    """The medians of the ratios of a suite's document; none where there is none."""
    return {(r["name"], r["depth"], r["ratio"]): r["median"] for r in part["ratios"]} if part else {}


def _of_cases(part: Document | None) -> _Ratios:
    """Gets and puts over the XDP_TX echo, named as a suite's ratios are."""
    found: _Ratios = {}
    for row in part["cases"] if part else []:
        of = row["of_limits"].get(XDP_TX_ECHO)
        if of and row["workload"] in ("get", "put"):
            at = row["workload"], row["settings"]["depth"]
            found |= {
                (*at, "latency_over_echo"): of["latency"]["median"],
                (*at, "throughput_of_echo"): of["throughput"]["median"],
            }
    return found


def _rows(ratios: _Ratios, over: str, beside: str, depth: int) -> list[list[str]]:
    """A row for each name; rivals stand beside ours that does the same."""
    rows = []
    for name in dict.fromkeys(name for name, _, kind in ratios if kind == f"latency_over_{over}"):
        latency, rate = ratios.get((name, 1, f"latency_over_{over}")), ratios.get((name, depth, f"throughput_of_{over}"))
        share = "" if not rate else f"{rate:.0%}" if rate > _SMALL else f"1/{1 / rate:.1f}"
        shown = beside or f"our {counterpart(name)}"
        rows.append([name, shown, f"{latency:.2f} ×" if latency else "", share, str(depth) if share else ""])
    return rows
