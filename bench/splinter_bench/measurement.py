"""What the runs of a benchmark found, put together: medians, spreads, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.observations import Observations
from splinter_bench.result import Result

ECHO = "echo"
_MEDIAN = "p50"
# Of each rival's measurement, ours that does the same; what stands behind a comma is how the rival was asked.
COUNTERPARTS = {
    "redis get": "get",
    "redis set": "put",
    "redis evalsha": "invoke get",
    "redis fcall": "invoke get",
    "redis fcall chain": "invoke scan",
    "memcached get": "get",
    "memcached set": "put",
    "memcached UDP get": "get",
    "memcached UDP set": "put",
}


def counterpart(name: str) -> str | None:
    """Our measurement to compare a rival's with; None when it is no rival's."""
    return COUNTERPARTS.get(name.partition(",")[0])


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest of some values."""
    found = list(values)
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}


@dataclass
class Measurement:
    """The runs of one operation at one depth, each in slices that alternated with those of the other measurements."""

    name: str
    depth: int
    slices: list[list[Result]] = field(default_factory=list)  # of each run
    disturbed: set[tuple[int, int]] = field(default_factory=set)  # run and place of slices that had no peace

    @cached_property
    def runs(self) -> list[Result]:
        """Each run as a whole, disturbed slices left out where there are others."""
        return [Result.merged(self._still(run) or parts) for run, parts in enumerate(self.slices)]

    def _still(self, run: int) -> list[Result]:
        return [part for place, part in enumerate(self.slices[run]) if (run, place) not in self.disturbed]

    def add(self, run: int, part: Result, *, is_still: bool = True) -> None:
        """Add a slice to a run; runs are numbered from 0 and come in order."""
        if run == len(self.slices):
            self.slices.append([])
        if not is_still:
            self.disturbed.add((run, len(self.slices[run])))
        self.slices[run].append(part)

    def rounds(self) -> dict[tuple[int, int], Result]:
        """The slices by run and place: those of all measurements with the same number were neighbours."""
        return {(run, place): part for run, parts in enumerate(self.slices) for place, part in enumerate(parts)}

    @property
    def per_second(self) -> dict[str, float]:
        """Round trips a second: median, min, max of the runs."""
        return spread(run.per_second for run in self.runs)

    @property
    def latency_ns(self) -> dict[str, dict[str, float]]:
        """Each percentile's median, min and max of the runs."""
        found = [run.latency_ns for run in self.runs]
        return {name: spread(latencies[name] for latencies in found) for name in found[0]}

    @property
    def failed(self) -> int:
        """Requests of all runs that did not end as they should."""
        return sum(run.failed for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with every run."""
        return {
            "name": self.name,
            "depth": self.depth,
            "per_second": self.per_second,
            "latency_ns": self.latency_ns,
            "failed": self.failed,
            "runs": [run.to_json() for run in self.runs],
        }


Plan = list[tuple[Measurement, Callable[[], Result]]]  # what to measure, and how a slice of it is run


@dataclass
class Report:
    """Measurements in the order in which they are shown, and under which circumstances they were made."""

    measurements: list[Measurement]
    circumstances: dict[str, Any]
    extras: list[dict[str, Any]] = field(default_factory=list)  # what other programs measured

    def find(self, name: str, depth: int) -> Measurement | None:
        """The measurement of an operation at a depth, if it was made."""
        return next((m for m in self.measurements if (m.name, m.depth) == (name, depth)), None)

    def matching(self, name: str) -> list[Measurement]:
        """The measurements whose name begins so."""
        return [m for m in self.measurements if m.name.startswith(name)]

    def ratios(self) -> list[dict[str, Any]]:
        """Each slice of ours over the echo's beside it, a rival's over ours: of each run the median, of these the median.

        Neighbouring slices and not medians are divided, so that what disturbs the machine for a while stands on both
        sides.
        """
        found = []
        for measurement in self.measurements:
            limit = self.find(ECHO, measurement.depth)
            ours = self.find(counterpart(measurement.name) or "", measurement.depth)
            if ours is not None:
                found.append(_ratio("latency_over_ours", measurement, ours, _p50))
                found.append(_ratio("throughput_of_ours", measurement, ours, _per_second))
            elif limit is not None and limit is not measurement:
                found.append(_ratio("latency_over_echo", measurement, limit, _p50))
                found.append(_ratio("throughput_of_echo", measurement, limit, _per_second))
        return [ratio for ratio in found if "median" in ratio]

    def observations(self) -> Observations:
        """Rows of each slice, whose subject is ``name depth``. Raises :class:`SplinterError` when requests failed.

        Another program's numbers are those of its whole run, the same for each of the run's slices.
        """
        failed = {m.name: m.failed for m in self.measurements if m.failed}
        if failed:
            raise SplinterError(f"{sum(failed.values())} requests were lost or answered wrongly: {failed}")
        found = Observations(settings={"rivals": self._rivals()})
        numbers = {place: number for number, place in enumerate(sorted({p for m in self.measurements for p in m.rounds()}))}
        for measurement in self.measurements:
            for place, result in measurement.rounds().items():
                subject, is_still = f"{measurement.name} {measurement.depth}", place not in measurement.disturbed
                found.add(subject, result, numbers[place], is_still=is_still)
        for extra in self.extras:
            median = extra["latency_ns"].get(_MEDIAN)
            values = {"per_second": extra["per_second"]} | ({} if median is None else {_MEDIAN: median})
            for (run, _), number in numbers.items():
                if run + 1 == extra.get("run", 1):
                    found.add(f"{extra['name']} {extra['connections']}", values, number)
        return found

    def _rivals(self) -> dict[str, str]:
        rivals = self.circumstances.get("rivals", {})
        return {name: f"{configuration['version']}: {configuration['command']}" for name, configuration in rivals.items()}

    def to_json(self) -> dict[str, Any]:
        """One document with everything."""
        return {
            **self.circumstances,
            "results": [measurement.to_json() for measurement in self.measurements],
            "ratios": self.ratios(),
            "extras": self.extras,
        }

    def ratio(self, name: str, depth: int, kind: str) -> dict[str, Any] | None:
        """One of :meth:`ratios`."""
        return next((r for r in self.ratios() if (r["name"], r["depth"], r["ratio"]) == (name, depth, kind)), None)


def half_range(values: dict[str, float]) -> float:
    """How far smallest and largest value are from the middle between them, as a part of the median."""
    return (values["max"] - values["min"]) / 2 / values["median"] if values["median"] else 0.0


def in_peace(places: Iterable[tuple[int, int]], *measurements: Measurement) -> tuple[list[tuple[int, int]], int]:
    """Of these rounds those in which each measurement's slice had peace, and how many others; all, if none had."""
    disturbed = set().union(*(measurement.disturbed for measurement in measurements))
    found: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for place in places:
        found[place not in disturbed].append(place)
    return found[True] or found[False], len(found[False])


def _p50(run: Result) -> float:
    return run.latency_ns[_MEDIAN]


def _per_second(run: Result) -> float:
    return run.per_second


def _ratio(kind: str, what: Measurement, over: Measurement, figure: Any) -> dict[str, Any]:
    mine, theirs = what.rounds(), over.rounds()
    places, left_out = in_peace([place for place in mine if figure(theirs[place])], what, over)
    ratios = {place: figure(mine[place]) / figure(theirs[place]) for place in places}
    runs = [[ratio for (run, _), ratio in ratios.items() if run == number] for number in range(len(what.slices))]
    medians = [statistics.median(found) for found in runs if found]
    values = spread(medians) | {"rounds": list(ratios.values())} if medians else {}
    return {"ratio": kind, "name": what.name, "depth": what.depth, "over": over.name, "left_out": left_out, **values}
