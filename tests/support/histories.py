"""Concurrent histories of a few objects, through a faulty network, while workers are killed and tenants moved."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from splinter import limits
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import BusyError, ConflictError, RequestTimeoutError, TaskKilledError, VersionChangedError
from splinter.wire import OBJECT_ABSENT
from tests.support.serializability import ABSENT, Operation, is_strictly_serializable
from tests.support.servers import RunningServer
from tests.support.threads import at_once

TABLE, _FILLING = 1, 2
KEYS = 8  # objects of a history
_READ = struct.Struct("<3Q")  # nanoseconds before a look-up, the tag, nanoseconds after it
_READ_BYTES = _READ.size
_TURNS_MAX = 3000  # of an invoke that watches
_PAUSES = (0, 0, 1, 30, 1000)  # yields in the midst of an invoke
_FILLINGS = (0, limits.TRANSACTION_WRITES_MAX - KEYS)  # objects that nobody reads: their commit takes longer
_TAG_BITS = 32  # of which no client uses up all

EXTENSIONS = f"""
from splinter.ext import Buffer, Store, buffer, extension, u64

def tag_of(found: bytes | None) -> u64:
    tag = u64({ABSENT})
    if found is not None:
        tag = found.u64(0)
    return tag

def note_with_times(db: Store, saw: Buffer, key: bytes) -> u64:
    saw.append_u64(db.now_ns())
    tag = tag_of(db.get({TABLE}, key))
    saw.append_u64(tag)
    saw.append_u64(db.now_ns())
    return tag

@extension
def touch(db: Store, keys: bytes, puts: u64, deletes: u64, tag: u64, filling: u64, before: u64, yields: u64) -> bytes:
    saw = buffer({8 * KEYS})
    for i in range(len(keys) // 8):
        if i == before:
            for _ in range(yields):
                yield
        saw.append_u64(tag_of(db.get({TABLE}, keys[8 * i : 8 * i + 8])))
    for i in range(len(keys) // 8):
        if i == before:
            for _ in range(yields):
                yield
            for other in range(filling):
                db.put({_FILLING}, other, tag)
        if puts >> i & 1:
            db.put({TABLE}, keys[8 * i : 8 * i + 8], tag)
        elif deletes >> i & 1:
            db.delete({TABLE}, keys[8 * i : 8 * i + 8])
    return saw

@extension
def look(db: Store, keys: bytes, before: u64, yields: u64) -> bytes:
    saw = buffer({8 * KEYS})
    for found in db.multiget({TABLE}, keys[: 8 * before], 8):
        saw.append_u64(tag_of(found))
    for _ in range(yields):
        yield
    for i in range(before, len(keys) // 8):
        saw.append_u64(tag_of(db.get({TABLE}, keys[8 * i : 8 * i + 8])))
    return saw

@extension(isolation="none")
def watch(db: Store, keys: bytes, turns: u64) -> bytes:
    saw = buffer({_READ_BYTES * (KEYS + 1)})
    first = note_with_times(db, saw, keys[:8])
    for _ in range(turns):
        yield
        before = db.now_ns()
        tag = tag_of(db.get({TABLE}, keys[:8]))
        if tag != first:
            saw.append_u64(before)
            saw.append_u64(tag)
            saw.append_u64(db.now_ns())
            break
    for i in range(1, len(keys) // 8):
        note_with_times(db, saw, keys[8 * i : 8 * i + 8])
    return saw
"""


def pack(tag: int) -> bytes:
    """An object's bytes."""
    return struct.pack("<Q", tag)


def unpack(value: bytes | None) -> int:
    """The inverse."""
    return ABSENT if value is None else int.from_bytes(value, "little")


class Recorder:
    """Performs operations and writes down what was seen; one thread's. No other recorder has its tags."""

    def __init__(self, client: Client, number: int, seed: int) -> None:
        self._client = client
        self._dice = random.Random(seed)
        self._tag = number + 1 << _TAG_BITS
        self.history: list[Operation] = []
        self.ends: Counter[str] = Counter()

    def perform(self, keys: list[int], operations: int) -> None:
        """Random operations on random keys."""
        kinds = [
            *[self._touch] * 4, *[self._look] * 2, *[self._watch] * 2,
            self._transact, self._get, self._multiget, self._put, self._put_if, self._delete,
        ]  # fmt: skip
        for _ in range(operations):
            self._tag += 1
            self._dice.choice(kinds)(keys)

    def _record(
        self, call: Callable[[], Any], saw: Callable[[Any], dict[str, dict[int, int]]], writes: dict[int, int], **unless: Any
    ) -> None:
        """Call; ``saw`` tells what a result shows. ``unless``: what must have been so if it was done without an answer."""
        called = time.monotonic_ns()
        try:
            result = call()
        except (TaskKilledError, ConflictError) as error:  # nothing of it is done
            self.ends[type(error).__name__] += 1
        except (RequestTimeoutError, BusyError) as error:
            self.ends[type(error).__name__] += 1
            if writes:
                self.history.append(Operation(called, writes=writes, **unless))
        else:
            self.ends["answered"] += 1
            returned = time.monotonic_ns()
            self.history.append(Operation(called, returned, **{"writes": writes, **saw(result)}))

    def _get(self, keys: list[int]) -> None:
        key = self._dice.choice(keys)
        self._record(lambda: self._client.get(key, table=TABLE), lambda found: {"reads": {key: unpack(found)}}, {})

    def _multiget(self, keys: list[int]) -> None:
        def saw(found: list[bytes | None]) -> dict[str, dict[int, int]]:
            return {"reads": dict(zip(some, map(unpack, found), strict=True))}

        some = self._some(keys)
        self._record(lambda: self._client.multiget(some, table=TABLE), saw, {})

    def _put(self, keys: list[int]) -> None:
        key, value = self._dice.choice(keys), pack(self._tag)
        self._record(lambda: self._client.put(key, value, table=TABLE), lambda _: {}, {key: self._tag})

    def _delete(self, keys: list[int]) -> None:
        def saw(found: bool) -> dict[str, dict[int, int]]:
            return {"is_not" if found else "reads": {key: ABSENT}}

        key = self._dice.choice(keys)
        self._record(lambda: self._client.delete(key, table=TABLE), saw, {key: ABSENT})

    def _put_if(self, keys: list[int]) -> None:
        key, value = self._dice.choice(keys), pack(self._tag)
        called = time.monotonic_ns()
        try:
            found, version = self._client.get_with_version(key, table=TABLE)
        except (RequestTimeoutError, BusyError):
            return
        there = {key: unpack(found)}
        self.history.append(Operation(called, time.monotonic_ns(), there))

        def put() -> bool:
            with contextlib.suppress(VersionChangedError):
                self._client.put(key, value, table=TABLE, if_version=version or OBJECT_ABSENT)
                return True
            return False

        def saw(was_done: bool) -> dict[str, dict[int, int]]:
            return {"reads": there} if was_done else {"is_not": there, "writes": {}}

        self._record(put, saw, {key: self._tag}, reads=there)

    def _touch(self, keys: list[int]) -> None:
        some = self._some(keys)
        puts, deletes = self._dice.getrandbits(len(some)), self._dice.choice([0, 0, 0, self._dice.getrandbits(len(some))])
        writes = {key: self._tag if puts >> i & 1 else ABSENT for i, key in enumerate(some) if (puts | deletes) >> i & 1}
        self._invoke("touch", some, puts, deletes, self._tag, self._dice.choice(_FILLINGS), writes=writes)

    def _transact(self, keys: list[int]) -> None:
        """A transaction of the client."""
        read, puts = self._some(keys), self._dice.choice([[], self._some(keys)])
        deletes = self._dice.choice([[], [], self._some(keys)])
        writes = {**dict.fromkeys(puts, self._tag), **dict.fromkeys(deletes, ABSENT)}

        def transact() -> list[bytes | None]:
            with self._client.transaction() as transaction:
                found = transaction.get_many(read[1:], table=TABLE)
                found.insert(0, transaction.get(read[0], table=TABLE))
                for key in puts:
                    transaction.put(key, pack(self._tag), table=TABLE)
                for key in deletes:
                    transaction.delete(key, table=TABLE)
            return found

        def saw(found: list[bytes | None]) -> dict[str, dict[int, int]]:
            return {"reads": dict(zip(read, map(unpack, found), strict=True))}

        self._record(transact, saw, writes)

    def _look(self, keys: list[int]) -> None:
        self._invoke("look", self._some(keys), writes={})

    def _invoke(self, name: str, some: list[int], *rest: int, writes: dict[int, int]) -> None:
        def saw(result: bytes) -> dict[str, dict[int, int]]:
            return {"reads": dict(zip(some, struct.unpack(f"<{len(some)}Q", result), strict=True))}

        packed = struct.pack(f"<{len(some)}Q", *some)
        where, yields = self._dice.randrange(len(some)), self._dice.choice(_PAUSES)
        self._record(lambda: self._client.invoke(name, packed, *rest, where, yields), saw, writes)

    def _watch(self, keys: list[int]) -> None:
        """Look at one object until it changes, then at others, each at an instant that the server's clock tells."""
        some = self._some(keys)
        packed, turns = struct.pack(f"<{len(some)}Q", *some), self._dice.randint(0, _TURNS_MAX)
        try:
            result = self._client.invoke("watch", packed, turns)
        except (RequestTimeoutError, BusyError, TaskKilledError) as error:
            self.ends[type(error).__name__] += 1
            return
        self.ends["answered"] += 1
        read = list(_READ.iter_unpack(result))
        watched = len(read) - len(some) + 1  # look-ups of the first
        for key, (called, tag, returned) in zip(some[:1] * watched + some[1:], read, strict=True):
            self.history.append(Operation(called, returned, {key: tag}))

    def _some(self, keys: list[int]) -> list[int]:
        return self._dice.sample(keys, self._dice.randint(1, len(keys)))


def run_history(clients: list[Client], number: int, operations: int, seed: int) -> tuple[list[Operation], Counter[str]]:
    """Of all clients at once, on objects that no history of another ``number`` has; and how the operations ended."""
    keys = list(range(number * KEYS, (number + 1) * KEYS))
    recorders = [Recorder(client, i, seed * 100 + i) for i, client in enumerate(clients)]
    at_once([partial(recorder.perform, keys, operations) for recorder in recorders])
    history = [operation for recorder in recorders for operation in recorder.history]
    return history, sum((recorder.ends for recorder in recorders), Counter())


def violation(history: list[Operation]) -> str | None:
    """For people, when it cannot have happened."""
    if is_strictly_serializable(history):
        return None
    return "\n".join(map(str, sorted(history, key=lambda operation: operation.called)))


class _Meanwhile:
    """Does something every so often, until closed."""

    def __init__(self, seed: int, seconds: float) -> None:
        self._dice, self._seconds = random.Random(seed), seconds
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._seconds * self._dice.uniform(0.5, 1.5)):
                self._act()
        except BaseException as failure:
            self._failure = failure

    def _act(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure


class Killer(_Meanwhile):
    """Kills a random worker."""

    def __init__(self, server: RunningServer, seed: int, seconds: float) -> None:
        self._server = server
        self.kills = 0
        super().__init__(seed, seconds)

    def _act(self) -> None:
        pids = self._server.worker_pids()
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._dice.choice(pids), signal.SIGKILL)
                self.kills += 1


class Mover(_Meanwhile):
    """Moves a random tenant of some to a random core."""

    def __init__(self, server: RunningServer, tenants: list[TenantInfo], seed: int, seconds: float) -> None:
        self._admin, self._tenants, self._homes = server.admin(), tenants, len(server.info.cores)
        self.moves = 0
        super().__init__(seed, seconds)

    def _act(self) -> None:
        self._admin.move_tenant(self._dice.choice(self._tenants).tenant, self._dice.randrange(self._homes))
        self.moves += 1
