"""What was measured, as one table: a row is what one slice found, and under which settings it was asked.

A row names its ``subject``, its ``round`` (rows of one round were measured beside each other), whether the machine did nothing
else meanwhile (``is_still``), settings such as ``load`` or ``kind``, and numbers by metric. Figures, tables and charts are
computed from it by formulas, which are data (``goals.toml``, ``experiments.toml``). A formula names columns as
``subject.metric``, each a series by round; of a subject's name, all but letters and digits becomes ``_``:
``redis_get_50.per_second``.
"""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from splinter_bench.result import Result, percentiles

_NO_NAME = re.compile(r"\W+")

Row = dict[str, Any]
Found = Result | Mapping[str, Any] | float  # of a slice: a load generator's run, numbers by metric, or one number


class NotMeasuredError(LookupError):
    """A formula names a subject, a number of one, or settings that a table does not have."""


@dataclass
class Observations:
    """``rows`` as above; ``settings``: circumstances of all rows, which formulas and texts may name.

    ``simulated`` are rows of the same shape that no machine was asked for, ``series`` those of intervals of a run.
    """

    rows: list[Row] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    simulated: list[Row] = field(default_factory=list)
    series: list[Row] = field(default_factory=list)
    _made: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Observations:
        """Those of a document that :meth:`to_json` made."""
        return cls(document["runs"], document.get("settings", {}), document.get("simulated", []), document.get("series", []))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        series = {"series": self.series} if self.series else {}
        return {"settings": self.settings, "runs": self.rows, "simulated": self.simulated, **series}

    def add(
        self, subject: str, found: Found, number: int, *, is_still: bool = True, metric: str = "ns", **settings: Any
    ) -> None:
        """Add what a slice in round ``number`` found; a number alone is of ``metric``."""
        if isinstance(found, Result):
            found = {"per_second": found.per_second, "kernel_percent": found.kernel_percent} | (
                percentiles(found.histogram) if found.histogram.count else {}
            )
        numbers = found if isinstance(found, Mapping) else {metric: found}
        self.rows.append({"subject": subject, "round": number, "is_still": is_still, **settings, **numbers})

    def merged(self, other: Observations) -> Observations:
        """Both tables' rows. Rounds of the same number were not neighbours: no formula may name subjects of both."""
        return Observations([*self.rows, *other.rows], self.settings | other.settings)

    def columns(self, at: Mapping[str, Any] | None = None, of: str = "rows") -> Columns:
        """What formulas name, of the ``rows`` (or ``simulated`` ones, ``series``) under settings ``at``.

        A float stands for the nearest that the table has. Raises :class:`NotMeasuredError` where there is no such row.
        """
        table = self._table(of)
        found = {}
        for name, wanted in (at or {}).items():
            known = table[name].dropna() if name in table else pd.Series()
            if isinstance(wanted, float) and len(known):
                wanted = min(known.unique(), key=lambda value: _apart(value, wanted))
            table, found[name] = table[table[name] == wanted] if len(known) else table[:0], wanted
        if table.empty:
            raise NotMeasuredError(at)
        return Columns(table, self.settings | found)

    def _table(self, of: str) -> pd.DataFrame:
        """The rows as a data frame, which is kept until there are more."""
        rows = getattr(self, of)
        if of not in self._made or len(self._made[of]) != len(rows):
            table = pd.DataFrame(rows, columns=None if rows else ["subject"])
            still = table["is_still"].ne(False) if "is_still" in table else True
            self._made[of] = table.assign(is_still=still, **({} if "round" in table else {"round": 0}))
        return self._made[of]

    def places(self, by: Sequence[str], at: Mapping[str, Any] | None = None, of: str = "rows") -> list[dict[str, Any]]:
        """The combinations of the settings ``by`` that the rows ``at`` certain settings have, in their order, with these."""
        try:
            found = self.columns(at, of).table[list(by)].drop_duplicates().to_dict("records") if by else [{}]
        except NotMeasuredError:
            return []
        return [{**(at or {}), **{str(name): value for name, value in place.items()}} for place in found]


def _apart(value: float, wanted: float) -> float:
    """How far two numbers are apart by their ratio; nothing is near to 0."""
    return abs(math.log(value / wanted)) if value and wanted else 0.0 if value == wanted else math.inf


def half_range(values: pd.Series) -> float:
    """How far smallest and largest value are from the middle between them, as a part of the median."""
    median = float(values.median())
    return float(values.max() - values.min()) / 2 / median if median else 0.0


def listed(numbers: pd.Series, unit: str) -> str:
    """Medians of numbers that each cell has by name, in words."""
    return ", ".join(f"{name} {median:,.0f} {unit}" for name, median in pd.DataFrame(list(numbers)).median().items())


def name_of(subject: str) -> str:
    """A subject as formulas call it."""
    return _NO_NAME.sub("_", subject)


class Columns(Mapping[str, Any]):
    """A table's columns by the names of formulas; notes which subjects were asked for.

    ``it`` is the first subject, or the only one. Raises :class:`NotMeasuredError` for what is neither a subject nor a setting.
    """

    def __init__(self, table: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        self.table, self.settings = table, settings
        self._of = {name_of(subject): rows.set_index("round") for subject, rows in table.groupby("subject", sort=False)}
        self._functions: dict[str, Any] = {"best": self._best, "half_range": half_range, "listed": listed, "rows": self.table}
        self.asked: dict[str, set[str]] = {}  # metrics of subjects

    def __getitem__(self, name: str) -> Any:
        for known in (self._functions, self.settings):
            if name in known:
                return known[name]
        if name == "it":
            name = next(iter(self._of))
        if name not in self._of:
            raise NotMeasuredError(name)
        return _Subject(self._of[name], self.asked.setdefault(name, set()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def _best(self, *beginnings: str) -> pd.Series:
        """The largest rate of each round, of all subjects whose name begins so; a round has it where all of them have one."""
        names = [name for name in self._of if name.startswith(beginnings)]
        if not names:
            raise NotMeasuredError(beginnings)
        return pd.concat([self[name].per_second for name in names], axis=1).max(axis=1, skipna=False)

    def evaluate(self, formula: str) -> pd.Series:
        """A formula's value in each round that has all it names. Raises :class:`NotMeasuredError` where no round has."""
        found = eval(formula, {"__builtins__": {}}, self)  # the formulas are this package's own
        if not isinstance(found, pd.Series):
            found = pd.Series(float(found), index=self.table["round"].unique())
        return pd.to_numeric(found).replace([np.inf, -np.inf], np.nan).dropna()

    def kept(self, formula: str) -> tuple[pd.Series, int]:
        """The formula's values in the rounds in which all it names had peace, and how many others there are; all, if none had.

        Raises :class:`NotMeasuredError` where there is none at all.
        """
        self.asked.clear()
        values = self.evaluate(formula)
        if values.empty:
            raise NotMeasuredError(formula)
        still = self._still()[values.index]
        return values[still] if still.any() else values, int((~still).sum())

    def _still(self) -> pd.Series:
        """By round: whether the subjects that were asked for had peace, in all their rows."""
        asked = {name: self._of[name]["is_still"].groupby(level=0).all() for name in self.asked}
        rounds = self.table["round"].unique()
        return pd.DataFrame(asked, index=rounds).fillna(True).all(axis=1) if asked else pd.Series(True, index=rounds)

    def median(self, formula: str) -> float:
        """The median of the rounds that :meth:`kept` keeps. Raises :class:`NotMeasuredError` where there is none."""
        return float(self.kept(formula)[0].median())

    def medians(self, formulas: Mapping[str, str]) -> dict[str, float]:
        """Each formula's median, to three digits; those are left out of which something was not measured."""
        found = {}
        for name, formula in formulas.items():
            with contextlib.suppress(NotMeasuredError):
                found[name] = round(self.median(formula), 3)
        return found

    def told(self, text: str) -> str:
        """A text in whose braces stand formulas, as in an f-string; each is of the rounds that :meth:`kept` would keep."""
        whole = ast.parse(f'f"""{text}"""', mode="eval").body
        parts = whole.values if isinstance(whole, ast.JoinedStr) else []
        return "".join(self._told(ast.fix_missing_locations(ast.Expression(ast.JoinedStr([part])))) for part in parts)

    def _told(self, part: ast.Expression) -> str:
        self.asked.clear()
        code = compile(part, "<text>", "eval")
        of_all = str(eval(code, {"__builtins__": {}}, self))  # the texts are this package's own
        still = self._still()
        asked = [self._of[name][metric] for name, metrics in self.asked.items() for metric in metrics]
        had = [values.groupby(level=0).count() > 0 for values in asked]
        if still.all() or not pd.DataFrame([still, *had]).eq(True).all().any():
            return of_all  # also where no round in peace has all that is asked for
        return str(eval(code, {"__builtins__": {}}, self.of_rounds(still.index[still])))

    def of_rounds(self, rounds: Iterable[int]) -> Columns:
        """Of these rounds only."""
        return Columns(self.table[self.table["round"].isin(list(rounds))], self.settings)


class _Subject:
    """A subject's metrics as attributes, each a series by round; notes in ``asked`` which."""

    def __init__(self, rows: pd.DataFrame, asked: set[str]) -> None:
        self._rows, self._asked = rows, asked

    def __getattr__(self, metric: str) -> pd.Series:
        if metric not in self._rows or self._rows[metric].isna().all():
            raise NotMeasuredError(metric)
        self._asked.add(metric)
        return self._rows[metric]
