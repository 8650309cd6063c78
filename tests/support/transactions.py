"""Transactions on a store in this process, for tests: what it reads and writes is noted as a worker does it."""

from __future__ import annotations

import ctypes

import numpy as np

from splinter import limits
from splinter.errors import Status
from splinter.store.commit_layout import WRITE_DELETES
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.hashing import identity_of, store_hash
from splinter.store.objects import object_value, object_value_length, object_version
from splinter.store.operations import store_find_at
from splinter.store.snapshots import UNKNOWN, snapshot_of
from splinter.store.store import Store
from splinter.store.transactions import note_read, note_write, store_transact

_READS_BYTES, _WRITES_BYTES = 1 << 15, 1 << 20


def address_of(data: bytes) -> int:
    """Where the bytes of a bytes object lie, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


class UnknownError(Exception):
    """The snapshot cannot be told any more."""


class Transaction:
    """Of one participant, which is in one epoch from its beginning to its end."""

    def __init__(self, store: Store, tenant: int, *, participant: int = 0, table: int = 0) -> None:
        self._store, self._tenant, self._p, self._table = store, tenant, participant, table
        self._reads, self._writes = np.zeros(_READS_BYTES, dtype=np.uint8), np.zeros(_WRITES_BYTES, dtype=np.uint8)
        self._reads_end, self._writes_end = self._reads.ctypes.data, self._writes.ctypes.data
        epoch_enter(store.address, participant, OLDEST_NONE)
        self.snapshot = snapshot_of(store.address, tenant)

    def _key(self, key: bytes) -> tuple[int, int, int]:
        identity = identity_of(self._tenant, self._table, len(key))
        return address_of(key), identity, store_hash(self._store.address, identity, address_of(key), len(key))

    def get(self, key: bytes) -> bytes | None:
        """The value in the snapshot."""
        at, identity, hashed = self._key(key)
        found = store_find_at(self._store.address, self._tenant, self._table, at, len(key), hashed, self.snapshot)
        if found == UNKNOWN:
            raise UnknownError
        self._reads_end = note_read(self._reads_end, hashed, identity, object_version(found) if found else 0)
        return ctypes.string_at(object_value(found), object_value_length(found)) if found else None

    def put(self, key: bytes, value: bytes) -> None:
        """To be put when it ends."""
        at, identity, hashed = self._key(key)
        self._writes_end = note_write(self._writes_end, hashed, identity, at, address_of(value), len(value))

    def delete(self, key: bytes) -> None:
        """To be deleted when it ends."""
        at, identity, hashed = self._key(key)
        self._writes_end = note_write(self._writes_end, hashed, identity, at, 0, WRITE_DELETES)

    def end(self, claim: int = 0) -> int:
        """A status, or CONFLICT, RECORDED, STALE."""
        status = Status.OK
        if self._writes_end != self._writes.ctypes.data:
            status = store_transact(
                self._store.address, self._p, self._tenant, self.snapshot, self._reads.ctypes.data, self._reads_end,
                self._writes.ctypes.data, self._writes_end, claim,
            )  # fmt: skip
        epoch_leave(self._store.address, self._p)
        return int(status)


assert limits.COMMIT_OBJECTS_MAX * (limits.KEY_BYTES_MAX + 32) < _WRITES_BYTES
