"""How long an object is to live, as an extension says it: seconds, a float or an integer, as a client does."""

from __future__ import annotations

from splinter.errors import Status
from splinter.limits import TTL_NS_MAX

BAD_TTL = Status.BAD_TTL.text
NS_PER_SECOND = 1e9


def ttl_ns(seconds: float) -> int:
    """The nearest number of ns, at least 1; 0 for what no object may be given to live. The worker does the same
    (:mod:`splinter.worker.lifetimes`)."""
    ns = float(seconds) * NS_PER_SECOND
    return max(1, round(ns)) if 0 < ns <= TTL_NS_MAX else 0
