"""What takes more than one packet: up to 64 KiB, in fragments of ``FRAGMENT_BYTES``, or fewer where packets are small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from splinter import limits
from splinter.client.channel import RESEND_SECONDS_MIN, Channel
from splinter.client.flights import Reply, identity_of
from splinter.errors import BusyError, Status
from splinter.wire import TTL_BYTES, Opcode

WINDOW = 16  # fragments on their way at once
_PAUSE_SECONDS_MAX = 0.1  # before all fragments are sent again


def put(channel: Channel, opcode: Opcode, table: int, key: bytes, value: bytes, if_version: int = 0, ttl: int = 0) -> int:
    """Put a value, for ``ttl`` ns, or (0) for ever; ``opcode``: PUT or PUT_PART. Returns the object's version.

    All fragments carry one sequence number; the server answers each, and the one that completes the value, and every one
    that comes later, with the new version. The value may be collected by several workers side by side: then all of it is
    sent again, until one of them has it whole: one after the other then, since an idle worker takes what waits for a busy
    one, perhaps the same fragments each time. The first time that is at once: all were answered, so nobody has too much to
    do. It is stored once.
    """
    channel.learn(limits.PACKET_BODY_BYTES_MAX)
    most = min(channel.size.body_bytes_max() - len(key) - (TTL_BYTES if ttl else 0), limits.FRAGMENT_BYTES)
    room = most // limits.ROOM_UNIT_BYTES
    size = room * limits.ROOM_UNIT_BYTES
    pieces = [value[at : at + size] for at in range(0, len(value), size)]
    with channel.closing_numbers():
        version = _put_pieces(channel, opcode, table, key, pieces, room, if_version, ttl)
    if version:
        return version
    raise BusyError(f"a value of {len(value)} bytes could not be put as a whole within {channel.timeout:g} s")


def _put_pieces(
    channel: Channel, opcode: Opcode, table: int, key: bytes, pieces: list[bytes], room: int, if_version: int, ttl: int
) -> int:
    """Send them, under one new number, until they are put; returns the object's version, 0 if that took too long."""
    deadline, pause, window = channel.waited + channel.timeout, 0.0, WINDOW
    sequence = channel.next_sequences()
    packets = [
        (
            identity_of(sequence, index),
            channel.packet(opcode, sequence, table, key, piece, if_version, index, len(pieces), room, ttl),
        )
        for index, piece in enumerate(pieces)
    ]
    while (remaining := deadline - channel.waited) > 0:
        waiting = iter(packets)
        version = 0
        produce: Callable[[], tuple[int, bytes] | None] = partial(next, waiting, None)
        for _, reply in channel.stream(produce, window, remaining, keeps_numbers=True):
            if reply.status != Status.OK:
                raise reply.error()
            version = version or reply.version
        if version:
            return version
        channel.pause(pause)
        pause, window = min(pause * 2 or RESEND_SECONDS_MIN, _PAUSE_SECONDS_MAX), 1
    return 0


def get_rest(channel: Channel, opcode: Opcode, table: int, key: bytes, first: Reply, timeout: float) -> bytes | None:
    """The whole value whose first fragment is ``first``; ``opcode``: GET or GET_PART. None when the object was replaced
    meanwhile (get it anew)."""
    pieces = [first.value] + [b""] * (first.fragment_count - 1)
    room = (len(first.value) + limits.REQUEST_HEADER_BYTES) // limits.ROOM_UNIT_BYTES  # then all are as long as the first
    indices = iter(range(1, first.fragment_count))

    def produce() -> tuple[int, bytes] | None:
        index = next(indices, None)
        if index is None:
            return None
        sequence = channel.next_sequences()
        packet = channel.packet(opcode, sequence, table, key, b"", first.version, index, room=room)
        return identity_of(sequence, index), packet

    for _, reply in channel.stream(produce, WINDOW, timeout):
        if reply.status in (Status.VERSION_CHANGED, Status.NOT_FOUND):
            return None
        if reply.status != Status.OK:
            raise reply.error()
        if reply.fragment_count != first.fragment_count:  # the server's MTU has become smaller
            return None
        pieces[reply.fragment_index] = reply.value
    return b"".join(pieces)
