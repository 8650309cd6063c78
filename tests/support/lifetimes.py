"""Extensions that ask and say how long objects live, on a worker in this process whose clock the test sets."""

from __future__ import annotations

import math
from typing import Any

from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.store.clock import look_at_store_clock
from splinter.store.journal import participant_at
from splinter.wire import HEADER
from splinter.worker.reply import PENDING
from tests.support.driver import fresh

TENANT, TABLE = 1, 1
HOUR = 3600
NEAR = 60.0  # seconds that a machine may take for a test, and that a moment of one world may be away from the other's
CALLS = {
    "put": ("a: u64, t: f64", "f64", "db.put(1, k, a, ttl=t)\nreturn 1.0"),
    "put_for_ever": ("a: u64", "f64", "db.put(1, k, a)\nreturn 1.0"),
    "put_if": ("t: u64", "f64", "return 1.0 if db.put_if(1, k, 5, db.version(1, k), ttl=t) else 0.0"),
    "put_new": ("t: u64", "f64", "return 1.0 if db.put_if(1, k, 5, 0, ttl=t) else 0.0"),
    "expire": ("t: f64", "f64", "return 1.0 if db.expire(1, k, t) else 0.0"),
    "persist": ("", "f64", "return 1.0 if db.persist(1, k) else 0.0"),
    "ttl": ("", "f64", "return db.ttl(1, k)"),
    "add": ("n: i64", "f64", "return f64(db.add(1, k, n) & 0xFFFFFFFF)"),
    "value": ("", "f64", "v = db.get(1, k)\nreturn -1.0 if v is None else f64(v.u64(0) & 0xFFFFFFFF)"),
    "exists": ("", "f64", "return 1.0 if db.exists(1, k) else 0.0"),
    "delete": ("", "f64", "return 1.0 if db.delete(1, k) else 0.0"),
    "left": ("t: f64", "f64", "db.put(1, k, 1, ttl=t)\na = db.ttl(1, k)\nyield\nreturn a + db.ttl(1, k)"),
    "touch": (
        "t: f64", "f64",
        "v = db.get(1, k)\nif v is None:\n    return -1.0\nn = v.u64(0)\ndb.expire(1, k, t)\nyield\n"
        "w = db.get(1, k)\nassert w is not None and w.u64(0) == n\nreturn db.ttl(1, k)",
    ),
    "twice": ("t: f64", "f64", "db.expire(1, k, t)\ndb.persist(1, k)\nx = db.ttl(1, k)\ndb.expire(1, k, t)\nreturn x"),
    "waits": ("turns: u64", "f64", "a = db.ttl(1, k)\nfor i in range(turns):\n    yield\nreturn a - db.ttl(1, k)"),
    "writes": (
        "turns: u64", "f64",
        "a = db.ttl(1, k)\nfor i in range(turns):\n    yield\ndb.put(1, k + 1, 1, ttl=60)\nreturn a - db.ttl(1, k)",
    ),
    "many": ("turns: u64, t: f64", "f64", "for i in range(turns):\n    db.expire(1, k, t)\nreturn db.ttl(1, k)"),
}  # fmt: skip
ISOLATIONS = ("", "loose_")


def source_of(name: str, isolation: str) -> str:
    parameters, result, text = CALLS[name]
    head = "@extension(isolation='none')" if isolation else "@extension"
    lines = "\n".join("    " + line for line in text.split("\n"))
    comma = ", " if parameters else ""
    return f"{head}\ndef {isolation}{name}(db: Store, k: u64{comma}{parameters}) -> {result}:\n{lines}\n"


SOURCES = {isolation + name: source_of(name, isolation) for name in CALLS for isolation in ISOLATIONS}
COMPILED: dict[str, CompiledExtension] = {name: compile_source(source) for name, source in SOURCES.items()}


class Worker:
    """Invokes on the worker's store, and the time that its clock shows."""

    def __init__(self, worker: WorkerInProcess) -> None:
        self.driver = fresh(worker)
        self.driver.accounts[TENANT] = worker.add_tenant(TENANT)
        self.store = worker.store
        for stored in list(self.store.scan(TABLE, tenant=TENANT)):
            self.store.delete(TENANT, TABLE, stored.key)

    def begin(self, name: str, *arguments: Any, sequence: int = 0) -> int:
        """The status, or PENDING."""
        return self.driver.invoke(TENANT, name, COMPILED[name].signature.pack(arguments), sequence)

    def end(self) -> int:
        """Run until no task waits; the status of what was begun last."""
        for _ in range(10_000):
            if not self.driver.slices(1)[TENANT]:
                return int(self.driver.packets[-1][: limits.REQUEST_HEADER_BYTES].view(HEADER.dtype)["status"][0])
        raise AssertionError("tasks wait for ever")

    def invoke(self, name: str, *arguments: Any) -> Any:
        """The result, or the name of the error."""
        status = self.begin(name, *arguments)
        return self.told(self.end() if status == PENDING else status)

    def told(self, status: int, number: int = -1) -> Any:
        packet = self.driver.packets[number]
        body = packet[limits.REQUEST_HEADER_BYTES :].tobytes()
        if status == Status.EXTENSION_ERROR:
            return next(error.name for error in ExtensionError if error.text.encode() in body)
        assert status == Status.OK
        return COMPILED["ttl"].signature.unpack(body[:8])

    def advance(self, seconds: float) -> None:
        self.store.descriptor["clock_base"] += round(seconds * 1e9)

    def objects(self) -> dict[bytes, tuple[bytes, float]]:
        """Values, and how many seconds they still live."""
        now = self.store.now_ns
        return {
            stored.key: (stored.value, (stored.expires - now) / 1e9 if stored.expires else math.inf)
            for stored in self.store.scan(TABLE, tenant=TENANT)
        }

    def end_in_a_later_turn(self) -> int:
        """As :meth:`end`, by a clock that has gone on."""
        look_at_store_clock(self.store.address, participant_at(self.store.address, 0))
        return self.end()


def near(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (abs(one - other) < NEAR and min(one, other) > 0)
    return bool(one == other)
