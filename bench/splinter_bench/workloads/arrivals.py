"""When the requests of an open loop are due."""

from __future__ import annotations

import numpy as np

from splinter.native.clock import SECOND_NS
from splinter_bench.seed import SEED

RATE_MAX = 100_000_000  # arrivals a second
_ARRIVALS = 1 << 18  # until the gaps come again in the same order


def poisson(per_second: float, count: int = _ARRIVALS, seed: int = SEED) -> np.ndarray:
    """Gaps between the arrivals of a Poisson process, ``int64[count]`` in ns: independent, exponentially distributed.

    They are rounded so that their sums are right to the nanosecond, whatever the rate. Raises ``ValueError`` for a rate that
    is not positive or above ``RATE_MAX``.
    """
    if not 0 < per_second <= RATE_MAX:
        raise ValueError(f"a rate is more than 0 and at most {RATE_MAX:,} a second, not {per_second}")
    gaps = np.random.default_rng(seed).exponential(SECOND_NS / per_second, count)
    return np.diff(np.floor(np.cumsum(gaps)), prepend=0).astype(np.int64)
