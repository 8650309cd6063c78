"""A workload's runs against a server, and the machine's limits in the same minutes."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from splinter.interrupts import uninterrupted
from splinter_bench.cpu_time import difference, server_cpu_ns
from splinter_bench.generators.frames import FRAME_HEADER_BYTES
from splinter_bench.histogram import PERCENTILES, Histogram
from splinter_bench.measurement import half_range, spread
from splinter_bench.process import pinned, real_time
from splinter_bench.progress import Progress
from splinter_bench.result import Result
from splinter_bench.subjects.session import Session
from splinter_bench.subjects.target import Target
from splinter_bench.table import Table
from splinter_bench.workloads.catalogue import Plan
from splinter_bench.workloads.workload import Workload

AF_XDP_ECHO, XDP_TX_ECHO = "AF_XDP echo", "XDP_TX echo"
_ECHO_SECONDS_MAX = 0.5  # of each run; an echo's figures need less time to stand still than a server's
_FRAME_BYTES_MIN = 128
_LOAD_DEPTH_MAX = 16  # fragmented values that a tenant may have under way


@dataclass(frozen=True)
class Running:
    """How a workload is run: ``depth`` requests at a time, or ``rate`` a second, or both."""

    depth: int | None
    rate: float | None
    runs: int = 5
    seconds: float = 1.0
    warmup_seconds: float = 0.2
    spin: bool = True
    note: int = 0  # requests to note in the last run

    @property
    def echo_seconds(self) -> float:
        """Of each run of a limit."""
        return min(self.seconds, _ECHO_SECONDS_MAX)


@dataclass
class RunReport:
    """Runs of one workload, and of the limits by name; runs of the same number were neighbours."""

    workload: str
    runs: list[Result] = field(default_factory=list)
    limits: dict[str, list[Result]] = field(default_factory=dict)
    circumstances: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Requests of all runs that did not end as they should."""
        return sum(run.failed for run in self.runs)

    def ratios(self) -> dict[str, dict[str, dict[str, float]]]:
        """For each limit: its median latency's multiple, and the share of its rate; of each pair of runs, then spread."""
        found = {}
        for name, limits in self.limits.items():
            pairs = [(run, limit) for run, limit in zip(self.runs, limits, strict=True) if limit.recorded and run.recorded]
            if pairs:
                found[name] = {
                    "latency": spread(run.latency_ns["p50"] / limit.latency_ns["p50"] for run, limit in pairs),
                    "throughput": spread(run.per_second / limit.per_second for run, limit in pairs),
                }
        return found

    def cpu_ns_per_request(self) -> dict[str, float]:
        """CPU time of the client and of the server's processes for each request, median of the runs."""
        names = dict.fromkeys(name for run in self.runs for name in run.server_cpu_ns)
        found = {"client": statistics.median(run.client_cpu_ns / max(1, run.requests) for run in self.runs)}
        for name in names:
            found[name] = statistics.median(run.server_cpu_ns.get(name, 0) / max(1, run.requests) for run in self.runs)
        return found

    def to_json(self) -> dict[str, Any]:
        """One document with everything."""
        latencies = [run.latency_ns for run in self.runs]
        return {
            **self.circumstances,
            "workload": self.workload,
            "per_second": spread(run.per_second for run in self.runs),
            "latency_ns": {name: spread(found[name] for found in latencies) for name in latencies[0]},
            "failed": self.failed,
            "cpu_ns_per_request": self.cpu_ns_per_request(),
            "of_limits": self.ratios(),
            "runs": [run.to_json() for run in self.runs],
            "limits": {name: [run.to_json() for run in runs] for name, runs in self.limits.items()},
        }

    def table(self) -> Table:
        """For people: medians of the runs."""
        rows = []
        for name, runs in ((self.workload, self.runs), *self.limits.items()):
            rate = spread(run.per_second for run in runs)
            cells = [name, f"{rate['median']:,.0f}", f"{half_range(rate):.0%}", *_latencies([run.histogram for run in runs])]
            rows.append([*cells, str(sum(run.failed for run in runs))])
        if len(self.runs[0].operations) > 1:
            for name in self.runs[0].operations:
                parts = [run.operations[name] for run in self.runs]
                rate_of = statistics.median(p.count / run.seconds for p, run in zip(parts, self.runs, strict=True))
                rows.append([f"  {name}", f"{rate_of:,.0f}", "", *_latencies(parts), ""])
        header = ["", "per second", "±", *(f"p{percent:g}" for percent in PERCENTILES), "max", "failed"]
        return Table(header, rows, f"{self.workload}: medians of {len(self.runs)} runs; latencies in µs")

    def notes(self) -> list[str]:
        """What does not fit into the table, a line each."""
        lines = [
            f"{name}: latency {found['latency']['median']:.2f} × its p50, {found['throughput']['median']:.0%} of its rate"
            for name, found in self.ratios().items()
        ]
        cpu = ", ".join(f"{name} {spent:,.0f} ns" for name, spent in self.cpu_ns_per_request().items())
        lines.append(f"CPU time for each request: {cpu}")
        for what, text in (("unsent", "arrivals could not be sent in time"), ("conflicts", "requests began again")):
            if count := sum(getattr(run, what) for run in self.runs):
                lines.append(f"{count:,} {text}")
        for name in dict.fromkeys(name for run in self.runs for name in run.errors):
            lines.append(f"{sum(run.errors.get(name, 0) for run in self.runs):,} requests ended with {name}")
        if lost := sum(run.lost for run in self.runs):
            lines.append(f"{lost:,} requests had no reply")
        return lines


def _latencies(parts: list[Histogram]) -> list[str]:
    """Medians of each percentile and of the largest, in µs."""
    found = [f"{statistics.median(part.percentile(percent) for part in parts) / 1000:,.2f}" for percent in PERCENTILES]
    return [*found, f"{statistics.median(part.max for part in parts) / 1000:,.0f}"]


def prepare(target: Target, plan: Plan, progress: Progress) -> None:
    """Install the plan's extensions and store its objects."""
    target.install(plan.sources, progress)
    for load in plan.loads:
        progress(f"{load.name}: {len(load.choice):,} requests")
        with _on_client_core(target):
            target.client.run_to_success(
                load, f"{load.name}: {len(load.choice):,} requests should be answered", depth=_LOAD_DEPTH_MAX
            )


def measure(target: Target, workload: Workload, running: Running, echoes: dict[str, Any], progress: Progress) -> RunReport:
    """Run the workload, and beside each run the limits that :func:`limits` opened."""
    report = RunReport(workload.name)
    for number in range(running.runs):
        progress(f"run {number + 1} of {running.runs}: {workload.name}")
        note = running.note if number == running.runs - 1 else 0
        report.runs.append(one_run(target, workload, running, note))
        for name, echo in echoes.items():
            progress(f"run {number + 1} of {running.runs}: {name}")
            size = FRAME_HEADER_BYTES + max(len(operation.payload) for operation in workload.operations)
            result = echo.measure(
                running.depth, running.echo_seconds, rate=running.rate, packet_bytes=max(size, _FRAME_BYTES_MIN)
            )
            report.limits.setdefault(name, []).append(result)
    return report


def one_run(target: Target, workload: Workload, running: Running, note: int = 0) -> Result:
    """One run, with the server's CPU time."""
    before = server_cpu_ns(target.info) if target.info else {}
    with _on_client_core(target), contextlib.ExitStack() as stack:
        if not running.spin:
            stack.enter_context(real_time())
        result = target.client.run(
            workload,
            depth=running.depth,
            rate=running.rate,
            seconds=running.seconds,
            warmup_seconds=running.warmup_seconds,
            spin=running.spin,
            series=True,
            note=note,
        )
    if target.info:
        result.server_cpu_ns = difference(before, server_cpu_ns(target.info))
    return result


def replay(target: Target, workload: Workload, depth: int | None, gaps: np.ndarray | None, *, spin: bool) -> RunReport:
    """All requests of the workload's schedule once, ``depth`` at a time or with ``gaps`` between them."""
    report = RunReport(workload.name)
    before = server_cpu_ns(target.info) if target.info else {}
    with _on_client_core(target), contextlib.ExitStack() as stack:
        if not spin:
            stack.enter_context(real_time())
        report.runs.append(
            target.client.run_exactly(workload, depth=depth, requests=len(workload.choice), gaps=gaps, spin=spin)
        )
    if target.info:
        report.runs[0].server_cpu_ns = difference(before, server_cpu_ns(target.info))
    return report


@contextlib.contextmanager
def _on_client_core(target: Target) -> Generator[None]:
    if target.session is None:
        yield
        return
    with pinned(target.session.client_core):
        yield


@contextlib.contextmanager
def limits(session: Session | None) -> Generator[dict[str, Any]]:
    """Both echoes by name, each on a veth pair of its own; nothing where the server is not on XDP of this host."""
    if session is None or session.info.transport != "xdp":
        yield {}
        return
    from splinter.net.lab import Lab
    from splinter_bench.subjects.echo import EchoLimit
    from splinter_bench.subjects.limit import XdpEchoLimit

    with contextlib.ExitStack() as stack:
        with uninterrupted():
            first, second = (stack.enter_context(Lab(f"{name}-{os.getpid()}", session.info.queues)) for name in ("echo", "tx"))
        ends = [(lab.server.namespace, lab.client.namespace, lab.server.address) for lab in (first, second)]
        yield {
            AF_XDP_ECHO: stack.enter_context(
                EchoLimit(*ends[0], server_core=session.server_core, client_core=session.client_core)
            ),
            XDP_TX_ECHO: stack.enter_context(XdpEchoLimit(*ends[1], client_core=session.client_core)),
        }
