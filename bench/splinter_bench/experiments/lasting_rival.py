"""Puts that are acknowledged when they are on the disk, beside Redis with ``appendfsync always``, both on one disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from splinter_bench.experiments.bench import Bench, ask_rival, slices
from splinter_bench.experiments.population import server
from splinter_bench.generators.text_client import TextClient
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import redis
from splinter_bench.subjects.rival import CONNECTIONS, Objects
from splinter_bench.subjects.rivals import PIPELINE
from splinter_bench.workloads.batches import batch_puts_operation
from splinter_bench.workloads.workload import Account, put_operation, uniform

_ROUNDS = 60
_PUTS = PIPELINE // 2  # of a batch: so many fit a packet, and all that a client has under way takes two
# A flush takes a tenth of a millisecond to several: a slice has many.
_SLICE_SECONDS, _WARMUP_SECONDS = 0.25, 0.05


def measure(bench: Bench) -> Observations:
    """``put`` and ``set``: 50 clients, each with one request under way; ``put_pipelined`` and ``set_pipelined``: with 16.
    ``put_batched``: with as many, of which each packet has several.

    A round is a slice of each. What is not asked for rests; both servers are on one core. All puts ask to be executed once.
    Both clients sleep while they wait, on a CPU beside, where the process that writes to the disk for Splinter runs, too.
    """
    objects = Objects()
    *beside, core = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="splinter-lasting-", dir=Path.cwd())))
        kept = {"data": str(folder / "data"), "log_cores": ",".join(map(str, beside or [core]))}
        session = stack.enter_context(server([core], kept))
        where = {"core": core, "netns": session.info.netns, "is_durable": True, "parent": folder}
        rival = stack.enter_context(redis.RedisServer(session.info.address, **where))  # type: ignore[arg-type]
        client = stack.enter_context(TextClient(partial(rival.connect, session.netns), CONNECTIONS))
        redis.preload(rival, objects, session.netns)
        made = session.admin.create_tenant(home=session.home, durability="interval")
        account = Account(made.tenant, made.token, 1)
        put = put_operation(account, objects.key_bytes, objects.value_bytes)
        with pinned(session.client_core):
            session.load.preload(put, objects.count)
        session.admin.limit_tenant(made.tenant, durability="always")  # only now: storing the objects need not wait for the disk
        batch = batch_puts_operation(account, _PUTS, objects.key_bytes, objects.value_bytes)
        one = replace(uniform(put, objects.count), clients=CONNECTIONS)
        batched = replace(uniform(batch, objects.count, _PUTS), clients=CONNECTIONS)
        script = redis.set_script(objects)
        pipelined = replace(script, pipeline=PIPELINE)
        under_way = CONNECTIONS * PIPELINE
        asked: dict[str, Callable[[], Result]] = {
            **slices(session, {"put": one}, CONNECTIONS, _SLICE_SECONDS, spin=False),
            "set": partial(ask_rival, session, client, script, _SLICE_SECONDS, _WARMUP_SECONDS),
            **slices(session, {"put_pipelined": one}, under_way, _SLICE_SECONDS, spin=False),
            **slices(session, {"put_batched": batched}, under_way // _PUTS, _SLICE_SECONDS, spin=False),
            "set_pipelined": partial(ask_rival, session, client, pipelined, _SLICE_SECONDS, _WARMUP_SECONDS),
        }
        found = in_turns(asked, bench.count(_ROUNDS))
        about = rival.configuration
        found.settings["puts"] = _PUTS
        found.settings["rivals"] = {"redis": f"{about['version']}: {about['command']}"}
        return found
