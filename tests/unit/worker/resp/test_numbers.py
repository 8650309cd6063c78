"""Numbers as clients write them."""

from __future__ import annotations

import ctypes
import random
from decimal import Decimal

import numpy as np
import pytest

from splinter.worker.resp.numbers import NO_NUMBER, NOT_FINITE, SUM_BYTES, TOO_LONG, add_decimals, parse_integer, parse_unsigned
from splinter.worker.resp.replies import put_digits

BORDERS = [0, 1, -1, 9, 10, 99, 100, 2**31, -(2**31), 2**63 - 1, -(2**63), 2**63 - 2, -(2**63) + 1, 10**18, -(10**18)]


def integer_of(text: bytes) -> int | None:
    memory = np.frombuffer(text + b"9", np.uint8).copy()  # a digit behind it that is not its own
    is_number, number = parse_integer(memory.ctypes.data, len(text))
    return number if is_number else None


def test_whole_numbers_of_64_bits_and_nothing_else() -> None:
    rng = random.Random(1)
    for number in [*BORDERS, *(rng.randrange(-(2**63), 2**63) for _ in range(500))]:
        assert integer_of(b"%d" % number) == number
    for text in (b"", b"-", b"+1", b"01", b"-0", b"00", b" 1", b"1 ", b"1.0", b"1e3", b"0x1", b"12a", b"--1", b"\x001"):
        assert integer_of(text) is None, text
    for beyond in (2**63, -(2**63) - 1, 10**19, -(10**19), 2**64, 10**30):
        assert integer_of(b"%d" % beyond) is None


def test_unsigned_numbers_of_64_bits_and_nothing_else() -> None:
    rng = random.Random(4)
    borders = [
        0,
        1,
        9,
        2**63 - 1,
        2**63,
        2**63 + 1,
        10**19 - 1,
        10**19,
        2**64 - 1,
        2**64 - 2,
        2**64 - 6,
        9_223_372_036_854_775_809,
    ]

    def unsigned_of(text: bytes) -> int | None:
        memory = np.frombuffer(text + b"9", np.uint8).copy()
        is_number, number = parse_unsigned(memory.ctypes.data, len(text))
        return number % 2**64 if is_number else None

    for number in [*borders, *(rng.randrange(2**64) for _ in range(500))]:
        assert unsigned_of(b"%d" % number) == number
    for beyond in (2**64, 2**64 + 1, 2**64 + 4, 10**20 - 1, 10**20, 10**30):
        assert unsigned_of(b"%d" % beyond) is None
    for text in (
        b"",
        b"-",
        b"-1",
        b"+1",
        b"01",
        b" 1",
        b"1 ",
        b"922337203685477580x",
        b"1844674407370955161x",
        b"-1844674407370955161",
    ):
        assert unsigned_of(text) is None, text


def test_numbers_are_written_in_full() -> None:
    memory = np.zeros(32, np.uint8)
    rng = random.Random(2)
    for number in [*BORDERS, *(rng.randrange(-(2**63), 2**63) for _ in range(500))]:
        end = put_digits(memory.ctypes.data, number)
        assert ctypes.string_at(memory.ctypes.data, end - memory.ctypes.data) == b"%d" % number


def total(one: bytes, other: bytes) -> bytes | int:
    texts = np.frombuffer(one + b"9" + other + b"9", np.uint8).copy()
    target = np.zeros(SUM_BYTES, np.uint8)
    at = texts.ctypes.data
    size = add_decimals(at, len(one), at + len(one) + 1, len(other), target.ctypes.data)
    return size if size < 0 else target[:size].tobytes()


def test_decimal_sums_are_exact() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        one, other = (
            Decimal(rng.randrange(-(10**8), 10**8)).scaleb(-rng.randrange(8)) * (1 if rng.random() < 0.9 else 0)
            for _ in range(2)
        )
        wanted = one + other
        found = total(f"{one:f}".encode(), f"{other:f}".encode())
        assert isinstance(found, bytes)
        assert Decimal(found.decode()) == wanted
        assert b"e" not in found and not (b"." in found and found.endswith((b"0", b".")))


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (b"10.50", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"3", b"-3", b"0"),
        (b"0.1", b"0.2", b"0.3"),
        (b"-1.5", b"1.25", b"-0.25"),
        (b"+1", b".5", b"1.5"),
        (b"1.", b"1", b"2"),
        (b"1e-3", b"1E+1", b"10.001"),
        (b"123456789012345678", b"1", b"123456789012345680"),  # beyond 17 digits: the nearest float64
        (b"", b"1", NO_NUMBER),
        (b"1", b"x", NO_NUMBER),
        (b" 1", b"1", NO_NUMBER),
        (b"1 ", b"1", NO_NUMBER),
        (b"nan", b"1", NO_NUMBER),
        (b"1", b"0x", NO_NUMBER),
        (b"inf", b"1", NOT_FINITE),
        (b"1", b"-inf", NOT_FINITE),
        (b"1e300", b"1", TOO_LONG),
    ],
)
def test_odd_decimals(one: bytes, other: bytes, wanted: bytes | int) -> None:
    assert total(one, other) == wanted
