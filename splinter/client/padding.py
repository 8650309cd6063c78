"""By how much a get is padded, so that its reply finds room in its own packet.

The server's XDP program answers a get in the packet that asked. It lets that grow by ``KERNEL_GROWTH_BYTES``; a larger value
needs a request that is as long already, else a worker answers. How long values are is only known from those that came: so a
table's gets are padded for the largest of late. Padding that no kernel answers to, as of a server without the tier, is left out
for a while, and then tried again.
"""

from __future__ import annotations

from splinter import limits
from splinter.client.flights import Reply
from splinter.client.packet_size import PacketSize
from splinter.wire import KERNEL_GROWTH_BYTES

_FORGET_SHIFT = 5  # of what a value is smaller than expected, each takes a 32nd off
_TRIES = 8  # padded gets in a row that no kernel answered, before padding rests
_REST = 1000  # gets without padding, before it is tried again
_zeroes = bytes(limits.PACKET_BODY_BYTES_MAX)


class _Table:
    """What is known of the values of a table."""

    __slots__ = ("expected", "rest", "vain")

    def __init__(self, expected: int) -> None:
        self.expected = expected  # bytes of value
        self.rest = 0  # gets that are not padded
        self.vain = 0  # padded gets in a row that a worker answered


class Padding:
    """Of one channel. A table whose values need none costs a get one look into an empty dictionary."""

    def __init__(self, size: PacketSize) -> None:
        self._size = size
        self._tables: dict[int, _Table] = {}

    def of(self, table: int, key: bytes) -> bytes:
        """What the next get of this key is to have as its value."""
        known = self._tables.get(table)
        if known is None or known.expected <= KERNEL_GROWTH_BYTES:
            return b""
        if known.rest:
            known.rest -= 1
            return b""
        return _zeroes[: max(min(known.expected - len(key), self._size.spare_bytes(len(key))), 0)]

    def learn(self, table: int, reply: Reply, is_padded: bool) -> None:
        """A get of this table was answered OK."""
        known, count = self._tables.get(table), len(reply.value)
        if known is None:
            if count > KERNEL_GROWTH_BYTES and reply.fragment_count <= 1:
                self._tables[table] = _Table(count)
            return
        if reply.fragment_count <= 1:
            known.expected = max(count, known.expected - (known.expected - count >> _FORGET_SHIFT))
        if reply.by_kernel or not is_padded:
            known.vain = 0 if is_padded else known.vain
            return
        known.vain += 1
        if known.vain == _TRIES:
            known.vain, known.rest = 0, _REST
