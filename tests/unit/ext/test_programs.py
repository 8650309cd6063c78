"""Programs that run compiled and under CPython, with the same result or the same error on the same line."""

from __future__ import annotations

import struct

import pytest

from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from tests.support.runner import Runner
from tests.support.worlds import body, both, outcome

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
