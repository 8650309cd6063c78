"""What a worker's own code takes for a get, for an invoke, and for one turn of a task: no kernel, no client.

A get stands beside a look-up in a CPython dict of as many objects, which waits for the same memory; a turn beside that of a
CPython generator. A machine that is slow, or slow for a while, is so for both.

And what the store takes for an object, which needs no server either.
"""

from __future__ import annotations

import collections
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from splinter.errors import OutOfMemoryError
from splinter.ext.compile import compile_source
from splinter.ext.library import entry
from splinter.limits import RX_BATCH, STORE_BYTES_MIN
from splinter.store.classes import class_bytes, class_for
from splinter.store.layout import OBJECT_BYTES
from splinter.store.store import Store
from splinter_bench.control import Control, Taken
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.gets_apart import GetsApart
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.subjects.invokes import invoke_get
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import (
    KEY_BYTES_DEFAULT,
    KEYS_DEFAULT,
    VALUE_BYTES_DEFAULT,
    Workload,
    each_once,
    get_operation,
    invoke_operation,
    put_operation,
    uniform,
)

T = TypeVar("T")
_TENANT = 1
_HOT_KEYS = 100  # as many objects as any cache holds


_ROUNDS, _EXPIRING_ROUNDS, _LATENCY_ROUNDS = 15, 100, 600
_NOTED_BATCHES = 500
WITHOUT_LIFE = {"splinter/store/objects.py": ("is_over", "mark_used")}


def measure(bench: Bench, requests: int = 20_000, resumes: int = 200_000, keys: int = KEYS_DEFAULT) -> Observations:
    """Of ``worker-get``, ``invoke-cost`` and ``resume``: so many of each kind in each round."""
    count = bench.count(_ROUNDS)
    with WorkerInProcess() as worker:
        account = worker.add_tenant(_TENANT)
        yielding = compile_source(source("yielding"))
        get_extension = compile_source(entry("get").sources["get"])
        worker.install(_TENANT, yielding)
        worker.install(_TENANT, get_extension)
        worker.serve(each_once(put_operation(account), keys), keys)
        get = uniform(get_operation(account), keys)
        invoke = uniform(invoke_get(account, get_extension), keys)
        hot_get = uniform(get_operation(account), _HOT_KEYS)
        hot_invoke = uniform(invoke_get(account, get_extension), _HOT_KEYS)
        slices = {
            "get": partial(worker.serve, get, requests),
            "invoke": partial(worker.serve, invoke, requests),
            "single": partial(worker.serve, get, requests, batch=1),
            "hot_get": partial(worker.serve, hot_get, requests),
            "hot_invoke": partial(worker.serve, hot_invoke, requests),
            "dict": partial(_look_up, *_dict_and_keys(keys, get.keys[:requests])),
        }
        served = in_turns(slices, count)
        task = invoke_operation(account, yielding.name, b"")
        turns = {
            "resume": partial(worker.resume, task, resumes),
            "generator": partial(_resume_generator, _yielding(), resumes),
        }
        resumed = in_turns(turns, count)
    found = served.merged(resumed)
    found.settings["batch"] = RX_BATCH
    return found


def measure_expiring(bench: Bench, requests: int = 20_000, keys: int = KEYS_DEFAULT) -> Observations:
    """Of ``ttl``: gets in batches of objects that expire, in ``expiring`` nanoseconds each; of objects that do not, in
    ``lasting``; and in ``plain`` with a worker that neither looks whether an object is over nor notes that it is used. Each
    kind has a process and a store of its own. So the look at the clock in each turn counts."""
    bench.say("compiling a worker without expiry, which takes a minute the first time")
    with (
        GetsApart(keys, expiring=False, without=WITHOUT_LIFE) as plain,
        GetsApart(keys, expiring=False) as lasting,
        GetsApart(keys, expiring=True) as expiring,
    ):
        workers = {"plain": plain, "lasting": lasting, "expiring": expiring}
        slices = {name: partial(worker.serve, requests) for name, worker in workers.items()}
        found = in_turns(slices, bench.count(_EXPIRING_ROUNDS))
    found.settings["batch"] = RX_BATCH
    return found


def measure_latencies(bench: Bench, requests: int = 2_000, keys: int = KEYS_DEFAULT) -> Observations:
    """Of ``latency-cost``: gets in batches, few hot ones, gets one a turn and puts, each with latencies ``recorded`` and
    without, ``plain``; and ``again``, a second time without, which tells what the machine makes of nothing. ``note`` is
    the noting alone: so few nanoseconds are lost in the differences of the others."""
    with WorkerInProcess() as worker:
        account = worker.add_tenant(_TENANT)
        put = each_once(put_operation(account), keys)
        worker.serve(put, keys)
        kinds = {
            "get": (uniform(get_operation(account), keys), RX_BATCH),
            "hot": (uniform(get_operation(account), _HOT_KEYS), RX_BATCH),
            "single": (uniform(get_operation(account), keys), 1),
            "put": (uniform(put_operation(account), keys), RX_BATCH),
        }

        def served(workload: Workload, batch: int, *, are_recorded: bool) -> float:
            worker.record_latencies(are_recorded)
            return worker.serve(workload, requests, batch)

        slices = {
            f"{name}_{how}": partial(served, workload, batch, are_recorded=how == "recorded")
            for name, (workload, batch) in kinds.items()
            for how in ("plain", "recorded", "again")
        }
        worker.serve(kinds["get"][0], RX_BATCH)
        slices |= {
            "note": partial(worker.note_latencies, RX_BATCH, _NOTED_BATCHES),
            "note_single": partial(worker.note_latencies, 1, _NOTED_BATCHES),
        }
        found = in_turns(slices, bench.count(_LATENCY_ROUNDS), _Unwatched())
    found.settings["batch"] = RX_BATCH
    return found


class _Unwatched(Control):
    """Of slices that are shorter than the look at all other processes, and than the time that these run at once: most have
    peace, and the median is theirs."""

    def take(self, call: Callable[[], T]) -> Taken[T]:
        return Taken(call(), True)


def _dict_and_keys(objects: int, chosen: NDArray[np.int64]) -> tuple[dict[bytes, bytes], list[bytes]]:
    """A dict of as many objects as the store has, and the chosen keys as somebody else has them: equal, not the same bytes."""
    found = {_key(number): bytes(VALUE_BYTES_DEFAULT) for number in range(objects)}
    return found, [_key(int(number)) for number in chosen]


def _key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES_DEFAULT, "little")


def _look_up(objects: Mapping[bytes, bytes], keys: Sequence[bytes]) -> float:
    """Nanoseconds for each key. The keys keep their hashes from the first time on."""
    start = time.perf_counter_ns()
    for key in keys:
        objects[key]
    return (time.perf_counter_ns() - start) / len(keys)


def _yielding() -> Iterator[int]:
    while True:
        yield 0


def _resume_generator(generator: Iterator[int], count: int) -> float:
    """Nanoseconds for each of ``count`` resumes, driven by compiled code as the scheduler drives tasks."""
    start = time.perf_counter_ns()
    collections.deque(itertools.islice(generator, count), maxlen=0)
    return (time.perf_counter_ns() - start) / count


def measure_object_overhead(bench: Bench, store_bytes: int = STORE_BYTES_MIN) -> Observations:
    """Of ``object-overhead``: a store is filled, and what it took is divided by what it holds."""
    store = Store.create(store_bytes, participants=0)
    store.open_tenant(_TENANT)
    value, key_bytes = bytes(VALUE_BYTES_DEFAULT), KEY_BYTES_DEFAULT
    objects = 0
    try:
        while True:
            store.put(_TENANT, 0, objects.to_bytes(key_bytes, "little"), value)
            objects += 1
    except OutOfMemoryError:
        pass
    content = key_bytes + len(value)
    rounding = int(class_bytes(class_for(OBJECT_BYTES + content))) - OBJECT_BYTES - content
    taken = store_bytes / objects
    found = Observations(settings={"key_bytes": key_bytes, "value_bytes": len(value)})
    numbers = {"overhead_bytes": taken - content - rounding, "bytes": taken, "objects": objects, "rounding_bytes": rounding}
    found.add("object", numbers, 0)
    return found
