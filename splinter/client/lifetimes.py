"""How long objects live: what a client asks and says of that."""

from __future__ import annotations

import math
from abc import abstractmethod
from datetime import timedelta
from typing import Any

from splinter.client.arguments import check_integer, check_ttl
from splinter.client.encoding import Key, check_table, encode_key
from splinter.client.flights import Reply, was_there
from splinter.wire import TTL_BYTES, TTL_NONE, Opcode

Ttl = float | timedelta  # seconds
FOR_EVER = bytes(TTL_BYTES)
_NS_PER_SECOND = 1_000_000_000


def seconds_of(ns: int) -> float:
    """How long an object lives, as the wire says it."""
    return math.inf if ns == TTL_NONE else ns / _NS_PER_SECOND


def seconds_left(reply: Reply) -> float | None:
    """What a TTL's reply says; None: there is no such object."""
    return seconds_of(int.from_bytes(reply.value, "little")) if was_there(reply) else None


class Lifetimes:
    """Methods of :class:`splinter.client.Client`."""

    @abstractmethod
    def _request(self, timeout: float | None, opcode: Opcode, table: int = 0, key: bytes = b"", **rest: Any) -> Reply: ...

    def expire(self, key: Key, ttl: Ttl, *, table: int = 0, if_version: int = 0, timeout: float | None = None) -> bool:
        """Have an object live for ``ttl`` seconds from now, whatever it was to before; False when there is none.

        That is a write: the object has a new version. ``if_version`` as in :meth:`put`.
        """
        return self._live(key, check_ttl(ttl).to_bytes(TTL_BYTES, "little"), table, if_version, timeout)

    def persist(self, key: Key, *, table: int = 0, if_version: int = 0, timeout: float | None = None) -> bool:
        """Have an object live for ever; False when there is none. A write, as :meth:`expire`."""
        return self._live(key, FOR_EVER, table, if_version, timeout)

    def _live(self, key: Key, ttl: bytes, table: int, if_version: int, timeout: float | None) -> bool:
        raw, table, version = encode_key(key), check_table(table), check_integer("if_version", if_version)
        return was_there(self._request(timeout, Opcode.EXPIRE, table, raw, value=ttl, object_version=version))

    def ttl(self, key: Key, *, table: int = 0, timeout: float | None = None) -> float | None:
        """Seconds that an object still lives, ``math.inf`` for ever; None when there is none."""
        return seconds_left(self._request(timeout, Opcode.TTL, check_table(table), encode_key(key)))
