"""Many objects looked up at once: multigets pipelined over one channel."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from splinter import limits
from splinter.client import objects
from splinter.client.channel import Channel
from splinter.client.flights import Reply, identity_of
from splinter.errors import ProtocolError, Status
from splinter.wire import MULTIGET_MISSING, MULTIGET_TOO_LARGE, MULTIGET_VERSIONS, Opcode

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


@dataclass
class Found:
    """What a multiget of any number of keys has found. ``versions`` are only told where they were asked for; of what is not
    there 0. ``instants``: at how many it was looked up."""

    values: list[bytes | None]
    versions: list[int]
    instants: int = 0


def get_many(channel: Channel, keys: Sequence[bytes], table: int, window: int, *, has_versions: bool = False) -> Found:
    """Look up ``keys`` by pipelined multigets; what is found stands in their order.

    A reply holds as many values as fit a packet. What did not fit is asked for again, and later requests carry no more
    keys than the last reply had values, so that little is looked up for nothing. Each value beyond one packet is got by itself.
    """
    channel.learn(sum(_U16.size + len(key) for key in keys))
    found = Found([None] * len(keys), [0] * len(keys))
    waiting = deque(range(len(keys)))  # positions in keys
    asked: dict[int, list[int]] = {}
    large: list[int] = []
    batch_max = limits.MULTIGET_KEYS_MAX

    def produce() -> tuple[int, bytes] | None:
        if not waiting:
            return None
        batch: list[int] = []
        body: list[bytes] = []
        room = channel.size.body_bytes_max()
        while waiting and len(batch) < batch_max:
            key = keys[waiting[0]]
            room -= _U16.size + len(key)
            if room < 0:
                break
            batch.append(waiting.popleft())
            body += (_U16.pack(len(key)), key)
        sequence = channel.next_sequences()
        identity = identity_of(sequence)
        asked[identity] = batch
        asks = MULTIGET_VERSIONS if has_versions else 0
        return identity, channel.packet(Opcode.MULTIGET, sequence, table, b"", b"".join(body), asks)

    for identity, reply in channel.stream(produce, window):
        batch = asked.pop(identity)
        answered = _read_multiget(reply, batch, found, large, _U64.size if has_versions else 0)
        found.instants += 1
        waiting.extendleft(reversed(batch[answered:]))
        if answered < len(batch):
            batch_max = answered
        elif len(batch) == batch_max:  # all fitted: more may
            batch_max = min(batch_max * 2, limits.MULTIGET_KEYS_MAX)
    for position in large:
        found.values[position], found.versions[position] = objects.get(channel, table, keys[position])
        found.instants += 1
    return found


def _read_multiget(reply: Reply, batch: list[int], found: Found, large: list[int], version_bytes: int) -> int:
    """Enter a reply's values; returns how many of the batch's keys it answers (at least one)."""
    if reply.status != Status.OK:
        raise reply.error()
    body, at, answered = reply.value, 0, 0
    while at + _U32.size <= len(body) and answered < len(batch):
        (length,) = _U32.unpack_from(body, at)
        at += _U32.size
        if length == MULTIGET_TOO_LARGE:
            large.append(batch[answered])
        elif length != MULTIGET_MISSING:
            if version_bytes + length > len(body) - at:
                raise ProtocolError("a multiget's reply is damaged")
            if version_bytes:
                (found.versions[batch[answered]],) = _U64.unpack_from(body, at)
                at += version_bytes
            found.values[batch[answered]] = body[at : at + length]
            at += length
        answered += 1
    if answered == 0:
        raise ProtocolError("a multiget's reply answers no key")
    return answered
