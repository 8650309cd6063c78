"""Floats that fit no binary32 are an error where they are stored, compiled and under CPython; every other one is rounded."""

from __future__ import annotations

import math
import struct

import pytest

from splinter.ext import LocalStore
from tests.support.forms import FORMS, Prepared, prepare

SOURCE = """@extension
def f(db: Store, x: f64, n: i64) -> f64:
    g = array(f32, 1)
    m = buffer(8)
    if n == 0:
        g[0] = x
        return g[0]
    if n == 1:
        m.append_f32(x)
        return m.f32(0)
    if n == 2:
        m.append_u32(0)
        m.set_f32_be(0, x)
        return m.f32_be(0)
    if n == 3:
        g[0] += x
        return g[0]
    m.append_f64(-x)
    return f64(m.u8(7) >> 7)
"""
ROUNDS_DOWN = math.nextafter(2.0**128 - 2.0**103, 0.0)
LARGEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


@pytest.fixture(scope="module")
def program() -> Prepared:
    return prepare(SOURCE, forms=FORMS[:2])[0]


@pytest.mark.parametrize("way", range(4))
def test_what_fits_no_binary32_is_an_error(program: Prepared, way: int) -> None:
    for sign in (1.0, -1.0):
        for x in (3.5e38, 2.0**128, math.nextafter(ROUNDS_DOWN, math.inf), 1.7e308):
            assert program.agree(sign * x, way)[0] == "OVERFLOW"
        for x in (ROUNDS_DOWN, LARGEST, 1e-50, 0.1, math.inf):
            assert program.agree(sign * x, way) == struct.unpack("<f", struct.pack("<f", sign * x))[0]
    assert math.isnan(program.agree(math.nan, way))


NANS = """@extension
def f(db: Store, x: f64, v: bytes, n: u64) -> f64:
    g = array(f32, 1)
    h = array(f64, 1)
    m = buffer(80)
    y = 1e308 * 10.0
    nan = y - y
    if n == 1:
        nan = -nan
    elif n == 2:
        nan = abs(x)
    elif n == 3:
        nan = x
    elif n == 4:
        nan = v.f32(0)
    elif n == 5:
        nan = v.f64(4) + 1.0
    elif n == 6:
        nan = v.f64_be(12)
    elif n == 7:
        nan = sqrt(max(x, 1.0) * nan)
    elif n == 8:
        nan = floor(v.f64(4))
    elif n == 9:
        nan = v.f64(4)
    elif n == 10:
        nan = exp(log(x))
    elif n == 11:
        nan = min(-x, v.f32(0))
    yield
    g[0] = nan
    h[0] = nan
    m.append_f32(nan)
    m.append_f64(nan)
    m.append_f32_be(g[0])
    m.append_f64_be(h[0])
    m.append_f32(x)
    m.append_f64(0.0)
    m.set_f64(28, v.f64(4))
    g[0] = v.f32(0)
    m.append_f32(g[0])
    m.append_f32(v.f32(0))
    db.put(1, 1, m)
    if n & 1:
        return v.f32(0)
    return nan
@extension
def g(db: Store, x: f64, v: bytes) -> tuple[f64, f64]:
    return -x, v.f64(4)
"""
NAN, NAN32 = "000000000000f87f", "0000c07f"


def reversed_bytes(text: str) -> str:
    return bytes.fromhex(text)[::-1].hex()


@pytest.mark.parametrize("bits", ["0100f07f", "0000f8ff", "0100f0ff", "efbef87f"])
def test_what_is_not_a_number_has_the_same_bits_in_every_form(bits: str) -> None:
    first, _, rest = NANS.partition("@extension\ndef g")
    stores, returns = prepare(first, "@extension\ndef g" + rest)
    x = struct.unpack("<d", bytes.fromhex(f"01000000{bits}"))[0]
    signalling = bytes.fromhex(f"0100807f01000000{bits}{reversed_bytes(f'01000000{bits}')}")
    stored = NAN32 + NAN + reversed_bytes(NAN32) + reversed_bytes(NAN) + NAN32 + NAN + NAN32 * 2
    for n in range(12):
        result = stores.agree(x, signalling, n)
        assert struct.pack("<d", result).hex() == NAN
        store = LocalStore()
        store.invoke(first, x, signalling, n)
        assert store.objects[1, (1).to_bytes(8, "little")].hex() == stored
    assert [struct.pack("<d", part).hex() for part in returns.agree(x, signalling)] == [NAN] * 2
    assert stores.program.signature.pack((x, b"", 0))[:8].hex() == NAN


def test_a_sign_is_turned_whatever_it_stands_before(program: Prepared) -> None:
    for x in (0.0, -0.0, 1.5, math.inf, math.nan, -math.nan):
        assert program.agree(x, 4) == (math.copysign(1.0, x) > 0 and not math.isnan(x))  # which has no sign in memory
