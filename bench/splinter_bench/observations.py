"""What was measured, as one table: a row is one number that one slice of one round found.

Figures, ratios and verdicts are computed from it by formulas (:mod:`splinter_bench.goals`, ``goals.toml``). A formula names
columns as ``subject.metric``; of a name, all but letters and digits becomes ``_``: ``redis_get_50.per_second``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from splinter_bench.result import Result

_UNITS = {"per_second": "1/s", "cpu_ns": "ns", "p50": "ns", "p90": "ns", "p99": "ns", "p999": "ns"}
_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
_NO_NAME = re.compile(r"\W+")


class Observation(NamedTuple):
    """One number. Rows of one ``round`` were measured beside each other; ``is_still``: the machine did nothing else then."""

    subject: str
    metric: str
    unit: str
    round: int
    value: float
    is_still: bool = True


@dataclass
class Observations:
    """Rows, and the circumstances that texts of figures name (``settings``)."""

    rows: list[Observation] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def add(self, subject: str, found: Mapping[str, float], number: int, *, is_still: bool = True) -> None:
        """Add numbers by metric, of one slice in round ``number``; a metric that has no unit of its own is named by it."""
        for metric, value in found.items():
            self.rows.append(Observation(subject, metric, _UNITS.get(metric, metric), number, float(value), is_still))

    def add_result(self, subject: str, result: Result, number: int, *, is_still: bool = True) -> None:
        """Add what a load generator's run found: its rate, and percentiles of latencies where it recorded some."""
        found = {"per_second": result.per_second}
        if result.histogram.count:
            found |= {name: float(result.histogram.percentile(percent)) for name, percent in _PERCENTILES.items()}
        self.add(subject, found, number, is_still=is_still)

    def merged(self, other: Observations) -> Observations:
        """Both tables' rows. Rounds of the same number were not neighbours: no formula may name subjects of both."""
        return Observations([*self.rows, *other.rows], self.settings | other.settings)

    def table(self) -> pd.DataFrame:
        """The rows as a data frame."""
        return pd.DataFrame(self.rows, columns=list(Observation._fields))


def name_of(subject: str) -> str:
    """A subject as formulas call it."""
    return _NO_NAME.sub("_", subject)


class NotMeasuredError(LookupError):
    """A formula names a subject, or a number of one, that a table does not have."""


class Columns(Mapping[str, Any]):
    """A table's columns by the names of formulas; notes which were asked for.

    Raises :class:`NotMeasuredError` for other names.
    """

    def __init__(self, observations: Observations) -> None:
        table = observations.table()
        self._settings = observations.settings
        self._values = table.pivot_table(index="round", columns=["subject", "metric"], values="value", sort=False)
        still = table.groupby(["round", "subject"])["is_still"].all().unstack()
        self._still = still.reindex(self._values.index)
        self._subjects: dict[str, str] = {name_of(subject): subject for subject in self._values.columns.levels[0]}
        self._functions: dict[str, Callable[..., Any]] = {"best": self._best}
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name in self._functions:
            return self._functions[name]
        if name in self._settings:
            return self._settings[name]
        if name not in self._subjects:
            raise NotMeasuredError(name)
        subject = self._subjects[name]
        self.asked.add(subject)
        return _Subject(self._values[subject])

    def __iter__(self) -> Iterator[str]:
        return iter(self._subjects)

    def __len__(self) -> int:
        return len(self._subjects)

    def _best(self, *beginnings: str) -> pd.Series:
        """The largest rate of each round, of all subjects whose name begins so; a round has it where all of them have one."""
        names = [name for name in self._subjects if name.startswith(beginnings)]
        if not names:
            raise NotMeasuredError(beginnings)
        self.asked.update(self._subjects[name] for name in names)
        return pd.concat([self._values[self._subjects[name]]["per_second"] for name in names], axis=1).max(axis=1, skipna=False)

    def evaluate(self, formula: str) -> pd.Series:
        """A formula's value in each round that has all it names. Raises :class:`NotMeasuredError` where no round has."""
        found = eval(formula, {"__builtins__": {}}, self)  # the formulas are this package's own
        if not isinstance(found, pd.Series):
            found = pd.Series(float(found), index=self._values.index)
        return found.replace([np.inf, -np.inf], np.nan).dropna()

    def still(self) -> pd.Series:
        """Of each round, whether all that was asked for had peace in it."""
        return self._still[sorted(self.asked)].fillna(True).astype(bool).all(axis=1)


class _Subject:
    """A subject's metrics as attributes, each a series by round."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __getattr__(self, metric: str) -> pd.Series:
        if metric not in self._frame:
            raise NotMeasuredError(metric)
        return self._frame[metric]


def medians(columns: Columns, formulas: Mapping[str, str], rounds: Iterable[int]) -> dict[str, float]:
    """Each formula's median over these rounds; those are left out of which something was not measured."""
    found = {}
    for name, formula in formulas.items():
        try:
            values = columns.evaluate(formula)
        except NotMeasuredError:
            continue
        kept = values[values.index.isin(list(rounds))]
        if len(kept):
            found[name] = round(float(kept.median()), 3)
    return found
