"""Concurrent histories of a few objects, through a faulty network, while workers are killed."""

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

from splinter.client import Client
from splinter.errors import BusyError, RequestTimeoutError, TaskKilledError, VersionChangedError
from splinter.wire import OBJECT_ABSENT
from tests.support.linearizability import UNKNOWN, Kind, Operation, State, is_linearizable
from tests.support.servers import RunningServer
from tests.support.threads import at_once

TABLE = 1
_VALUE = struct.Struct("<QQ")  # counter, tag

INCREMENT = """
from splinter.ext import Store, buffer, extension, u64

@extension
def increment(db: Store, key: u64, tag: u64) -> u64:
    value = buffer(16)
    value.append_u64(0)
    value.append_u64(tag)
    while True:
        version = db.version(1, key)
        count = u64(0)
        if version != 0:
            node = db.get(1, key)
            if node is None:
                continue
            count = node.u64(0)
        value.set_u64(0, count + 1)
        if db.put_if(1, key, value, version):
            return count + 1
        yield
"""


def pack(state: tuple[int, int]) -> bytes:
    """An object's bytes."""
    return _VALUE.pack(*state)


def unpack(value: bytes | None) -> State:
    """The inverse."""
    if value is None:
        return None
    count, tag = _VALUE.unpack(value)
    return count, tag


class Recorder:
    """Performs operations on one object and writes down what was seen; one thread's."""

    def __init__(self, client: Client, seed: int, first_tag: int) -> None:
        self._client = client
        self._dice = random.Random(seed)
        self._tag = first_tag
        self.history: dict[int, list[Operation]] = {}
        self.ends: Counter[str] = Counter()

    def perform(self, keys: list[int], operations: int) -> None:
        """Random operations on random keys."""
        for _ in range(operations):
            key = self._dice.choice(keys)
            kind = self._dice.choice(list(Kind))
            self._tag += 1
            getattr(self, f"_{kind.name.lower()}")(key)

    def _record(self, key: int, kind: Kind, argument: object, call: Callable[[], object]) -> None:
        called = time.monotonic()
        try:
            result: object = call()
        except TaskKilledError as error:
            result = UNKNOWN
            self.ends[type(error).__name__] += 1
        except (RequestTimeoutError, BusyError) as error:
            self.ends[type(error).__name__] += 1
            self.history.setdefault(key, []).append(Operation(kind, argument, None, called))
            return
        self.ends["answered"] += 1
        self.history.setdefault(key, []).append(Operation(kind, argument, result, called, time.monotonic()))

    def _get(self, key: int) -> None:
        self._record(key, Kind.GET, None, lambda: unpack(self._client.get(key, table=TABLE)))

    def _put(self, key: int) -> None:
        new = (self._dice.randrange(100), self._tag)
        self._record(key, Kind.PUT, new, lambda: self._client.put(key, pack(new), table=TABLE) and None)

    def _delete(self, key: int) -> None:
        self._record(key, Kind.DELETE, None, lambda: self._client.delete(key, table=TABLE))

    def _increment(self, key: int) -> None:
        self._record(key, Kind.INCREMENT, self._tag, lambda: self._client.invoke("increment", key, self._tag))

    def _put_if(self, key: int) -> None:
        called = time.monotonic()
        try:
            value, version = self._client.get_with_version(key, table=TABLE)
        except (RequestTimeoutError, BusyError):
            return
        seen = unpack(value)
        self.history.setdefault(key, []).append(Operation(Kind.GET, None, seen, called, time.monotonic()))
        new = (self._dice.randrange(100), self._tag)

        def put() -> bool:
            try:
                self._client.put(key, pack(new), table=TABLE, if_version=version or OBJECT_ABSENT)
            except VersionChangedError:
                return False
            return True

        self._record(key, Kind.PUT_IF, (None if seen is None else seen[1], new), put)


Histories = dict[int, list[Operation]]  # by key


def run_history(clients: list[Client], keys: list[int], operations: int, seed: int) -> tuple[Histories, Counter[str]]:
    """All clients at once; the histories by key, and how the operations ended."""
    recorders = [Recorder(client, seed * 100 + i, (i + 1) << 32) for i, client in enumerate(clients)]
    at_once([partial(recorder.perform, keys, operations) for recorder in recorders])
    merged: Histories = {}
    ends: Counter[str] = Counter()
    for recorder in recorders:
        ends += recorder.ends
        for key, history in recorder.history.items():
            merged.setdefault(key, []).extend(history)
    return merged, ends


def violations(histories: Histories) -> list[str]:
    """What of it cannot have happened, for people."""
    return [
        f"key {key}:\n" + "\n".join(map(str, sorted(history, key=lambda o: o.called)))
        for key, history in histories.items()
        if not is_linearizable(history)
    ]


class Killer:
    """Kills a random worker every so often, until closed."""

    def __init__(self, server: RunningServer, seed: int, seconds: float) -> None:
        self._server, self._dice, self._seconds = server, random.Random(seed), seconds
        self._stop = threading.Event()
        self.kills = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds * self._dice.uniform(0.5, 1.5)):
            pids = self._server.worker_pids()
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._dice.choice(pids), signal.SIGKILL)
                    self.kills += 1

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
