"""Objects of any size: in one packet, in fragments of one request, or, beyond 64 KiB, in parts that are put and got one by one.

A large value is seen when its head is put, as a whole or not at all. Its parts never change, and go when it is replaced: who
reads it then finds none, and begins anew.
"""

from __future__ import annotations

import contextlib
import secrets

from splinter import limits
from splinter.client import fragments
from splinter.client.channel import Channel
from splinter.errors import BusyError, RequestError, SplinterError, Status, error_for
from splinter.wire import LARGE, OBJECT_ABSENT, PART, PART_HEAD_BYTES, PART_KEY_STRUCT, TTL_BYTES, Opcode

_REPLACED_PAUSE_SECONDS = 0.001  # before a value that was replaced while it was read is read anew; doubles
_UPLOADS_MAX = 3  # of a large value, whose parts are forgotten if it takes longer than PART_NS
_FORGET_SECONDS = 1.0  # that a put which was refused waits for its parts to be removed
_NO_VERSION = 1  # of no object: versions are even


def get(channel: Channel, table: int, key: bytes) -> tuple[bytes | None, int]:
    """The value and version of an object of any size; (None, 0) when there is none."""
    deadline, pause = channel.waited + channel.timeout, _REPLACED_PAUSE_SECONDS
    while (remaining := deadline - channel.waited) > 0:
        padding = channel.padding.of(table, key)
        reply = channel.request(Opcode.GET, table, key, padding, timeout=remaining)
        if reply.status == Status.NOT_FOUND:
            return None, 0
        if reply.status == Status.VALUE_TOO_LARGE:
            found = _get_large(channel, table, key)
            if found is not None:
                return found
            deadline += channel.timeout  # each part of what was read until then has its own
        elif reply.status != Status.OK:
            raise reply.error()
        else:
            channel.padding.learn(table, reply, len(padding) > 0)
            if reply.fragment_count <= 1:
                return reply.value, reply.version
            remaining = max(deadline - channel.waited, _REPLACED_PAUSE_SECONDS)
            whole = fragments.get_rest(channel, Opcode.GET, table, key, reply, remaining)
            if whole is not None:
                return whole, reply.version
        channel.pause(pause)
        pause *= 2
    raise BusyError("the object was replaced over and over while it was read")


def put(channel: Channel, table: int, key: bytes, value: bytes, if_version: int, ttl: int) -> int:
    """Put an object of any size, for ``ttl`` ns, or (0) for ever; returns its version."""
    if len(value) > limits.VALUE_BYTES_MAX:
        return _put_large(channel, table, key, value, if_version, ttl)
    size = len(key) + len(value) + (TTL_BYTES if ttl else 0)
    channel.learn(size)
    if size > channel.size.body_bytes_max():
        return fragments.put(channel, Opcode.PUT, table, key, value, if_version, ttl)
    return channel.request(Opcode.PUT, table, key, value, if_version, ttl=ttl).checked().version


def _put_large(channel: Channel, table: int, key: bytes, value: bytes, if_version: int, ttl: int) -> int:
    if if_version:
        _require_version(channel, table, key, if_version)
    head = PART.struct.pack(table, len(key), len(value)) + key
    for _ in range(_UPLOADS_MAX):
        identity = secrets.randbits(64)
        try:
            for number, at in enumerate(range(0, len(value), limits.PART_BYTES)):
                part_key = PART_KEY_STRUCT.pack(identity, number)
                fragments.put(channel, Opcode.PUT_PART, table, part_key, head + value[at : at + limits.PART_BYTES])
        except RequestError:
            _forget(channel, table, key, identity, len(value))
            raise
        reply = channel.request(
            Opcode.PUT_LARGE, table, key, LARGE.struct.pack(identity, len(value)), if_version, ttl=ttl
        )  # fmt: skip
        if reply.status != Status.NOT_FOUND:
            return reply.checked().version
    raise BusyError(
        f"a value of {len(value)} bytes could not be put: it took longer than the server keeps the parts of one, "
        f"{limits.PART_NS // 1_000_000_000} s"
    )


def _require_version(channel: Channel, table: int, key: bytes, if_version: int) -> None:
    """Raises :class:`splinter.errors.VersionChangedError` where a put with this condition would be refused by now: before it
    takes room, for which others are perhaps evicted."""
    reply = channel.request(Opcode.TTL, table, key)
    version = 0 if reply.status == Status.NOT_FOUND else reply.checked().version
    if version != (0 if if_version == OBJECT_ABSENT else if_version):
        raise error_for(Status.VERSION_CHANGED)


def _forget(channel: Channel, table: int, key: bytes, identity: int, length: int) -> None:
    """Have the server remove the parts of a value that it refused one of, which else take room until their time is over: it
    does so with an object that cannot be put."""
    large = LARGE.struct.pack(identity, length)
    with contextlib.suppress(SplinterError):
        channel.request(Opcode.PUT_LARGE, table, key, large, _NO_VERSION, timeout=min(channel.timeout, _FORGET_SECONDS))


def _get_large(channel: Channel, table: int, key: bytes) -> tuple[bytes | None, int] | None:
    """The value, of parts, and version of an object; None when it was replaced meanwhile."""
    reply = channel.request(Opcode.GET_LARGE, table, key)
    if reply.status == Status.NOT_FOUND:
        return None, 0
    if reply.status == Status.VERSION_CHANGED:
        return None
    if reply.status != Status.OK:
        raise reply.error()
    if len(reply.value) != LARGE.struct.size or (told := LARGE.struct.unpack(reply.value))[1] > limits.LARGE_BYTES_MAX:
        raise SplinterError("the server describes a large value in a way that this client does not understand")
    identity, length = told
    pieces: list[bytes] = []
    for number in range(-(-length // limits.PART_BYTES)):
        part = _get_part(channel, table, PART_KEY_STRUCT.pack(identity, number))
        if part is None:
            return None
        pieces.append(part[PART_HEAD_BYTES + len(key) :])
    value = b"".join(pieces)
    return (value, reply.version) if len(value) == length else None


def _get_part(channel: Channel, table: int, part_key: bytes) -> bytes | None:
    first = channel.request(Opcode.GET_PART, table, part_key)
    if first.status == Status.NOT_FOUND:
        return None
    if first.checked().fragment_count <= 1:
        return first.value
    return fragments.get_rest(channel, Opcode.GET_PART, table, part_key, first, channel.timeout)
