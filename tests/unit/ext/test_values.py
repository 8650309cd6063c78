"""Numbers, buffers, arrays, helper functions and the store in programs: compiled and under CPython, with the same outcome."""

from __future__ import annotations

import struct
import zlib

import pytest

from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from splinter.limits import LOG_TEXT_BYTES_MAX
from tests.support.runner import Runner
from tests.support.worlds import body, both, outcome

FLOATS = [
    0.0, 700.5, -745.2, 710.0, 2.718281828459045, float("nan"), -0.0, 1.5, -2.25, 1e308, -1e308, 5e-324, float("inf"),
    float("-inf"), 2.0**53, 2.0**63, -(2.0**63), 2.0**64,
]  # fmt: skip


@pytest.mark.parametrize("text", [
    "return a + b", "return a - b", "return a * b", "return a / b", "return -a + 2 * b", "return abs(a) + min(a, b, 1.0)",
    "return max(a, b)", "return sqrt(a)", "return floor(a)",
    "return exp(a)", "return log(a)", "return exp(log(b) / 2)",
    "return f64(i64(a))", "return f64(u64(a))", "return f64(int(b))",
    "return f64(i32(a)) + f64(u8(b))", "return 1.0 if a < b else 2.0 if a == b else 3.0 if a != b else 4.0",
    "return 1.0 if a <= b and not a >= b or a > b else 0.5", "x = a\nfor i in range(3):\n    x += b / 2\n    yield\nreturn x",
])  # fmt: skip
def test_floats(runner: Runner, text: str) -> None:
    source = body(text, "a: f64, b: f64", "f64")
    compiled, local = compile_source(source), LocalStore()
    for a in FLOATS:
        for b in FLOATS:
            got = outcome(lambda a=a, b=b: runner.run(compiled, a, b))
            expected = outcome(lambda a=a, b=b: local.invoke(source, a, b))
            assert got == expected or (got != got and expected != expected), (text, a, b)
            assert str(got) == str(expected) or got != got


def test_floats_that_are_no_numbers(runner: Runner) -> None:
    nan = float("nan")
    compare = body("return u64(a < a) + 2 * (a == a) + 4 * (a != a) + 8 * (a >= a)", "a: f64", "u64")
    assert both(runner, compare, nan) == 4
    assert both(runner, body("return i64(a)", "a: f64", "i64"), nan) == ("OVERFLOW", 3)
    assert both(runner, body("return u64(a)", "a: f64", "u64"), -0.75) == 0


NUMBERS = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]


@pytest.mark.parametrize("name", NUMBERS + [f"{n}_be" for n in NUMBERS if not n.endswith("8")])
def test_numbers_in_memory(runner: Runner, name: str) -> None:
    kind = "f64" if name.startswith("f") else "i64" if name.startswith("i") else "u64"
    source = body(f"b = buffer(24)\nb.append_{name}(x)\nb.append_u8(7)\nb.append(k)\nb.set_{name}(1, b.{name}(0))\n"
                  f"db.put(1, 1, b)\nv = db.get(1, 1)\nreturn v.{name}(1)", f"x: {kind}, k: bytes", kind)  # fmt: skip
    values = [0.0, -1.5, 3e38, 1e-40] if kind == "f64" else [0, 1, 127, 255, 2**15, 2**31, 2**32 - 1, 2**63 - 1]
    for value in values + ([-1, -128, -129, -(2**31), -(2**63)] if kind == "i64" else []):
        both(runner, source, value, bytes(range(9)))


def test_buffers(runner: Runner) -> None:
    echo = body("b = buffer(12)\nb.append(k)\nb.append(b[1:n])\nb.append_u8(255)\nreturn b", "k: bytes, n: i64", "bytes")
    assert both(runner, echo, b"abcd", 3) == b"abcdbc\xff"
    for k in (b"", b"x", b"0123456789", bytes(13)):
        for n in (0, 1, 5, -1):
            both(runner, echo, k, n)
    overlap = body("b = buffer(40)\nb.append(k)\nv = b[0:]\nb.clear()\nb.append(v[n:])\nw = b[0:]\nb.clear()\n"
                   "b.append_u8(1)\nb.append(w)\nreturn b", "k: bytes, n: u64", "bytes")  # fmt: skip
    for n in (0, 1, 3, 8, 20):
        both(runner, overlap, bytes(range(32)), n)
    compare = body("b = buffer(9)\nb.append(k)\nreturn b == k and b[0:2] != k and len(b) == len(k)",
                   "k: bytes", "bool")  # fmt: skip
    assert both(runner, compare, b"12345") is True
    as_key = body("b = buffer(9)\nb.append(k)\ndb.put(1, b, b)\nv = db.get(1, k)\nreturn v", "k: bytes", "bytes")
    assert both(runner, as_key, b"12345") == b"12345"
    assert both(runner, as_key, b"") == ("KEY", 5)
    assert both(runner, body("b = buffer(4)\nb.append_u16(1)\nb.set_u16(x, 7)\nreturn b", "x: i64", "bytes"), 1) == ("INDEX", 5)


def test_a_new_buffer_shows_nothing_of_what_was_in_the_frame(runner: Runner) -> None:
    fill = compile_source(body("b = buffer(64)\nfor i in range(64):\n    b.append_u8(255)\nreturn b", "x: u64", "bytes"))
    assert runner.run(fill, 0) == b"\xff" * 64
    peek = body("b = buffer(64)\nb.append(k)\nb.clear()\na = array(u8, 9)\nreturn a[8] + len(b)", "k: bytes", "u64")
    assert both(runner, peek, b"12") == 0


def test_tables_of_constants(runner: Runner) -> None:
    source = ("A = (1, 2, 300)\nB = [-5, 7]\nC = (1.5, -2.5)\nD = (0, 18446744073709551615)\n@extension\n"
              "def f(db: Store, i: i64) -> f64:\n    x = A[i] + B[1] * len(A)\n    if D[1] == 18446744073709551615:\n"
              "        return f64(x + B[0]) + C[i]\n    return 0.0\n")  # fmt: skip
    assert both(runner, source, 0) == 1 + 21 - 5 + 1.5
    for i in (-4, -2, -1, 1, 2, 3):
        both(runner, source, i)


def test_arrays_at_their_bounds(runner: Runner) -> None:
    for kind, value in (("u8", 256), ("i8", -129), ("u16", -1), ("u32", 2**32), ("i32", 2**31), ("u64", -1)):
        source = body(f"a = array({kind}, 5)\na[i] = x\na[-1] = 1\na[0] += 1\nreturn a[i] + 0 * x", "i: i64, x: i64", "i64")
        if kind == "u64":
            source = source.replace("a[i] + 0 * x", "i64(a[i])")
        assert both(runner, source, 2, value) == ("OVERFLOW", 4)
        for i in (-6, -5, -1, 0, 4, 5, 2**63 - 1):
            both(runner, source, i, 3)


def test_helpers_have_variables_of_their_own(runner: Runner) -> None:
    source = """
def twice(x: u64) -> u64:
    y = 0
    for i in range(2):
        y += x
    return y

def both(x: u64, up: bool) -> tuple[u64, u64]:
    if up:
        return twice(x), x
    return x, twice(x)

def fill(out: Buffer, x: u64) -> None:
    if x == 0:
        return
    out.append_u64(twice(twice(x)))

def seek(db: Store, key: bytes) -> bytes | None:
    v = db.get(1, key)
    return v if v is not None and len(v) > 1 else None

@extension
def f(db: Store, x: u64, k: bytes) -> bytes:
    out = buffer(64)
    y = twice(x) + twice(twice(x) + 1)
    a, b = both(x=y, up=x > 2)
    a, b = b, a
    fill(out, a)
    fill(out, 0)
    fill(out, b)
    v = seek(db, k)
    if v is None:
        out.append_u64(0)
    else:
        out.append(v)
    return out
"""
    runner.store.put(1, b"key", b"value")
    for x in (0, 1, 5, 2**63):
        for k in (b"key", b"none"):
            both(runner, source, x, k)
    assert both(runner, source, 1, b"key") == struct.pack("<QQ", 64, 32) + b"value"


def test_bit_functions(runner: Runner) -> None:
    source = body("return popcount(x) + 100 * clz(x) + 10000 * ctz(x) + (rotl64(x, n) >> 8) + rotl32(x & 0xFFFFFFFF, n)",
                  "x: u64, n: u64", "u64")  # fmt: skip
    for x in (0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF0):
        for n in (0, 1, 31, 32, 63, 64):
            both(runner, source, x, n)
    assert both(runner, body("return rotl32(x, 1)", "x: u64", "u64"), 2**31 + 1) == 3


def test_raise_carries_a_code(runner: Runner) -> None:
    source = body("if x > 5:\n    raise Error(x + 1)\nreturn x", "x: u64", "u64")
    assert both(runner, source, 5) == 5
    for action in (lambda: runner.run(compile_source(source), 6), lambda: runner.store.invoke(source, 6)):
        with pytest.raises(ExtensionFault) as caught:
            action()
        assert (caught.value.error, caught.value.line, caught.value.code) == (ExtensionError.RAISED, 4, 7)


def test_compare_and_put(runner: Runner) -> None:
    source = body("v = db.version(1, k)\nif meddle:\n    db.put(1, k, 99)\nreturn db.put_if(1, k, 7, v)",
                  "k: u64, meddle: bool", "bool")  # fmt: skip
    assert runner.run(compile_source(source), 1, True) is False  # there was no object, and then there was
    assert runner.run(compile_source(source), 2, False) is True  # there is none: it is made
    assert runner.run(compile_source(source), 1, True) is False
    assert runner.run(compile_source(source), 1, False) is True
    assert runner.store.objects[1, (1).to_bytes(8, "little")] == (7).to_bytes(8, "little")
    assert runner.store.invoke(source, 1, True) is False
    assert runner.store.invoke(source, 1, False) is True
    assert runner.store.invoke(source, 3, False) is True


def test_a_worker_without_the_helper_says_so(runner: Runner) -> None:
    runner._context["put_if"] = 0
    with pytest.raises(ExtensionFault) as caught:
        runner.run(compile_source(body("return db.put_if(1, k, 7, 1)", "k: u64", "bool")), 1)
    assert caught.value.error == ExtensionError.UNAVAILABLE


def test_tenant(runner: Runner) -> None:
    runner.store.tenant_id = 4711
    assert runner.run(compile_source(body("return db.tenant()", "k: u64", "u64")), 1) == 4711


@pytest.mark.parametrize("budget", [1, 1000])
def test_records_of_bytes(budget: int) -> None:
    source = body("x = n\nfor r in k[2:].records(n):\n    if r[0] == 9:\n        continue\n    if r[0] == 8:\n        break\n"
                  "    x = x * 1000 + r[0] + len(r)\nreturn x", "k: bytes, n: i64", "i64")  # fmt: skip
    with Runner(budget=budget) as runner:
        assert both(runner, source, b"__\1_\2_\x09_\3_\x08_\4_", 2) == 2003004005
        assert both(runner, source, b"__", 5) == 5
        for n in (0, -1, 3, 2**63 - 1, -(2**63)):
            assert both(runner, source, b"__ab", n) == ("INDEX", 4)
        assert both(runner, source, b"__abc", 3) == 3 * 1000 + 97 + 3
    with Runner(budget=budget) as runner:
        source = body("t = 0\nb = buffer(32)\nb.append(k)\nfor r in b.records(8):\n    t += r.u64(0)\nv = db.get(1, 5)\n"
                      "for r in v.records(4):\n    t += r.u32(0)\nreturn t", "k: bytes", "u64")  # fmt: skip
        assert both(runner, source, struct.pack("<QQ", 5, 7)) == ("NONE", 9)
        runner.store.put(1, 5, struct.pack("<II", 1, 2))
        assert both(runner, source, struct.pack("<QQ", 5, 7)) == 15


@pytest.mark.parametrize("budget", [1, 1000])
def test_multiget(budget: int) -> None:
    source = body("total: u64 = 0\nmissing: u64 = 0\nfor v in db.multiget(t, keys=keys, size=n):\n    if v is None:\n"
                  "        missing += 1\n    else:\n        total += v.u64(0)\nreturn total, missing",
                  "t: u64, n: u64, keys: bytes", "tuple[u64, u64]")  # fmt: skip
    with Runner(budget=budget) as runner:
        for key in (2, 3, 5):
            runner.store.put(1, key, 10 * key)
        assert both(runner, source, 1, 8, struct.pack("<4Q", 5, 4, 2, 5)) == (120, 1)
        assert both(runner, source, 1, 8, b"") == (0, 0)
        assert both(runner, source, 0xFF00, 8, b"") == ("TABLE", 5)
        for n in (0, 7, 2**64 - 1):
            assert both(runner, source, 1, n, bytes(8)) == ("INDEX", 5)
        assert both(runner, source, 1, 300, bytes(300)) == ("KEY", 5)


def test_digests(runner: Runner) -> None:
    crc, fnv = (compile_source(body(f"return {name}(k)", "k: bytes", "u64")) for name in ("crc32", "hash64"))
    for k in (b"", b"a", b"123456789", bytes(range(256)) * 5):
        assert runner.run(crc, k) == zlib.crc32(k)
        assert runner.run(fnv, k) == runner.store.invoke(body("return hash64(k)", "k: bytes", "u64"), k)
    assert runner.run(fnv, b"a") == 0xAF63DC4C8601EC8C  # from the authors' test vectors
    assert both(runner, body("return crc32(db.get(1, 1))", "k: bytes", "u64"), b"") == ("NONE", 3)


def test_clock_and_log(runner: Runner) -> None:
    source = body("then = db.now_ns()\ndb.log(k)\ndb.log(b'fixed')\nreturn db.now_ns() >= then > 0", "k: bytes", "bool")
    assert both(runner, source, b"x" * 500) is True
    assert runner.store.logged == [b"x" * LOG_TEXT_BYTES_MAX, b"fixed"]
    runner._context["log"] = 0
    with pytest.raises(ExtensionFault) as caught:
        runner.run(compile_source(source), b"")
    assert (caught.value.error, caught.value.line) == (ExtensionError.UNAVAILABLE, 4)


@pytest.mark.parametrize("over", ["v", "v[0:]"])
def test_a_loop_over_records_keeps_what_it_goes_over(over: str) -> None:
    """What the body assigns to the names in the loop's head must not move the loop out of its bytes."""
    source = body("t = 0\nn = 2\nv = db.get(1, 1)\nif v is None:\n    return 0\n"
                  f"for r in {over}.records(n):\n    t += r.u16(0)\n"
                  "    v = k\n    n = 1000000\nreturn t", "k: bytes", "u64")  # fmt: skip
    store = LocalStore()
    store.put(1, 1, struct.pack("<4H", 1, 2, 3, 4))
    with Runner(store) as runner:
        assert runner.run(compile_source(source), b"x") == store.invoke(source, b"x") == 10


def test_a_multiget_keeps_its_table() -> None:
    source = body("t = 0\nn: u64 = 1\nfor v in db.multiget(n, k, 1):\n    n = 70000\n    if v is not None:\n        t += v[0]\n"
                  "return t", "k: bytes", "u64")  # fmt: skip
    store = LocalStore()
    for key in (b"a", b"b"):
        store.put(1, key, key)
    with Runner(store) as runner:
        assert runner.run(compile_source(source), b"ab") == store.invoke(source, b"ab") == 97 + 98
