"""What a TRANSACT's packet lists, byte by byte."""

from __future__ import annotations

import struct

from splinter.wire import ENTRY_DELETES, ENTRY_READS

_ENTRY = struct.Struct("<HHIQ")
ABSENT = (1 << 64) - 1  # as a version: there was no object


def reads(key: bytes, version: int, *, table: int = 0) -> bytes:
    """The object of a key was read."""
    return _ENTRY.pack(table, len(key), ENTRY_READS, version) + key


def puts(key: bytes, value: bytes, version: int = 0, *, table: int = 0) -> bytes:
    """A key is to have a value; ``version`` ≠ 0: it was read before."""
    return _ENTRY.pack(table, len(key), len(value), version) + key + value


def deletes(key: bytes, version: int = 0, *, table: int = 0) -> bytes:
    """The object of a key is to be deleted."""
    return _ENTRY.pack(table, len(key), ENTRY_DELETES, version) + key
