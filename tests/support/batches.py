"""What a BATCH's packet lists and its reply tells, byte by byte."""

from __future__ import annotations

import struct
from typing import NamedTuple

from splinter.errors import Status
from splinter.wire import FLAG_EXPIRES, Opcode

_REQUEST = struct.Struct("<BBHHH")
_ANSWER = struct.Struct("<HHQ")
_NAMES_VERSION = 1


class One(NamedTuple):
    """A request. ``ttl_ns``: of a put, behind its value."""

    opcode: Opcode
    key: bytes
    value: bytes = b""
    version: int = 0
    table: int = 0
    ttl_ns: int | None = None

    @property
    def body(self) -> bytes:
        """What stands behind the key."""
        return self.value if self.ttl_ns is None else self.value + self.ttl_ns.to_bytes(8, "little")

    @property
    def flags(self) -> int:
        """As of the request by itself."""
        return 0 if self.ttl_ns is None else FLAG_EXPIRES

    def packed(self, *, always_names_version: bool = False) -> bytes:
        """As one of several."""
        names = self.version != 0 or always_names_version
        flags = self.flags | (_NAMES_VERSION if names else 0)
        head = _REQUEST.pack(self.opcode, len(self.key), self.table, len(self.body), flags)
        return head + (self.version.to_bytes(8, "little") if names else b"") + self.key + self.body


class Answer(NamedTuple):
    """What one request is told."""

    status: Status
    version: int
    value: bytes


def answers(body: bytes) -> list[Answer]:
    """Those of a reply, which has nothing else."""
    found, at = [], 0
    while at < len(body):
        status, length, version = _ANSWER.unpack_from(body, at)
        at += _ANSWER.size
        assert at + length <= len(body)
        found.append(Answer(Status(status), version, body[at : at + length]))
        at += length
    return found
