"""A transaction over several objects: what it reads and writes is kept here, and sent in one packet at its end.

Each object is read once, with its version, when the block first asks for it. What the block writes is kept until its end. Then
one TRANSACT tells the server the versions that were read and what is to be written; the server compares and writes at one
instant (``docs/reference/protocol.md``). Nothing is locked in between, and an exception leaves nothing to clean up.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from splinter.client import bulk, objects
from splinter.client.arguments import check_ttl
from splinter.client.channel import Channel
from splinter.client.encoding import Key, Value, check_table, encode_key, encode_value
from splinter.client.lifetimes import Ttl, seconds_of
from splinter.errors import ConflictError, SplinterError, Status, TransactionTooLargeError
from splinter.wire import (
    ENTRY,
    ENTRY_DELETES,
    ENTRY_EXPIRES,
    ENTRY_READS,
    OBJECT_ABSENT,
    TTL_BYTES,
    Opcode,
)

_T = TypeVar("_T")
_Place = tuple[int, bytes]  # table, key
_PAUSE_SECONDS_MIN = 0.001  # at most so long after the first conflict; doubles with each
_PAUSE_SECONDS_MAX = 0.064
_WINDOW = 16  # packets of keys on their way at once


class _Put(NamedTuple):
    value: bytes
    ttl_ns: int  # 0: for ever


class Transaction:
    """What a block of :meth:`Client.transaction` reads and writes; one thread's.

    An object is read once: later reads in the block give the same value, or the one that the block has put. What is read at
    different times may be of different instants. Whether it was all there at one instant is known at the block's end, or by
    :meth:`check`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel: Channel | None = channel
        self._read: dict[_Place, tuple[bytes | None, int]] = {}  # value and version
        self._written: dict[_Place, _Put | None] = {}  # None: to be deleted
        self._instants = 0  # at which something was read

    def get(self, key: Key, *, table: int = 0) -> bytes | None:
        """The object's value, or None when there is no such object."""
        place = check_table(table), encode_key(key)
        channel = self._open_channel()
        if place in self._written:
            return _value(self._written[place])
        if place not in self._read:
            self._read[place] = objects.get(channel, *place)
            self._instants += 1
        return self._read[place][0]

    def get_many(self, keys: Iterable[Key], *, table: int = 0) -> list[bytes | None]:
        """The values of several keys in their order, None for what is not there. Those that one packet brings are of one
        instant."""
        places = [(check_table(table), encode_key(key)) for key in keys]
        channel = self._open_channel()
        wanted = list(dict.fromkeys(place for place in places if place not in self._written and place not in self._read))
        if wanted:
            found = bulk.get_many(channel, [key for _, key in wanted], check_table(table), _WINDOW, has_versions=True)
            self._read.update(zip(wanted, zip(found.values, found.versions, strict=True), strict=True))
            self._instants += found.instants
        return [
            _value(self._written[place]) if place in self._written else self._read[place][0] for place in places
        ]  # fmt: skip

    def put(self, key: Key, value: Value, *, table: int = 0, ttl: Ttl | None = None) -> None:
        """Have an object stored at the end of the block. From then on it lives for ``ttl`` seconds; without, for ever."""
        self._open_channel()
        place, ns = (check_table(table), encode_key(key)), 0 if ttl is None else check_ttl(ttl)
        self._written[place] = _Put(encode_value(value), ns)

    def expire(self, key: Key, ttl: Ttl, *, table: int = 0) -> bool:
        """Have an object live for ``ttl`` seconds from the end of the block on; False when there is none. It is read, and put
        again."""
        return self._live(key, table, check_ttl(ttl))

    def persist(self, key: Key, *, table: int = 0) -> bool:
        """Have an object live for ever; False when there is none. It is read, and put again."""
        return self._live(key, table, 0)

    def _live(self, key: Key, table: int, ns: int) -> bool:
        value = self.get(key, table=table)
        if value is not None:
            self._written[check_table(table), encode_key(key)] = _Put(value, ns)
        return value is not None

    def ttl(self, key: Key, *, table: int = 0) -> float | None:
        """Seconds that an object still lives, ``math.inf`` for ever; None when there is none. Of what the block puts: from its
        end on.

        The object is read, too. Raises :class:`splinter.errors.ConflictError` when it is not the one any more that was read.
        """
        place = check_table(table), encode_key(key)
        if self.get(key, table=table) is None:
            return None
        put = self._written.get(place)
        if put is not None:
            return seconds_of(put.ttl_ns)
        reply = self._open_channel().request(Opcode.TTL, *place)
        self._instants += 1
        if reply.status == Status.NOT_FOUND or reply.checked().version != self._read[place][1]:
            raise ConflictError
        return seconds_of(int.from_bytes(reply.value, "little"))

    def delete(self, key: Key, *, table: int = 0) -> None:
        """Have an object deleted at the end of the block, if there is one."""
        self._open_channel()
        self._written[check_table(table), encode_key(key)] = None

    def check(self) -> None:
        """Raise :class:`splinter.errors.ConflictError` when something that was read has changed since. If not, all of it was
        there at one instant."""
        self._open_channel()
        if self._instants > 1:
            self._send({})

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise SplinterError("this transaction has ended: begin another")
        return self._channel

    def _commit(self) -> None:
        if self._written:
            self._send(self._written)
        else:
            self.check()

    def _send(self, written: dict[_Place, _Put | None]) -> None:
        channel = self._open_channel()
        places = dict.fromkeys([*self._read, *written])
        body = b"".join(_entry(place, self._read.get(place), written.get(place), place in written) for place in places)
        channel.learn(len(body))
        most = channel.size.body_bytes_max()
        if len(body) > most:
            raise TransactionTooLargeError(
                f"what this transaction reads and writes, {len(places)} objects, takes {len(body)} bytes, and one packet "
                f"carries {most} on this network: make it an extension, which runs where the objects are"
            )
        reply = channel.request(Opcode.TRANSACT, value=body)
        if reply.status == Status.VERSION_CHANGED:
            raise ConflictError
        if reply.status != Status.OK:
            raise reply.error()

    def _end(self) -> None:
        self._channel = None


def _value(put: _Put | None) -> bytes | None:
    return None if put is None else put.value


def _entry(place: _Place, read: tuple[bytes | None, int] | None, put: _Put | None, is_written: bool) -> bytes:
    """What a TRANSACT says of one key."""
    table, key = place
    version = 0 if read is None else read[1] or OBJECT_ABSENT
    length, body = ENTRY_DELETES if is_written else ENTRY_READS, b""
    if put is not None:
        body = put.value + (put.ttl_ns.to_bytes(TTL_BYTES, "little") if put.ttl_ns else b"")
        length = len(body) | (ENTRY_EXPIRES if put.ttl_ns else 0)
    return ENTRY.struct.pack(table, len(key), length, version) + key + body


@contextlib.contextmanager
def transaction(channel: Channel) -> Iterator[Transaction]:
    """A transaction that is committed at the end of the block, unless that raises."""
    begun = Transaction(channel)
    try:
        yield begun
        begun._commit()
    finally:
        begun._end()


def repeat(
    begin: Callable[[], contextlib.AbstractContextManager[Transaction]], function: Callable[[Transaction], _T], tries: int
) -> _T:
    """What ``function`` returns in a transaction that is committed; it is called up to ``tries`` times.

    A call that raises may have seen what never was there together: then it is not what it raised that counts.
    """
    waits = pauses()
    while True:
        tries -= 1
        try:
            with begin() as begun:
                try:
                    result = function(begun)
                except SplinterError:
                    raise
                except Exception:
                    begun.check()
                    raise
            return result
        except ConflictError:
            if tries == 0:
                raise
        time.sleep(next(waits))


def pauses() -> Iterator[float]:
    """Seconds to wait after each conflict, before a transaction is tried again."""
    most = _PAUSE_SECONDS_MIN
    while True:
        yield random.uniform(0, most)
        most = min(most * 2, _PAUSE_SECONDS_MAX)
