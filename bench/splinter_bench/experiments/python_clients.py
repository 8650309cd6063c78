"""Our Python clients beside redis-py's: one request at a time, in one process, over links of one kind.

redis-py reads replies with hiredis, its parser in C. All servers are on one core, the clients on another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import redis as redis_py
import redis.asyncio as redis_asyncio
from redis.utils import HIREDIS_AVAILABLE

from splinter.client import AsyncClient, Client
from splinter.errors import SplinterError
from splinter.net.netns import inside
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.population import tier_and_plain
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import redis
from splinter_bench.subjects.rival import Objects
from splinter_bench.subjects.session import Session

_ROUNDS = 120
_REQUESTS = 400  # of a slice: some 10 to 40 ms
_CONNECT_SECONDS_MAX = 10.0
_LIBRARIES = "redis", "hiredis"


@dataclass(frozen=True)
class _Asked:
    """What a slice asks for: keys, and the value that each has."""

    keys: list[bytes]
    value: bytes

    def gets(self, get: Callable[[bytes], Any]) -> float:
        """ns of a get."""
        begun = time.perf_counter_ns()
        found = [get(key) for key in self.keys]
        return self._each(begun, found)

    def puts(self, put: Callable[[bytes, bytes], object]) -> float:
        """ns of a put."""
        value, begun = self.value, time.perf_counter_ns()
        for key in self.keys:
            put(key, value)
        return (time.perf_counter_ns() - begun) / len(self.keys)

    def awaited_gets(self, runner: asyncio.Runner, get: Callable[[bytes], Awaitable[Any]]) -> float:
        """ns of a get in an event loop."""

        async def ask() -> float:
            begun = time.perf_counter_ns()
            found = [await get(key) for key in self.keys]
            return self._each(begun, found)

        return runner.run(ask())

    def _each(self, begun: int, found: list[Any]) -> float:
        each = (time.perf_counter_ns() - begun) / len(self.keys)
        if any(value != self.value for value in found):
            raise SplinterError("a get found something else than what was put")
        return each


def measure(bench: Bench) -> Observations:
    """``get``: of a server with the kernel tier; ``worker_get`` and ``worker_put`` of one without; ``redis_get``,
    ``redis_set``. ``asyncio_…``: the same of the clients for event loops. Each is ns of one request.

    A round is a slice of each. Raises :class:`SplinterError` when a get found something else than what was put.
    """
    if not HIREDIS_AVAILABLE:
        raise SplinterError("redis-py is here without hiredis: install redis[hiredis]")
    objects = Objects(_REQUESTS)
    asked = _Asked([objects.key(number) for number in range(_REQUESTS)], objects.value)
    with contextlib.ExitStack() as stack:
        tier, plain = stack.enter_context(tier_and_plain())
        server = redis.RedisServer(tier.info.address, core=tier.server_core, netns=tier.info.netns)
        rival = stack.enter_context(server)
        stack.enter_context(pinned(tier.client_core))
        runner = stack.enter_context(asyncio.Runner())
        where: dict[str, Any] = {"host": tier.info.address, "port": rival.port}
        theirs = stack.enter_context(redis_py.Redis(**where))
        their_async = redis_asyncio.Redis(**where)
        stack.callback(lambda: runner.run(their_async.aclose()))
        with inside(tier.netns):
            theirs.ping()
            runner.run(asyncio.wait_for(their_async.ping(), _CONNECT_SECONDS_MAX))
        kernel, worker = _clients(stack, runner, tier), _clients(stack, runner, plain)
        for put in (kernel[0].put, worker[0].put, theirs.set):
            asked.puts(put)
        found = in_turns(
            {
                "get": partial(asked.gets, kernel[0].get),
                "redis_get": partial(asked.gets, theirs.get),
                "worker_get": partial(asked.gets, worker[0].get),
                "redis_set": partial(asked.puts, theirs.set),
                "worker_put": partial(asked.puts, worker[0].put),
                "asyncio_get": partial(asked.awaited_gets, runner, kernel[1].get),
                "asyncio_redis_get": partial(asked.awaited_gets, runner, their_async.get),
                "asyncio_worker_get": partial(asked.awaited_gets, runner, worker[1].get),
            },
            bench.count(_ROUNDS),
        )
        about = rival.configuration
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    found.settings["rivals"] = {"redis": f"{about['version']}: {about['command']}; {libraries}"}
    return found


def _clients(stack: contextlib.ExitStack, runner: asyncio.Runner, session: Session) -> tuple[Client, AsyncClient]:
    """Of one tenant of a server, for the stack to close."""
    account = session.tenant()
    awaited = AsyncClient(session.address, account.tenant, account.token, port=session.port, netns=session.netns)
    stack.callback(lambda: runner.run(awaited.close()))
    return session.client(account), awaited
