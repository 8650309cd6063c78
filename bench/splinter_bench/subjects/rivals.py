"""The rivals of a benchmark, started, filled, and with everything prepared that they are asked."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from splinter_bench.generators.live import LiveClient
from splinter_bench.generators.path import find
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.measurement import Measurement, Plan
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.subjects import memcached, memcaslap, redis, redis_lua
from splinter_bench.subjects.invokes import CHAIN_STEPS
from splinter_bench.subjects.live_plan import live_plan
from splinter_bench.subjects.rival import CONNECTIONS, Objects, version

NAMES = ("redis", "memcached")
PROGRAMS = {"redis": redis.PROGRAM, "memcached": memcached.PROGRAM}
PIPELINE = 16  # requests that a pipelining client sends at once
SPINNING = ", spinning client"
PIPELINED = f", pipelined by {PIPELINE}"
BENCHMARK_CONNECTIONS = (1, CONNECTIONS)
_CHAINS = 10_000  # rings of CHAIN_STEPS objects
_LIVE_RATES = (120_000, 160_000, 200_000)  # around what memcached answers


@dataclass(frozen=True)
class Place:
    """Where rivals run and are asked from, and for how long at a time."""

    address: str
    server_netns: str | None
    client_netns: str | None
    server_core: int
    client_core: int
    seconds: float
    warmup_seconds: float
    is_live: bool  # whether load can be made from within the kernel too


@dataclass(frozen=True)
class Prepared:
    """``plan``: what to measure in slices. ``others``: other programs, by what they measure and over how many connections,
    to be called with seconds once a run.

    ``configuration`` is the version and the command line of the server.
    """

    configuration: dict[str, str]
    plan: Plan = field(default_factory=list)
    others: list[tuple[str, int, Callable[[float], dict[str, Any]]]] = field(default_factory=list)


def installed() -> tuple[str, ...]:
    """Those of NAMES that can run here."""
    return tuple(name for name in NAMES if shutil.which(PROGRAMS[name]) is not None)


@contextlib.contextmanager
def running(name: str, place: Place, objects: Objects) -> Iterator[Prepared]:
    """A rival of NAMES; raises :class:`SplinterError` when it is not installed or does not start."""
    with {"redis": _redis, "memcached": _memcached}[name](place, objects) as prepared:
        yield prepared


@contextlib.contextmanager
def _redis(place: Place, objects: Objects) -> Iterator[Prepared]:
    netns = place.client_netns
    with redis.RedisServer(place.address, core=place.server_core, netns=place.server_netns) as server:
        redis.preload(server, objects, netns)
        digest = redis_lua.load_script(server, netns, redis_lua.GET)
        bodies = {"object": redis_lua.GET, "chain": redis_lua.CHAIN}
        redis_lua.load_functions(server, netns, bodies)
        keys, values = [objects.key(n) for n in objects.chosen()], [redis.bulk(objects.value)] * len(objects.chosen())
        commands: dict[str, Callable[[bytes], list[bytes]]] = {
            "redis get": lambda key: [b"GET", key],
            "redis evalsha": lambda key: [b"EVALSHA", digest, b"1", key],
            "redis fcall": lambda key: [b"FCALL", b"object", b"1", key],
        }
        scripts = [Script(name, [redis.command(*words(key)) for key in keys], values) for name, words in commands.items()]
        scripts.insert(1, redis.set_script(objects))
        chain = _chain(server, netns)
        prepared = Prepared({"version": version(server.program), "command": server.command})
        with contextlib.ExitStack() as stack:
            blocking, spinning, many = (
                stack.enter_context(TextClient(partial(server.connect, netns), count, is_spinning=is_spinning))
                for count, is_spinning in ((1, False), (1, True), (CONNECTIONS, False))
            )
            add = partial(_add, prepared.plan, place)
            add(blocking, [*scripts, chain])
            add(spinning, [replace(scripts[0], name=scripts[0].name + SPINNING)])
            add(many, [*scripts, chain])
            add(many, [replace(script, name=script.name + PIPELINED, pipeline=PIPELINE) for script in scripts])
            for connections in BENCHMARK_CONNECTIONS:
                for name, words in commands.items():
                    ask = partial(_redis_benchmark, server, name, words(redis.random_key(objects)), objects, place, connections)
                    prepared.others.append((name, connections, ask))
            yield prepared


def _redis_benchmark(
    server: redis.RedisServer, name: str, words: list[bytes], objects: Objects, place: Place, connections: int, seconds: float
) -> dict[str, Any]:
    return redis.benchmark(
        server, name, words, objects, netns=place.client_netns, core=place.client_core, seconds=seconds,
        connections=connections,
    )  # fmt: skip


def _chain(server: redis.RedisServer, netns: str | None) -> Script:
    """A function follows CHAIN_STEPS pointers around a ring, and so ends where it began."""
    keys = [b"ring:%d" % number for number in range(_CHAINS * CHAIN_STEPS)]
    last = CHAIN_STEPS - 1
    following = [keys[n - last if n % CHAIN_STEPS == last else n + 1] for n in range(len(keys))]
    redis.store(server, list(zip(keys, following, strict=True)), netns)
    chosen = [keys[number] for number in Objects(len(keys)).chosen()]
    requests = [redis_lua.fcall("chain", [key], b"%d" % CHAIN_STEPS) for key in chosen]
    return Script("redis fcall chain", requests, [redis.bulk(key) for key in chosen])


@contextlib.contextmanager
def _memcached(place: Place, objects: Objects) -> Iterator[Prepared]:
    netns = place.client_netns
    with memcached.MemcachedServer(place.address, core=place.server_core, netns=place.server_netns) as server:
        memcached.preload(server, objects, netns)
        prepared = Prepared({"version": version(server.program), "command": server.command})
        with contextlib.ExitStack() as stack:
            for transport, connect, is_datagram in (("", server.connect, False), (" UDP", server.connect_udp, True)):
                prefix = f"memcached{transport}"
                scripts = [
                    memcached.get_script(objects, f"{prefix} get"),
                    memcached.set_script(objects, f"{prefix} set"),
                ]
                for count, is_spinning in ((1, False), (1, True), (CONNECTIONS, False)):
                    client = stack.enter_context(
                        TextClient(partial(connect, netns), count, is_datagram=is_datagram, is_spinning=is_spinning)
                    )
                    if count == 1 and is_spinning:
                        _add(prepared.plan, place, client, [replace(scripts[0], name=scripts[0].name + SPINNING)])
                    else:
                        _add(prepared.plan, place, client, scripts)
            if place.is_live:
                there = find(place.address, netns)
                load = memcached.live_get(objects, "memcached UDP get")
                live = stack.enter_context(LiveClient(there, load, memcached.PORT, netns=netns))
                prepared.plan.extend(live_plan(live, load.name, _LIVE_RATES, place.client_core, place.seconds))
            if shutil.which(memcaslap.PROGRAM) is not None:
                prepared.others.append(("memcached get", CONNECTIONS, partial(_memcaslap, server, objects, place)))
            yield prepared


def _memcaslap(server: memcached.MemcachedServer, objects: Objects, place: Place, seconds: float) -> dict[str, Any]:
    return memcaslap.benchmark(
        server, "memcached get", objects, netns=place.client_netns, core=place.client_core, seconds=seconds,
        connections=CONNECTIONS,
    )  # fmt: skip


def _add(plan: Plan, place: Place, client: TextClient, scripts: Sequence[Script]) -> None:
    for script in scripts:
        measurement = Measurement(script.name, client.connections * script.pipeline)
        plan.append((measurement, partial(_slice, place, client, script)))


def _slice(place: Place, client: TextClient, script: Script) -> Result:
    with pinned(place.client_core):
        return client.run(script, seconds=place.seconds, warmup_seconds=place.warmup_seconds)
