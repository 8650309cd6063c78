"""Listing a tenant's keys."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator

from splinter.client.arguments import check_timeout
from splinter.client.channel import Channel
from splinter.client.encoding import Key, check_table, encode_prefix
from splinter.errors import BusyError, ScanInterruptedError, SplinterError, Status
from splinter.wire import SCAN, SCAN_BYTES, SCAN_END, Opcode

_PAUSE_SECONDS_MIN = 0.001  # before what a commit hides for a moment is looked at again; doubles
_PAUSE_SECONDS_MAX = 0.1


class Scans:
    """Methods of :class:`splinter.client.Client`."""

    @abstractmethod
    def _take(self, timeout: float | None) -> Channel: ...

    @abstractmethod
    def _give_back(self, channel: Channel) -> None: ...

    def scan(self, table: int = 0, prefix: Key | None = None, *, timeout: float | None = None) -> Iterator[bytes]:
        """The keys of a table, or those that begin with ``prefix`` (of an empty one all), in no order, while others write.

        A key that has an object from the beginning to the end comes exactly once. One that is put or deleted meanwhile comes or
        not; one that is deleted and put again may come twice. Keys are asked for as they are needed, some hundreds at a
        time; ``timeout`` is each request's. Raises :class:`splinter.errors.ScanInterruptedError` when the server was started
        anew meanwhile, with another store: begin again.
        """
        raw, table = encode_prefix(prefix), check_table(table)
        pieces = self._scan_pieces(table, raw, None if timeout is None else check_timeout(timeout))
        return itertools.chain.from_iterable(pieces)

    def _scan_pieces(self, table: int, prefix: bytes, timeout: float | None) -> Iterator[list[bytes]]:
        """The same, as lists of what each request found."""
        cursor, store, pause, waited = 0, 0, _PAUSE_SECONDS_MIN, 0.0
        while cursor != SCAN_END:
            channel = self._take(timeout)
            try:
                reply = channel.request(Opcode.SCAN, table, prefix, SCAN.struct.pack(cursor, store))
                if reply.status == Status.VERSION_CHANGED:
                    raise ScanInterruptedError
                told = reply.checked().value
                if len(told) < SCAN_BYTES:
                    raise SplinterError("the server lists keys in a way that this client does not understand")
                before, (cursor, store) = cursor, SCAN.struct.unpack_from(told)
                if cursor == before:  # a commit that deletes is under way
                    if waited >= channel.timeout:
                        raise BusyError("a commit that deletes is not finished: try again")
                    channel.pause(pause)
                    waited, pause = waited + pause, min(pause * 2, _PAUSE_SECONDS_MAX)
                else:
                    waited, pause = 0.0, _PAUSE_SECONDS_MIN
            finally:
                self._give_back(channel)
            yield _keys(told)


def _keys(told: bytes) -> list[bytes]:
    found, at = [], SCAN_BYTES
    while at < len(told):
        end = at + 1 + told[at]
        if end > len(told) or told[at] == 0:
            raise SplinterError("the server lists keys in a way that this client does not understand")
        found.append(told[at + 1 : end])
        at = end
    return found
