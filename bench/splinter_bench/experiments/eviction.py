"""Which objects a full cache keeps: Splinter beside Redis, both served; and the policies simulated.

The requests are those of :mod:`splinter_bench.workloads.clusters`. Either server has them over one connection
(:mod:`splinter_bench.subjects.cache`): a tenant with the eviction policy, and Redis with ``allkeys-lru`` and ``allkeys-lfu``
and all its other settings as it is delivered. **The same memory** means the same bytes of keys and values: what a server needs
beside them is another question, and so is the size that its count of memory gives to them. A round has requests of its own,
from another seed.

The simulation (:mod:`splinter_bench.experiments.policies`) tells what the policies do with other clusters and other rooms, and
whether a server does what its policy says. Redis's clocks go by time, and it is asked as fast as one connection asks. So the
simulation of Redis is given that speed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

from splinter.testing.process import free_port
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.policies import HYPERBOLIC, POLICIES, simulate
from splinter_bench.observations import Observations
from splinter_bench.rounds import turn
from splinter_bench.seed import SEED
from splinter_bench.subjects.cache import Cache, Played, RedisCache, SplinterCache, play
from splinter_bench.subjects.local_server import MEMORY_DEFAULT, running_server
from splinter_bench.subjects.redis import RedisServer
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.clusters import Requests, clusters, requests_of
from splinter_bench.workloads.workload import Account

SPLINTER = "splinter"
OF_REDIS = tuple(f"allkeys-{policy}" for policy in POLICIES if policy != HYPERBOLIC)
_ADDRESS = "127.0.0.1"
_PERCENT = 100


@dataclass(frozen=True)
class Settings:
    """``clusters``: of which both servers are asked; ``simulated``: those that only the simulation has. ``share``: of the keys
    that are asked for at a time, by their mean size, the cache has room for so many; ``shares``: the same where everything is
    simulated. A cache has ``room`` bytes at least, beside which the buffers of Redis's clients are small: the number of
    requests follows."""

    clusters: tuple[int, ...] = (14, 19, 45, 48, 52, 53)
    simulated: tuple[int, ...] = (24, 27, 40, 44)
    live_keys: int = 2500  # at least
    room: int = 80_000
    share: float = 0.1
    shares: tuple[float, ...] = (0.03, 0.1, 0.3)
    rounds: int = 6


QUICK = Settings(clusters=(45,), simulated=(27,), rounds=1)
FOR_BOUNDS = replace(Settings(), simulated=(), shares=(), live_keys=1000)  # less of the clusters with large values


def measure(bench: Bench) -> Observations:
    """A row for each server's policy, cluster and round, and for each one simulated; hit ratios are those of the second half of
    the requests. Splinter's have ``points``: percentage points of it over the better one of Redis's two."""
    settings = bench.choose(QUICK, FOR_BOUNDS, Settings())
    settings = replace(settings, rounds=bench.rounds or settings.rounds)
    found = Observations(settings=asdict(settings))
    about: dict[str, str] = {}
    with _session() as session:
        for number in range(settings.rounds):
            for cluster in (*settings.clusters, *settings.simulated):
                bench.say(f"round {number + 1} of {settings.rounds}: cluster {cluster}")
                requests = requests_of(cluster, _count(cluster, settings), SEED + number)
                speed = requests.per_second
                if cluster in settings.clusters:
                    played = _played(session, requests, requests.capacity(settings.share), number, about)
                    speed = min(played[name]["per_second"] for name in OF_REDIS)
                    for name, row in played.items():
                        found.add(name, row, number, cluster=cluster, share=settings.share)
                for share, policy, ratio in _simulated(requests, settings, speed):
                    found.add(policy, ratio, number, metric="hit_ratio", cluster=cluster, share=share)
    found.settings["rivals"] = {"redis": f"{about['version']}: {about['command']}"}
    return found


def _played(
    session: Session, requests: Requests, capacity: int, number: int, about: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Numbers by server and policy, which take turns; ``about`` gets what is told of Redis."""

    def ask(opened: contextlib.AbstractContextManager[Cache]) -> dict[str, float]:
        with opened as cache:
            return _numbers(play(requests, cache, capacity), capacity, len(requests.keys))

    caches: dict[str, Callable[[], contextlib.AbstractContextManager[Cache]]] = {
        SPLINTER: partial(_tenant, session, capacity),
        **{name: partial(_redis, name, capacity, about) for name in OF_REDIS},
    }
    played = {name: ask(caches[name]()) for name in turn(list(caches), number)}
    best = max(played[name]["hit_ratio"] for name in OF_REDIS)
    played[SPLINTER]["points"] = _PERCENT * (played[SPLINTER]["hit_ratio"] - best)
    return played


def _numbers(played: Played, capacity: int, requests: int) -> dict[str, float]:
    return {
        "hit_ratio": played.hit_ratio, "held": played.held_bytes / capacity, "per_second": requests / played.seconds,
    }  # fmt: skip


@contextlib.contextmanager
def _session() -> Generator[Session]:
    """With a server over loopback, whose worker has the core that Redis has in its turns."""
    where = ("--transport", "udp", "--address", _ADDRESS, "--port", str(free_port()), "--cores", str(_core()))
    with running_server(f"bench-{os.getpid()}", *where, "--memory", MEMORY_DEFAULT) as info, Session(info) as session:
        yield session


@contextlib.contextmanager
def _tenant(session: Session, capacity: int) -> Generator[Cache]:
    made = session.admin.create_tenant(eviction=HYPERBOLIC)
    try:
        with session.connect(Account(made.tenant, made.token)) as client:
            yield SplinterCache(client, session.admin, made.tenant, capacity)
    finally:
        session.admin.remove_tenant(made.tenant)


@contextlib.contextmanager
def _redis(policy: str, capacity: int, about: dict[str, str]) -> Generator[Cache]:
    with RedisServer(_ADDRESS, core=_core(), port=free_port()) as server, server.connect(None) as connection:
        about.update(server.configuration)
        yield RedisCache(connection, policy, capacity)


def _core() -> int:
    return max(os.sched_getaffinity(0))


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
