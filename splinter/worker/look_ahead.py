"""Before a batch is served: ask for the memory that its requests will need, so that their cache misses overlap.

A look-up is two dependent misses, bucket and object; an invoke's first get comes after those of the extension's own record.
What an extension reads first is told by its record, where the arguments tell. Nothing is decided here: ``handle`` and
``invoke`` check everything, and only take over a key's hash and the extension's record. But whatever is read here stands
within the packet. The bytes come from a tenant.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.ext.abi import NO_PARAMETER, FirstKey
from splinter.native.atomics import less_unsigned, load32, load64
from splinter.store.objects import object_value
from splinter.store.operations import store_find, store_key_hash, store_prefetch
from splinter.wire import Opcode
from splinter.worker.layout import BATCH_BYTES, OPCODES
from splinter.worker.records import Extension, Header, Packet, Worker
from splinter.worker.reply import HEADER_BYTES

_LOOK_AHEAD_FROM = 4  # packets of a batch: with fewer there is nothing to overlap
_WORD_BYTES = 8  # of one argument
_LENGTH_SHIFT = 32  # in the word of a bytes argument: offset below, length above


@njit(cache=True, forceinline=True)
def note_request(w: int, entry: int, header: int, length: int, received: int) -> int:
    """Fill in the batch's entry of a request of ``length`` bytes (-1: it is none) at ``header``, one of ``received``.

    Whoever calls it for each packet has just read the packet, and calls :func:`look_ahead` then: the packets of a batch lie so
    in memory that a core's first cache does not hold them all. Returns 1 if it is an invoke that is looked ahead for, else 0.
    """
    packet, request = Packet(entry), Header(header)
    is_request = length >= HEADER_BYTES
    tenant = request.tenant if is_request else 0
    packet.header = header
    packet.length = length
    packet.tenant = tenant if tenant < limits.TENANTS_MAX else 0
    packet.opcode = min(request.opcode, OPCODES - 1) if is_request else 0
    packet.record = 0
    packet.hashed = 0
    if received < _LOOK_AHEAD_FROM or packet.tenant == 0:  # who cannot be has no account to look into
        return 0
    hashed = _key_hash(Worker(w).store, header, length)
    packet.hashed = hashed
    return 1 if hashed != 0 and request.opcode == Opcode.INVOKE else 0


@njit(cache=True, forceinline=True)
def look_ahead(w: int, received: int, invokes: int) -> None:
    """Go on with a batch of ``received`` packets that are noted, ``invokes`` of them as such."""
    if received < _LOOK_AHEAD_FROM:
        return
    worker = Worker(w)
    store, batch = worker.store, worker.batch
    end, hashes = batch + received * BATCH_BYTES, Packet(batch).at.hashed
    store_prefetch(store, hashes, hashes + received * BATCH_BYTES, BATCH_BYTES)
    if invokes == 0:
        return
    for entry in range(batch, end, BATCH_BYTES):
        packet = Packet(entry)
        hashed, header = packet.hashed, packet.header
        if hashed != 0 and Header(header).opcode == Opcode.INVOKE:
            packet.hashed = _first_get_hash(store, entry, header, hashed)
    store_prefetch(store, hashes, hashes + received * BATCH_BYTES, BATCH_BYTES)  # of gets again: it is there by then


@njit(cache=True, forceinline=True)
def _key_hash(store: int, header: int, length: int) -> int:
    """The hash of a request's key, or of its extension's name; or 0."""
    if length < HEADER_BYTES:
        return 0
    request = Header(header)
    opcode, key_length = request.opcode, request.key_length
    if key_length > length - HEADER_BYTES or key_length < 1 or key_length > limits.KEY_BYTES_MAX:
        return 0
    if opcode in (Opcode.GET, Opcode.PUT, Opcode.DELETE, Opcode.EXPIRE, Opcode.TTL):
        table = request.table
    elif opcode == Opcode.INVOKE:
        table = limits.TABLE_EXTENSIONS
    else:
        return 0
    return store_key_hash(store, request.tenant, table, header + HEADER_BYTES, key_length)


@njit(cache=True, forceinline=True)
def _first_get_hash(store: int, entry: int, header: int, hashed: int) -> int:
    """Find an invoke's extension, and note it. Returns the hash of what it reads first, or 0.

    ``hashed`` is that of the extension's name, which lies within the packet.
    """
    packet, request = Packet(entry), Header(header)
    name_length, value_length = request.key_length, request.value_length
    if HEADER_BYTES + name_length + value_length != packet.length:
        return 0
    tenant, name = request.tenant, header + HEADER_BYTES
    found = store_find(store, tenant, limits.TABLE_EXTENSIONS, name, name_length, hashed)
    if found == 0:
        return 0
    record = object_value(found)
    extension = Extension(record)
    packet.record = record
    kind = extension.first_key
    if kind == 0 or value_length < extension.arguments_bytes_min:
        return 0
    arguments = name + name_length
    key, key_length = _first_key(record, kind, arguments, value_length)
    table = _first_table(record, arguments)
    if key_length == 0 or not less_unsigned(table, limits.TABLES_MAX):
        return 0
    return store_key_hash(store, tenant, table, key, key_length)


@njit(cache=True, forceinline=True)
def _first_key(record: int, kind: int, arguments: int, arguments_length: int) -> tuple[int, int]:
    """(address, length) of the key in the arguments, whose words are all there; length 0: there is none."""
    word_at = arguments + Extension(record).first_key_parameter * _WORD_BYTES
    if kind == FirstKey.INTEGER:
        return word_at, _WORD_BYTES
    if kind != FirstKey.BYTES:
        return word_at, 0
    start, length = load32(word_at), load32(word_at + _LENGTH_SHIFT // 8)
    if start + length > arguments_length or length > limits.KEY_BYTES_MAX:
        return word_at, 0
    return arguments + start, length


@njit(cache=True, forceinline=True)
def _first_table(record: int, arguments: int) -> int:
    """The table in the record, or the whole word of the parameter that says it (as unsigned)."""
    extension = Extension(record)
    parameter = extension.first_table_parameter
    if parameter == NO_PARAMETER:
        return extension.first_table
    return load64(arguments + parameter * _WORD_BYTES)
