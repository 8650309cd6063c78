"""What it costs to keep data: puts that are logged beside puts that are not, and how long a recovery takes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numba import njit

from splinter.durable.catalog import TenantRow
from splinter.durable.folder import DataFolder
from splinter.durable.logger import Logger, Paths
from splinter.durable.recovery import recover
from splinter.errors import SplinterError, Status
from splinter.limits import STORE_BYTES_MIN
from splinter.native.atomics import store64
from splinter.store.layout import DURABILITY_INTERVAL
from splinter.store.log import LogRings
from splinter.store.operations import store_put
from splinter.store.region import Region
from splinter.store.store import Store
from splinter_bench.experiments.bench import Bench, slices
from splinter_bench.experiments.population import server
from splinter_bench.observations import Observations
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.session import SLICE_SECONDS
from splinter_bench.workloads.workload import Account, put_operation, uniform

_OBJECTS, _OBJECTS_QUICK = 1_000_000, 20_000
_MANY_OBJECTS = 10_000_000
_KEY_BYTES, _VALUE_BYTES = 30, 100
_STORE_BYTES_PER_OBJECT = 400  # slots, index and room
_FILLED_AT_ONCE = 20_000  # they fit a ring
_RECOVERIES, _PUT_ROUNDS = 7, 200
_MANY_RECOVERIES = 6  # fewer have no interval
_DEPTH = 64
_KEYS = 1000
_TENANT, _GENERATION = 1, 1
_QUOTA_BYTES = 1 << 62


@njit(cache=True)
def _fill(store: int, first: int, count: int, key: int, value: int) -> int:
    """Put ``count`` objects, whose keys begin with a number from ``first`` on. Returns a status."""
    for number in range(first, first + count):
        store64(key, number)
        status = store_put(store, 0, _TENANT, 0, key, _KEY_BYTES, value, _VALUE_BYTES, 0, 0, 0)
        if status != Status.OK:
            return status
    return Status.OK


@contextmanager
def _filled(objects: int) -> Generator[tuple[DataFolder, Logger, int]]:
    """A data folder whose log has so many puts, its log process's part, and the memory of a store for them."""
    memory = max(STORE_BYTES_MIN, objects * _STORE_BYTES_PER_OBJECT)
    with tempfile.TemporaryDirectory(prefix="splinter-lasting-", dir=Path.cwd()) as parent:
        folder = DataFolder(Path(parent) / "data")
        store = Store.create(memory, participants=1)
        rings = LogRings(store, Region.create("splinter-log", LogRings.bytes_for(1)), 1)
        rings.connect()
        store.open_tenant(_TENANT, generation=_GENERATION)
        store.set_modes(_TENANT, DURABILITY_INTERVAL)
        logger = Logger(store, rings, Paths(folder.log, folder.snapshots, folder.catalog.identity))
        content = np.zeros(_KEY_BYTES + _VALUE_BYTES + 8, np.uint8)
        at = int(content.ctypes.data)
        for first in range(0, objects, _FILLED_AT_ONCE):
            if status := _fill(store.address, first, min(_FILLED_AT_ONCE, objects - first), at, at + _KEY_BYTES + 2):
                raise SplinterError(f"the store could not be filled: {Status(status).text}")
            logger.turn()
        try:
            yield folder, logger, memory
        finally:
            logger.close()
            folder.close()


def _recovered(folder: DataFolder, memory: int, objects: int) -> float:
    """Seconds that a recovery takes, into a new store. Raises :class:`SplinterError` when not all came back."""
    store = Store.create(memory, participants=1)
    store.open_tenant(_TENANT, generation=_GENERATION)
    row = TenantRow(_TENANT, _GENERATION, True, quota_bytes=_QUOTA_BYTES, durability=DURABILITY_INTERVAL)
    began = time.perf_counter()
    found = recover(folder, store, [row], tell=lambda _: None)
    took = time.perf_counter() - began
    if not found.is_exact or int(store.accounts["objects"][_TENANT]) != objects:
        raise SplinterError(f"a recovery brought {store.accounts['objects'][_TENANT]:,} of {objects:,} objects")
    return took


def measure_recovery(bench: Bench) -> Observations:
    """Of a store of many objects: from its log, then from a snapshot; and the snapshot's size. A round is a recovery."""
    return _measure(bench, _OBJECTS, _RECOVERIES, "")


def measure_many_recoveries(bench: Bench) -> Observations:
    """The same of ten times as many objects."""
    return _measure(bench, _MANY_OBJECTS, _MANY_RECOVERIES, "many_")


def _measure(bench: Bench, objects: int, recoveries: int, prefix: str) -> Observations:
    objects = _OBJECTS_QUICK if bench.is_quick else objects
    with _filled(objects) as (folder, logger, memory):
        again = partial(_recovered, folder, memory, objects)
        again()  # loads what is compiled
        found = in_turns({f"{prefix}log": again}, bench.count(recoveries), metric="seconds")
        if not logger.is_taking_snapshot:
            logger.begin_snapshot()
        while logger.is_taking_snapshot:
            logger.turn()
            time.sleep(0.001)  # the thread that takes it needs the interpreter
        (snapshot,) = folder.snapshots.glob("*.snap")
        size = snapshot.stat().st_size / objects
        slept = in_turns({f"{prefix}snapshot": again}, bench.count(recoveries), metric="seconds")
        found.rows += slept.rows
        found.add(f"{prefix}snapshot", size, 0, metric="object_bytes")
        found.settings["objects"] = objects
        return found


def measure_puts(bench: Bench) -> Observations:
    """A round is a slice of puts for each of two tenants of a server with a data folder: one whose changes are logged, and one
    whose are not."""
    with tempfile.TemporaryDirectory(prefix="splinter-lasting-", dir=Path.cwd()) as parent:
        core = max(os.sched_getaffinity(0))
        with server([core], {"data": str(Path(parent) / "data")}) as session:
            asked: dict[str, Callable[[], object]] = {}
            for mode in ("interval", "none"):
                made = session.admin.create_tenant(home=session.home, durability=mode)
                workload = uniform(put_operation(Account(made.tenant, made.token, 1)), _KEYS)
                asked |= slices(session, {mode: workload}, _DEPTH, SLICE_SECONDS)
            return in_turns(asked, bench.count(_PUT_ROUNDS))  # type: ignore[arg-type]
