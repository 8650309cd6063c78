"""A load generator over some transport: a closed loop with a depth, or an open loop with a rate."""

from __future__ import annotations

import select
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from splinter.errors import SplinterError
from splinter.native.clock import SECOND_NS, TIMESPEC_BYTES
from splinter.server.processes import sleep_precisely
from splinter_bench.generators.flight import abandon
from splinter_bench.generators.flight_layout import IN_FLIGHT_MAX
from splinter_bench.generators.flight_memory import UNLIMITED, Flight
from splinter_bench.generators.frames import Route
from splinter_bench.generators.loop import POLLFD
from splinter_bench.histogram import Histogram, Series
from splinter_bench.owner import Owner
from splinter_bench.result import Result
from splinter_bench.workloads.arrivals import poisson
from splinter_bench.workloads.workload import Operation, Workload, each_once

DEPTH_MAX = 1024
WARMUP_SECONDS_DEFAULT = 0.2
_EXACT_RUN_SECONDS_MAX = 60  # a run for a number of requests ends after this time in any case
_LOAD_DEPTH = 32
_LOAD_PASSES_MAX = 3
_COUNTED = (
    "recorded",
    "lost",
    "corrupt",
    "checked",
    "stale",
    "unsent",
    "conflicts",
    "by_kernel",
)  # by the same names in a result
_SPINS_BEFORE_SLEEP = 1  # looks for packets of a loop that may sleep


class LoadClient(Owner, ABC):
    """Sends a workload's requests and times the replies.

    A subclass owns sockets, whose ``descriptors`` are polled, and a compiled loop. ``kind`` is the dtype of the loop's record:
    the fields of ``LOOP``, and further ones, which are set to ``fields``. Leaving the object as a context closes the sockets.
    """

    def __init__(self, route: Route, kind: np.dtype, descriptors: Sequence[int], **fields: int) -> None:
        self.flight = Flight()
        self.route = route
        self._polled = np.array([(fd, select.POLLIN, 0) for fd in descriptors], POLLFD)
        self._timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        self._record = np.zeros(1, kind)
        fields |= {"flight": self.flight.address, "timespec": self._timespec.ctypes.data}
        fields |= {"polled": self._polled.ctypes.data, "polled_count": len(descriptors)}
        for name, value in fields.items():
            self._record[name] = value
        self.flight.limit(depth=1, until_ns=0, requests=0)
        self._loop(self._record.ctypes.data)  # a run of nothing, so that compiling is not part of the first one
        abandon(self.flight.address)

    @abstractmethod
    def _loop(self, client: int) -> None:
        """Launch what :attr:`flight` has, until that is over; ``client`` is the address of the loop's record."""

    @abstractmethod
    def detach(self) -> None:
        """Leave the device to others until the next run."""

    def run(
        self,
        workload: Workload,
        *,
        seconds: float,
        depth: int | None = None,
        rate: float | None = None,
        warmup_seconds: float = WARMUP_SECONDS_DEFAULT,
        spin: bool = True,
        series: bool = False,
        note: int = 0,
    ) -> Result:
        """Run for ``warmup_seconds``, which count for nothing, and then ``seconds``.

        :param depth: closed loop: so many requests are under way at any time.
        :param rate: open loop: Poisson arrivals, so many a second; with ``depth`` too, at most as many are under way.
        :param spin: False: sleep while there is nothing to do, so that others can use the CPU.
        :param series: find out what happened in each interval of the run, too.
        :param note: keep a line of so many requests at most, in ``flight.noted``.

        Raises ``ValueError`` when ``depth`` is not in 1 … ``DEPTH_MAX``, or neither depth nor rate is given.
        """
        if depth is None and rate is None:
            raise ValueError("a run has a depth or a rate")
        gaps = None if rate is None else poisson(rate)
        warmup_ns, seconds_ns = int(warmup_seconds * SECOND_NS), int(seconds * SECOND_NS)
        self.flight.load(workload, self.route)
        start = time.monotonic_ns()
        begin = start + warmup_ns
        if note:
            self.flight.note_requests(start, note)
        self.flight.record_between(begin, begin + seconds_ns, Series(seconds) if series else None)
        cpu_ns = self._go(start, begin + seconds_ns, depth, gaps, requests=UNLIMITED, spin=spin)
        return self._result(workload, depth or 0, seconds, rate=rate, cpu_ns=cpu_ns)

    def run_exactly(
        self, workload: Workload, *, depth: int | None = None, requests: int, gaps: np.ndarray | None = None, spin: bool = True
    ) -> Result:
        """Send exactly ``requests`` requests, the schedule from its beginning; all are recorded.

        In a closed loop with a depth, or with ``gaps``, ``int64[n]`` in ns, between them.
        """
        self.flight.load(workload, self.route)
        start = time.monotonic_ns()
        seconds_max = _EXACT_RUN_SECONDS_MAX if gaps is None else _EXACT_RUN_SECONDS_MAX + int(gaps.sum()) // SECOND_NS
        until = start + seconds_max * SECOND_NS
        self.flight.record_between(start, until)
        cpu_ns = self._go(start, until, depth, gaps, requests=requests, spin=spin)
        return self._result(workload, depth or 0, (time.monotonic_ns() - start) / SECOND_NS, rate=None, cpu_ns=cpu_ns)

    def _go(self, start: int, until: int, depth: int | None, gaps: np.ndarray | None, *, requests: int, spin: bool) -> int:
        """Run the workload that is loaded; returns this thread's CPU time in ns."""
        if depth is not None and not 1 <= depth <= DEPTH_MAX:
            raise ValueError(f"the depth is 1 to {DEPTH_MAX}, not {depth}")
        self.flight.limit(depth=depth or IN_FLIGHT_MAX, until_ns=until, requests=requests)
        if gaps is not None:
            self.flight.arrive(start, gaps)
        if not spin:
            sleep_precisely()
        self._record["spins_max"] = 0 if spin else _SPINS_BEFORE_SLEEP
        cpu_ns = time.thread_time_ns()
        self._loop(self._record.ctypes.data)
        cpu_ns = time.thread_time_ns() - cpu_ns
        abandon(self.flight.address)
        return cpu_ns

    def preload(self, put: Operation, keys: int) -> None:
        """Store the objects 0 … ``keys`` - 1; raises :class:`SplinterError` when that does not succeed."""
        self.run_to_success(each_once(put, keys), f"could not store {keys} objects")

    def run_to_success(self, workload: Workload, failure: str, *, depth: int = _LOAD_DEPTH) -> None:
        """Run the whole schedule once, again when some requests were not answered; raises :class:`SplinterError`."""
        wanted = len(workload.choice)
        for _ in range(_LOAD_PASSES_MAX):
            result = self.run_exactly(workload, depth=depth, requests=wanted)
            if result.recorded == wanted:
                return
        raise SplinterError(
            f"{failure}: {result.recorded} were, {result.lost} requests had no reply, errors were {result.errors or 'none'}"
        )

    def _result(self, workload: Workload, depth: int, seconds: float, *, rate: float | None, cpu_ns: int) -> Result:
        flight, histogram = self.flight, Histogram()
        for part in flight.histograms.values():
            histogram.merge(part)
        counted: dict[str, Any] = {name: flight[name] for name in _COUNTED}
        return Result(
            workload.name,
            depth,
            seconds,
            flight["sent"],
            errors=flight.errors(),
            histogram=histogram,
            rate=rate,
            operations=dict(flight.histograms),
            unsent_of=flight.unsent_of(),
            series=flight.series,
            client_cpu_ns=cpu_ns,
            **counted,
        )
