"""The Redis protocol beside Redis: CPU time of the server for each request, both on one core, asked by the same generator."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from splinter.errors import SplinterError
from splinter.net.netns import inside
from splinter_bench.cpu_time import server_cpu_ns
from splinter_bench.experiments.bench import Bench, ask_rival
from splinter_bench.experiments.population import server
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.observations import Observations
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import redis, redis_lua
from splinter_bench.subjects.rival import CONNECTIONS, Objects
from splinter_bench.subjects.rivals import PIPELINE
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import Account

_ROUNDS = 60
_SECONDS = 0.1  # of a slice
_WORKER = "splinter-w0"
_OK = b"+OK\r\n"
_RING, _STEPS = 8_000, 8  # objects each of which names the next one, and how many are looked up
_FUNCTIONS = """#!python name=bench
from splinter.ext import Error, Store, View, extension, u64

@extension
def object(db: Store, key: bytes) -> View:
    value = db.get(0, key)
    if value is None:
        raise Error(1)
    return value

@extension
def chain(db: Store, key: bytes, steps: u64) -> View:
    for _ in range(steps):
        value = db.get(0, key)
        if value is None:
            raise Error(1)
        key = value
    return key
"""


def measure(bench: Bench) -> Observations:
    """``get`` and ``set``; ``call`` and ``chain``: FCALL of a function that gets one object, or looks up eight, each named by
    the one before. 50 connections have one request under way each; ``…_pipelined``: 16. ``redis_…``: of Redis, whose functions
    are in Lua. Each is ns of the server's CPU time for one request, and requests a second.

    A round is a slice of each. The worker sleeps as soon as it has nothing to do, as Redis does.
    """
    objects, core = Objects(), max(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(server([core], {"redis_port": 0, "idle_spin_ns": 1}))
        rival = stack.enter_context(redis.RedisServer(session.info.address, core=core, netns=session.info.netns))
        account = session.tenant()
        ours = stack.enter_context(TextClient(partial(connect, session, account), CONNECTIONS))
        theirs = stack.enter_context(TextClient(partial(rival.connect, session.netns), CONNECTIONS))
        redis.preload(rival, objects, session.netns)
        items = [(objects.key(number), objects.value) for number in range(objects.count)]
        ring = [b"ring:%d" % number for number in range(_RING)]
        following = [(key, ring[(number + 1) % _RING]) for number, key in enumerate(ring)]
        redis.store(rival, following, session.netns)
        redis_lua.load_functions(rival, session.netns, {"object": redis_lua.GET, "chain": redis_lua.CHAIN})
        session.client(account).install_all(_FUNCTIONS)
        fill = [redis.command(b"SET", *item) for item in (*items, *following)]
        if ours.run_once(Script("load", fill, [_OK] * len(fill))).recorded != len(fill):
            raise SplinterError("the server did not take all objects by the Redis protocol")
        scripts = {"set": redis.set_script(objects), "get": redis.reads(objects, "get", b"GET")}
        calls = {"call": redis.reads(objects, "call", b"FCALL", b"object", b"1"), "chain": _chain(ring)}
        asked: dict[str, Callable[[], dict[str, float]]] = {}
        for name, script in (scripts | calls).items():
            for ending, depth in (("", 1), ("_pipelined", PIPELINE)):
                wanted = replace(script, pipeline=depth)
                asked[name + ending] = partial(_ask, session, ours, wanted, partial(_worker_ns, session))
                asked[f"redis_{name}{ending}"] = partial(_ask, session, theirs, wanted, partial(_process_ns, rival.pid))
        found, about = in_turns(asked, bench.count(_ROUNDS)), rival.configuration
        found.settings["rivals"] = {"redis": f"{about['version']}: {about['command']}"}
        return found


def _chain(ring: list[bytes]) -> Script:
    chosen = Objects(_RING).chosen()
    requests = [redis_lua.fcall("chain", [ring[number]], b"%d" % _STEPS) for number in chosen]
    return Script("chain", requests, [redis.bulk(ring[(number + _STEPS) % _RING]) for number in chosen])


def connect(session: Session, account: Account) -> socket.socket:
    """A connection of a tenant to the Redis protocol."""
    assert session.info.redis_port is not None
    with inside(session.netns):
        connection = socket.create_connection((session.info.address, session.info.redis_port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(redis.command(b"AUTH", b"%d" % account.tenant, b"%016x" % account.token))
    if (told := connection.recv(len(_OK))) != _OK:
        raise SplinterError(f"the server let nobody in: {told!r}")
    return connection


def _ask(session: Session, client: TextClient, script: Script, spent: Callable[[], int]) -> dict[str, float]:
    """A slice: ns of CPU time for each request, and requests a second."""
    before = spent()
    result = ask_rival(session, client, script, _SECONDS)
    return {"ns": (spent() - before) / result.requests, "per_second": result.per_second}


def _worker_ns(session: Session) -> int:
    return server_cpu_ns(session.info)[_WORKER]


def _process_ns(pid: int) -> int:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
