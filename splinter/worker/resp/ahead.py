"""Several connections at a time: all are read before the first is served, so that the cache misses of their look-ups overlap.

It is done with connections that have nothing but new bytes. What they have sent stands in the door until they are served, which
may be in a later turn; until then the kernel is not asked about any, so none is read twice. A connection may end in between.
The time is shared out among them evenly.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.store.operations import store_key_hash, store_prefetch
from splinter.worker.accounts import beat, owe
from splinter.worker.records import Worker
from splinter.worker.resp.connections import end
from splinter.worker.resp.layout import (
    AHEAD_BYTES,
    FLAG_STORE,
    RECEIVED_BYTES,
    STATE_AGAIN,
    STATE_HELD,
    STATE_OVER,
    STATE_WAITS,
)
from splinter.worker.resp.parse import argument_at, find_command, parse_command
from splinter.worker.resp.queues import GONE, connection_at, name_of, named
from splinter.worker.resp.records import Argument, Command, Connection, Door, Received
from splinter.worker.resp.serving import serve_received

_STATES = STATE_OVER | STATE_HELD | STATE_WAITS | STATE_AGAIN


@njit(cache=True)
def may_be_read_ahead(d: int, index: int) -> bool:
    """Whether a connection that the kernel has reported is a tenant's, and nothing is kept of it."""
    connection = Connection(connection_at(d, index))
    return connection.tenant != 0 and connection.state & _STATES == 0 and connection.output == 0 and connection.input == 0


@njit(cache=True)
def has_room(d: int) -> bool:
    """Whether one more is read before the first is served. With much to do, the turn would be over before its commands."""
    return Door(d).ahead_bytes < AHEAD_BYTES


@njit(cache=True)
def read_ahead(w: int, d: int, index: int) -> None:
    """Read what a connection has sent; it ends when nothing more can come."""
    door, connection = Door(d), Connection(connection_at(d, index))
    place = door.ahead_count
    start = door.ahead_input + place * limits.RESP_RECEIVE_BYTES
    received = libc.recv(connection.fd, start, limits.RESP_RECEIVE_BYTES, libc.MSG_DONTWAIT)
    if received <= 0:
        if received == 0 or libc.errno() not in (libc.EAGAIN, libc.EINTR):
            end(w, d, index)
        return
    entry = Received(door.ahead + place * RECEIVED_BYTES)
    entry.name = name_of(d, index)
    entry.start = start
    entry.length = received
    entry.hashed = 0
    door.ahead_count = place + 1
    door.ahead_bytes = door.ahead_bytes + received


@njit(cache=True)
def look_ahead(w: int, d: int) -> None:
    """All that are read at a time are: ask for the memory that their first look-ups need, and note what each owes."""
    door, worker = Door(d), Worker(w)
    first, last = door.ahead, door.ahead + door.ahead_count * RECEIVED_BYTES
    if door.ahead_count > 1:
        for entry in range(first, last, RECEIVED_BYTES):
            Received(entry).hashed = _first_hash(worker.store, d, entry)
        hashes = Received(first).at.hashed
        store_prefetch(worker.store, hashes, hashes + last - first, RECEIVED_BYTES)
    now = beat(w)
    door.ahead_cycles = (now - worker.accounted_until) // door.ahead_count
    worker.accounted_until = now


@njit(cache=True)
def _first_hash(store: int, d: int, entry: int) -> int:
    """The hash of the first key that a connection has sent, or 0. It decides nothing: commands are parsed in their turn."""
    door, received = Door(d), Received(entry)
    connection = Connection(connection_at(d, named(d, received.name)))
    door.arguments_used = 0
    door.words_used = 0
    if parse_command(d, received.start, received.start + received.length, False) <= 0 or door.argc == 0:
        return 0
    name = Argument(argument_at(d, 0))
    found = find_command(d, name.address, name.length)
    if found == 0 or Command(found).flags & FLAG_STORE == 0 or not 0 < Command(found).first_key < door.argc:
        return 0
    key = Argument(argument_at(d, Command(found).first_key))
    if not 1 <= key.length <= limits.KEY_BYTES_MAX:
        return 0
    return store_key_hash(store, connection.tenant, connection.table, key.address, key.length)


@njit(cache=True)
def serve_next(w: int, d: int) -> None:
    """Serve the next of those that were read, if it is still there."""
    door = Door(d)
    received = Received(door.ahead + door.ahead_at * RECEIVED_BYTES)
    door.ahead_at = door.ahead_at + 1
    if door.ahead_at == door.ahead_count:
        forget_ahead(d)
    index = named(d, received.name)
    if index != GONE:
        owe(w, door.ahead_cycles)
        serve_received(w, d, index, received.start, received.length)


@njit(cache=True)
def forget_ahead(d: int) -> None:
    """None is read that is not served."""
    door = Door(d)
    door.ahead_at = 0
    door.ahead_count = 0
    door.ahead_bytes = 0
