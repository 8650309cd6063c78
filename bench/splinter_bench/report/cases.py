"""Sections of the whole benchmark that are rows of ``splinter bench run``: workloads, sizes, tenants, load.

A case that cannot be measured is told in a sentence (``failures``), and leaves the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.experiments.case import Case, run_case
from splinter_bench.experiments.runs import AF_XDP_ECHO, XDP_TX_ECHO, failures, limits
from splinter_bench.observations import Observations
from splinter_bench.progress import Progress
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session
from splinter_bench.subjects.target import Target

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


_SHAPE = ("depth", "rate", "tenants", "value_bytes")  # settings that rows have
_SERIES_INTERVALS_MIN = 10  # of a run that is drawn over time


@dataclass(frozen=True)
class CaseSection:
    """What ``cases`` find, and the echoes beside them. ``told``: how, in ``sections.toml``."""

    told: str
    cases: tuple[tuple[str, Case], ...]
    echoes: tuple[str, ...] = _ECHOES

    def measure(self, is_quick: bool, progress: Progress) -> Document:
        """Make a lab and a server, measure each case, remove both. Raises :class:`SplinterError` when no case succeeds."""
        found, failed, commands = Observations(), list[str](), list[str]()
        with (
            lab_server(max(os.sched_getaffinity(0))) as info,
            Session(info) as session,
            limits(session if self.echoes else None) as all_echoes,
        ):
            echoes = {name: all_echoes[name] for name in self.echoes if name in all_echoes}
            for label, full in self.cases:
                case = _shortened(full) if is_quick else full
                try:
                    with Target.of_instance(info, case.tenants) as target:
                        one, workload = run_case(target, case, echoes, partial(_say, progress, label))
                except (SplinterError, ValueError) as error:
                    failed.append(f"{label}: {error}")
                    continue
                commands.append(case.command())
                if bad := _unexpected(one, workload.name, case):
                    failed.append(f"{label}: {bad:,} requests failed")
                is_series = case.runs == 1 and len(one.series) >= _SERIES_INTERVALS_MIN
                place = {"label": label, "workload": workload.name, "is_series": is_series, **_shape(case)}
                found.rows += [place | row for row in one.rows]
                found.series += [{"label": label} | row for row in one.series if is_series]
        if not found.rows:
            raise SplinterError("; ".join(failed))
        return {"experiment": self.told, **found.to_json(), "failures": failed, "command": "\n".join(commands)}


def _shape(case: Case) -> dict[str, Any]:
    return {name: value for name, value in case.settings().items() if name in _SHAPE and value is not None}


def _unexpected(found: Observations, workload: str, case: Case) -> int:
    """Requests that failed; in an open loop, whose rate may be more than the server takes, what is lost is a result."""
    lost = sum(row.get("lost", 0) for row in found.rows if row["subject"] == workload)
    return failures(found, workload) - (lost if case.rate else 0)


def _say(progress: Progress, label: str, text: str) -> None:
    progress(f"{label}: {text}")


def _shortened(case: Case) -> Case:
    return replace(case, runs=1, seconds=case.seconds / _SERIES_SECONDS if case.seconds > 1 else _SECONDS / 2)


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
YCSB = CaseSection("rates", _at_depths(("ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-f", "ycsb-f-invoke")))
REQUESTS = CaseSection(
    "rates",
    (
        *_at_depths(("get", "put")),
        ("multiget of 10, depth 16", Case("multiget", depth=16, seconds=_SECONDS)),
        ("invoke get, keys by Zipf, depth 64", replace(_GET_BY_INVOKE, depth=64)),
        *((f"invoke scan, 1 … 16 steps, depth {d}", replace(_SCAN, depth=d)) for d in _DEPTHS),
        *_at_depths(("tao",)),
    ),
)
SIZES = CaseSection("sizes", _of_sizes(), echoes=(AF_XDP_ECHO,))
TENANTS = CaseSection(
    "rates",
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
)  # fmt: skip
LOAD = CaseSection(
    "load",
    (
        *((f"get, {rate:,} a second", Case("get", rate=rate, seconds=_SECONDS)) for rate in _RATES),
        *((f"ycsb-a, {rate:,} a second", Case("ycsb-a", rate=rate, seconds=_SECONDS)) for rate in _RATES),
        (
            f"get, {_SERIES_RATE:,} a second, {_SERIES_SECONDS:g} s",
            Case("get", rate=_SERIES_RATE, seconds=_SERIES_SECONDS, runs=1),
        ),
    ),
    echoes=(AF_XDP_ECHO,),
)
LIVE = CaseSection(
    "live",
    (
        ("get, as much as comes", Case("get", live=True, seconds=_LIVE_SECONDS)),
        ("put, as much as comes", Case("put", live=True, seconds=_LIVE_SECONDS)),
    ),
    echoes=(),  # load from within the kernel has echoes of its own
)
