"""What a TRANSACT's packet lists, byte by byte."""

from __future__ import annotations

import struct

from splinter.wire import ENTRY_DELETES, ENTRY_EXPIRES, ENTRY_READS

_ENTRY = struct.Struct("<HHIQ")
ABSENT = (1 << 64) - 1  # as a version: there was no object


def reads(key: bytes, version: int, *, table: int = 0) -> bytes:
    """The object of a key was read."""
    return _ENTRY.pack(table, len(key), ENTRY_READS, version) + key


def puts(key: bytes, value: bytes, version: int = 0, *, table: int = 0) -> bytes:
    """A key is to have a value; ``version`` ≠ 0: it was read before."""
    return _ENTRY.pack(table, len(key), len(value), version) + key + value


def puts_for(key: bytes, value: bytes, ttl_ns: int, version: int = 0, *, table: int = 0) -> bytes:
    """A key is to have a value that lives for so many ns."""
    length = len(value) + 8 | ENTRY_EXPIRES
    return _ENTRY.pack(table, len(key), length, version) + key + value + ttl_ns.to_bytes(8, "little")


def deletes(key: bytes, version: int = 0, *, table: int = 0) -> bytes:
    """The object of a key is to be deleted."""
    return _ENTRY.pack(table, len(key), ENTRY_DELETES, version) + key
