"""The benchmark of a running server: get and put, beside the limits and the rivals, in alternating slices.

A run of each measurement is cut into slices of a tenth of a second, and a slice of every measurement is run before the next
slice of any. So whatever else the machine does, it does to all alike, and ratios of neighbouring slices are steadier than
the times that they are made of. This matters most in virtual machines: the same echo has a median of 3.2 µs or of 5.1 µs,
for some tenths of seconds to seconds, as the host places the two virtual CPUs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from splinter.bench import redis
from splinter.bench.machine import machine, versions
from splinter.bench.process import pinned
from splinter.bench.report import ECHO, REDIS_GET, Measurement, Report
from splinter.bench.result import Result
from splinter.bench.session import admin_of, cores_of, load_client, netns_of, remove_tenant
from splinter.bench.workload import (
    KEY_BYTES_DEFAULT,
    KEYS_DEFAULT,
    VALUE_BYTES_DEFAULT,
    Account,
    Operation,
    get_operation,
    put_operation,
    uniform,
)
from splinter.server.instance import InstanceInfo

Progress = Callable[[str], None]  # called with a sentence before each step


@dataclass(frozen=True)
class Settings:
    """How to measure. ``depths`` are numbers of requests under way at a time; sizes in bytes."""

    runs: int = 5
    slices: int = 10
    seconds: float = 0.1  # of each slice, after its warm-up
    warmup_seconds: float = 0.02
    depths: tuple[int, ...] = (1, 64)
    keys: int = KEYS_DEFAULT
    key_bytes: int = KEY_BYTES_DEFAULT
    value_bytes: int = VALUE_BYTES_DEFAULT
    redis: bool = False
    server_core: int | None = None  # None: the last of the server's
    client_core: int | None = None  # None: the first that is not the server's

    def steps(self) -> int:
        """How many times :func:`measure` reports progress."""
        return 2 + self.runs * (self.slices + self.redis)


def measure(info: InstanceInfo, settings: Settings, progress: Progress = lambda text: None) -> Report:
    """Measure the server of an instance, as a tenant made for it and removed at the end.

    Raises :class:`SplinterError` when the server cannot be reached from here or refuses.
    """
    server_core, client_core = cores_of(info, settings.server_core, settings.client_core)
    plan: list[tuple[Measurement, Callable[[], Result]]] = []
    extras: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        progress("preparing")
        admin = stack.enter_context(admin_of(info))
        tenant = admin.create_tenant(home=info.cores.index(server_core))
        stack.callback(remove_tenant, admin, tenant.tenant)
        client = stack.enter_context(load_client(info))
        account = Account(tenant.tenant, tenant.token)
        get = get_operation(account, settings.key_bytes, settings.value_bytes)
        put = put_operation(account, settings.key_bytes, settings.value_bytes)
        limit = stack.enter_context(_echo(info, server_core, client_core)) if info.transport == "xdp" else None
        rival = stack.enter_context(_redis(info, settings, server_core)) if settings.redis else None
        timing = {"seconds": settings.seconds, "warmup_seconds": settings.warmup_seconds}

        def splinter(operation: Operation, depth: int) -> Result:
            with pinned(client_core):
                return client.run(uniform(operation, settings.keys), depth=depth, **timing)

        def redis_get() -> Result:
            assert rival is not None
            with pinned(client_core):
                return rival.run(**timing)

        for depth in settings.depths:
            if limit is not None:
                plan.append((Measurement(ECHO, depth), partial(limit.measure, depth, **timing)))
            for operation in (get, put):
                plan.append((Measurement(operation.name, depth), partial(splinter, operation, depth)))
        if rival is not None:
            plan.append((Measurement(REDIS_GET, 1), redis_get))

        progress(f"storing {settings.keys:,} objects")
        with pinned(client_core):
            client.preload(put, settings.keys)
        for run in range(settings.runs):
            for _ in range(settings.slices):
                progress(f"run {run + 1} of {settings.runs}: " + ", ".join(dict.fromkeys(m.name for m, _ in plan)))
                for measurement, measure_slice in plan:
                    measurement.add(run, measure_slice())
            if rival is not None:
                progress(f"run {run + 1} of {settings.runs}: redis-benchmark")
                run_seconds = settings.seconds * settings.slices
                for connections in redis.BENCHMARK_CONNECTIONS:
                    found = rival.benchmark(core=client_core, seconds=run_seconds, connections=connections)
                    extras.append({"run": run + 1, **found})
    circumstances = {
        "machine": machine(),
        "versions": versions() | ({"redis": redis.version()} if settings.redis else {}),
        "server": {"transport": info.transport, "xdp_mode": info.xdp_mode, "cores": list(info.cores)},
        "settings": asdict(settings) | {"server_core": server_core, "client_core": client_core},
    }
    return Report([measurement for measurement, _ in plan], circumstances, extras)


@contextlib.contextmanager
def _echo(info: InstanceInfo, server_core: int, client_core: int) -> Any:
    from splinter.bench.echo import EchoLimit
    from splinter.net.lab import Lab

    with (
        Lab(f"echo-{os.getpid()}", info.queues) as lab,
        EchoLimit(
            lab.server.namespace,
            lab.client.namespace,
            lab.server.address,
            server_core=server_core,
            client_core=client_core,
        ) as limit,
    ):
        yield limit


@contextlib.contextmanager
def _redis(info: InstanceInfo, settings: Settings, core: int) -> Any:
    with (
        redis.RedisServer(info.address, core=core, netns=info.netns) as server,
        contextlib.closing(
            redis.RedisClient(
                server,
                settings.keys,
                netns=netns_of(info),
                key_bytes=settings.key_bytes,
                value_bytes=settings.value_bytes,
            )
        ) as client,
    ):
        client.preload()
        yield client
