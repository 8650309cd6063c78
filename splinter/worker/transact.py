"""A client's transaction, in one packet: which versions of which objects it has read, and what it writes.

The packet (:data:`splinter.wire.ENTRY`) comes from a tenant. It is checked as a whole, and noted as READs and WRITEs in the
worker's own memory, before the store is asked (:func:`splinter.store.transactions.store_transact_versions`).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load64
from splinter.store.clock import moment_in
from splinter.store.commit_layout import READ_BYTES, WRITE_BYTES, WRITE_DELETES
from splinter.store.hashing import identity_of, store_hash
from splinter.store.journal import participant_at
from splinter.store.operations import store_last_version
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.records import Write
from splinter.store.transactions import note_read, note_write, standing_write, store_transact_versions
from splinter.wire import ENTRIES_MAX, ENTRY, ENTRY_DELETES, ENTRY_EXPIRES, ENTRY_READS, TTL_BYTES
from splinter.worker.durable import show_all
from splinter.worker.records import Entry, Header, Worker
from splinter.worker.reply import HEADER_BYTES, finish, refuse
from splinter.worker.tasks.once import claim_of, reply_recorded

_ENTRY_BYTES = ENTRY.itemsize
_READS_BYTES = ENTRIES_MAX * READ_BYTES
# Of its reads and its writes. What a WRITE takes beside key and value, zeros at its end included, is as much for each.
TRANSACT_AREA_BYTES = _READS_BYTES + ENTRIES_MAX * (WRITE_BYTES + 7) + limits.PACKET_BODY_BYTES_MAX


@njit(cache=True)
def transact(w: int, header: int, key_length: int, value_length: int) -> int:
    """Serve a TRANSACT. One that writes nothing is not recorded: to compare versions twice does no harm."""
    request, worker = Header(header), Worker(w)
    store, tenant = worker.store, request.tenant
    if key_length != 0:
        return refuse(w, header, Status.BAD_KEY)
    if request.fragment_index != 0 or request.fragment_count > 1:
        return refuse(w, header, Status.BAD_FRAGMENT)
    reads = worker.scratch
    writes = reads + _READS_BYTES
    me, entries = participant_at(store, worker.index), header + HEADER_BYTES
    refusal, reads_end, writes_end = _note_entries(store, me, tenant, entries, value_length, reads, writes)
    if refusal != Status.OK:
        return refuse(w, header, refusal)
    claim = claim_of(w, header) if writes_end > writes else 0
    status = store_transact_versions(store, worker.index, tenant, reads, reads_end, writes, writes_end, claim)
    if writes_end == writes:
        show_all(w, tenant)
    if status != Status.OK:
        return reply_recorded(w, header, status)
    return finish(w, header, Status.OK, store_last_version(store, worker.index) if writes_end > writes else 0, 0)


@njit(cache=True)
def _note_entries(store: int, me: int, tenant: int, at: int, length: int, reads: int, writes: int) -> tuple[int, int, int]:
    """Check the entries of ``length`` bytes at ``at``, and note them; returns (status, end of the READs, end of the WRITEs).
    What it puts lives from one moment on, that of its first entry with a lifetime."""
    if length == 0:
        return Status.BAD_LENGTH, reads, writes
    end, first_write, written, now = at + length, writes, 0, 0
    while at < end:
        if end - at < _ENTRY_BYTES:
            return Status.BAD_LENGTH, reads, writes
        entry = Entry(at)
        table, key_length, value_length, version = entry.table, entry.key_length, entry.value_length, entry.object_version
        key = at + _ENTRY_BYTES
        if table >= limits.TABLES_MAX:
            return Status.BAD_TABLE, reads, writes
        if key_length < 1 or key_length > limits.KEY_BYTES_MAX:
            return Status.BAD_KEY, reads, writes
        is_put = value_length not in (ENTRY_DELETES, ENTRY_READS)
        ttl_bytes = TTL_BYTES if is_put and value_length & ENTRY_EXPIRES != 0 else 0
        size = value_length & (ENTRY_EXPIRES - 1) if is_put else 0
        if key_length + size > end - key or size < ttl_bytes:
            return Status.BAD_LENGTH, reads, writes
        at = key + key_length + size
        size -= ttl_bytes
        expires = 0
        if ttl_bytes != 0:
            ttl = load64(at - TTL_BYTES)
            if ttl < 1 or ttl > limits.TTL_NS_MAX:
                return Status.BAD_TTL, reads, writes
            if now == 0:
                now = moment_in(store, me, ttl) - ttl
            expires = now + ttl
        identity = identity_of(tenant, table, key_length)
        hashed = store_hash(store, identity, key, key_length)
        if version != 0:
            reads = note_read(reads, hashed, identity, 0 if version == EXPECT_ABSENT else version)
        if value_length == ENTRY_READS:
            continue
        bit = 1 << (hashed & 63)  # of keys with the same bit the earlier may be this one: the later stands
        if written & bit != 0:
            earlier = standing_write(first_write, writes, hashed, identity, key, key_length)
            if earlier != 0:
                Write(earlier).identity = 0
        written |= bit
        length = WRITE_DELETES if value_length == ENTRY_DELETES else size
        writes = note_write(writes, hashed, identity, key, key + key_length, length, expires)
    return Status.OK, reads, writes
