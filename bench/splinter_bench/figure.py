"""One number that a benchmark found: the median of its rounds, its interval, and what it was made of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from splinter_bench.rounds import Verdict, interval, judge

_MICROSECOND_NS, _MILLISECOND_NS = 1e3, 1e6
OTHERWISE = {  # parts that are the figure as other clients would have it
    "ratio_packaged": "the distribution's load generator",
    "ratio_closed_loop": "ours by the closed loop alone",
    "ratio_spinning_client": "a spinning client",
}


@dataclass(frozen=True)
class Figure:
    """``values`` are those of the rounds, in ``unit``; ``parts`` are medians of what they were computed from, by name.

    ``left_out``: rounds in which the machine did something else; where they are as many as the others, or these are all that
    there are, there is no interval. ``is_counted``: no sample, but a number that is the same each time, its own interval.
    """

    name: str
    text: str  # what it is, in a few words
    unit: str
    values: tuple[float, ...]
    parts: dict[str, float] = field(default_factory=dict)
    against: str = ""  # version and command line of the rival that it compares with
    left_out: int = 0
    is_counted: bool = False

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval that holds the true median (:func:`splinter_bench.rounds.interval`)."""
        if self.is_counted:
            return min(self.values), max(self.values)
        return interval(self.values if self.left_out < len(self.values) else ())

    def verdict(self, bound: float, *, is_most: bool) -> Verdict:
        """Whether it keeps a bound, as far as this machine can tell."""
        return judge(self.interval, bound, is_most=is_most)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "text": self.text,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "interval": [end if math.isfinite(end) else None for end in self.interval],
            "rounds": "counted" if self.is_counted else len(self.values),
            "left_out": self.left_out,
            "parts": self.parts,
            **({"against": self.against} if self.against else {}),
        }


def otherwise(parts: Mapping[str, float], unit: str) -> str:
    """What a figure is beside other clients, in words; empty where its parts do not tell."""
    return "; ".join(f"{text}: {shown(parts[name], unit)}" for name, text in OTHERWISE.items() if name in parts)


def shown_interval(ends: Iterable[float | None], unit: str) -> str:
    """An interval's ends, as :func:`shown`; in words where there were too few rounds in peace for one."""
    found = [end for end in ends if end is not None and math.isfinite(end)]
    return " … ".join(shown(end, unit) for end in found) if found else "too few rounds in peace"


def shown(value: float, unit: str) -> str:
    """A value with its unit, to three digits or so; nanoseconds in the unit that fits."""
    if unit == "ns" and abs(value) >= 10 * _MICROSECOND_NS:
        value, unit = (value / _MICROSECOND_NS, "µs") if abs(value) < _MILLISECOND_NS else (value / _MILLISECOND_NS, "ms")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"
