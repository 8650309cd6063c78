"""Floats that fit no binary32 are an error where they are stored, compiled and under CPython; every other one is rounded."""

from __future__ import annotations

import math
import struct

import pytest

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


def test_a_sign_is_turned_whatever_it_stands_before(program: Prepared) -> None:
    for x in (0.0, -0.0, 1.5, math.inf, math.nan, -math.nan):
        assert program.agree(x, 4) == (math.copysign(1.0, x) > 0)
