"""What the runs of a benchmark found beside each other: of each run a row, of each slice another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from splinter.errors import SplinterError
from splinter_bench.observations import Columns, NotMeasuredError, Observations, Row, name_of
from splinter_bench.result import Result

ECHO = "echo"
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


@dataclass
class Measurement:
    """The runs of one operation at one depth, each in slices that alternated with those of the other measurements."""

    name: str
    depth: int
    slices: list[list[Result]] = field(default_factory=list)  # of each run
    disturbed: set[tuple[int, int]] = field(default_factory=set)  # run and place of slices that had no peace

    @property
    def subject(self) -> str:
        """What the table of slices calls it."""
        return f"{self.name} {self.depth}"

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

    @property
    def failed(self) -> int:
        """Requests of all runs that did not end as they should."""
        return sum(run.failed for run in self.runs)


Plan = list[tuple[Measurement, Callable[[], Result]]]  # what to measure, and how a slice of it is run


@dataclass
class Report:
    """Measurements in the order in which they are shown, and under which circumstances they were made."""

    measurements: list[Measurement]
    circumstances: dict[str, Any]
    extras: list[dict[str, Any]] = field(default_factory=list)  # what other programs measured, by run

    @property
    def failed(self) -> int:
        """Requests that did not end as they should."""
        return sum(measurement.failed for measurement in self.measurements)

    def slices(self) -> Observations:
        """A row for each slice; those of one round were neighbours.

        Another program's numbers are those of its whole run, the same for each of the run's slices.
        """
        found = Observations(settings={"rivals": self._rivals()})
        places = {(run, place) for m in self.measurements for run, parts in enumerate(m.slices) for place in range(len(parts))}
        numbers = {place: number for number, place in enumerate(sorted(places))}
        for measurement in self.measurements:
            for run, parts in enumerate(measurement.slices):
                for place, part in enumerate(parts):
                    is_still = (run, place) not in measurement.disturbed
                    found.add(measurement.subject, part, numbers[run, place], is_still=is_still, run=run)
        for row in self._programs():
            for (run, _), number in numbers.items():
                if run == row["round"]:
                    found.rows.append({**row, "subject": f"{row['subject']} {row['depth']}", "round": number, "run": run})
        return found

    def observations(self) -> Observations:
        """The table that figures are made of. Raises :class:`SplinterError` when requests failed."""
        if self.failed:
            failed = {m.name: m.failed for m in self.measurements if m.failed}
            raise SplinterError(f"{self.failed} requests were lost or answered wrongly: {failed}")
        return self.slices()

    def runs(self) -> Observations:
        """A row for each run as a whole, with its ratios to the echo, or a rival's to ours, and what other programs found.

        A ratio is the median of those of neighbouring slices: what disturbs the machine for a while stands on both sides.
        """
        columns = self.slices().columns()
        rows = [row for measurement in self.measurements for row in self._runs(measurement, columns)]
        return Observations([*rows, *self._programs()], self.circumstances.get("settings", {}))

    def _runs(self, measurement: Measurement, columns: Columns) -> Iterator[Row]:
        ratios, over = self._ratios(measurement, columns)
        for number, run in enumerate(measurement.runs):
            beside = {kind: values[number] for kind, values in ratios.items() if number in values}
            row = {"subject": measurement.name, "depth": measurement.depth, "round": number, "by": "slices", **run.row()}
            yield row | beside | ({"over": over} if beside else {})

    def _ratios(self, measurement: Measurement, columns: Columns) -> tuple[dict[str, pd.Series], str]:
        """Each kind of ratio of one measurement by run, and over what."""
        ours = counterpart(measurement.name)
        over = ECHO if ours is None else ours
        if measurement.name == ECHO or not any((m.name, m.depth) == (over, measurement.depth) for m in self.measurements):
            return {}, over
        beside, found = name_of(f"{over} {measurement.depth}"), {}
        kinds = ("latency_over_echo", "throughput_of_echo") if ours is None else ("latency_over_ours", "throughput_of_ours")
        for kind, metric in zip(kinds, ("p50", "per_second"), strict=True):
            try:
                values, _ = columns.kept(f"{name_of(measurement.subject)}.{metric} / {beside}.{metric}")
            except NotMeasuredError:
                continue
            found[kind] = values.groupby(columns.table.groupby("round")["run"].first()).median()
        return found, over

    def _programs(self) -> Iterator[Row]:
        for extra in self.extras:
            latencies = {name: value for name, value in extra["latency_ns"].items() if value is not None}
            place = {"subject": extra["name"], "depth": extra["connections"], "round": extra.get("run", 1) - 1}
            yield {
                **place,
                "by": "program",
                "per_second": extra["per_second"],
                **latencies,
                "command": extra.get("command", ""),
            }

    def _rivals(self) -> dict[str, str]:
        rivals = self.circumstances.get("rivals", {})
        return {name: f"{configuration['version']}: {configuration['command']}" for name, configuration in rivals.items()}

    def to_json(self) -> dict[str, Any]:
        """One document with everything."""
        return {"experiment": "suite", **self.circumstances, **self.runs().to_json()}
