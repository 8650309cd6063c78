"""One request, from a checked header to its reply: the native operations.

Every function takes the worker's block ``w``, the address of the request's header, and lengths in bytes; it returns the
reply's length. The request's bytes come from a tenant: each length is checked against the packet before it is used.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load16, load64, store32, store64
from splinter.store.accounts import account_of
from splinter.store.clock import moment_in, turn_now
from splinter.store.journal import participant_at
from splinter.store.large import store_put_large
from splinter.store.objects import (
    is_large,
    is_over,
    mark_used,
    object_value,
    object_value_length,
    object_version,
)
from splinter.store.operations import (
    store_find,
    store_find_at,
    store_goodbye,
    store_key_hash,
    store_last_version,
    store_prefetch,
)
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.records import Account, Part
from splinter.store.snapshots import UNKNOWN, snapshot_of
from splinter.wire import (
    FLAG_EXPIRES,
    FLAG_REPLY,
    LARGE_BYTES,
    MAGIC,
    MULTIGET_MISSING,
    MULTIGET_TOO_LARGE,
    MULTIGET_VERSIONS,
    OBJECT_OPCODES,
    PART_HEAD_BYTES,
    PART_KEY_BYTES,
    TTL_BYTES,
    VERSION,
    Opcode,
)
from splinter.worker.accounts import resumed_nothing
from splinter.worker.batched import serve_batched
from splinter.worker.counters import count
from splinter.worker.durable import show, show_all, show_missing
from splinter.worker.layout import OPCODES
from splinter.worker.objects import put, serve_object, tell_value, ttl_of
from splinter.worker.records import Counters, Header, Worker
from splinter.worker.reply import DROP, HEADER_BYTES, body_bytes_max, finish, refuse
from splinter.worker.scan import scan
from splinter.worker.tasks.invoke import invoke
from splinter.worker.tasks.once import claim_of, reply_recorded
from splinter.worker.transact import transact


@njit(cache=True, forceinline=True)
def handle(w: int, header: int, length: int, chunk: int, hashed: int, record: int) -> int:
    """Serve the request of ``length`` bytes at ``header``.

    ``chunk``, a UMEM address or a chunk's number, is kept with a task for its later reply. ``hashed`` is the hash of the key
    of a get, put or delete, ``record`` the address of an invoke's extension, each 0 where it is not known yet. Returns the
    reply's length, :data:`DROP`, or :data:`PENDING` when a task has taken over the packet.
    """
    request, counters = Header(header), Counters(w)
    if length < HEADER_BYTES or request.magic != MAGIC or request.flags & FLAG_REPLY:
        counters.malformed += 1
        return DROP
    opcode = request.opcode
    count(counters.opcodes + min(opcode, OPCODES - 1) * 8)
    if request.version != VERSION:
        return refuse(w, header, Status.BAD_VERSION)
    key_length = request.key_length
    value_length = request.value_length
    if HEADER_BYTES + key_length + value_length != length or length > limits.UDP_PAYLOAD_BYTES_MAX:
        return refuse(w, header, Status.BAD_LENGTH)
    if opcode != Opcode.INVOKE:
        resumed_nothing(w)
    if opcode > Opcode.BATCH:
        return refuse(w, header, Status.UNKNOWN_OPCODE)
    if opcode == Opcode.PING:
        return finish(w, header, Status.OK, 0, 0)
    if opcode == Opcode.GOODBYE:
        return _goodbye(w, header)
    if request.table >= limits.TABLES_MAX:
        return refuse(w, header, Status.BAD_TABLE)
    if opcode == Opcode.MULTIGET:
        return _multiget(w, header, key_length, value_length)
    if opcode == Opcode.TRANSACT:
        return transact(w, header, key_length, value_length)
    if opcode == Opcode.BATCH:
        return serve_batched(w, header, key_length, value_length)
    if opcode == Opcode.SCAN:
        return scan(w, header, key_length, value_length)
    if key_length < 1 or key_length > limits.KEY_BYTES_MAX:
        return refuse(w, header, Status.BAD_KEY)
    if opcode in OBJECT_OPCODES:
        return serve_object(w, header, opcode, key_length, value_length, hashed)
    if opcode == Opcode.PUT_PART or opcode == Opcode.GET_PART:
        return _part(w, header, key_length, value_length)
    if opcode == Opcode.PUT_LARGE:
        return _put_large(w, header, key_length, value_length)
    if opcode == Opcode.GET_LARGE:
        return _get_large(w, header, key_length)
    return invoke(w, header, chunk, record)


@njit(cache=True)
def _part(w: int, header: int, key_length: int, value_length: int) -> int:
    """Put or get a part of a large value, in the system's table. It is put once, and found whether it is over or not."""
    request = Header(header)
    store, tenant, key = Worker(w).store, request.tenant, header + HEADER_BYTES
    if key_length != PART_KEY_BYTES:
        return refuse(w, header, Status.BAD_KEY)
    if request.opcode == Opcode.PUT_PART:
        if request.flags & FLAG_EXPIRES != 0:
            return refuse(w, header, Status.BAD_TTL)
        is_first = request.fragment_index == 0 and value_length >= PART_HEAD_BYTES
        if is_first and Part(key + key_length).whole > Account(account_of(store, tenant)).quota_bytes:
            return refuse(w, header, Status.QUOTA_EXCEEDED)  # before others are evicted for what can never be there
        return put(w, header, limits.TABLE_PARTS, key_length, value_length, 0, EXPECT_ABSENT, limits.PART_NS)
    found = store_find(store, tenant, limits.TABLE_PARTS, key, key_length, 0)
    if found == 0:
        show_all(w, tenant)
        return refuse(w, header, Status.NOT_FOUND)
    show(w, object_version(found))
    return tell_value(w, header, found)


@njit(cache=True)
def _put_large(w: int, header: int, key_length: int, value_length: int) -> int:
    """Make a value whose parts are there the object of a key."""
    worker, request = Worker(w), Header(header)
    store, p, key = worker.store, worker.index, header + HEADER_BYTES
    ttl = ttl_of(header, key_length, value_length)
    if ttl < 0:
        return refuse(w, header, -ttl)
    if value_length - (TTL_BYTES if ttl != 0 else 0) != LARGE_BYTES:
        return refuse(w, header, Status.BAD_LENGTH)
    status = store_put_large(
        store, p, request.tenant, request.table, key, key_length, key + key_length, request.object_version,
        claim_of(w, header), 0, moment_in(store, participant_at(store, p), ttl),
    )  # fmt: skip
    if status != Status.OK:
        return reply_recorded(w, header, status)
    return finish(w, header, Status.OK, store_last_version(store, p), 0)


@njit(cache=True)
def _get_large(w: int, header: int, key_length: int) -> int:
    """Tell which parts the value of a key has. VERSION_CHANGED: it has none any more."""
    request = Header(header)
    store, key = Worker(w).store, header + HEADER_BYTES
    found = store_find(store, request.tenant, request.table, key, key_length, 0)
    if found == 0:
        show_missing(w, request.tenant)
        return refuse(w, header, Status.NOT_FOUND)
    show(w, object_version(found))
    if is_over(found, turn_now(store, Worker(w).index)):
        return refuse(w, header, Status.NOT_FOUND)
    if not is_large(found):
        return refuse(w, header, Status.VERSION_CHANGED)
    copy_bytes(header + HEADER_BYTES, object_value(found), LARGE_BYTES)
    return finish(w, header, Status.OK, object_version(found), LARGE_BYTES)


@njit(cache=True)
def _goodbye(w: int, header: int) -> int:
    worker = Worker(w)
    claim = claim_of(w, header)
    status: int = Status.OK
    if claim != 0:
        status = store_goodbye(worker.store, worker.index, Header(header).tenant, claim)
    return finish(w, header, Status.OK, 0, 0) if status == Status.OK else refuse(w, header, status)


@njit(cache=True)
def _multiget(w: int, header: int, key_length: int, value_length: int) -> int:
    """Answers stand in the order of the keys, all of one instant; the reply ends before the first that no longer fits."""
    worker, request = Worker(w), Header(header)
    store = worker.store
    tenant, table = request.tenant, request.table
    snapshot, now = snapshot_of(store, tenant), turn_now(store, worker.index)
    reply, hashes = worker.scratch, worker.scratch + limits.CHUNK_BYTES  # the keys still stand where the reply goes
    most = body_bytes_max(w, header)
    has_versions = request.object_version == MULTIGET_VERSIONS
    value_at = 12 if has_versions else 4  # behind the beginning of an answer
    at = header + HEADER_BYTES + key_length
    status, keys = _look_ahead(store, tenant, table, at, at + value_length, hashes)
    if status != Status.OK:
        return refuse(w, header, status)
    used = 0
    for number in range(keys):
        size = load16(at)
        found = store_find_at(store, tenant, table, at + 2, size, load64(hashes + number * 8), snapshot)
        if found == UNKNOWN:
            return refuse(w, header, Status.BUSY)
        at += 2 + size
        if used + 4 > most:
            break
        if found == 0:
            show_missing(w, tenant)
            store32(reply + used, MULTIGET_MISSING)
            used += 4
            continue
        show(w, object_version(found))
        if is_over(found, now):
            store32(reply + used, MULTIGET_MISSING)
            used += 4
            continue
        mark_used(found)
        value_size = object_value_length(found)
        if value_size > most - value_at or is_large(found):
            store32(reply + used, MULTIGET_TOO_LARGE)
            used += 4
            continue
        if used + value_at + value_size > most:
            break
        store32(reply + used, value_size)
        if has_versions:
            store64(reply + used + 4, object_version(found))
        copy_bytes(reply + used + value_at, object_value(found), value_size)
        used += value_at + value_size
    copy_bytes(header + HEADER_BYTES, reply, used)
    return finish(w, header, Status.OK, 0, used)


@njit(cache=True)
def _look_ahead(store: int, tenant: int, table: int, at: int, end: int, hashes: int) -> tuple[int, int]:
    """Check the keys of a multiget, and ask for the memory that their look-ups need first; note the hashes.

    Returns (status, how many they are).
    """
    keys = 0
    while at < end:
        if end - at < 2 or keys == limits.MULTIGET_KEYS_MAX:
            return Status.BAD_LENGTH, 0
        size = load16(at)
        at += 2
        if size < 1 or size > limits.KEY_BYTES_MAX:
            return Status.BAD_KEY, 0
        if size > end - at:
            return Status.BAD_LENGTH, 0
        store64(hashes + keys * 8, store_key_hash(store, tenant, table, at, size))
        keys += 1
        at += size
    store_prefetch(store, hashes, hashes + keys * 8, 8)
    return Status.OK, keys
