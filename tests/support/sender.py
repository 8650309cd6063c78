"""A client whose packets a worker in this process is handed, and one request of each kind that is executed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.wire import FLAG_EXPIRES, LARGE, OBJECT_ABSENT, PART, PART_KEY_STRUCT, Header, Opcode
from splinter.worker.accounts import begin_resumes
from splinter.worker.reply import PENDING
from splinter.worker.requests import handle
from splinter.worker.tasks import fair
from splinter.worker.tasks.pool import end_task
from splinter.worker.tasks.slices import run_slice
from splinter.worker.turn import begin_turn
from tests.support.batches import One, answers
from tests.support.entries import deletes, puts

TENANT, CLIENT = 1, 77
_SLICES_MAX = 1000
SOURCES = """
from splinter.ext import Error, Store, extension, u64

@extension
def adds(db: Store, key: u64) -> u64:
    return u64(db.add(1, key, 1))

@extension
def adds_late(db: Store, key: u64) -> u64:
    yield
    return u64(db.add(1, key, 1))

@extension
def tells(db: Store, key: u64) -> bytes:
    db.put(1, key, 5)
    return b"what it tells"

@extension
def fails(db: Store, key: u64) -> u64:
    db.put(1, key, 5)
    raise Error(7)

@extension
def looks(db: Store, key: u64) -> u64:
    if db.exists(1, key):
        db.put(1, key, 6)
        return 1
    return 0

@extension
def looks_late(db: Store, key: u64) -> bytes:
    yield
    if db.exists(1, key):
        db.put(1, key, 6)
        return b"it is there"
    return b"it is not there"

@extension(isolation="none")
def adds_loosely(db: Store, key: u64) -> u64:
    yield
    return u64(db.add(1, key, 1))

@extension(isolation="none")
def adds_loosely_twice(db: Store, key: u64) -> u64:
    db.add(1, key, 1)
    yield
    return u64(db.add(1, key, 1))

@extension(isolation="none")
def deletes_loosely(db: Store, key: u64) -> u64:
    yield
    return 1 if db.delete(1, key) else 0

@extension(isolation="none")
def lives_loosely(db: Store, key: u64) -> u64:
    yield
    return 1 if db.expire(1, key, 5.0) else 0

@extension(isolation="none")
def tells_loosely(db: Store, key: u64) -> bytes:
    db.put(1, key, 5)
    return b"what it tells"

@extension(isolation="none")
def fails_loosely(db: Store, key: u64) -> u64:
    db.put(1, key, 5)
    raise Error(9)

@extension(isolation="none")
def looks_loosely(db: Store, key: u64) -> u64:
    yield
    if db.exists(1, key):
        db.put(1, key, 6)
        return 1
    return 0
"""


class Sender:
    """One client of a tenant, whose requests a worker in this process is handed packet by packet."""

    def __init__(self, worker: WorkerInProcess, client: int = CLIENT, *, asks: bool = True) -> None:
        """Not ``asks``: its requests are to be executed as often as they come."""
        self._worker, self._client, self._asks, self._sequence = worker, client, asks, 0

    def request(self, opcode: int, key: bytes, value: bytes = b"", **fields: int) -> list[bytes]:
        """The packets of a request with a number of its own."""
        self._sequence += 1
        size = limits.FRAGMENT_BYTES
        pieces = [value[at : at + size] for at in range(0, len(value), size)] or [b""]
        headers = [
            Header(
                opcode=opcode, tenant=TENANT, client=self._client, sequence=self._sequence,
                acknowledged=max(self._sequence - limits.CLIENT_WINDOW // 2, 1) if self._asks else 0,
                key_length=len(key), value_length=len(piece), fragment_index=index, fragment_count=len(pieces), **fields,
            )
            for index, piece in enumerate(pieces)
        ]  # fmt: skip
        return [header.pack() + key + piece for header, piece in zip(headers, pieces, strict=True)]

    def batch(self, *requests: One) -> list[bytes]:
        """The packet of several requests, each with a number of its own."""
        packets = self.request(Opcode.BATCH, b"", b"".join(each.packed() for each in requests))
        self._sequence += len(requests) - 1
        return packets

    def ask(self, packets: list[bytes], meanwhile: Callable[[], None] = lambda: None) -> bytes:
        """What the last packet of a request is answered when all is done; b"": nothing. ``meanwhile``: what happens when its
        task has begun and waits."""
        return [self._serve(packet, meanwhile) for packet in packets][-1]

    def status(self, packets: list[bytes], meanwhile: Callable[[], None] = lambda: None) -> int:
        """The status of the reply; of a batch that of all its answers, or else of the first that is not OK."""
        reply = self.ask(packets, meanwhile)
        header = Header.unpack(reply)
        told = [header.status]
        if header.opcode == Opcode.BATCH:
            told += [each.status for each in answers(reply[limits.REQUEST_HEADER_BYTES :])]
        return next((status for status in told if status != Status.OK), Status.OK)

    def _serve(self, request: bytes, meanwhile: Callable[[], None]) -> bytes:
        w = self._worker.address
        packet = np.zeros(limits.CHUNK_BYTES, np.uint8)
        packet[: len(request)] = np.frombuffer(request, np.uint8)
        begin_turn(w)
        length = handle(w, packet.ctypes.data, len(request), 0, 0, 0)
        begin_resumes(w)
        if length == PENDING:
            meanwhile()
        for _ in range(_SLICES_MAX):
            if length != PENDING:
                break
            task = fair.pick(w, False)
            length = run_slice(w, task)
            if length != PENDING:
                end_task(w, task)
        assert length != PENDING, "the task does not end"
        return packet[: max(length, 0)].tobytes()


# One request of a kind: its packets. ``new``, 8 bytes, is a key of table 1 that nothing is under, ``old`` one of table 0 that
# has an object.
Kind = Callable[[Sender, bytes, bytes], list[bytes]]
_LIFE = (10**12).to_bytes(8, "little")
_PIECES = bytes(range(256)) * 12  # in fragments


def _part(new: bytes) -> bytes:
    return PART.struct.pack(1, len(new), 0) + new + _PIECES


def invokes(name: str) -> Kind:
    """An invoke of one of SOURCES."""
    return lambda sender, new, _: sender.request(Opcode.INVOKE, name.encode(), new)


WRITES: dict[str, Kind] = {  # they change something
    "put": lambda sender, new, _: sender.request(Opcode.PUT, new, b"value", table=1),
    "put over": lambda sender, _, old: sender.request(Opcode.PUT, old, b"value"),
    "put that expires": lambda sender, new, _: sender.request(Opcode.PUT, new, b"value" + _LIFE, table=1, flags=FLAG_EXPIRES),
    "put in fragments": lambda sender, new, _: sender.request(Opcode.PUT, new, _PIECES, table=1),
    "put of a part": lambda sender, new, _: sender.request(
        Opcode.PUT_PART, PART_KEY_STRUCT.pack(int.from_bytes(new, "little"), 0), _part(new)
    ),
    "delete": lambda sender, _, old: sender.request(Opcode.DELETE, old),
    "expire": lambda sender, _, old: sender.request(Opcode.EXPIRE, old, _LIFE),
    "transaction": lambda sender, new, old: sender.request(Opcode.TRANSACT, b"", puts(new, b"value", table=1) + deletes(old)),
    "transaction of one": lambda sender, new, _: sender.request(Opcode.TRANSACT, b"", puts(new, b"value", table=1)),
    "batch": lambda sender, new, old: sender.batch(
        One(Opcode.PUT, new, b"value", table=1), One(Opcode.EXPIRE, new, _LIFE, table=1), One(Opcode.DELETE, old)
    ),
    "batch with invokes": lambda sender, new, old: sender.batch(
        One(Opcode.INVOKE, b"tells", new), One(Opcode.DELETE, old), One(Opcode.INVOKE, b"adds", new)
    ),
    "batch of invokes": lambda sender, new, _: sender.batch(*[One(Opcode.INVOKE, b"adds", new)] * 3),
    "invoke": invokes("adds"),
    "invoke that waits": invokes("adds_late"),
    "invoke that tells bytes": invokes("tells"),
}
LOOSE_WRITES: dict[str, Kind] = {
    "invoke without isolation": invokes("adds_loosely"),
    "invoke without isolation that writes twice": invokes("adds_loosely_twice"),
    "invoke without isolation that tells bytes": invokes("tells_loosely"),
    "invoke without isolation that fails": invokes("fails_loosely"),
}
REFUSED: dict[str, Kind] = {  # they change nothing here, and would where other objects are
    "put where there is one": lambda sender, _, old: sender.request(Opcode.PUT, old, b"value", object_version=OBJECT_ABSENT),
    "put in fragments where there is one": lambda sender, _, old: sender.request(
        Opcode.PUT, old, _PIECES, object_version=OBJECT_ABSENT
    ),
    "put of a large value without parts": lambda sender, new, _: sender.request(
        Opcode.PUT_LARGE, new, LARGE.struct.pack(4, 100_000), table=1
    ),
    "delete of nothing": lambda sender, new, _: sender.request(Opcode.DELETE, new, table=1),
    "batch of what is refused": lambda sender, new, old: sender.batch(
        One(Opcode.DELETE, new, table=1), One(Opcode.PUT, old, b"value", OBJECT_ABSENT), One(Opcode.EXPIRE, new, _LIFE, table=1)
    ),
    "expire of nothing": lambda sender, new, _: sender.request(Opcode.EXPIRE, new, _LIFE, table=1),
    "transaction that deletes nothing": lambda sender, new, _: sender.request(Opcode.TRANSACT, b"", deletes(new, table=1)),
    "transaction that read another": lambda sender, _, old: sender.request(Opcode.TRANSACT, b"", puts(old, b"value", 2)),
}
LOOKS: dict[str, Kind] = {  # invokes that may write, and do not
    "invoke that looks": invokes("looks"),
    "batch of invokes that look and fail": lambda sender, new, _: sender.batch(
        One(Opcode.INVOKE, b"looks", new), One(Opcode.INVOKE, b"fails", new), One(Opcode.INVOKE, b"looks", new)
    ),
    "invoke that waits and looks": invokes("looks_late"),
    "invoke without isolation that looks": invokes("looks_loosely"),
    "invoke that fails": invokes("fails"),
    "invoke of nothing": invokes("nothing"),
}
