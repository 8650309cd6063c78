"""A workload's runs against a server, and the machine's limits in the same minutes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from splinter.interrupts import uninterrupted
from splinter.native.clock import SECOND_NS
from splinter_bench.cpu_time import difference, server_cpu_ns
from splinter_bench.generators.frames import FRAME_HEADER_BYTES
from splinter_bench.observations import Observations
from splinter_bench.process import pinned, real_time
from splinter_bench.progress import Progress
from splinter_bench.result import Result, percentiles
from splinter_bench.subjects.session import Session
from splinter_bench.subjects.target import Target
from splinter_bench.workloads.catalogue import Plan
from splinter_bench.workloads.workload import Workload

AF_XDP_ECHO, XDP_TX_ECHO = "AF_XDP echo", "XDP_TX echo"
ALL = "all"  # operations of a run together
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


def note(found: Observations, subject: str, result: Result, number: int) -> None:
    """Add a run: a row for all its requests, one for each of several operations, and one for each interval of its time."""
    found.rows.append({"subject": subject, "operation": ALL, "round": number, **result.row()})
    if len(result.operations) > 1:
        for name, histogram in result.operations.items():
            count = result.answered(name)
            rate = round(count / result.seconds, 1)
            latencies = {"count": count, **percentiles(histogram), "max": histogram.max}
            found.rows.append({"subject": subject, "operation": name, "round": number, "per_second": rate, **latencies})
    if result.series is not None:
        series = result.series.to_json()
        for place, (count, p50, p99) in enumerate(zip(series["count"], series["p50"], series["p99"], strict=True)):
            seconds = round(place * series["interval_ns"] / SECOND_NS, 3)
            found.series.append({"subject": subject, "round": number, "time": seconds, "count": count, "p50": p50, "p99": p99})


def failures(found: Observations, subject: str) -> int:
    """Requests of a subject's runs that did not end as they should."""
    return sum(row["failed"] for row in found.rows if row["subject"] == subject and row["operation"] == ALL)


def prepare(target: Target, plan: Plan, progress: Progress) -> None:
    """Install the plan's extensions and store its objects."""
    target.install(plan.sources, progress)
    for load in plan.loads:
        progress(f"{load.name}: {len(load.choice):,} requests")
        with _on_client_core(target):
            target.client.run_to_success(
                load, f"{load.name}: {len(load.choice):,} requests should be answered", depth=_LOAD_DEPTH_MAX
            )


def measure(target: Target, workload: Workload, running: Running, echoes: dict[str, Any], progress: Progress) -> Observations:
    """Run the workload, and beside each run the limits that :func:`limits` opened."""
    found = Observations()
    for number in range(running.runs):
        progress(f"run {number + 1} of {running.runs}: {workload.name}")
        noted = running.note if number == running.runs - 1 else 0
        note(found, workload.name, one_run(target, workload, running, noted), number)
        for name, echo in echoes.items():
            progress(f"run {number + 1} of {running.runs}: {name}")
            size = FRAME_HEADER_BYTES + max(len(operation.payload) for operation in workload.operations)
            result = echo.measure(
                running.depth, running.echo_seconds, rate=running.rate, packet_bytes=max(size, _FRAME_BYTES_MIN)
            )
            note(found, name, result, number)
    return found


def one_run(target: Target, workload: Workload, running: Running, note: int = 0) -> Result:
    """One run, with the server's CPU time."""
    ask = partial(
        target.client.run,
        workload,
        depth=running.depth,
        rate=running.rate,
        seconds=running.seconds,
        warmup_seconds=running.warmup_seconds,
        spin=running.spin,
        series=True,
        note=note,
    )
    return _with_cpu_time(target, ask, spin=running.spin)


def replay(target: Target, workload: Workload, depth: int | None, gaps: np.ndarray | None, *, spin: bool) -> Observations:
    """All requests of the workload's schedule once, ``depth`` at a time or with ``gaps`` between them."""
    found, requests = Observations(), len(workload.choice)
    ask = partial(target.client.run_exactly, workload, depth=depth, requests=requests, gaps=gaps, spin=spin)
    note(found, workload.name, _with_cpu_time(target, ask, spin=spin), 0)
    return found


def _with_cpu_time(target: Target, ask: Callable[[], Result], *, spin: bool) -> Result:
    before = server_cpu_ns(target.info) if target.info else {}
    with _on_client_core(target), contextlib.nullcontext() if spin else real_time():
        result = ask()
    if target.info:
        result.server_cpu_ns = difference(before, server_cpu_ns(target.info))
    return result


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
