"""Before a batch is served: ask for the memory that its requests will need, so that their cache misses overlap.

A look-up is two dependent misses, bucket and object; an invoke's first get comes after those of the extension's own record.
What an extension reads first is told by its record, where the arguments tell. Nothing is decided here: ``handle`` and
``invoke`` check everything, and only take over a key's hash and the extension's record. But whatever is read here stands
within the packet. The bytes come from a tenant.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.ext.abi import (
    NO_PARAMETER,
    R_ARGUMENTS_BYTES_MIN,
    R_FIRST_KEY,
    R_FIRST_KEY_PARAMETER,
    R_FIRST_TABLE,
    R_FIRST_TABLE_PARAMETER,
    FirstKey,
)
from splinter.native.atomics import less_unsigned, load8, load16, load32, load64, store64
from splinter.store.operations import object_value, store_find, store_prefetch, store_prefetch_object
from splinter.wire import H_KEY_LENGTH, H_OPCODE, H_TABLE, H_TENANT, H_VALUE_LENGTH, Opcode
from splinter.worker.layout import (
    B_HASHED,
    B_HEADER,
    B_LENGTH,
    B_RECORD,
    B_TENANT,
    BATCH_BYTES,
    W_BATCH,
    W_STORE,
)
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
    is_request = length >= HEADER_BYTES
    tenant = load32(header + H_TENANT) if is_request else 0
    store64(entry + B_HEADER, header)
    store64(entry + B_LENGTH, length)
    store64(entry + B_TENANT, tenant if tenant < limits.TENANTS_MAX else 0)
    store64(entry + B_RECORD, 0)
    store64(entry + B_HASHED, 0)
    if received < _LOOK_AHEAD_FROM:
        return 0
    hashed = _ask_for_key(load64(w + W_STORE), header, length)
    store64(entry + B_HASHED, hashed)
    return 1 if hashed != 0 and load8(header + H_OPCODE) == Opcode.INVOKE else 0


@njit(cache=True)
def look_ahead(w: int, received: int, invokes: int) -> None:
    """Go on with a batch of ``received`` packets that are noted, ``invokes`` of them as such."""
    if received < _LOOK_AHEAD_FROM:
        return
    store, batch = load64(w + W_STORE), load64(w + W_BATCH)
    end = batch + received * BATCH_BYTES
    for entry in range(batch, end, BATCH_BYTES):
        if load64(entry + B_HASHED) != 0:
            store_prefetch_object(store, load64(entry + B_HASHED))
    if invokes == 0:
        return
    for entry in range(batch, end, BATCH_BYTES):
        hashed, header = load64(entry + B_HASHED), load64(entry + B_HEADER)
        if hashed != 0 and load8(header + H_OPCODE) == Opcode.INVOKE:
            store64(entry + B_HASHED, _ask_for_first_get(store, entry, header, hashed))
    for entry in range(batch, end, BATCH_BYTES):
        if load64(entry + B_RECORD) != 0 and load64(entry + B_HASHED) != 0:
            store_prefetch_object(store, load64(entry + B_HASHED))


@njit(cache=True)
def _ask_for_key(store: int, header: int, length: int) -> int:
    """Ask for the bucket of a request's key, or of its extension's name. Returns the hash, or 0."""
    if length < HEADER_BYTES:
        return 0
    opcode, key_length = load8(header + H_OPCODE), load16(header + H_KEY_LENGTH)
    if key_length > length - HEADER_BYTES or key_length < 1 or key_length > limits.KEY_BYTES_MAX:
        return 0
    if opcode in (Opcode.GET, Opcode.PUT, Opcode.DELETE):
        table = load16(header + H_TABLE)
    elif opcode == Opcode.INVOKE:
        table = limits.TABLE_EXTENSIONS
    else:
        return 0
    return store_prefetch(store, load32(header + H_TENANT), table, header + HEADER_BYTES, key_length)


@njit(cache=True, forceinline=True)
def _ask_for_first_get(store: int, entry: int, header: int, hashed: int) -> int:
    """Find an invoke's extension, note it, and ask for the bucket of what it reads first. Returns that key's hash, or 0.

    ``hashed`` is that of the extension's name, which lies within the packet.
    """
    name_length, value_length = load16(header + H_KEY_LENGTH), load32(header + H_VALUE_LENGTH)
    if HEADER_BYTES + name_length + value_length != load64(entry + B_LENGTH):
        return 0
    tenant, name = load32(header + H_TENANT), header + HEADER_BYTES
    found = store_find(store, tenant, limits.TABLE_EXTENSIONS, name, name_length, hashed)
    if found == 0:
        return 0
    record = object_value(found)
    store64(entry + B_RECORD, record)
    kind = load8(record + R_FIRST_KEY)
    if kind == 0 or value_length < load32(record + R_ARGUMENTS_BYTES_MIN):
        return 0
    arguments = name + name_length
    key, key_length = _first_key(record, kind, arguments, value_length)
    table = _first_table(record, arguments)
    if key_length == 0 or not less_unsigned(table, limits.TABLES_MAX):
        return 0
    return store_prefetch(store, tenant, table, key, key_length)


@njit(cache=True)
def _first_key(record: int, kind: int, arguments: int, arguments_length: int) -> tuple[int, int]:
    """(address, length) of the key in the arguments, whose words are all there; length 0: there is none."""
    word_at = arguments + load8(record + R_FIRST_KEY_PARAMETER) * _WORD_BYTES
    if kind == FirstKey.INTEGER:
        return word_at, _WORD_BYTES
    if kind != FirstKey.BYTES:
        return word_at, 0
    start, length = load32(word_at), load32(word_at + _LENGTH_SHIFT // 8)
    if start + length > arguments_length or length > limits.KEY_BYTES_MAX:
        return word_at, 0
    return arguments + start, length


@njit(cache=True)
def _first_table(record: int, arguments: int) -> int:
    """The table in the record, or the whole word of the parameter that says it (as unsigned)."""
    parameter = load8(record + R_FIRST_TABLE_PARAMETER)
    if parameter == NO_PARAMETER:
        return load32(record + R_FIRST_TABLE)
    return load64(arguments + parameter * _WORD_BYTES)
