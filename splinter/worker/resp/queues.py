"""Connections in an order, each at most once: the queues of a door."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import load64, shift_right, store64
from splinter.worker.resp.layout import CONNECTION_BYTES
from splinter.worker.resp.records import Connection, Door, Queue

_MOST = limits.RESP_CONNECTIONS_MAX
_INDEX_MASK = 0xFFFFFFFF
GONE = -1  # in place of a connection: it has ended


@njit(cache=True)
def connection_at(d: int, index: int) -> int:
    """Address of a connection."""
    return Door(d).connections + index * CONNECTION_BYTES


@njit(cache=True)
def name_of(d: int, index: int) -> int:
    """What names a connection as long as it lives."""
    return index | Connection(connection_at(d, index)).generation << 32


@njit(cache=True)
def named(d: int, name: int) -> int:
    """The index of the connection of a name, or GONE."""
    index = name & _INDEX_MASK
    if index >= _MOST:
        return GONE
    connection = Connection(connection_at(d, index))
    return index if connection.fd >= 0 and connection.generation == shift_right(name, 32) else GONE


@njit(cache=True)
def length_of(queue: int) -> int:
    """How many names stand in a queue."""
    return Queue(queue).tail - Queue(queue).head


@njit(cache=True)
def push(d: int, queue: int, index: int) -> None:
    """Put a connection at the end of a queue. Names of those that have ended may stand in it: when it is full, they go."""
    fields = Queue(queue)
    if fields.tail - fields.head == _MOST:
        _tidy(d, queue)
    store64(fields.entries + fields.tail % _MOST * 8, name_of(d, index))
    fields.tail = fields.tail + 1


@njit(cache=True)
def _tidy(d: int, queue: int) -> None:
    fields = Queue(queue)
    first, kept = fields.head, fields.head
    for number in range(first, fields.tail):
        name = load64(fields.entries + number % _MOST * 8)
        if named(d, name) != GONE:
            store64(fields.entries + kept % _MOST * 8, name)
            kept += 1
    fields.tail = kept


@njit(cache=True)
def first_of(d: int, queue: int) -> int:
    """The index of the first connection of a queue that lives, which stays; GONE: there is none."""
    fields = Queue(queue)
    while fields.head != fields.tail:
        index = named(d, load64(fields.entries + fields.head % _MOST * 8))
        if index != GONE:
            return index
        fields.head = fields.head + 1
    return GONE


@njit(cache=True)
def pop(queue: int) -> None:
    """Take the first one out."""
    Queue(queue).head = Queue(queue).head + 1
