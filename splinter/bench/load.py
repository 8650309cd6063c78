"""A load generator: a closed loop with a depth over some transport."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from splinter.bench.clock import SECOND_NS
from splinter.bench.flight import DEPTH_MAX, Flight
from splinter.bench.frames import Route
from splinter.bench.histogram import Histogram
from splinter.bench.result import Result
from splinter.bench.workload import Operation, Workload, each_once
from splinter.errors import SplinterError

WARMUP_SECONDS_DEFAULT = 0.2
_EXACT_RUN_SECONDS_MAX = 60  # a run for a number of requests ends after this time in any case
_REQUESTS_UNLIMITED = 1 << 62
_LOAD_DEPTH = 32
_LOAD_PASSES_MAX = 3


class LoadClient(ABC):
    """Sends a workload's requests, ``depth`` of them under way at any time, and times the replies.

    A subclass owns sockets and a compiled loop. It is a context manager; leaving it closes the sockets.
    """

    def __init__(self, route: Route) -> None:
        self.flight = Flight()
        self.route = route

    @abstractmethod
    def _loop(self, depth: int, until_ns: int, requests_max: int) -> None:
        """Launch until the clock shows ``until_ns`` or ``requests_max`` are sent; return when none is under way.

        A constructor calls this with (1, 0, 0), so that compiling it is not part of the first run.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the sockets back."""

    def __enter__(self) -> LoadClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, workload: Workload, *, depth: int, seconds: float, warmup_seconds: float = WARMUP_SECONDS_DEFAULT) -> Result:
        """Run for ``warmup_seconds``, which count for nothing, and then ``seconds``.

        Raises ``ValueError`` when ``depth`` is not in 1 … ``DEPTH_MAX``.
        """
        start = self._start(workload, depth)
        begin = start + int(warmup_seconds * SECOND_NS)
        until = begin + int(seconds * SECOND_NS)
        self.flight.record_between(begin, until)
        self._loop(depth, until, _REQUESTS_UNLIMITED)
        return self._result(workload, depth, seconds)

    def run_exactly(self, workload: Workload, *, depth: int, requests: int) -> Result:
        """Send exactly ``requests`` requests, the schedule from its beginning; all are recorded."""
        start = self._start(workload, depth)
        until = start + _EXACT_RUN_SECONDS_MAX * SECOND_NS
        self.flight.record_between(start, until)
        self._loop(depth, until, requests)
        return self._result(workload, depth, (time.monotonic_ns() - start) / SECOND_NS)

    def preload(self, put: Operation, keys: int) -> None:
        """Store the objects 0 … ``keys`` - 1; raises :class:`SplinterError` when that does not succeed."""
        for _ in range(_LOAD_PASSES_MAX):
            result = self.run_exactly(each_once(put, keys), depth=_LOAD_DEPTH, requests=keys)
            if result.recorded == keys:
                return
        raise SplinterError(
            f"could not store {keys} objects: {result.recorded} stored, {result.lost} requests without reply, "
            f"errors {result.errors}"
        )

    def _start(self, workload: Workload, depth: int) -> int:
        if not 1 <= depth <= DEPTH_MAX:
            raise ValueError(f"the depth is 1 to {DEPTH_MAX}, not {depth}")
        self.flight.load(workload, self.route)
        return time.monotonic_ns()

    def _result(self, workload: Workload, depth: int, seconds: float) -> Result:
        flight, histogram = self.flight, Histogram()
        for part in flight.histograms:
            histogram.merge(part)
        return Result(
            name=workload.name,
            depth=depth,
            seconds=seconds,
            requests=flight["sent"],
            recorded=flight["recorded"],
            lost=flight["lost"],
            corrupt=flight["corrupt"],
            checked=flight["checked"],
            stale=flight["stale"],
            errors=flight.errors(),
            histogram=histogram,
        )
