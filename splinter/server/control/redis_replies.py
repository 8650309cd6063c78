"""Replies of the Redis protocol, made of Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A line with its first byte: a status or an error. What could end it is made a space."""

    text: str


@dataclass(frozen=True)
class Fields:
    """A map; in RESP2 an array of as many keys and values."""

    values: Mapping[bytes, Value]


Value = bytes | int | None | Line | Fields | Sequence["Value"]


def encode(value: Value, protocol: int) -> bytes:
    """The bytes of a reply in RESP2 or RESP3."""
    if value is None:
        return b"_\r\n" if protocol >= 3 else b"$-1\r\n"
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, Line):
        return " ".join(value.text.split()).encode(errors="replace") + b"\r\n"
    if isinstance(value, Fields):
        flat = [part for pair in value.values.items() for part in pair]
        head = b"%%%d\r\n" % len(value.values) if protocol >= 3 else b"*%d\r\n" % len(flat)
        return head + b"".join(encode(part, protocol) for part in flat)
    return b"*%d\r\n" % len(value) + b"".join(encode(part, protocol) for part in value)
