"""The rivals of a benchmark, started, filled, and with everything prepared that they are asked."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

from splinter_bench.generators.live import LiveClient
from splinter_bench.generators.path import find
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.measurement import Measurement, Plan
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.subjects import memcached, memcaslap, redis, redis_lua
from splinter_bench.subjects.invokes import CHAIN_STEPS, follower
from splinter_bench.subjects.live_plan import live_plan
from splinter_bench.subjects.rival import CONNECTIONS, Objects

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

    def ask(self, place: Place, client: TextClient, *scripts: Script) -> None:
        """Add measurements of scripts."""
        for script in scripts:
            measurement = Measurement(script.name, client.connections * script.pipeline)
            self.plan.append((measurement, partial(_slice, place, client, script)))


def installed() -> tuple[str, ...]:
    """Those of NAMES that can run here."""
    return tuple(name for name in NAMES if shutil.which(PROGRAMS[name]) is not None)


@contextlib.contextmanager
def running(name: str, place: Place, objects: Objects) -> Iterator[Prepared]:
    """A rival of NAMES; raises :class:`SplinterError` when it is not installed or does not start."""
    with contextlib.ExitStack() as stack:
        yield {"redis": _redis, "memcached": _memcached}[name](stack, place, objects)


def _redis(stack: contextlib.ExitStack, place: Place, objects: Objects) -> Prepared:
    netns = place.client_netns
    server = stack.enter_context(redis.RedisServer(place.address, core=place.server_core, netns=place.server_netns))
    redis.preload(server, objects, netns)
    digest = redis_lua.load_script(server, netns, redis_lua.GET)
    redis_lua.load_functions(server, netns, {"object": redis_lua.GET, "chain": redis_lua.CHAIN})
    words = {"redis get": [b"GET"], "redis evalsha": [b"EVALSHA", digest, b"1"], "redis fcall": [b"FCALL", b"object", b"1"]}
    get, *calls = (redis.reads(objects, name, *said) for name, said in words.items())
    scripts = [get, redis.set_script(objects), *calls]
    chain = _chain(server, netns)
    prepared = Prepared(server.configuration)
    blocking, spinning, many = _clients(stack, partial(server.connect, netns))
    prepared.ask(place, blocking, *scripts, chain)
    prepared.ask(place, spinning, replace(get, name=get.name + SPINNING))
    prepared.ask(place, many, *scripts, chain)
    prepared.ask(place, many, *(replace(script, name=script.name + PIPELINED, pipeline=PIPELINE) for script in scripts))
    for connections, (name, said) in product(BENCHMARK_CONNECTIONS, words.items()):
        ask = partial(redis.benchmark, server, name, said, objects, netns, place.client_core, connections)
        prepared.others.append((name, connections, ask))
    return prepared


def _chain(server: redis.RedisServer, netns: str | None) -> Script:
    """A function follows CHAIN_STEPS pointers around a ring, and so ends where it began."""
    keys = [b"ring:%d" % number for number in range(_CHAINS * CHAIN_STEPS)]
    redis.store(server, [(key, keys[follower(number)]) for number, key in enumerate(keys)], netns)
    chosen = [keys[number] for number in Objects(len(keys)).chosen()]
    requests = [redis_lua.fcall("chain", [key], b"%d" % CHAIN_STEPS) for key in chosen]
    return Script("redis fcall chain", requests, [redis.bulk(key) for key in chosen])


def _memcached(stack: contextlib.ExitStack, place: Place, objects: Objects) -> Prepared:
    netns, core = place.client_netns, place.client_core
    server = stack.enter_context(memcached.MemcachedServer(place.address, core=place.server_core, netns=place.server_netns))
    memcached.preload(server, objects, netns)
    prepared = Prepared(server.configuration)
    for name, connect in (("memcached", server.connect), ("memcached UDP", server.connect_udp)):
        get, put = memcached.get_script(objects, f"{name} get"), memcached.set_script(objects, f"{name} set")
        blocking, spinning, many = _clients(stack, partial(connect, netns), is_datagram=connect == server.connect_udp)
        prepared.ask(place, blocking, get, put)
        prepared.ask(place, spinning, replace(get, name=get.name + SPINNING))
        prepared.ask(place, many, get, put)
    if place.is_live:
        load = memcached.live_get(objects, "memcached UDP get")
        live = stack.enter_context(LiveClient(find(place.address, netns), load, memcached.PORT, netns=netns))
        prepared.plan.extend(live_plan(live, load.name, _LIVE_RATES, core, place.seconds))
    if shutil.which(memcaslap.PROGRAM) is not None:
        ask = partial(memcaslap.benchmark, server, "memcached get", objects, netns, core, CONNECTIONS)
        prepared.others.append(("memcached get", CONNECTIONS, ask))
    return prepared


def _clients(
    stack: contextlib.ExitStack, connect: Callable[[], socket.socket], *, is_datagram: bool = False
) -> tuple[TextClient, TextClient, TextClient]:
    """One connection that blocks, one that spins, and many; closed with the stack."""
    blocking, spinning, many = (
        stack.enter_context(TextClient(connect, count, is_datagram=is_datagram, is_spinning=is_spinning))
        for count, is_spinning in ((1, False), (1, True), (CONNECTIONS, False))
    )
    return blocking, spinning, many


def _slice(place: Place, client: TextClient, script: Script) -> Result:
    with pinned(place.client_core):
        return client.run(script, seconds=place.seconds, warmup_seconds=place.warmup_seconds)
