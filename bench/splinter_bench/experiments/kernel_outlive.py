"""When every process of a server is killed: the kernel goes on answering gets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator

from splinter.errors import SplinterError
from splinter.net.lab import Lab
from splinter.testing.process import ServerProcess
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.process import kill_family, pinned
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import Account, each_once, get_operation, put_operation

_OBJECTS, _OBJECTS_QUICK = 1_000_000, 20_000
_ROUNDS = 3  # the figure is no sample
_DEPTH = 64
_MEMORY = "1GiB"


def measure(bench: Bench) -> Observations:
    """Of ``dead``: a round kills all processes, gets every object, starts the server again, and gets them again.

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
            made = session.admin.create_tenant(home=session.home)  # the session would remove its own by the dead server
            account = Account(made.tenant, made.token, 1)
            with pinned(session.client_core):
                session.load.preload(put_operation(account), count)
            gets = each_once(get_operation(account), count)
            for number in range(bench.count(_ROUNDS)):
                bench.say(f"round {number + 1}")
                kill_family(server.process)
                with pinned(session.client_core):
                    dead = session.load.run_exactly(gets, requests=count, depth=_DEPTH)
                server.forget()
                server = ServerProcess(name, *options)
                server.wait_until_ready()
                with pinned(session.client_core):
                    alive = session.load.run_exactly(gets, requests=count, depth=_DEPTH)
                if alive.recorded != count:
                    raise SplinterError(f"{count - alive.recorded:,} of {count:,} objects were not got after a restart")
                found.add("dead", {"percent": 100 * dead.recorded / count, "kernel_percent": dead.kernel_percent}, number)
        finally:
            stack.close()
            server.stop()
            server.forget()
    return found


@contextlib.contextmanager
def _purged(name: str) -> Generator[None]:
    from splinter.server.purge import purge

    try:
        yield
    finally:
        purge(name)
