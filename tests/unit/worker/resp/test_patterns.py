"""Patterns of keys, beside regular expressions that say the same."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from splinter.worker.resp.patterns import matches

LETTERS = b"ab*?[]\\^-c"


def does(pattern: bytes, text: bytes) -> bool:
    memory = np.frombuffer(pattern + b"x" + text + b"x", np.uint8).copy()
    at = memory.ctypes.data
    return bool(matches(at, len(pattern), at + len(pattern) + 1, len(text)))


def expression(pattern: bytes) -> bytes:
    """The same as a regular expression, of a pattern whose classes end."""
    found, at = b"", 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            found += b".*"
        elif byte == b"?":
            found += b"."
        elif byte == b"\\" and at + 1 < len(pattern):
            at += 1
            found += re.escape(pattern[at : at + 1])
        elif byte == b"[":
            at += 1
            is_not = pattern[at : at + 1] == b"^"
            at += is_not
            members: set[int] = set()
            while pattern[at : at + 1] not in (b"]", b""):
                if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
                    at += 1
                    members.add(pattern[at])
                elif at + 2 < len(pattern) and pattern[at + 1 : at + 2] == b"-":
                    low, high = sorted((pattern[at], pattern[at + 2]))
                    members |= set(range(low, high + 1))
                    at += 2
                else:
                    members.add(pattern[at])
                at += 1
            chosen = b"".join(b"\\x%02x" % member for member in sorted(members))
            found += (b"[^" + chosen + b"]" if is_not else b"[" + chosen + b"]") if members else b"." if is_not else b"(?!)"
        else:
            found += re.escape(byte)
        at += 1
    return found


def test_random_patterns() -> None:
    rng, matched = random.Random(4), 0
    for _ in range(20_000):
        pattern = bytes(rng.choices(LETTERS, k=rng.randrange(8)))
        text = bytes(rng.choices(b"abc-*]", k=rng.randrange(7)))
        wanted = re.fullmatch(expression(pattern), text, re.DOTALL) is not None
        assert does(pattern, text) == wanted, (pattern, text)
        matched += wanted
    assert matched > 500


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        (b"*", b"", True),
        (b"", b"", True),
        (b"", b"a", False),
        (b"h?llo", b"hello", True),
        (b"h[ae]llo", b"hillo", False),
        (b"h[^e]llo", b"hallo", True),
        (b"h[a-b]llo", b"hbllo", True),
        (b"a\\*b", b"a*b", True),
        (b"a\\*b", b"axb", False),
        (b"*a*b*c*", b"xxaxxbxxcxx", True),
        (b"user:*:name", b"user:17:name", True),
        (b"*" * 50 + b"b", b"a" * 200, False),  # no pattern takes longer than the product of both lengths
    ],
)
def test_patterns(pattern: bytes, text: bytes, wanted: bool) -> None:
    assert does(pattern, text) is wanted
