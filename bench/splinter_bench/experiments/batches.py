"""Batches, several gets or puts in a packet, beside Redis pipelined: as many requests of each are under way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from splinter_bench.experiments.bench import Bench, ask_rival, slices
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import redis
from splinter_bench.subjects.rival import CONNECTIONS, Objects
from splinter_bench.subjects.rivals import PIPELINE
from splinter_bench.workloads.batches import batch_gets_operation, batch_puts_operation, most_gets, most_puts
from splinter_bench.workloads.workload import Account, Operation, get_operation, put_operation, uniform

_ROUNDS = 120
_SECONDS = 0.05  # of a slice, behind which the device's program may change
_UNDER_WAY = CONNECTIONS * PIPELINE
_HALF = PIPELINE // 2  # all that a client has under way takes two packets


def measure(bench: Bench) -> Observations:
    """``gets`` and ``puts``: in batches that fill their packet; ``gets_halved`` and ``puts_halved``: of 50 clients with 16
    requests each, half of them in a packet; ``get`` and ``put``: each in a packet of its own; ``redis_get`` and ``redis_set``.

    A round is a slice of each. A batch's does not stand next to a rival's: behind that our client's program has just been put
    on the device again, which costs the next slice. All puts ask to be executed once.
    """
    session, objects = bench.session, Objects()
    account, sizes = session.tenant(), (objects.key_bytes, objects.value_bytes)

    def ours(operations: dict[str, Operation]) -> dict[str, Callable[[], Result]]:
        asked: dict[str, Callable[[], Result]] = {}
        for name, operation in operations.items():
            columns = max(1, operation.batch)
            workload = replace(uniform(operation, objects.count, columns), clients=CONNECTIONS)
            asked |= slices(session, {name: workload}, _UNDER_WAY // columns, _SECONDS)
        return asked

    with contextlib.ExitStack() as stack:
        server = redis.RedisServer(session.info.address, core=session.server_core, netns=session.info.netns)
        rival = stack.enter_context(server)
        redis.preload(rival, objects, session.netns)
        client = stack.enter_context(TextClient(partial(rival.connect, session.netns), CONNECTIONS))
        with pinned(session.client_core):
            session.load.preload(put_operation(account, *sizes), objects.count)

        def theirs(script: Script) -> Callable[[], Result]:
            return partial(ask_rival, session, client, replace(script, pipeline=PIPELINE), _SECONDS)

        asked: dict[str, Callable[[], Result]] = {
            **ours(_puts(account, *sizes)),
            "redis_set": theirs(redis.set_script(objects)),
            "redis_get": theirs(redis.reads(objects, "redis get", b"GET")),
            **ours(_gets(account, *sizes)),
        }
        found, about = in_turns(asked, bench.count(_ROUNDS)), rival.configuration
    found.settings |= {"gets_in_one": most_gets(*sizes), "puts_in_one": most_puts(*sizes), "half": _HALF}
    found.settings["rivals"] = {"redis": f"{about['version']}: {about['command']}"}
    return found


def _puts(account: Account, *sizes: int) -> dict[str, Operation]:
    return {
        "puts": batch_puts_operation(account, most_puts(*sizes), *sizes),
        "puts_halved": batch_puts_operation(account, _HALF, *sizes),
        "put": put_operation(account, *sizes),
    }


def _gets(account: Account, *sizes: int) -> dict[str, Operation]:
    return {
        "get": get_operation(account, *sizes),
        "gets_halved": batch_gets_operation(account, _HALF, *sizes),
        "gets": batch_gets_operation(account, most_gets(*sizes), *sizes),
    }
