"""Argument blocks for a correct extension that no client library would send."""

from __future__ import annotations

import struct

import pytest

SOURCE = """@extension
def strict(db: Store, a: i64, k: bytes, t: bool, m: bytes) -> i64:
    x = a + 1000 * len(k) + 1000000 * len(m)
    if len(k) > 0:
        x += k[0] ^ k[-1]
    if len(m) > 0:
        x += m[0] ^ m[-1]
    return x + 500 if t else x
"""
WORDS = struct.Struct("<qQQQ")
HEAD = WORDS.size
U32 = (1 << 32) - 1


def block(k: tuple[int, int], m: tuple[int, int] = (HEAD, 0), flag: int = 0, tail: bytes = b"") -> bytes:
    """Packed arguments; ``k`` and ``m`` are (offset, length)."""
    return WORDS.pack(7, k[0] | k[1] << 32, flag, m[0] | m[1] << 32) + tail


_RAW: dict[str, tuple[bytes, int | None]] = {  # None: BAD_ARGUMENTS
    "all is well": (block((HEAD, 3), (HEAD + 3, 2), 1, b"\1\0\3\5\6"), 7 + 3000 + 2_000_000 + 500 + 2 + 3),
    "both the same bytes": (block((HEAD, 3), (HEAD, 3), 0, b"\1\0\3"), 7 + 3000 + 3_000_000 + 2 + 2),
    "overlapping": (block((HEAD, 3), (HEAD + 1, 2), 0, b"\1\0\3"), 7 + 3000 + 2_000_000 + 2 + 3),
    "empty at the end": (block((HEAD + 3, 0), (HEAD, 0), 0, b"abc"), 7),
    "more bytes than named": (block((HEAD, 1), tail=bytes(1000)), 7 + 1000),
    "the upper half of the longest": (block((HEAD, 1300), tail=b"\1" * 1300), 7 + 1_300_000),
    "nothing": (b"", None),
    "one byte": (b"\0", None),
    "a byte too few": (block((HEAD, 0))[:-1], None),
    "a parameter too few": (block((HEAD, 0))[:-8], None),
    "in the words": (block((HEAD - 1, 1), tail=b"abc"), None),
    "the words themselves": (block((0, HEAD), tail=b"abc"), None),
    "empty, in the words": (block((0, 0), tail=b"abc"), None),
    "one byte beyond": (block((HEAD, 4), tail=b"abc"), None),
    "empty, one byte beyond": (block((HEAD + 4, 0), tail=b"abc"), None),
    "the last word beyond": (block((HEAD, 3), (HEAD + 2, 2), tail=b"abc"), None),
    "the longest": (block((HEAD, U32), tail=b"abc"), None),
    "the farthest": (block((U32, 0), tail=b"abc"), None),
    "the longest from the farthest": (block((U32, U32), tail=b"abc"), None),
    "a sum that wraps 32 bits to 3": (block((HEAD + 3, U32 - HEAD + 1), tail=b"abc"), None),
    "a negative length": (block((HEAD, 1 << 31), tail=b"abc"), None),
    "a negative offset": (block((U32 - 7, 8), tail=b"abc"), None),
    "a flag of 2": (block((HEAD, 0), flag=2), None),
    "a flag of all ones": (block((HEAD, 0), flag=(1 << 64) - 1), None),
    "a flag in the upper half": (block((HEAD, 0), flag=1 << 32), None),
    "all ones": (b"\xff" * HEAD, None),
}
BLOCKS = [pytest.param(content, expected, id=name) for name, (content, expected) in _RAW.items()]
