"""Who asks for what: tenants by Zipf's law, kinds of request by their shares, home cores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Random = np.random.Generator


def zipf_shares(tenants: int, skew: float) -> np.ndarray:
    """Each tenant's share of the requests, the most active first: proportional to ``rank ** -skew``. They add up to 1."""
    weights: np.ndarray = np.arange(1, tenants + 1, dtype=np.float64) ** -skew
    weights /= weights.sum()
    return weights


def choose(random: Random, requests: int, shares: Sequence[float] | np.ndarray) -> np.ndarray:
    """Numbers 0 … ``len(shares) - 1``, int32, each as often as its share says."""
    limits = np.cumsum(np.asarray(shares, np.float64))
    return np.searchsorted(limits / limits[-1], random.random(requests), side="right").astype(np.int32)


def homes(random: Random, tenants: int, cores: int) -> np.ndarray:
    """A home core for each rank: as many tenants on each core, however active they are. int32."""
    return (random.permutation(tenants) % cores).astype(np.int32)
