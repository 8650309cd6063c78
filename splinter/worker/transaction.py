"""What an isolated task reads and writes: its snapshot, and what it has noted to write.

A task's frame names an area of its own: READs first, WRITEs from TRANSACTION_READS_BYTES on
(:mod:`splinter.store.commit_layout`). A look-up first goes through its own WRITEs, then to the snapshot that the task took when
it began. A task that may write notes what it looked up. Nothing of a WRITE is seen by others before the end
(:mod:`splinter.worker.tasks.commit`).

WRITEs are only added: an earlier one of the same key stays where it is, since the extension may have a view of it, and is void.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.ext.abi import ExtensionError, Isolation
from splinter.store.clock import clock_of_turn, turn_now
from splinter.store.commit_layout import READ_BYTES, WRITE_BYTES, WRITE_DELETES
from splinter.store.hashing import identity_of, store_hash
from splinter.store.layout import LARGE_FORM
from splinter.store.objects import is_over, mark_used, object_expires, object_form, object_value, object_version
from splinter.store.operations import store_find_at
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.records import Descriptor, Write
from splinter.store.snapshots import UNKNOWN, last_deletion, snapshot_of
from splinter.store.transactions import note_read, note_write, standing_write, write_size
from splinter.worker.adding import COUNTER_BYTES, add_to_counter
from splinter.worker.records import Frame
from splinter.worker.replay import NOTES_BYTES

TRANSACTION_READS_BYTES = limits.TRANSACTION_READS_MAX * READ_BYTES
_REPLY_BYTES = limits.CHUNK_BYTES  # for the reply that is kept with what a task writes
TRANSACTION_AREA_BYTES = TRANSACTION_READS_BYTES + limits.TRANSACTION_BYTES_MAX + _REPLY_BYTES
assert TRANSACTION_AREA_BYTES >= NOTES_BYTES and TRANSACTION_AREA_BYTES % 8 == 0

_BYTES_MAX = limits.TRANSACTION_BYTES_MAX
_WRITES_MAX = limits.TRANSACTION_WRITES_MAX


@njit(cache=True)
def begin_transaction(store: int, p: int, frame_at: int) -> None:
    """Take the present snapshot for a task that begins, or begins anew, and its worker's clock. Its worker's epoch is not
    newer."""
    frame = Frame(frame_at)
    frame.reads_end = frame.transaction
    frame.writes_end = frame.transaction + TRANSACTION_READS_BYTES
    frame.writes = 0
    frame.written = 0
    frame.snapshot = snapshot_of(store, frame.tenant)
    frame.now = turn_now(store, p)
    if frame.now == 0 and Descriptor(store).expiring != 0:  # what expires may have come into the snapshot in this very turn
        frame.now = clock_of_turn(store, p)


@njit(cache=True)
def _own_write(frame_at: int, hashed: int, identity: int, key: int, key_length: int) -> int:
    """The WRITE of a key that stands, or 0."""
    frame = Frame(frame_at)
    if frame.written >> (hashed & 63) & 1 == 0:
        return 0
    return standing_write(frame.transaction + TRANSACTION_READS_BYTES, frame.writes_end, hashed, identity, key, key_length)


@njit(cache=True)
def _tell(frame_at: int, address: int, length: int, version: int, expires: int) -> int:
    frame = Frame(frame_at)
    frame.expires = expires
    frame.out_address = address
    frame.out_length = length
    frame.out_version = version
    return 1 if version != 0 else 0


@njit(cache=True)
def transaction_get(store: int, frame_at: int, table: int, key: int, key_length: int) -> int:
    """What :func:`splinter.worker.helpers.helper_get` returns and leaves in the frame, of a checked table and key."""
    found = transaction_find(store, frame_at, table, key, key_length)
    return found if found <= 0 or Frame(frame_at).out_length < LARGE_FORM else -ExtensionError.VALUE


@njit(cache=True)
def transaction_find(store: int, frame_at: int, table: int, key: int, key_length: int) -> int:
    """The same, for who does not show the value: a length of LARGE_FORM and more is of none that can be shown.

    The version of an object that the task itself wrote is odd: it has none before the end.
    """
    frame = Frame(frame_at)
    identity = identity_of(frame.tenant, table, key_length)
    hashed = store_hash(store, identity, key, key_length)
    own = _own_write(frame_at, hashed, identity, key, key_length)
    if own != 0:
        length = Write(own).value_length
        if length == WRITE_DELETES:
            return _tell(frame_at, 0, 0, 0, 0)
        return _tell(frame_at, own + WRITE_BYTES + key_length, length, own - frame.transaction | 1, Write(own).expires)
    found = store_find_at(store, frame.tenant, table, key, key_length, hashed, frame.snapshot)
    if found == UNKNOWN:
        return -ExtensionError.CONFLICT
    show_to_task(store, frame_at, found)
    if found != 0 and is_over(found, frame.now):
        found = 0
    version = object_version(found) if found != 0 else 0
    if frame.isolation == Isolation.WRITES:
        if frame.reads_end >= frame.transaction + TRANSACTION_READS_BYTES:
            return -ExtensionError.TRANSACTION
        frame.reads_end = note_read(frame.reads_end, hashed, identity, version)
    if found == 0:
        return _tell(frame_at, 0, 0, 0, 0)
    mark_used(found)
    return _tell(frame_at, object_value(found), object_form(found), version, object_expires(found))


@njit(cache=True, forceinline=True)
def show_to_task(store: int, frame_at: int, found: int) -> None:
    """Note which commit a task has seen something of: that of the object at ``found``, or, by finding none, the last
    deletion."""
    frame = Frame(frame_at)
    if found != 0:
        frame.shown = max(frame.shown, object_version(found) >> 1)
    else:
        frame.shown = max(frame.shown, last_deletion(store, frame.tenant))


@njit(cache=True)
def transaction_write(
    store: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int, expires: int
) -> int:
    """Note a put of what expires then, or (0) never, or with ``value_length`` WRITE_DELETES a delete; 0, or -ExtensionError."""
    frame = Frame(frame_at)
    identity = identity_of(frame.tenant, table, key_length)
    hashed = store_hash(store, identity, key, key_length)
    earlier = _own_write(frame_at, hashed, identity, key, key_length)
    used = frame.writes_end - frame.transaction - TRANSACTION_READS_BYTES
    is_new = earlier == 0
    if (is_new and frame.writes == _WRITES_MAX) or used + write_size(key_length, value_length) > _BYTES_MAX:
        return -ExtensionError.TRANSACTION
    if is_new:
        frame.writes += 1
    else:
        Write(earlier).identity = 0
    frame.writes_end = note_write(frame.writes_end, hashed, identity, key, value, value_length, expires)
    frame.written |= 1 << (hashed & 63)
    return 0


@njit(cache=True)
def transaction_put_if(
    store: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int, expires: int,
    expected_version: int,
) -> int:  # fmt: skip
    """1 when it is noted, 0 when the task sees another version (EXPECT_ABSENT: an object); < 0: -ExtensionError."""
    found = transaction_find(store, frame_at, table, key, key_length)
    if found < 0:
        return found
    wanted = 0 if expected_version == EXPECT_ABSENT else expected_version
    if Frame(frame_at).out_version != wanted:
        return 0
    failed = transaction_write(store, frame_at, table, key, key_length, value, value_length, expires)
    return failed if failed < 0 else 1


@njit(cache=True)
def transaction_add(store: int, frame_at: int, table: int, key: int, key_length: int, n: int) -> int:
    """0 when it is noted, and the counter's new value in the frame; < 0: -ExtensionError. It expires when it did before."""
    found = transaction_find(store, frame_at, table, key, key_length)
    if found < 0:
        return found
    failed = add_to_counter(frame_at, found, n)
    if failed < 0:
        return failed
    frame = Frame(frame_at)
    return transaction_write(store, frame_at, table, key, key_length, frame.at.out_version, COUNTER_BYTES, frame.expires)


@njit(cache=True)
def transaction_delete(store: int, frame_at: int, table: int, key: int, key_length: int, expected_version: int) -> int:
    """1 when the task saw such an object, of the version unless that is 0 (any will do), 0 when not; < 0: -ExtensionError."""
    found = transaction_find(store, frame_at, table, key, key_length)
    if found <= 0:
        return found
    if expected_version != 0 and Frame(frame_at).out_version != expected_version:
        return 0
    failed = transaction_write(store, frame_at, table, key, key_length, 0, WRITE_DELETES, 0)
    return failed if failed < 0 else 1
