"""When every process of a server is killed: the kernel goes on answering gets, and the next start goes on with the store."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

from splinter.errors import SplinterError
from splinter.net.lab import Lab
from splinter.testing.process import ServerProcess
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import each_once, get_operation, put_operation

_OBJECTS, _OBJECTS_QUICK = 1_000_000, 20_000
_ROUNDS = 8
_DEPTH = 64
_MEMORY = "1GiB"
_DEATH_SECONDS_MAX, _POLL_SECONDS = 10.0, 0.001


def measure(bench: Bench) -> Observations:
    """Of ``dead`` and ``attach``: a round kills all processes, gets every object, starts the server again, gets them again, and
    starts another server that has no store yet.

    Raises :class:`SplinterError` when the server does not start, or has lost an object.
    """
    count = bench.choose(_OBJECTS_QUICK, _OBJECTS, _OBJECTS)
    found = Observations(settings={"objects": count})
    name = f"bench-{os.getpid()}-outlive"
    options = ("--lab", name, "--cores", str(max(os.sched_getaffinity(0))), "--memory", _MEMORY)
    with Lab(name), _purged(name), contextlib.ExitStack() as stack:
        server = ServerProcess(name, *options)
        try:
            session = stack.enter_context(Session(server.wait_until_ready()))
            account = session.tenant()
            with pinned(session.client_core):
                session.load.preload(put_operation(account), count)
            gets = each_once(get_operation(account), count)
            for number in range(bench.count(_ROUNDS)):
                bench.say(f"round {number + 1}")
                _kill_all(server)
                with pinned(session.client_core):
                    dead = session.load.run_exactly(gets, requests=count, depth=_DEPTH)
                server.forget()
                server, seconds = _start(name, *options)
                with pinned(session.client_core):
                    alive = session.load.run_exactly(gets, requests=count, depth=_DEPTH)
                if alive.recorded != count:
                    raise SplinterError(f"{count - alive.recorded:,} of {count:,} objects were not got after a restart")
                found.add("dead", {"percent": 100 * dead.recorded / count, "kernel_percent": dead.kernel_percent}, number)
                found.add("restart", seconds, number, metric="seconds")
                found.add("fresh", _fresh_start(f"{name}-fresh", options), number, metric="seconds")
        finally:
            stack.close()
            server.stop()
            server.forget()
    return found


def _start(name: str, *options: str) -> tuple[ServerProcess, float]:
    """A server that serves, and the seconds that it took from its first instruction on."""
    start = time.perf_counter()
    server = ServerProcess(name, *options)
    server.wait_until_ready()
    return server, time.perf_counter() - start


def _fresh_start(name: str, options: tuple[str, ...]) -> float:
    with Lab(name):
        server, seconds = _start(name, "--lab", name, *options[2:])
        server.stop()
        server.forget()
    return seconds


@contextlib.contextmanager
def _purged(name: str) -> Generator[None]:
    from splinter.server.purge import purge

    try:
        yield
    finally:
        purge(name)


def _kill_all(server: ServerProcess) -> None:
    """Kill every process of a server at once, and wait until none is left."""
    pid = server.process.pid
    family = [pid, *_descendants(pid)]
    for one in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    server.process.wait()
    deadline = time.monotonic() + _DEATH_SECONDS_MAX
    while any(Path(f"/proc/{one}").exists() for one in family):
        if time.monotonic() > deadline:
            raise SplinterError("a killed server's processes are still there")
        time.sleep(_POLL_SECONDS)


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *_descendants(child)]
    return found
