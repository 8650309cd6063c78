"""What clients ask of a cache, made from the statistics of Twitter's cache clusters (``twitter.csv``, which names its source).

The statistics are means over a week. Nothing is known of single requests, so a workload is what has these means:

* **Keys.** So many that a request is the first for its key as often as the compulsory miss ratio says. The share of
  one-hit wonders is asked for once each, at a random moment; the others by a Zipf distribution with the cluster's exponent.
* **Change.** The working set of a cluster whose objects do not live for the whole week is smaller than all that it has seen.
  So many keys are asked for at a time; at random moments one of them, of any rank, gives its place to a new one.
* **Operations.** Most writes of a cache store what was not found. That many are left out of the cluster's writes, and so
  is ``add``: whoever plays the requests makes them. The others are of keys by the same popularity.
* **Sizes.** Keys have the mean. Values are log-normal about it, each key's always the same.
* **Lifetimes.** Each key has one of the common ones, as a part of the week: there, so many requests.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numba import njit

from splinter.errors import SplinterError
from splinter_bench.seed import SEED

READ, WRITE, DELETE = range(3)
NEVER = 1 << 62  # of a lifetime
_LIVE_KEYS_MIN = 1000  # fewer would make chance of a hit ratio
_VALUE_SIGMA = 0.5  # of the logarithms of values' sizes
_VALUE_BYTES_MAX = 60_000
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WEEK_SECONDS = 7 * _SECONDS["d"]
_READS, _WRITES = ("get", "gets"), ("set", "cas", "incr", "prepend")

Row = dict[str, str]


@dataclass(frozen=True)
class Requests:
    """Equally long arrays ``keys`` (numbers from 0) and ``operations`` (READ, WRITE, DELETE); and of each key ``value_bytes``
    and ``lifetimes`` (in requests from its last write; NEVER). A read that finds nothing is followed by a write of that key."""

    name: str
    keys: np.ndarray
    operations: np.ndarray
    key_bytes: int
    value_bytes: np.ndarray
    lifetimes: np.ndarray
    live_keys: int  # that are asked for at a time, one-hit wonders apart
    per_second: float  # that the cluster gets

    @property
    def data_bytes(self) -> np.ndarray:
        """Bytes of key and value, of each key."""
        return self.value_bytes + self.key_bytes

    def capacity(self, share: float) -> int:
        """Bytes of keys and values that a cache holds which has room for a share of the keys that are asked for at a time."""
        return int(share * self.live_keys * float(self.data_bytes.mean()))


@cache
def clusters() -> dict[int, Row]:
    """The statistics by number of cluster."""
    text = resources.files(__package__).joinpath("twitter.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {int(row["cluster"]): row for row in csv.DictReader(lines)}


def requests_of(cluster: int, count: int, seed: int = SEED) -> Requests:
    """So many requests as a cluster gets them, the same each time; raises :class:`SplinterError` for one without statistics."""
    row = clusters().get(cluster, {})
    if not row.get("zipf_alpha") or not float(row["working_set_mb_without_ttl"] or 0):
        raise SplinterError(f"there are no statistics of cluster {cluster}")
    random = np.random.default_rng([seed, cluster])
    seen = int(count * float(row["compulsory_percent"]) / 100)
    once = int(seen * float(row["one_hit_percent"]) / 100)
    often = seen - once
    lives = float(row["working_set_mb"]) / float(row["working_set_mb_without_ttl"])
    live = min(often, max(_LIVE_KEYS_MIN, int(often * lives)))
    keys = np.empty(count, np.int64)
    is_once = np.zeros(count, bool)
    is_once[random.choice(count, once, replace=False)] = True
    keys[is_once] = often + np.arange(once)
    keys[~is_once] = _asked(random, count - once, often, live, float(row["zipf_alpha"]))
    mean = float(row["value_bytes"])
    sizes = random.lognormal(math.log(mean) - _VALUE_SIGMA**2 / 2, _VALUE_SIGMA, seen)
    return Requests(
        f"cluster {cluster}",
        keys,
        random.choice(3, count, p=_shares(row)).astype(np.int8),
        int(row["key_bytes"]),
        np.clip(np.rint(sizes), 1, _VALUE_BYTES_MAX).astype(np.int64),
        _lifetimes(random, row, seen, count),
        live,
        float(row["kqps"]) * 1000,
    )


def _asked(random: np.random.Generator, count: int, keys: int, live: int, alpha: float) -> np.ndarray:
    """Keys 0 … ``keys`` - 1 by popularity, of which ``live`` at a time are asked for."""
    shares = np.cumsum(1 / np.arange(1, live + 1) ** alpha)
    ranks = np.minimum(np.searchsorted(shares / shares[-1], random.random(count), side="right"), live - 1)
    moments = np.sort(random.integers(0, count, keys - live))
    places = random.integers(0, live, keys - live)
    return np.asarray(_with_change(ranks, moments, places, random.permutation(live)))


@njit(cache=True)
def _with_change(ranks: np.ndarray, moments: np.ndarray, places: np.ndarray, holders: np.ndarray) -> np.ndarray:
    """The keys that have these ranks, where at each of the moments a new key takes the place of another."""
    found, next_one = np.empty(len(ranks), np.int64), 0
    for number in range(len(ranks)):
        while next_one < len(moments) and moments[next_one] <= number:
            holders[places[next_one]] = len(holders) + next_one
            next_one += 1
        found[number] = holders[ranks[number]]
    return found


def _shares(row: Row) -> np.ndarray:
    """Of reads, writes that do not store what was not found, and deletes."""
    told = {name: float(share) for name, share in (each.split(":") for each in row["operations"].split())}
    reads = sum(told.get(name, 0.0) for name in _READS)
    writes = max(0.0, sum(told.get(name, 0.0) for name in _WRITES) - reads * float(row["miss_ratio"]))
    shares = np.array([reads, writes, told.get("delete", 0.0)])
    return np.asarray(shares / shares.sum())


def _lifetimes(random: np.random.Generator, row: Row, keys: int, count: int) -> np.ndarray:
    told = [each.split(":") for each in row["ttls"].split()]
    lives = np.array([_seconds(text) for text, _ in told]) / _WEEK_SECONDS * count
    shares = np.array([float(share) for _, share in told])
    found = lives[random.choice(len(lives), keys, p=shares / shares.sum())]
    return np.where(found < count, np.maximum(found, 1), NEVER).astype(np.int64)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([smhd])", text)
    if found is None:
        raise SplinterError(f"{text!r} is no time")
    return float(found[1]) * _SECONDS[found[2]]
