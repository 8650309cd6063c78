"""Whole numbers drawn at random: keys, tenants, arguments.

Written as text (on command lines): ``const:8``, ``uniform:100000`` (0 … 99,999), ``uniform:10:20`` (10 … 19),
``zipf:100000`` and ``zipf:100000:0.8``, ``sequence:1000`` (0, 1, 2, … and again).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from splinter.errors import SplinterError

THETA_DEFAULT = 0.99  # YCSB's
ITEMS_MAX = 1 << 26
_SCRAMBLE_SEED = 20180920


@dataclass(frozen=True)
class Distribution:
    """Numbers from ``low`` to ``high``, both included. ``kind``: const, uniform, zipf, sequence.

    Zipf: the *k*-th most popular of *n* numbers has a share proportional to ``1 / k ** theta``, drawn exactly (not by
    the approximation of YCSB's generator). Which number is the *k*-th is a random permutation, the same in every run, so
    that popular ones do not lie side by side ("scrambled"); ``is_scrambled`` False: the lowest is the most popular.
    """

    kind: str
    low: int
    high: int
    theta: float = THETA_DEFAULT
    is_scrambled: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("const", "uniform", "zipf", "sequence"):
            raise SplinterError(f"there is no distribution {self.kind!r}: const, uniform, zipf, sequence")
        if self.high < self.low:
            raise SplinterError(f"a distribution needs at least one number, not {self.low} … {self.high}")
        if self.kind == "zipf" and self.high - self.low >= ITEMS_MAX:
            raise SplinterError(f"a Zipf distribution has at most {ITEMS_MAX:,} numbers")
        if self.theta < 0:
            raise SplinterError(f"a Zipf distribution's theta is not negative, as {self.theta} is")

    def sample(self, random: np.random.Generator, count: int) -> np.ndarray:
        """``int64[count]``."""
        if self.kind == "const":
            return np.full(count, self.low, np.int64)
        items = self.high - self.low + 1
        if self.kind == "sequence":
            return self.low + np.arange(count, dtype=np.int64) % items
        if self.kind == "uniform":
            return random.integers(self.low, self.high, count, dtype=np.int64, endpoint=True)
        ranks = zipf_ranks(random, items, self.theta, count)
        return self.low + (_permutation(items)[ranks] if self.is_scrambled else ranks)


def zipf_ranks(random: np.random.Generator, items: int, theta: float, count: int) -> np.ndarray:
    """``int64[count]`` of 0 … ``items`` - 1, where 0 is the most popular."""
    shares = _shares(items, theta)
    return np.minimum(np.searchsorted(shares, random.random(count), side="right"), items - 1).astype(np.int64)


@lru_cache(maxsize=4)
def _shares(items: int, theta: float) -> np.ndarray:
    """Cumulative shares of the ranks; the last is 1."""
    sums = np.cumsum(1.0 / np.arange(1, items + 1) ** theta)
    return np.asarray(sums / sums[-1])


@lru_cache(maxsize=4)
def _permutation(items: int) -> np.ndarray:
    return np.random.default_rng(_SCRAMBLE_SEED).permutation(items).astype(np.int64)


def parse(text: str) -> Distribution:
    """The distribution that a text describes; raises :class:`SplinterError` for any other text."""
    kind, *parts = text.split(":")
    try:
        if kind == "const" and len(parts) == 1:
            return Distribution(kind, int(parts[0], 0), int(parts[0], 0))
        if kind == "uniform" and len(parts) == 2:
            return Distribution(kind, int(parts[0], 0), int(parts[1], 0) - 1)
        if kind in ("uniform", "sequence") and len(parts) == 1:
            return Distribution(kind, 0, int(parts[0], 0) - 1)
        if kind == "zipf" and len(parts) in (1, 2):
            theta = float(parts[1]) if len(parts) == 2 else THETA_DEFAULT
            return Distribution(kind, 0, int(parts[0], 0) - 1, theta)
    except ValueError:
        pass
    raise SplinterError(
        f"{text!r} is no distribution: write const:VALUE, uniform:COUNT, uniform:LOW:HIGH, zipf:COUNT, zipf:COUNT:THETA or "
        "sequence:COUNT"
    )
