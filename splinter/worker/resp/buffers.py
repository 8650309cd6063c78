"""Memory of connections, from the C library's allocator: what is half sent, not read, queued or being gathered.

All of it is counted: by tenant, and for strangers together as tenant 0. A buffer is three fields of a CONNECTION one behind the
other: address, length, size. Some have a field in between, so functions take the addresses of fields.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import copy_bytes, load64, store64
from splinter.worker.resp.records import Connection, Door

_SMALLEST = 256


@njit(cache=True)
def count_bytes(d: int, tenant: int, size: int) -> bool:
    """Count ``size`` more bytes of a tenant (< 0: less). False, with nothing counted: it has no right to them. Where half of
    what may be is taken, those who have much get no more, so that the others go on."""
    door = Door(d)
    counter = door.tenant_bytes + tenant * 8
    its, whole = load64(counter) + size, door.bytes + size
    if size > 0 and (its > limits.RESP_TENANT_BYTES_MAX or whole > limits.RESP_BYTES_MAX):
        return False
    if size > 0 and its > limits.RESP_SHARE_BYTES and whole > limits.RESP_BYTES_MAX // 2:
        return False
    store64(counter, its)
    door.bytes = whole
    return True


@njit(cache=True)
def grow(d: int, c: int, buffer: int, size: int, needed: int) -> bool:
    """Have the buffer whose address and size stand at ``buffer`` and ``size`` take ``needed`` bytes. False: it is as it was."""
    has = load64(size)
    if needed <= has:
        return True
    wanted = max(_SMALLEST, needed, min(2 * has, needed + limits.RESP_RECEIVE_BYTES))
    if not count_bytes(d, Connection(c).tenant, wanted - has):
        return False
    address = libc.realloc(load64(buffer), wanted)
    if address == 0:
        count_bytes(d, Connection(c).tenant, has - wanted)
        return False
    store64(buffer, address)
    store64(size, wanted)
    return True


@njit(cache=True)
def drop(d: int, c: int, buffer: int, length: int, size: int) -> None:
    """Give a buffer back; there may be none."""
    if load64(buffer) != 0:
        libc.free(load64(buffer))
        count_bytes(d, Connection(c).tenant, -load64(size))
    store64(buffer, 0)
    store64(length, 0)
    store64(size, 0)


@njit(cache=True)
def append(d: int, c: int, buffer: int, length: int, size: int, address: int, count: int) -> bool:
    """Add bytes to a buffer. False: it is as it was."""
    used = load64(length)
    if not grow(d, c, buffer, size, used + count):
        return False
    copy_bytes(load64(buffer) + used, address, count)
    store64(length, used + count)
    return True


@njit(cache=True)
def drop_input(d: int, c: int) -> None:
    at = Connection(c).at
    drop(d, c, at.input, at.input_length, at.input_size)


@njit(cache=True)
def drop_output(d: int, c: int) -> None:
    at = Connection(c).at
    drop(d, c, at.output, at.output_length, at.output_size)
    Connection(c).output_at = 0


@njit(cache=True)
def drop_queued(d: int, c: int) -> None:
    at = Connection(c).at
    drop(d, c, at.queued, at.queued_length, at.queued_size)
    Connection(c).queued_count = 0


@njit(cache=True)
def drop_watched(d: int, c: int) -> None:
    at = Connection(c).at
    drop(d, c, at.watched, at.watched_length, at.watched_size)


@njit(cache=True)
def drop_walk(d: int, c: int) -> None:
    at = Connection(c).at
    drop(d, c, at.walk, at.walk_length, at.walk_size)
    Connection(c).walk_cursor = 0
    Connection(c).walk_count = 0


@njit(cache=True)
def drop_all(d: int, c: int) -> None:
    """Give back all that a connection has."""
    drop_input(d, c)
    drop_output(d, c)
    drop_queued(d, c)
    drop_watched(d, c)
    drop_walk(d, c)


@njit(cache=True)
def held_bytes(c: int) -> int:
    """Bytes of memory that a connection's buffers take."""
    connection = Connection(c)
    return (
        connection.input_size + connection.output_size + connection.queued_size + connection.watched_size + connection.walk_size
    )


@njit(cache=True)
def change_payer(d: int, c: int, tenant: int) -> None:
    """A connection becomes a tenant's, or (0) nobody's: so do its bytes. A moment's excess is the next one's to find."""
    size = held_bytes(c)
    counters = Door(d).tenant_bytes
    before, after = counters + Connection(c).tenant * 8, counters + tenant * 8
    store64(before, load64(before) - size)
    store64(after, load64(after) + size)
