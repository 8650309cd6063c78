"""Which objects a full cache keeps: the policy that Splinter is to have, simulated, beside Redis's, measured and simulated.

The requests are those of :mod:`splinter_bench.workloads.clusters`. Redis has them over one connection
(:mod:`splinter_bench.subjects.cache`), with ``allkeys-lru`` and ``allkeys-lfu`` and all its other settings as it is delivered.
**The same memory** means the same bytes of keys and values: what a server needs beside them is another question, and so is the
size that its count of memory gives to them. A round has requests of its own, from another seed.

Redis's clocks go by time, and it is asked as fast as one connection asks. So the simulation of Redis is given that speed, and
tells, where both can be compared, how far to trust it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.policies import HYPERBOLIC, POLICIES, simulate
from splinter_bench.observations import Observations
from splinter_bench.seed import SEED
from splinter_bench.subjects.cache import RedisCache, play
from splinter_bench.subjects.redis import RedisServer
from splinter_bench.workloads.clusters import Requests, clusters, requests_of

_ADDRESS, _PORT = "127.0.0.1", 6399
_OF_REDIS = tuple(f"allkeys-{policy}" for policy in POLICIES if policy != HYPERBOLIC)


@dataclass(frozen=True)
class Settings:
    """``clusters``: with Redis; ``simulated``: those that only the simulation has. ``share``: of the keys that are asked for at
    a time, by their mean size, the cache has room for so many; ``shares``: the same where everything is simulated. A cache has
    ``room`` bytes at least, beside which the buffers of Redis's clients are small: the number of requests follows."""

    clusters: tuple[int, ...] = (14, 19, 45, 48, 52, 53)
    simulated: tuple[int, ...] = (24, 27, 40, 44)
    live_keys: int = 2500  # at least
    room: int = 80_000
    share: float = 0.1
    shares: tuple[float, ...] = (0.03, 0.1, 0.3)
    rounds: int = 6


QUICK = Settings(clusters=(45,), simulated=(27,), rounds=1)


def measure(bench: Bench) -> Observations:
    """A row for each policy, cluster and round; hit ratios are those of the second half of the requests."""
    settings = bench.choose(QUICK, Settings(), Settings())
    found = Observations(settings=asdict(settings))
    about: dict[str, str] = {}
    for number in range(bench.rounds or settings.rounds):
        for cluster in (*settings.clusters, *settings.simulated):
            bench.say(f"round {number + 1} of {settings.rounds}: cluster {cluster}")
            requests = requests_of(cluster, _count(cluster, settings), SEED + number)
            capacity, speed = requests.capacity(settings.share), requests.per_second
            for name in _OF_REDIS if cluster in settings.clusters else ():
                with _redis() as server, server.connect(None) as connection:
                    about = server.configuration
                    played = play(requests, RedisCache(connection, name, capacity), capacity)
                speed = len(requests.keys) / played.seconds
                row = {"hit_ratio": played.hit_ratio, "held": played.held_bytes / capacity, "per_second": speed}
                found.add(name, row, number, cluster=cluster, share=settings.share)
            for share, policy, ratio in _simulated(requests, settings, speed):
                found.add(policy, ratio, number, metric="hit_ratio", cluster=cluster, share=share)
    found.settings["rivals"] = {"redis": f"{about['version']}: {about['command']}"}
    return found


def _redis() -> RedisServer:
    return RedisServer(_ADDRESS, core=max(os.sched_getaffinity(0)), port=_PORT)


def _simulated(requests: Requests, settings: Settings, per_second: float) -> Iterator[tuple[float, str, float]]:
    """Share, policy and hit ratio."""
    first = len(requests.keys) // 2
    for share in settings.shares:
        for policy in POLICIES:
            made = simulate(requests, requests.capacity(share), policy, first=first, per_second=per_second)
            yield share, policy, made.hit_ratio


def _count(cluster: int, settings: Settings) -> int:
    """Of requests, with which as many keys of a cluster are asked for at a time as the cache's room wants."""
    row = clusters()[cluster]
    lives = float(row["working_set_mb"]) / float(row["working_set_mb_without_ttl"])
    often = float(row["compulsory_percent"]) / 100 * (1 - float(row["one_hit_percent"]) / 100)
    size = int(row["key_bytes"]) + int(row["value_bytes"])
    live = settings.live_keys
    if cluster in settings.clusters:
        live = max(live, round(settings.room / settings.share / size))
    return round(live / (often * lives))
