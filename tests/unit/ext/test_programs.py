"""Programs that run compiled and under CPython, with the same result or the same error on the same line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import pytest

from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from splinter.ext.runner import Runner
from splinter.limits import LOG_TEXT_BYTES_MAX
from tests.support.forms import FORMS, prepare

HYPERNYMS = '''
from splinter.ext import extension, Store, u64

@extension
def hypernyms(db: Store, synset: u64) -> u64:
    """Number of steps from a synset up to the root."""
    steps = 0
    while True:
        node = db.get(table=1, key=synset)       # a view into the store: no copy
        if node is None:
            return steps
        synset = node.u64(0)
        steps += 1
        yield                                    # optional: the compiler yields for you as well
'''

COMMON_ANCESTOR = """
@extension
def common_ancestor(db: Store, left: u64, right: u64) -> u64:
    depths = 0
    node = db.get(1, left)
    while node is not None and len(node) >= 8:
        depths += 1
        node = db.get(1, node.u64(0))
    other = db.get(1, right)
    while other is not None and len(other) >= 8:
        depths -= 1
        other = db.get(1, other.u64(0))
    while left != right:
        if depths >= 0:
            a = db.get(1, left)
            if a is None:
                return 0
            left = a.u64(0)
        if depths <= 0:
            b = db.get(1, right)
            if b is None:
                return 0
            right = b.u64(0)
        if depths > 0:
            depths -= 1
        elif depths < 0:
            depths += 1
    return left
"""


@pytest.fixture
def runner() -> Iterator[Runner]:
    with Runner() as made:
        yield made


def outcome(action):  # type: ignore[no-untyped-def]
    """A result, or the error and line that stood in its place."""
    try:
        return action()
    except ExtensionFault as fault:
        return fault.error.name, fault.line


def both(runner: Runner, source: str, *args: object, **kwargs: object) -> object:
    """Run in both worlds on equal stores, and assert that results and stores stay equal; the common result.

    Compiled, it runs as the compiler would have it, and poisoned in each form.
    """
    (prepared,) = prepare(source, forms=FORMS[:2])
    prepared.agree(*args, *kwargs.values(), objects=dict(runner.store.objects))
    local = LocalStore()
    local.objects.update(runner.store.objects)
    compiled = outcome(lambda: runner.run(compile_source(source), *args, **kwargs))
    interpreted = outcome(lambda: local.invoke(source, *args, **kwargs))
    assert compiled == interpreted
    assert type(compiled) is type(interpreted)
    assert runner.store.objects == local.objects
    return compiled


def body(text: str, parameters: str = "a: i64, b: i64", result: str = "i64") -> str:
    """An extension from the lines of its body, the first of which is line 3."""
    lines = "\n".join("    " + line for line in text.strip("\n").split("\n"))
    return f"@extension\ndef f(db: Store, {parameters}) -> {result}:\n{lines}\n"


def test_hypernyms(runner: Runner) -> None:
    for key in range(20):
        runner.store.put(1, key, key - 1 if key else 999)
    assert both(runner, HYPERNYMS, synset=19) == 20
    assert both(runner, HYPERNYMS, synset=12345) == 0


@pytest.mark.parametrize(("left", "right", "expected"), [(5, 6, 4), (4, 6, 4), (9, 6, 1), (1, 1, 1), (77, 78, 0)])
def test_common_ancestor(runner: Runner, left: int, right: int, expected: int) -> None:
    for child, parent in {2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 1, 8: 7, 9: 8}.items():
        runner.store.put(1, child, parent)
    runner.store.put(1, 1, b"")
    assert both(runner, COMMON_ANCESTOR, left, right) == expected


EXTREMES = [-(2**63), -(2**63) + 1, -7, -1, 0, 1, 2, 7, 63, 64, 2**31, 2**62, 2**63 - 1]


@pytest.mark.parametrize("operator", ["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"])
@pytest.mark.parametrize("kind", ["i64", "u64"])
def test_arithmetic_at_the_extremes(runner: Runner, operator: str, kind: str) -> None:
    source = body(f"return a {operator} b", f"a: {kind}, b: {kind}", kind)
    compiled, local = compile_source(source), LocalStore()
    values = EXTREMES if kind == "i64" else [v for v in EXTREMES if v >= 0] + [2**63, 2**64 - 1]
    for a in values:
        for b in values:
            got = outcome(lambda a=a, b=b: runner.run(compiled, a, b))
            assert got == outcome(lambda a=a, b=b: local.invoke(source, a, b)), (a, operator, b)


@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">="])
def test_signed_and_unsigned_compare_exactly(runner: Runner, operator: str) -> None:
    source = body(f"return (1 if a {operator} b else 0) + (2 if b {operator} a else 0)", "a: i64, b: u64", "u64")
    compiled = compile_source(source)
    for a in EXTREMES:
        for b in [0, 1, 2**63 - 1, 2**63, 2**64 - 1]:
            expected = eval(f"(1 if a {operator} b else 0) + (2 if b {operator} a else 0)", {"a": a, "b": b})
            assert runner.run(compiled, a, b) == expected


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("return a if 0 < a < b <= 10 else -1", (3, 10), 3),
        ("return a if 0 < a < b <= 10 else -1", (3, 11), -1),
        ("return a if a and not b or a == 5 else 0", (5, 1), 5),
        ("return min(a, b, 3) + max(a, b) + abs(a)", (-9, 4), 4),
        ("return ~a + -b", (5, 6), -12),
        ("x = 0\nfor i in range(a):\n    if i == 3:\n        continue\n    if i == b:\n        break\n    x += i\nreturn x",
         (10, 7), 18),
        ("x = 0\nfor i in range(a, b, -3):\n    x = x * 10 + i\nreturn x", (9, 0), 963),
        ("x = 0\nfor i in range(9223372036854775800, a, 5):\n    x += 1\n    i = 0\nreturn x", (2**63 - 1, 0), 2),
        ("x = 0\nwhile True:\n    x += 1\n    if x > a:\n        break\n    yield\nreturn x", (5, 0), 6),
        ("x: u64 = 0\nx = a\nreturn i64(x) if x else 7", (0, 0), 7),
        ("t = a < b\nreturn int(t) + int(bool(a)) + (t == True)", (1, 2), 3),
        ("return (a * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF", (2**62, 0), None),
        ("h = 14695981039346656037\nfor i in range(a):\n    h = ((h ^ i) * 1099511628211) & 0xFFFFFFFFFFFFFFFF\n"
         "return h >> 1", (9, 0), None),
        ("return ((-a << 60) - ~b) & 0xFFFF", (12345, 99), None),
        ("db.put(1, a, b)\nv = db.get(1, a)\nreturn v.i64(0) + len(v)", (1, -5), 3),
        ("db.put(1, b'key', b'value')\nv = db.get(1, b'key')\ndb.delete(1, b'key')\nreturn v[1] + v[-1]", (0, 0), 198),
        ("n = 0\nif db.exists(1, a):\n    n += 1\nif not db.delete(1, a):\n    n += 2\nreturn n", (0, 0), 2),
        ("v = None\nif a:\n    v = db.get(1, 1)\nreturn 1 if v is None else 2", (0, 0), 1),
        ("assert a < b, 'in order'\nreturn b - a", (1, 5), 4),
    ],
)  # fmt: skip
def test_statements(runner: Runner, text: str, args: tuple[int, int], expected: int | None) -> None:
    result = both(runner, body(text), *args)
    assert isinstance(result, int)
    assert expected is None or result == expected


@pytest.mark.parametrize(
    ("text", "args", "error", "line"),
    [
        ("x = a\nreturn x + b", (2**63 - 1, 1), "OVERFLOW", 4),
        ("return -a", (-(2**63), 0), "OVERFLOW", 3),
        ("return abs(a)", (-(2**63), 0), "OVERFLOW", 3),
        ("x: u64 = a\nreturn b", (-1, 0), "OVERFLOW", 3),
        ("return i64(u64(a))", (-1, 0), "OVERFLOW", 3),
        ("return 1 << 62 << a", (1, 0), "OVERFLOW", 3),
        ("return a // b", (1, 0), "DIVISION", 3),
        ("return a % b", (1, 0), "DIVISION", 3),
        ("return a // b", (-(2**63), -1), "OVERFLOW", 3),
        ("return a << b", (1, 64), "SHIFT", 3),
        ("return a >> b", (1, -1), "SHIFT", 3),
        ("return (a << b) & 255", (1, 64), "SHIFT", 3),
        ("v = db.get(1, 5)\n\nreturn v.i64(0)", (0, 0), "NONE", 5),
        ("v = db.get(1, 5)\nreturn len(v)", (0, 0), "NONE", 4),
        ("v = db.get(1, 5)\ndb.put(1, 6, v)\nreturn 0", (0, 0), "NONE", 4),
        ("db.put(1, 5, a)\nv = db.get(1, 5)\nreturn v.i64(b)", (0, 1), "INDEX", 5),
        ("db.put(1, 5, a)\nv = db.get(1, 5)\nreturn v.i64(b)", (0, -1), "INDEX", 5),
        ("db.put(1, 5, a)\nv = db.get(1, 5)\nreturn v.i64(b)", (0, 2**63 - 1), "INDEX", 5),
        ("db.put(1, 5, a)\nv = db.get(1, 5)\nreturn v.u32(5)", (0, 0), "INDEX", 5),
        ("db.put(1, 5, a)\nv = db.get(1, 5)\nreturn v[b]", (0, -9), "INDEX", 5),
        ("db.put(1, 5, a)\nv = db.get(1, 5)\nreturn v[b]", (0, 8), "INDEX", 5),
        ("db.put(a, 5, a)\nreturn 0", (0xFF00, 0), "TABLE", 3),
        ("return 1 if db.exists(a, 5) else 0", (-1, 0), "TABLE", 3),
        ("v = db.get(1, b'12'[2:])\nreturn 0", (0, 0), "KEY", 3),
        ("assert a, 'nothing'\nreturn 0", (0, 0), "ASSERTION", 3),
    ],
)
def test_errors_name_their_line(runner: Runner, text: str, args: tuple[int, int], error: str, line: int) -> None:
    assert both(runner, body(text), *args) == (error, line)


def test_bytes_travel(runner: Runner) -> None:
    echo = body("return k", "k: bytes, n: u64", "bytes")
    assert both(runner, echo, b"", 1) == b""
    assert both(runner, echo, b"\0binary\xff", 1) == b"\0binary\xff"
    constant = body("return b'\\x00\"\\\\x' if a else b''", "a: bool", "bytes")
    assert both(runner, constant, True) == b'\x00"\\x'
    assert both(runner, constant, False) == b""
    runner.store.put(3, b"name", b"0123456789")
    read = body("v = db.get(3, k)\nreturn v[a:b]", "k: bytes, a: i64, b: i64", "bytes")
    for a in (-100, -3, 0, 2, 10, 11):
        for b in (-100, -3, 0, 2, 10, 2**63 - 1):
            assert both(runner, read, b"name", a, b) == b"0123456789"[a:b]
    both(runner, body("v = db.get(3, k)\nreturn v", "k: bytes", "bytes"), b"missing")


def test_bytes_compare(runner: Runner) -> None:
    runner.store.put(1, 1, b"")
    source = body("v = db.get(1, n)\nreturn (a == b) + 2 * (v == a) + 4 * (a != b'0123456789')",
                  "a: bytes, b: bytes, n: u64", "u64")  # fmt: skip
    long = b"0123456789" * 9
    for a in (b"", b"0123456789", long, long[:-1] + b"x"):
        for b in (b"", b"0123456789", long):
            for n in (1, 2):
                both(runner, source, a, b, n)


def test_local_views_outlive_puts(runner: Runner) -> None:
    source = body("db.put(1, 1, a)\nv = db.get(1, 1)\ndb.put(1, 1, b)\ndb.delete(1, 1)\nyield\nreturn v.i64(0)")
    assert both(runner, source, 11, 22) == 11


def test_results_of_every_type(runner: Runner) -> None:
    assert both(runner, body("pass", "a: u64", "None"), 1) is None
    assert both(runner, body("return a != 0", "a: u64", "bool"), 1) is True
    assert both(runner, body("return a", "a: u64", "u64"), 2**64 - 1) == 2**64 - 1
    assert both(runner, body("return a", "a: i64", "i64"), -(2**63)) == -(2**63)
    assert both(runner, "@extension\ndef f(db: Store) -> u64:\n    return 5\n") == 5


def test_module_constants(runner: Runner) -> None:
    source = (
        '"""Doc."""\nfrom splinter.ext import Store, extension, u64\nTABLE = 3\nMASK = (1 << 64) - 1\nKEY: bytes = b"k"\n'
        "\n@extension\ndef f(db: Store, a: u64) -> u64:\n    db.put(TABLE, KEY, a)\n    return (a * a) & MASK\n"
    )
    assert both(runner, source, 2**40) == 2**80 % 2**64
    assert runner.store.objects == {(3, b"k"): struct.pack("<Q", 2**40)}


@pytest.mark.parametrize("budget", [1, 2, 3, 1000])
def test_loops_yield_by_themselves(budget: int) -> None:
    """Everything that lives across the inserted yields survives them, at every loop and however often."""
    source = body(
        "x = 0\nflag = a > 5\nv = db.get(1, 1)\nfor i in range(a):\n    for j in range(i, 0, -2):\n"
        "        if flag:\n            x += i * j + v.u8(j)\n        else:\n            x -= j\n"
        "    k = i\n    while k > 0:\n        k -= 3\n        x += k\nreturn x + b"
    )
    local = LocalStore()
    local.put(1, 1, bytes(range(100)))
    with Runner(local, budget=budget) as runner:
        for a in (0, 3, 12):
            assert runner.run(compile_source(source), a, 5) == local.invoke(source, a, 5)
            assert runner.resumes > 10 if (a, budget) == (12, 1) else runner.resumes >= 1
        resumes = runner.resumes
        assert runner.run(compile_source(source, preempt=False), 12, 5) == local.invoke(source, 12, 5)
        assert runner.resumes == 1 and (resumes > 1 or budget == 1000)


def test_an_endless_loop_is_ended_by_the_worker() -> None:
    with Runner(budget=1) as runner, pytest.raises(ExtensionFault) as caught:
        runner.run(compile_source(body("while True:\n    pass")), 1, 1)
    assert (caught.value.error, caught.value.line) == (ExtensionError.BUDGET, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        b"",
        b"\0" * 23,
        struct.pack("<QQQ", 0, 2, 24),  # a bool that is neither
        struct.pack("<QQQ", 0, 1, 0),  # bytes inside of the words
        struct.pack("<QQQ", 0, 1, 25),
        struct.pack("<QQQ", 0, 1, 24 | 1 << 32),
        struct.pack("<QQQ", 0, 1, 0xFFFFFFFF | 0xFFFFFFFF << 32),
        struct.pack("<QQQ", 0, 1, 23 | 1 << 32) + b"x",
    ],
)
def test_hostile_arguments_are_refused(runner: Runner, arguments: bytes) -> None:
    compiled = compile_source(body("return len(c)", "a: u64, b: bool, c: bytes", "u64"))
    assert runner.run_packed(compiled, compiled.signature.pack((1, True, b"abc"))) == 3
    with pytest.raises(ExtensionFault) as caught:
        runner.run_packed(compiled, arguments)
    assert (caught.value.error, caught.value.line) == (ExtensionError.ARGUMENTS, 2)


SEVERAL_PARENTS = """
# Records are packed lists of parents: u32 count, then count times u64.
PARENTS = 1

def index_of(items: array[u64], count: u64, wanted: u64) -> i64:
    for i in range(count):
        if items[i] == wanted:
            return i64(i)
    return -1

def collect(db: Store, start: u64, found: array[u64], distance: array[u16]) -> u64:
    \"\"\"Breadth first: a synset and all that is above it.\"\"\"
    found[0] = start
    distance[0] = 0
    count: u64 = 1
    at: u64 = 0
    while at < count:
        record = db.get(PARENTS, found[at])
        if record is not None:
            for p in range(record.u32(0)):
                parent = record.u64(4 + 8 * p)
                if index_of(found, count, parent) < 0 and count < len(found):
                    found[count] = parent
                    distance[count] = distance[at] + 1
                    count += 1
        at += 1
    return count

@extension
def common(db: Store, left: u64, right: u64) -> tuple[u64, i64, bool]:
    a = array(u64, 64)
    a_far = array(u16, 64)
    b = array(u64, 64)
    b_far = array(u16, 64)
    a_count, b_count = collect(db, left, a, a_far), collect(db, right, b, b_far)
    best = 0
    best_far = -1
    for i in range(a_count):
        j = index_of(b, b_count, a[i])
        if j >= 0:
            far = i64(a_far[i]) + b_far[j]
            if best_far < 0 or far < best_far:
                best, best_far = a[i], far
    return best, best_far, best_far >= 0
"""


def test_ancestors_over_several_parents() -> None:
    parents = {2: [1], 3: [2, 7], 4: [3], 5: [4, 9], 6: [4, 8], 7: [1], 8: [7], 9: [8, 1]}
    for budget in (1, 7, 1000):
        with Runner(budget=budget) as runner:
            for child, above in parents.items():
                runner.store.put(1, child, struct.pack(f"<I{len(above)}Q", len(above), *above))
            assert both(runner, SEVERAL_PARENTS, 5, 6) == (4, 2, True)
            assert both(runner, SEVERAL_PARENTS, 4, 9) is not None
            assert both(runner, SEVERAL_PARENTS, 77, 78) == (0, -1, False)


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
