"""What one run of a load generator found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from splinter.bench.histogram import Histogram


@dataclass
class Result:
    """One run. ``per_second`` counts OK replies with a right value in the recorded time, which excludes the warm-up."""

    name: str
    depth: int
    seconds: float  # recorded time
    requests: int  # sent in all, warm-up included
    recorded: int
    lost: int  # no reply within the time-out
    corrupt: int  # OK, but another value than was stored
    checked: int  # replies whose whole value was compared
    stale: int  # packets that answered nothing: too late, twice, or not a reply
    errors: dict[str, int] = field(default_factory=dict)  # replies with another status than OK, by its name
    histogram: Histogram = field(default_factory=Histogram)

    @property
    def per_second(self) -> float:
        """Round trips in each second."""
        return self.recorded / self.seconds if self.seconds > 0 else 0.0

    @property
    def failed(self) -> int:
        """Requests that did not end as they should."""
        return self.lost + self.corrupt + sum(self.errors.values())

    @property
    def latency_ns(self) -> dict[str, int]:
        """Percentiles of the recorded latencies by name, in ns."""
        return self.histogram.percentiles()

    @classmethod
    def merged(cls, parts: Sequence[Result]) -> Result:
        """Runs of the same thing, one after the other, as one. Raises ``ValueError`` when there are none."""
        if not parts:
            raise ValueError("nothing to merge")
        whole = cls(parts[0].name, parts[0].depth, 0.0, 0, 0, 0, 0, 0, 0)
        for part in parts:
            for counter in ("seconds", "requests", "recorded", "lost", "corrupt", "checked", "stale"):
                setattr(whole, counter, getattr(whole, counter) + getattr(part, counter))
            for status, count in part.errors.items():
                whole.errors[status] = whole.errors.get(status, 0) + count
            whole.histogram.merge(part.histogram)
        return whole

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the histogram's cells."""
        return {
            "name": self.name,
            "depth": self.depth,
            "seconds": round(self.seconds, 6),
            "requests": self.requests,
            "recorded": self.recorded,
            "per_second": round(self.per_second, 1),
            "latency_ns": self.latency_ns,
            "lost": self.lost,
            "corrupt": self.corrupt,
            "checked": self.checked,
            "stale": self.stale,
            "errors": self.errors,
        }
