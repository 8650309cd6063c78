"""A cache as its clients use it: what is not found is stored. The same requests to any server, in small batches.

Of a batch, as of as many clients at a time, the reads come first, then what they did not find and the writes, then the
deletes, then what is read once more. What writes or deletes a key has no other request of that key in its batch, so that each
key is asked for in the order of its requests. An object whose life is over is deleted by the driver at its moment, which is a
request and no time: so runs at different speed ask for the same. That is the same for every server; how each sweeps what has
expired is not looked at.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from splinter.client import Client
from splinter.client.admin import Admin
from splinter.errors import SplinterError
from splinter_bench.subjects.redis import command
from splinter_bench.workloads.clusters import DELETE, READ, WRITE, Requests

_BATCH = 16  # at most
_LOOKS, _STEP = 12, 0.9  # at the limit in the first half of the requests; how much of what is missing is given
_RECEIVED_BYTES = 1 << 20

Item = tuple[bytes, bytes]


class Cache(Protocol):
    """A server that is used so, and may hold a limited number of bytes, by its own count."""

    limit: int

    def set_limit(self, limit: int) -> None:
        """Change it."""

    def keys(self) -> list[bytes]:
        """All that are there, without a use of any."""

    def evictions(self) -> int:
        """How many objects it gave up for others, since it was started."""

    def read(self, keys: Sequence[bytes]) -> list[bool]:
        """Look each up; returns whether it was there."""

    def write(self, items: Sequence[Item]) -> None:
        """Store each."""

    def delete(self, keys: Sequence[bytes]) -> None:
        """Delete each, if it is there."""


@dataclass(frozen=True)
class Played:
    """What came of it."""

    reads: int
    hits: int
    held_bytes: int  # of keys and values, at the end
    seconds: float  # that all requests took

    @property
    def hit_ratio(self) -> float:
        """Hits, as a share of the reads."""
        return self.hits / self.reads


class Content:
    """Keys and values of the requests' objects."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    @cached_property
    def _filling(self) -> bytes:
        return np.random.default_rng(len(self._requests.keys)).bytes(int(self._requests.value_bytes.max()))

    def key(self, number: int) -> bytes:
        """The key of an object: its number, in as many digits as the cluster's keys have bytes."""
        return b"%0*d" % (self._requests.key_bytes, number)

    def item(self, number: int) -> Item:
        """Its key and its value."""
        return self.key(number), self._filling[: int(self._requests.value_bytes[number])]

    def held(self, cache: Cache) -> int:
        """Bytes of keys and values that a cache holds."""
        return int(self._requests.data_bytes[list(map(int, cache.keys()))].sum())


def play(requests: Requests, cache: Cache, capacity: int) -> Played:
    """Ask for everything once, in its order. Reads of the second half are counted.

    Meanwhile the cache's limit is set anew again and again in the first half, as long as it evicts, so that it comes to hold
    ``capacity`` bytes of keys and values: what else servers have in memory, and count, is different.
    """
    content, player = Content(requests), _Player(requests, cache)
    total, evictions = len(requests.keys), cache.evictions()
    looks = [total * place // (2 * _LOOKS) for place in range(_LOOKS, 0, -1)]
    reads = hits = first = 0
    began = time.perf_counter()
    while first < total:
        if looks and first >= looks[-1]:
            looks.pop()
            before, evictions = evictions, cache.evictions()
            if evictions > before:
                cache.set_limit(cache.limit + round((capacity - content.held(cache)) * _STEP))
        numbers = player.next_batch(first)
        asked, found = player.batch(numbers)
        if first >= total // 2:
            reads, hits = reads + asked, hits + found
        first = numbers.stop
    return Played(reads, hits, content.held(cache), time.perf_counter() - began)


class _Player:
    """Sends batches of requests."""

    def __init__(self, requests: Requests, cache: Cache) -> None:
        self._content, self._cache = Content(requests), cache
        self._keys, self._operations = requests.keys.tolist(), requests.operations.tolist()
        self._lifetimes = requests.lifetimes.tolist()
        self._ends: dict[int, int] = {}  # the request that an object lasts until, by its number
        self._over: dict[int, list[int]] = {}  # those that may end with a request

    def next_batch(self, first: int) -> range:
        """The numbers of the requests from ``first`` on that are sent together: until one of an object that is to be written,
        deleted or at its end between two of them."""
        read, changed, end = set[int](), set[int](), min(first + _BATCH, len(self._keys))
        for number in range(first, end):
            key, is_read = self._keys[number], self._operations[number] == READ
            if key in changed or (key in read and not is_read) or any(key in read | changed for key in self._gone(number)):
                return range(first, number)
            (read if is_read else changed).add(key)
        return range(first, end)

    def batch(self, numbers: range) -> tuple[int, int]:
        """The requests of these numbers. Returns how many of them are reads, and how many found something."""
        self._delete([key for number in numbers for key in self._gone(number)])
        first: dict[int, int] = {}
        again = [number for number in numbers if first.setdefault(self._keys[number], number) != number]
        for number in numbers:
            self._over.pop(number, None)
        asked, found = self._turn(list(first.values()))
        if again:
            more = self._turn(again)
            asked, found = asked + more[0], found + more[1]
        return asked, found

    def _gone(self, number: int) -> list[int]:
        """The keys whose objects end with a request."""
        return [key for key in self._over.get(number, ()) if self._ends[key] == number]

    def _turn(self, numbers: list[int]) -> tuple[int, int]:
        """As :meth:`batch`, of different keys, or reads alone."""
        when = {self._keys[number]: number for number in numbers}
        asked, wanted, deleted = list[int](), list[int](), list[int]()
        for number in numbers:
            kind = {READ: asked, WRITE: wanted, DELETE: deleted}[self._operations[number]]
            kind.append(self._keys[number])
        found = self._cache.read([self._content.key(key) for key in asked]) if asked else []
        missed = [key for key, is_there in zip(asked, found, strict=True) if not is_there]
        if written := dict.fromkeys([*missed, *wanted]):
            self._cache.write([self._content.item(key) for key in written])
        for key in written:
            self._ends[key] = end = when[key] + self._lifetimes[key]
            if end < len(self._keys):
                self._over.setdefault(end, []).append(key)
        self._delete(deleted)
        return len(asked), sum(found)

    def _delete(self, keys: list[int]) -> None:
        if keys:
            self._cache.delete([self._content.key(key) for key in keys])


class SplinterCache:
    """A tenant that evicts, over one Python client of it. ``limit`` is its quota, in bytes; a client tries BUSY again."""

    def __init__(self, client: Client, admin: Admin, tenant: int, capacity: int) -> None:
        self._client, self._admin, self._tenant = client, admin, tenant
        self.limit = admin.get_tenant(tenant).bytes_used
        self.set_limit(self.limit + 2 * capacity)

    def set_limit(self, limit: int) -> None:
        """Change the quota. What is over it goes by the next writes, EVICTION_OBJECTS at a time."""
        self.limit = limit
        self._admin.limit_tenant(self._tenant, quota_bytes=limit)

    def keys(self) -> list[bytes]:
        """All that are there, without a use of any."""
        return list(self._client.scan())

    def evictions(self) -> int:
        """How many objects it gave up for others, since it was created."""
        return self._admin.get_tenant(self._tenant).evictions

    def read(self, keys: Sequence[bytes]) -> list[bool]:
        """Look each up; returns whether it was there."""
        return [value is not None for value in self._client.get_many(keys)]

    def write(self, items: Sequence[Item]) -> None:
        """Store each. Raises :class:`SplinterError` when the server does not take one."""
        self._client.put_many(items)

    def delete(self, keys: Sequence[bytes]) -> None:
        """Delete each, if it is there."""
        for key in keys:
            self._client.delete(key)


class RedisCache:
    """A redis-server over one connection."""

    def __init__(self, connection: socket.socket, policy: str, capacity: int) -> None:
        self._connection, self._rest = connection, b""
        self._tell(b"CONFIG", b"SET", b"maxmemory-policy", policy.encode())
        self.limit = int(self._told(b"memory", b"used_memory"))
        self.set_limit(self.limit + 2 * capacity)

    def set_limit(self, limit: int) -> None:
        """Change ``maxmemory``."""
        self.limit = limit
        self._tell(b"CONFIG", b"SET", b"maxmemory", b"%d" % limit)

    def keys(self) -> list[bytes]:
        """All that are there, without a use of any."""
        return list(self._tell(b"KEYS", b"*"))

    def evictions(self) -> int:
        """How many objects it gave up for others, since it was started."""
        return int(self._told(b"stats", b"evicted_keys"))

    def read(self, keys: Sequence[bytes]) -> list[bool]:
        """Look each up; returns whether it was there."""
        return [reply is not None for reply in self._ask([command(b"GET", key) for key in keys])]

    def write(self, items: Sequence[Item]) -> None:
        """Store each. Raises :class:`SplinterError` when Redis does not take one."""
        self._ask([command(b"SET", *item) for item in items])

    def delete(self, keys: Sequence[bytes]) -> None:
        """Delete each, if it is there."""
        self._ask([command(b"DEL", key) for key in keys])

    def _told(self, section: bytes, name: bytes) -> bytes:
        """One number of INFO."""
        told = dict(line.partition(b":")[::2] for line in self._tell(b"INFO", section).split(b"\r\n"))
        return bytes(told[name])

    def _tell(self, *words: bytes) -> Any:
        (reply,) = self._ask([command(*words)])
        return reply

    def _ask(self, requests: Sequence[bytes]) -> list[Any]:
        self._connection.sendall(b"".join(requests))
        return [self._reply() for _ in requests]

    def _reply(self) -> Any:
        """A line, a bulk string (None: there is none), or a list of replies."""
        head = self._line()
        if head[:1] == b"-":
            raise SplinterError(f"Redis refused: {head.decode(errors='replace')}")
        if head[:1] == b"*":
            return [self._reply() for _ in range(int(head[1:]))]
        if head[:1] != b"$":
            return head
        size = int(head[1:])
        return None if size < 0 else self._take(size + 2)[:-2]

    def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            self._receive()
        return self._take(self._rest.index(b"\r\n") + 2)[:-2]

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._receive()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _receive(self) -> None:
        received = self._connection.recv(_RECEIVED_BYTES)
        if not received:
            raise SplinterError("Redis ended the connection")
        self._rest += received
