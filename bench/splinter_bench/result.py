"""What one run of a load generator found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from splinter.errors import SplinterError, Status
from splinter_bench.histogram import Histogram, Series

_WORKER = "splinter-w"  # what worker processes are called
_BUSY = Status.BUSY.name
_BUSY_SHARE_MAX = 0.001  # of all requests, where nothing else is expected

_COUNTERS = (
    "seconds", "requests", "recorded", "lost", "corrupt", "checked", "stale", "unsent", "conflicts", "by_kernel",
    "client_cpu_ns",
)  # fmt: skip


@dataclass
class Result:
    """One run. ``per_second`` counts OK replies with a right value in the recorded time, which excludes the warm-up."""

    name: str
    depth: int  # requests under way at most; 0: as many as there are
    seconds: float  # recorded time
    requests: int  # sent in all, warm-up included
    recorded: int = 0
    lost: int = 0  # no reply within the time-out
    corrupt: int = 0  # OK, but another value than was stored
    checked: int = 0  # replies whose whole value was compared
    stale: int = 0  # packets that answered nothing: too late, twice, or not a reply
    errors: dict[str, int] = field(default_factory=dict)  # requests that ended with another status than OK, by its name
    histogram: Histogram = field(default_factory=Histogram)
    rate: float | None = None  # open loop: arrivals a second
    unsent: int = 0  # open loop: arrivals that could not be sent until the end; latencies have them with their age then
    conflicts: int = 0  # requests that began again since the object was replaced meanwhile
    operations: dict[str, Histogram] = field(default_factory=dict)  # latencies by operation
    unsent_of: dict[str, int] = field(default_factory=dict)  # how many of these are of arrivals that were never sent
    series: Series | None = None
    by_kernel: int = 0  # replies that the server's XDP program made, in the recorded time or not
    client_cpu_ns: int = 0  # CPU time of the load generator's thread, warm-up included
    server_cpu_ns: dict[str, int] = field(default_factory=dict)  # of the server's processes, where that can be known

    @property
    def per_second(self) -> float:
        """Round trips in each second."""
        return self.recorded / self.seconds if self.seconds > 0 else 0.0

    def answered(self, operation: str) -> int:
        """Requests of an operation that were answered in the recorded time."""
        return self.operations[operation].count - self.unsent_of.get(operation, 0)

    @property
    def kernel_percent(self) -> float:
        """How many of the replies the server's XDP program made, in percent of the requests."""
        return 100 * self.by_kernel / max(1, self.requests)

    @property
    def failed(self) -> int:
        """Requests that did not end as they should."""
        return self.lost + self.corrupt + sum(self.errors.values())

    def refuse_wrong_replies(self, expected: Iterable[str] = ()) -> None:
        """Raise :class:`SplinterError` when a reply was wrong, or of another status than OK and those ``expected``.

        A few are BUSY on any machine: it stops who holds a tenant's lock, and the store tells others to ask again.
        """
        unexpected = {status: count for status, count in self.errors.items() if status not in expected}
        if unexpected.get(_BUSY, 0) <= self.requests * _BUSY_SHARE_MAX:
            unexpected.pop(_BUSY, None)
        if self.corrupt or unexpected:
            raise SplinterError(f"{self.name}: {self.corrupt} replies were wrong, errors were {self.errors}")

    @property
    def latency_ns(self) -> dict[str, int]:
        """Percentiles of the recorded latencies by name, in ns."""
        return self.histogram.percentiles()

    @staticmethod
    def merged(parts: Sequence[Result]) -> Result:
        """Runs of the same thing, one after the other, as one, without time series. ``ValueError`` when there are none."""
        if not parts:
            raise ValueError("nothing to merge")
        whole = Result(parts[0].name, parts[0].depth, seconds=0.0, requests=0, rate=parts[0].rate)
        for part in parts:
            for counter in _COUNTERS:
                setattr(whole, counter, getattr(whole, counter) + getattr(part, counter))
            for mine, theirs in (
                (whole.errors, part.errors), (whole.server_cpu_ns, part.server_cpu_ns), (whole.unsent_of, part.unsent_of)
            ):  # fmt: skip
                for name, count in theirs.items():
                    mine[name] = mine.get(name, 0) + count
            whole.histogram.merge(part.histogram)
            for name, histogram in part.operations.items():
                whole.operations.setdefault(name, Histogram()).merge(histogram)
        return whole

    def row(self) -> dict[str, Any]:
        """The run as a row of the table of observations, without the histogram's cells: latencies and CPU times in ns."""
        requests = max(1, self.requests)
        found: dict[str, Any] = {
            "per_second": round(self.per_second, 1),
            **({**percentiles(self.histogram), "max": self.histogram.max} if self.histogram.count else {}),
            "failed": self.failed,
            **{name: getattr(self, name) for name in _COUNTERS},
            "count": self.recorded,
            "errors": self.errors,
            "cpu_ns_per_request": {name: round(spent / requests, 1) for name, spent in self._cpu_ns().items()},
        }
        workers = [spent for name, spent in self.server_cpu_ns.items() if name.startswith(_WORKER)]
        return found | ({"worker_ns": round(sum(workers) / requests, 1)} if workers else {})

    def _cpu_ns(self) -> dict[str, int]:
        return {"client": self.client_cpu_ns, **self.server_cpu_ns}


def percentiles(histogram: Histogram) -> dict[str, int]:
    """Latencies in ns by the names that formulas have for them, from ``p50`` to ``p9999``."""
    return {name.replace(".", ""): value for name, value in histogram.percentiles().items()}
