"""What the runs of a benchmark found beside each other: of each run a row, of each slice another one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from splinter.errors import SplinterError
from splinter_bench.control import Taken
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


class Measurement(NamedTuple):
    """One operation at one depth: what slices of a run take turns with those of others."""

    name: str
    depth: int

    @property
    def subject(self) -> str:
        """What the table of slices calls it."""
        return f"{self.name} {self.depth}"


Plan = list[tuple[Measurement, Callable[[], Result]]]  # what to measure, and how a slice of it is run


@dataclass
class Report:
    """What a plan's slices found. ``slices`` has a row of each; those of one round were neighbours. ``runs``: merged."""

    circumstances: dict[str, Any] = field(default_factory=dict)
    slices: Observations = field(default_factory=Observations)
    results: dict[Measurement, list[list[Taken[Result]]]] = field(default_factory=dict)  # slices of each run
    programs: list[Row] = field(default_factory=list)  # what others' load generators found, a row for each run

    def add(self, what: Measurement, run: int, number: int, taken: Taken[Result]) -> None:
        """Add a slice of round ``number`` to a run; runs are numbered from 0 and come in order."""
        runs = self.results.setdefault(what, [])
        if run == len(runs):
            runs.append([])
        runs[run].append(taken)
        self.slices.add(what.subject, taken.result, number, is_still=taken.is_still, run=run)

    def add_program(self, run: int, found: Mapping[str, Any], numbers: Iterable[int]) -> None:
        """Add what another program found in a whole run, which stands for each of the run's rounds."""
        latencies = {name: value for name, value in found["latency_ns"].items() if value is not None}
        row = {"depth": found["connections"], "by": "program", "per_second": found["per_second"], **latencies}
        self.programs.append({"subject": found["name"], "round": run, **row, "command": found.get("command", "")})
        subject = Measurement(found["name"], found["connections"]).subject
        self.slices.rows += [{**row, "subject": subject, "round": number, "run": run} for number in numbers]

    @property
    def failed(self) -> int:
        """Requests that did not end as they should."""
        return sum(self._failed().values())

    def _failed(self) -> dict[str, int]:
        found = {what.subject: sum(t.result.failed for run in runs for t in run) for what, runs in self.results.items()}
        return {subject: failed for subject, failed in found.items() if failed}

    def observations(self) -> Observations:
        """The table that figures are made of. Raises :class:`SplinterError` when requests failed."""
        if self.failed:
            raise SplinterError(f"{self.failed} requests were lost or answered wrongly: {self._failed()}")
        rivals = {name: f"{of['version']}: {of['command']}" for name, of in self.circumstances.get("rivals", {}).items()}
        return Observations(self.slices.rows, {"rivals": rivals})

    def runs(self) -> Observations:
        """A row for each run as a whole, with its ratios to the echo, or a rival's to ours, and what other programs found.

        Slices that had no peace are left out of a run, where there are others. A ratio is the median of those of neighbouring
        slices: what disturbs the machine for a while stands on both sides.
        """
        columns, rows = self.slices.columns(), []
        for what, runs in self.results.items():
            ratios, over = self._ratios(what, columns)
            for number, taken in enumerate(runs):
                still = [each.result for each in taken if each.is_still] or [each.result for each in taken]
                beside = {kind: values[number] for kind, values in ratios.items() if number in values}
                place = {"subject": what.name, "depth": what.depth, "round": number, "by": "slices"}
                rows.append({**place, **Result.merged(still).row(), **beside, **({"over": over} if beside else {})})
        return Observations([*rows, *self.programs], self.circumstances.get("settings", {}))

    def _ratios(self, what: Measurement, columns: Columns) -> tuple[dict[str, pd.Series], str]:
        """Each kind of ratio of one measurement by run, and over what."""
        ours, found = counterpart(what.name), {}
        other = Measurement(ECHO if ours is None else ours, what.depth)
        kinds = ("latency_over_echo", "throughput_of_echo") if ours is None else ("latency_over_ours", "throughput_of_ours")
        if what.name != ECHO and other in self.results:
            for kind, metric in zip(kinds, ("p50", "per_second"), strict=True):
                with contextlib.suppress(NotMeasuredError):
                    values, _ = columns.kept(f"{name_of(what.subject)}.{metric} / {name_of(other.subject)}.{metric}")
                    found[kind] = values.groupby(columns.table.groupby("round")["run"].first()).median()
        return found, other.name

    def to_json(self) -> dict[str, Any]:
        """One document with everything."""
        return {"experiment": "suite", **self.circumstances, **self.runs().to_json()}
