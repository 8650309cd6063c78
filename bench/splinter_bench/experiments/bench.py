"""What the experiments have in common: how they are asked for, and what they note of a slice of an open loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

from splinter.errors import SplinterError
from splinter_bench.control import Taken
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.histogram import Histogram
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned
from splinter_bench.progress import Progress
from splinter_bench.result import Result, percentiles
from splinter_bench.subjects.session import SLICE_TRIES, SLICE_WARMUP_SECONDS, Session
from splinter_bench.workloads.workload import Workload

T = TypeVar("T")
# What a tenant with too many tasks waiting is answered: none at the loads that matter, while the machine runs.
REFUSED = ("BUSY",)
_ERRORS_SHARE_MAX = 0.001  # of a slice's requests


_QUICK_ROUNDS = 3


@dataclass(frozen=True)
class Bench:
    """What is asked of an experiment's ``measure``. ``is_quick``: enough to see that it works, not for figures.

    ``only``: parts, all when there are none. ``for_bounds``: nothing but what figures with bounds are made of, in more rounds.
    ``tenants`` have an extension each, ``installs`` are made beside gets, where an experiment is about that.
    """

    is_quick: bool = False
    only: tuple[str, ...] = ()
    for_bounds: bool = False
    rounds: int | None = None  # of each figure; None: as many as it needs to stand still
    tenants: int = 10_000
    installs: int = 1000
    say: Progress = lambda text: None
    served: Session | None = None  # a server of its own, where the experiment needs one

    @property
    def session(self) -> Session:
        """With the experiment's server. Raises :class:`SplinterError` where it has none."""
        if self.served is None:
            raise SplinterError("this experiment needs a server")
        return self.served

    def wants(self, part: str) -> bool:
        """Whether a part was asked for."""
        return not self.only or part in self.only

    def choose(self, quick: T, bounds: T, whole: T) -> T:
        """The settings of these three that go with it."""
        return quick if self.is_quick else bounds if self.for_bounds else whole

    def count(self, usual: int) -> int:
        """How many rounds, where ``usual`` are enough for a figure."""
        return self.rounds or (_QUICK_ROUNDS if self.is_quick else usual)


def slices(
    session: Session, asked: Mapping[str, Workload], depth: int, seconds: float, *, spin: bool = True
) -> dict[str, Callable[[], Result]]:
    """A slice of each workload by name, as :func:`splinter_bench.rounds.in_turns` takes them."""
    return {name: partial(session.slice, workload, depth, seconds, spin=spin) for name, workload in asked.items()}


def ask_rival(
    session: Session, client: TextClient, script: Script, seconds: float, warmup_seconds: float = SLICE_WARMUP_SECONDS
) -> Result:
    """A slice of what a rival is asked, again while a busy machine lets nothing through.

    Raises :class:`SplinterError` when a request failed, or nothing came through at all.
    """
    session.load.detach()  # our client's program on the device costs the server
    for _ in range(SLICE_TRIES):
        with pinned(session.client_core):
            result = client.run(script, seconds=seconds, warmup_seconds=warmup_seconds)
        if result.failed:
            raise SplinterError(f"{script.name}: {result.recorded} right replies, {result.corrupt} wrong, {result.lost} lost")
        if result.recorded:
            return result
    raise SplinterError(f"{script.name}: no reply in {SLICE_TRIES} times {seconds} s")


def kernel_percent(rows: Iterable[Row]) -> float:
    """What the kernel has answered of the requests of a slice, in percent: the median of these slices."""
    return float(median(row["kernel_percent"] for row in rows))


def served(result: Result, histogram: Histogram, rate: float) -> Row:
    """What a slice at ``rate`` requests a second found, with the latencies of those in ``histogram``, which were served."""
    return {
        "offered": round(rate),
        "per_second": round(result.per_second),
        "count": histogram.count,
        "lost": result.lost,
        "errors": result.errors,
        **percentiles(histogram),
    }


def add_served(found: Observations, subject: str, taken: Taken[Row], number: int, **settings: Any) -> None:
    """Add a slice of an open loop that was asked under these settings.

    A slice in which more than one in a thousand had another status than OK was too much for the machine as it was then: it
    counts as one that had no peace.
    """
    errors = sum(taken.result["errors"].values())
    is_whole = errors <= _ERRORS_SHARE_MAX * (taken.result["count"] + errors)
    found.add(subject, taken.result, number, is_still=taken.is_still and is_whole, **settings)
