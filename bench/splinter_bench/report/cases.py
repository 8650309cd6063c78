"""Sections of the whole benchmark that are rows of ``splinter bench run``: workloads, sizes, tenants, load.

The document of such a section has ``cases``, one for each row, with the command that repeats it, and ``failures``, a sentence
for each case that could not be measured: it leaves the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.experiments.case import Case, run_case
from splinter_bench.experiments.runs import AF_XDP_ECHO, XDP_TX_ECHO, RunReport, limits, prepare
from splinter_bench.measurement import half_range, spread
from splinter_bench.progress import Progress
from splinter_bench.report import case_charts
from splinter_bench.report.blocks import Block, Code, Paragraph, Picture
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session
from splinter_bench.subjects.target import Target
from splinter_bench.table import Table, table_of

Document = dict[str, Any]
_SECONDS = 0.2  # of each run
_SERIES_SECONDS = 10.0
_DEPTHS = (1, 64)
_ECHOES = (AF_XDP_ECHO, XDP_TX_ECHO)
_VALUE_BYTES = (16, 64, 256, 1024, 4096, 16_384, 65_536)
_STORED_BYTES_MAX = 16 << 20  # of one size: memory that held large objects does not come back for small ones
_KEYS_MAX = 100_000
_SIZE_DEPTH = 8  # a tenant may have 16 fragmented puts under way
_RATES = (20_000, 100_000, 200_000, 300_000, 450_000, 600_000)
_SERIES_RATE = 100_000
_LIVE_SECONDS = 0.5
_WORKER = "splinter-w"  # what worker processes are called


@dataclass(frozen=True)
class CaseSection:
    """What ``cases`` find, and the echoes beside them. ``charts`` makes the picture ``picture`` of them."""

    cases: tuple[tuple[str, Case], ...]
    picture: str
    text: str
    charts: Callable[[list[Document]], case_charts.Told]
    echoes: tuple[str, ...] = _ECHOES

    def measure(self, is_quick: bool, progress: Progress) -> Document:
        """Make a lab and a server, measure each case, remove both. Raises :class:`SplinterError` when no case succeeds."""
        found: list[Document] = []
        failures = []
        with (
            lab_server(max(os.sched_getaffinity(0))) as info,
            Session(info) as session,
            limits(session if self.echoes else None) as all_echoes,
        ):
            echoes = {name: all_echoes[name] for name in self.echoes if name in all_echoes}
            for label, full in self.cases:
                case = _shortened(full) if is_quick else full
                say = partial(_say, progress, label)
                try:
                    with Target.of_instance(info, case.tenants) as target:
                        found.append({"label": label, **_measured(target, case, echoes, say)})
                except (SplinterError, ValueError) as error:
                    failures.append(f"{label}: {error}")
        if not found:
            raise SplinterError("; ".join(failures))
        failures += [f"{row['label']}: {bad:,} requests failed" for row in found if (bad := _unexpected(row))]
        return {"cases": found, "failures": failures}

    def show(self, document: Document) -> list[Block]:
        """A table, a picture, the commands."""
        cases = document["cases"]
        blocks: list[Block] = [
            table_of([row for row in cases if "latency_ns" in row], _COLUMNS),
            table_of([(row, *found) for row in cases for found in row.get("live", {}).items()], _LIVE_COLUMNS),
            Picture(self.picture, self.text, *self.charts(cases)),
            *(Paragraph(f"Failed: {failure}") for failure in document["failures"]),
            Code("\n".join(row["command"] for row in cases)),
        ]
        return [block for block in blocks if not isinstance(block, Table) or block.rows]


def _unexpected(row: Document) -> int:
    """Requests that failed; in an open loop, whose rate may be more than the server takes, what is lost is a result."""
    return int(row["failed"]) - (int(row["lost"]) if row["settings"].get("rate") else 0)


def _say(progress: Progress, label: str, text: str) -> None:
    progress(f"{label}: {text}")


def _shortened(case: Case) -> Case:
    return replace(case, runs=1, seconds=case.seconds / _SERIES_SECONDS if case.seconds > 1 else _SECONDS / 2)


def _measured(target: Target, case: Case, echoes: dict[str, Any], say: Progress) -> Document:
    if case.live:
        return _measured_live(target, case, say)
    report, _ = run_case(target, case, echoes, say)
    return {"command": case.command(), "settings": case.settings(), **_summary(report)}


def _summary(report: RunReport) -> Document:
    """The report without its runs, but with the last one's time series."""
    whole = report.to_json()
    limits_found = {
        name: {
            "per_second": spread(run.per_second for run in runs),
            "latency_ns": {p: spread(run.latency_ns[p] for run in runs) for p in ("p50", "p99", "p99.9")},
        }
        for name, runs in report.limits.items()
    }
    kept = ("workload", "per_second", "latency_ns", "failed", "cpu_ns_per_request", "of_limits")
    last = whole["runs"][-1]
    return {
        **{name: whole[name] for name in kept},
        "runs": len(report.runs),
        "limits": limits_found,
        "operations": last["operations"],
        "requests": sum(run.requests for run in report.runs),
        "lost": sum(run.lost for run in report.runs),
        "unsent": sum(run.unsent for run in report.runs),
        "conflicts": sum(run.conflicts for run in report.runs),
        "series": last.get("series"),
    }


def _measured_live(target: Target, case: Case, say: Progress) -> Document:
    from splinter_bench.experiments.live_runs import measure_live
    from splinter_bench.experiments.runs import Running

    plan = case.plan(target)
    prepare(target, plan, say)
    report = measure_live(target, plan.workload, Running(None, case.rate, case.runs, case.seconds), limits=True, progress=say)
    whole = report.to_json()
    live = {name: {k: v for k, v in row.items() if k != "runs"} for name, row in whole["live"].items()}
    return {
        "command": case.command(), "settings": case.settings(), "workload": whole["workload"], "failed": report.failed,
        "live": live,
    }  # fmt: skip


def _of_echo(echo: str, figure: str, shown: str) -> Callable[[Document], str]:
    """The cells of a column: a ratio to an echo, where there is one."""
    return lambda row: shown.format(row["of_limits"][echo][figure]["median"]) if row["of_limits"].get(echo) else ""


def _worker_ns(row: Document) -> str:
    spent = [spent for name, spent in row["cpu_ns_per_request"].items() if name.startswith(_WORKER)]
    return f"{sum(spent):,.0f}" if spent else ""


def _percentile(name: str) -> Callable[[Document], str]:
    return lambda row: f"{row['latency_ns'][name]['median'] / 1000:,.1f}"


_COLUMNS: dict[str, Callable[[Document], str]] = {
    "": lambda row: row["label"],
    "per second": lambda row: f"{row['per_second']['median']:,.0f}",
    "±": lambda row: f"{half_range(row['per_second']):.0%}",
    **{f"{name} µs": _percentile(name) for name in ("p50", "p99", "p99.9")},
    **{
        f"{figure} / {echo}": _of_echo(echo, name, shown)
        for echo in _ECHOES
        for figure, name, shown in (("p50", "latency", "{:.2f} ×"), ("rate", "throughput", "{:.0%}"))
    },
    "worker ns": _worker_ns,
    "client ns": lambda row: f"{row['cpu_ns_per_request']['client']:,.0f}",
    "lost": lambda row: f"{row['lost'] / max(1, row['requests']):.1%}" if row["lost"] else "",
}
_LIVE_COLUMNS: dict[str, Callable[[tuple[Document, str, Document]], str]] = {
    "": lambda of: of[0]["label"] if of[1] == of[0]["workload"] else "",
    "asked": lambda of: of[1],
    "offered per second": lambda of: f"{of[2]['offered_per_second']['median']:,.0f}",
    "answered per second": lambda of: f"{of[2]['per_second']['median']:,.0f}",
    "±": lambda of: f"{half_range(of[2]['per_second']):.0%}",
}


def _at_depths(names: Sequence[str]) -> tuple[tuple[str, Case], ...]:
    return tuple((f"{name}, depth {d}", Case(name, depth=d, seconds=_SECONDS)) for name in names for d in _DEPTHS)


def _of_sizes() -> tuple[tuple[str, Case], ...]:
    return tuple(
        (
            f"{name}, {size:,} bytes",
            Case(
                name,
                depth=_SIZE_DEPTH,
                value_bytes=size,
                keys=min(_KEYS_MAX, _STORED_BYTES_MAX // size),
                seconds=_SECONDS,
            ),
        )
        for name in ("get", "put")
        for size in _VALUE_BYTES
    )


_GET_BY_INVOKE = Case(
    invoke="get", library="get", preload=True, argument=("table=const:1", "key=key:zipf:100000"), seconds=_SECONDS
)
_SCAN = Case(
    invoke="scan", library="scan", preload=True, key_bytes=8, seconds=_SECONDS,
    argument=("table=const:1", "key=zipf:100000", "steps=uniform:1:16"),
)  # fmt: skip
YCSB = CaseSection(
    _at_depths(("ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-f", "ycsb-f-invoke")),
    "ycsb",
    "YCSB: rates and latencies beside both echoes",
    case_charts.rates_and_latencies,
)
REQUESTS = CaseSection(
    (
        *_at_depths(("get", "put")),
        ("multiget of 10, depth 16", Case("multiget", depth=16, seconds=_SECONDS)),
        ("invoke get, keys by Zipf, depth 64", replace(_GET_BY_INVOKE, depth=64)),
        *((f"invoke scan, 1 … 16 steps, depth {d}", replace(_SCAN, depth=d)) for d in _DEPTHS),
        *_at_depths(("tao",)),
    ),
    "requests",
    "Kinds of requests: rates and latencies beside both echoes",
    case_charts.rates_and_latencies,
)
SIZES = CaseSection(_of_sizes(), "sizes", "Values from 16 bytes to 64 KiB", case_charts.against_size, echoes=(AF_XDP_ECHO,))
TENANTS = CaseSection(
    (
        ("1 tenant", Case("ycsb-b", depth=64, seconds=_SECONDS)),
        *(
            (f"{n:,} tenants", Case("ycsb-b", depth=64, tenants=n, seconds=_SECONDS))
            for n in (32, 1024)
        ),
        *(
            (f"1,024 tenants, Zipf {skew:g}", Case("ycsb-b", depth=64, tenants=1024, tenant_skew=skew, seconds=_SECONDS))
            for skew in (0.5, 0.99)
        ),
    ),
    "tenants",
    "One tenant and many, evenly active and not",
    case_charts.rates_and_latencies,
)  # fmt: skip
LOAD = CaseSection(
    (
        *((f"get, {rate:,} a second", Case("get", rate=rate, seconds=_SECONDS)) for rate in _RATES),
        *((f"ycsb-a, {rate:,} a second", Case("ycsb-a", rate=rate, seconds=_SECONDS)) for rate in _RATES),
        (
            f"get, {_SERIES_RATE:,} a second, {_SERIES_SECONDS:g} s",
            Case("get", rate=_SERIES_RATE, seconds=_SERIES_SECONDS, runs=1),
        ),
    ),
    "load",
    "Latency against offered load, and over time",
    case_charts.against_load,
    echoes=(AF_XDP_ECHO,),
)
LIVE = CaseSection(
    (
        ("get, as much as comes", Case("get", live=True, seconds=_LIVE_SECONDS)),
        ("put, as much as comes", Case("put", live=True, seconds=_LIVE_SECONDS)),
    ),
    "live",
    "Answered a second under load from within the kernel",
    case_charts.answered_live,
    echoes=(),  # load from within the kernel has echoes of its own
)
