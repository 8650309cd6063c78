"""Programs that the compiler refuses, with the rule and the place that the message names."""

from __future__ import annotations

import pytest

from splinter.errors import CompileError
from splinter.ext.compile import compile_source
from splinter.ext.front.diagnostics import FINDINGS_MAX
from splinter.limits import SOURCE_BYTES_MAX
from tests.support.refused import body, findings, rules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return foo", (3, 12, "unknown-name")),
        ("return a + b", (3, 12, "mixed-signs")),
        ("return -b", (3, 12, "mixed-signs")),
        ("x = 3\nx -= b % x\nreturn x", (4, 10, "mixed-signs")),  # without the wrong value x is unsigned, and then it is right
        ("return b / 2", (3, 12, "unsupported")),
        ("return b ** 2", (3, 12, "unsupported")),
        ("return 1.5", (3, 12, "type")),
        ("return 'text'", (3, 12, "type")),
        ("return f'{b}'", (3, 12, "unsupported")),
        ("return k", (3, 12, "type")),
        ("return None", (3, 12, "type")),
        ("return", (3, 5, "type")),
        ("pass", (3, 5, "missing-return")),
        ("if a:\n    return 1", (3, 5, "missing-return")),
        ("while a:\n    return 1", (3, 5, "missing-return")),
        ("if a:\n    x = 1\nreturn x", (5, 12, "unassigned")),
        ("for i in range(5):\n    x = 1\nreturn x", (5, 12, "unassigned")),
        ("for i in range(5):\n    pass\nreturn i", (5, 12, "unassigned")),
        ("while True:\n    if a:\n        break\n    x = 1\nreturn x", (7, 12, "unassigned")),
        ("x = 1\nx = k\nreturn 1", (4, 9, "type")),
        ("x = a\nx = b\nreturn 1", (4, 9, "type")),
        ("x: u64 = k\nreturn 1", (3, 14, "type")),
        ("x: float = 1\nreturn 1", (3, 8, "type")),
        ("if k:\n    return 1\nreturn 0", (3, 8, "truth")),
        ("x = a and b\nreturn 1", (3, 9, "type")),
        ("x = 1 if a else k\nreturn 1", (3, 9, "type")),
        ("return 1 if k < k else 0", (3, 21, "comparison")),
        ("return 1 if k == None else 0", (3, 22, "comparison")),
        ("return 1 if a is b else 0", (3, 22, "comparison")),
        ("return 1 if a in k else 0", (3, 22, "unsupported")),
        ("return 1 if a == k else 0", (3, 22, "comparison")),
        ("return db", (3, 12, "store")),
        ("db = 5\nreturn 1", (3, 5, "store")),
        ("x = db.get\nreturn 1", (3, 9, "attribute")),
        ("db.scan(1)\nreturn 1", (3, 5, "unknown-method")),
        ("db.get(table=1)\nreturn 1", (3, 5, "call")),
        ("db.get(1, 2, 3)\nreturn 1", (3, 5, "call")),
        ("db.get(1, table=2)\nreturn 1", (3, 5, "call")),
        ("db.get(1, 2, **b)\nreturn 1", (3, 5, "call")),
        ("db.get(65280, 2)\nreturn 1", (3, 12, "table")),
        ("db.get(-1, 2)\nreturn 1", (3, 12, "table")),
        ("db.get(1, b'')\nreturn 1", (3, 15, "key")),
        ("db.put(1, 2, None)\nreturn 1", (3, 18, "type")),
        ("db.put(1, 2, 'x')\nreturn 1", (3, 18, "type")),
        ("return k.__class__", (3, 12, "attribute")),
        ("return k.decode()", (3, 12, "unknown-method")),
        ("return a.bit_length()", (3, 12, "unknown-method")),
        ("return k.u64()", (3, 12, "call")),
        ("return k.u64(offset=1)", (3, 25, "call")),
        ("return k[::2]", (3, 16, "unsupported")),
        ("return k[k]", (3, 14, "type")),
        ("return open(1)", (3, 12, "unknown-function")),
        ("return (lambda: 1)()", (3, 13, "call")),
        ("return len(a)", (3, 16, "type")),
        ("return min(a, b)", (3, 19, "mixed-signs")),
        ("return range(5)", (3, 12, "call")),
        ("return 1 << 200", (3, 12, "constant")),
        ("return 1 // 0", (3, 12, "constant")),
        ("return 18446744073709551616", (3, 12, "constant")),
        ("return 1 << 64", (3, 12, "constant")),
        ("for i in k:\n    pass\nreturn 1", (3, 14, "for")),
        ("for i in range(0, 5, a):\n    pass\nreturn 1", (3, 26, "call")),
        ("for i in range(5):\n    pass\nelse:\n    pass\nreturn 1", (6, 9, "unsupported")),
        ("for i in range(a, b):\n    pass\nreturn 1", (3, 14, "mixed-signs")),
        ("break\nreturn 1", (3, 5, "loop")),
        ("continue\nreturn 1", (3, 5, "loop")),
        ("x = 1, 2\nreturn 1", (3, 9, "type")),
        ("k[0] = 1\nreturn 1", (3, 5, "assignment")),
        ("k.x = 1\nreturn 1", (3, 5, "assignment")),
        ("k[0] += 1\nreturn 1", (3, 5, "assignment")),
        ("len = 1\nreturn 1", (3, 5, "reserved-name")),
        ("x = yield\nreturn 1", (3, 9, "yield")),
        ("yield 5\nreturn 1", (3, 5, "yield")),
        ("yield from k\nreturn 1", (3, 5, "unsupported")),
        ("a\nreturn 1", (3, 5, "no-effect")),
        ("raise ValueError\nreturn 1", (3, 5, "raise")),
        ("try:\n    pass\nexcept Exception:\n    pass\nreturn 1", (3, 5, "unsupported")),
        ("with db:\n    pass\nreturn 1", (3, 5, "unsupported")),
        ("import os\nreturn 1", (3, 5, "unsupported")),
        ("global a\nreturn 1", (3, 5, "unsupported")),
        ("def g():\n    pass\nreturn 1", (3, 5, "unsupported")),
        ("class C:\n    pass\nreturn 1", (3, 5, "unsupported")),
        ("del a\nreturn 1", (3, 5, "unsupported")),
        ("match a:\n    case 1:\n        pass\nreturn 1", (3, 5, "unsupported")),
        ("x = [i for i in k]\nreturn 1", (3, 9, "unsupported")),
        ("x = {}\nreturn 1", (3, 9, "unsupported")),
        ("if (x := 5):\n    pass\nreturn 1", (3, 9, "unsupported")),
        ("return b + 1.5", (3, 12, "type")),
        ("return 1 if b < 1.5 else 0", (3, 21, "comparison")),
        ("return 1 if 1.5 else 0", (3, 17, "truth")),
        ("x = 1.5 // 2.0\nreturn 1", (3, 9, "unsupported")),
        ("x = 1.5 + True\nreturn 1", (3, 9, "type")),
        ("x = min(1.5, b)\nreturn 1", (3, 18, "mixed-signs")),
        ("x = 1 < 2.0 < b\nreturn 1", (3, 19, "comparison")),
        ("x = 1 < b < 2.0\nreturn 1", (3, 17, "comparison")),
        ("x = k == k == b\nreturn 1", (3, 19, "comparison")),
        ("x = k == k < k\nreturn 1", (3, 18, "comparison")),
        ("x = sqrt(b)\nreturn 1", (3, 14, "type")),
        ("x = popcount(a)\nreturn 1", (3, 18, "mixed-signs")),
        ("x, y = 1, 2, 3\nreturn 1", (3, 12, "type")),
        ("x, y = b\nreturn 1", (3, 12, "type")),
        ("x, *y = 1, 2\nreturn 1", (3, 8, "assignment")),
        ("return 1, 2", (3, 12, "type")),
        ("x = array(u64, b)\nreturn 1", (3, 20, "memory")),
        ("x = array(bool, 5)\nreturn 1", (3, 15, "memory")),
        ("x = array(u64, 0)\nreturn 1", (3, 20, "memory")),
        ("x = y = array(u64, 5)\nreturn 1", (3, 5, "memory")),
        ("x = array(u64, 5)\nx = array(u64, 5)\nreturn 1", (4, 5, "memory")),
        ("x = array(u64, 5)\ny = x\nreturn 1", (4, 9, "memory")),
        ("x = array(u64, 5)\nx = 5\nreturn 1", (4, 9, "type")),
        ("x = array(u64, 5)\nreturn x", (4, 12, "type")),
        ("x = array(u64, 5)\nreturn x[0:1]", (4, 12, "unsupported")),
        ("x = array(u64, 5)\nx[0] = k\nreturn 1", (4, 12, "type")),
        ("x = array(u64, 5)\nx[k] = 1\nreturn 1", (4, 7, "type")),
        ("x = array(u64, 5)\nx[0:1] = 1\nreturn 1", (4, 5, "assignment")),
        ("x = array(u64, 5)\nx[k] += 1\nreturn 1", (4, 7, "type")),
        ("x = array(u64, 5)\nx[0] += a\nreturn 1", (4, 5, "mixed-signs")),
        ("x = array(u64, 5)\nx[0:1] += 1\nreturn 1", (4, 5, "unsupported")),
        ("x = array(u64, 5)\nx[0]: u64 = 1\nreturn 1", (4, 5, "assignment")),
        ("x = array(u64, 5)\nx[0]: u64\nreturn 1", (4, 5, "assignment")),
        ("k.x: u64 = 1\nreturn 1", (3, 5, "assignment")),
        ("for i in range(3):\n    x = array(u64, 5)\nreturn 1", (4, 9, "memory")),
        ("return array(u64, 5)[0]", (3, 12, "memory")),
        ("x: u64 = array(u64, 5)\nreturn 1", (3, 5, "memory")),
        ("x = buffer(8)\nx.append(5)\nreturn 1", (4, 14, "type")),
        ("x = buffer(8)\nx.append_u64(k)\nreturn 1", (4, 18, "type")),
        ("x = buffer(8)\nx.pop()\nreturn 1", (4, 5, "unknown-method")),
        ("x = buffer(8)\nx.set_u8(1)\nreturn 1", (4, 5, "call")),
        ("x = buffer(8)\nx[0] = 1\nreturn 1", (4, 5, "assignment")),
        ("x = buffer(8)\ny = x if b else x\nreturn 1", (4, 9, "type")),
        ("k.append_u8(1)\nreturn 1", (3, 5, "unknown-method")),
        ("x = k.records(8)\nreturn 1", (3, 9, "call")),
        ("x = db.multiget(1, k, 8)\nreturn 1", (3, 9, "call")),
        ("for r in k.records():\n    pass\nreturn 1", (3, 14, "call")),
        ("for r in k.records(0):\n    pass\nreturn 1", (3, 24, "call")),
        ("for r in k.records(k):\n    pass\nreturn 1", (3, 24, "type")),
        ("for r in a.records(8):\n    pass\nreturn 1", (3, 14, "type")),
        ("for r in k.records(8):\n    r = 1\nreturn 1", (4, 13, "type")),
        ("for r in db.records(8):\n    pass\nreturn 1", (3, 14, "unknown-method")),
        ("for r in db.multiget(1, k):\n    pass\nreturn 1", (3, 14, "call")),
        ("for r in db.multiget(1, a, 8):\n    pass\nreturn 1", (3, 29, "type")),
        ("db.log(5)\nreturn 1", (3, 12, "type")),
        ("x = db.log(k)\nreturn x", (4, 12, "type")),
        ("x = crc32(a)\nreturn 1", (3, 15, "type")),
        ("raise\nreturn 1", (3, 5, "raise")),
        ("raise Error()\nreturn 1", (3, 5, "raise")),
        ("raise Error(k)\nreturn 1", (3, 17, "type")),
        ("raise Error(1) from None\nreturn 1", (3, 5, "raise")),
        ("x = Error(1)\nreturn 1", (3, 9, "unknown-function")),
        ("db.get(0x" + "f" * 50000 + ", 1)\nreturn 1", (3, 12, "constant")),
        ("Ｎone = 1\nreturn 1", (3, 5, "reserved-name")),
        ("paſs = 1\nreturn 1", (3, 5, "reserved-name")),
        ("x = k.ｉf\nreturn 1", (3, 9, "reserved-name")),
        ("äöü = foo\nreturn 1", (3, 11, "unknown-name")),
    ],
)
def test_refused_in_a_body(text: str, expected: tuple[int, int, str]) -> None:
    assert expected in rules(body(text))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", (1, 1, "no-extension")),
        ("def f(:\n", (1, 7, "syntax")),
        ("x = 1\0", (1, 1, "syntax")),
        ("x = '\ud800'", (1, 1, "syntax")),
        ("#" * (SOURCE_BYTES_MAX + 1), (1, 1, "source-size")),
        ("x = " + "1+" * 5000 + "1", (1, 1, "nesting")),
        ("x = " + "-" * 5000 + "1", (1, 1, "nesting")),
        ("def f(db: Store) -> u64:\n    return 1", (1, 1, "no-extension")),
        ("@other\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension('none')\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension(isolation='snapshot')\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension(isolation=none)\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension(place='somewhere')\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension(place=1)\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension(**{'isolation': 'none'})\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension(isolation='none')()\ndef f(db: Store) -> u64:\n    return 1", (1, 2, "decorator")),
        ("@extension\n@extension\ndef f(db: Store) -> u64:\n    return 1", (2, 2, "decorator")),
        ("@extension\ndef f() -> u64:\n    return 1", (2, 1, "parameter")),
        ("@extension\ndef f(a: u64) -> u64:\n    return 1", (2, 7, "parameter")),
        ("@extension\ndef f(len: Store) -> u64:\n    return 1", (2, 7, "reserved-name")),
        ("@extension\ndef Ｎone(db: Store) -> u64:\n    return 1", (2, 1, "reserved-name")),
        ("@extension\ndef f(db: Store, a) -> u64:\n    return 1", (2, 18, "parameter")),
        ("@extension\ndef f(db: Store, a: str) -> u64:\n    return 1", (2, 18, "parameter")),
        ("@extension\ndef f(db: Store, a: u64 = 1) -> u64:\n    return 1", (2, 27, "parameter")),
        ("@extension\ndef f(db: Store, a: u64, a: u64) -> u64:\n    return 1", (2, 26, "parameter")),
        ("@extension\ndef f(db: Store, *a: u64) -> u64:\n    return 1", (2, 19, "parameter")),
        ("@extension\ndef f(db: Store, **a: u64) -> u64:\n    return 1", (2, 20, "parameter")),
        ("@extension\ndef f(db: Store, *, a: u64) -> u64:\n    return 1", (2, 21, "parameter")),
        ("@extension\ndef f(db: Store, len: u64) -> u64:\n    return 1", (2, 18, "reserved-name")),
        ("@extension\ndef f(db: Store):\n    return 1", (2, 1, "result")),
        ("@extension\ndef f(db: Store) -> str:\n    return 1", (2, 21, "result")),
        ("@extension\ndef f(db: Store, " + ", ".join(f"a{i}: u64" for i in range(17)) + ") -> u64:\n    return 1",
         (2, 168, "parameter")),
        ("@extension\nasync def f(db: Store) -> u64:\n    return 1", (2, 1, "module-level")),
        ("import os\n", (1, 1, "import")),
        ("from os import path\n", (1, 1, "import")),
        ("from splinter.ext import u64 as i64\n", (1, 26, "import")),
        ("from splinter.ext import *\n", (1, 26, "import")),
        ("print(1)\n", (1, 1, "module-level")),
        ("x = y\n@extension\ndef f(db: Store) -> u64:\n    return 1", (1, 5, "constant")),
        ("x = 1\nx = 2\n", (2, 1, "constant")),
        ("x.y = 1\n", (1, 1, "constant")),
        ("f = 1\n@extension\ndef f(db: Store) -> u64:\n    return f", (1, 5, "reserved-name")),
        ("u64 = 1\n@extension\ndef f(db: Store) -> u64:\n    return 1", (1, 7, "reserved-name")),
        ("@extension\ndef f(db: Store) -> u64:\n    return 1\n@extension\ndef g(db: Store) -> u64:\n    return 1",
         (5, 1, "several-extensions")),
        ("@extension\ndef " + "f" * 65 + "(db: Store) -> u64:\n    return 1", (2, 1, "name")),
    ],
)  # fmt: skip
def test_refused_modules(source: str, expected: tuple[int, int, str]) -> None:
    assert expected in rules(source)


@pytest.mark.parametrize(
    ("helper", "call", "expected"),
    [
        ("def g(x: u64) -> u64:\n    return g(x)", "g(a)", (2, 12, "recursion")),
        ("def g(x: u64) -> u64:\n    return h(x)\ndef h(x: u64) -> u64:\n    return g(x)", "g(a)", (2, 12, "recursion")),
        ("def g(x: u64) -> u64:\n    yield\n    return x", "g(a)", (2, 5, "yield")),
        ("def g(x) -> u64:\n    return 1", "g(a)", (1, 7, "parameter")),
        ("def g(x: u64):\n    return 1", "g(a)", (1, 1, "result")),
        ("def g(x: u64) -> u64:\n    return k", "g(a)", (2, 12, "unknown-name")),
        ("def g(x: u64) -> u64:\n    return a", "g(a)", (2, 12, "unknown-name")),
        ("def g(x: u64) -> u64:\n    b = buffer(8)\n    return x", "g(a)", (2, 5, "memory")),
        ("def g(x: u64) -> u64:\n    return x", "g(k)", (5, 14, "type")),
        ("def g(x: u64) -> u64:\n    return x", "g(db, a)", (5, 12, "call")),
        ("def g(x: u64) -> u64:\n    return x", "g", (5, 12, "type")),
        ("def g(db: Store) -> u64:\n    return 1", "g(a)", (5, 14, "store")),
        ("def g() -> None:\n    pass", "g()", (5, 12, "type")),
        ("def g() -> tuple[u64, u64]:\n    return 1, 2", "g()", (5, 12, "type")),
        ("def g(x: array[u64]) -> u64:\n    return x[0]", "g(T)", (5, 14, "type")),
        ("def g(x: array[u64]) -> u64:\n    x = 1\n    return 1", "1", (2, 9, "memory")),
        ("def min(x: u64) -> u64:\n    return x", "1", (1, 1, "reserved-name")),
        ("def T(x: u64) -> u64:\n    return x", "1", (3, 5, "reserved-name")),
        ("def f(x: u64) -> u64:\n    return x", "1", (1, 1, "reserved-name")),
        ("def g(x: u64) -> u64:\n    return x\ndef g(x: u64) -> u64:\n    return x", "1", (3, 1, "reserved-name")),
        ("def g(x: u64) -> u64:\n    T[0] = 1\n    return x", "1", (2, 5, "assignment")),
        ("def db(x: u64) -> u64:\n    return x", "db(a)", (5, 12, "unknown-function")),
        ("db = 5", "db", (5, 12, "store")),
        ("U = (1, 2.0)", "1", (1, 5, "constant")),
        ("U = ()", "1", (1, 5, "constant")),
        ("U = (-1, 18446744073709551615)", "1", (1, 5, "constant")),
    ],
)
def test_refused_helpers_and_tables(helper: str, call: str, expected: tuple[int, int, str]) -> None:
    extension = f"@extension\ndef f(db: Store, a: u64, k: bytes) -> u64:\n    return {call}\n"
    line, column, rule = expected
    if line >= 5:  # the call stands in the extension's line
        line = helper.count("\n") + 5
    elif rule == "reserved-name" and helper.startswith("def T"):
        line = helper.count("\n") + 2
    assert (line, column, rule) in rules(f"{helper}\nT = (1, 2)\n{extension}")


def test_all_findings_at_once() -> None:
    found = rules(body("x = foo\ny = bar + {}\nif k:\n    z = a + b\nreturn q"))
    assert [(line, rule) for line, _, rule in found] == [
        (3, "unknown-name"), (4, "unknown-name"), (4, "unsupported"), (5, "truth"), (6, "mixed-signs"), (7, "unknown-name"),
    ]  # fmt: skip


def test_findings_are_bounded() -> None:
    assert len(findings(body("\n".join(f"x{i} = y{i}" for i in range(1000)) + "\nreturn 1"))) == FINDINGS_MAX


def test_message_shows_the_place() -> None:
    with pytest.raises(CompileError) as caught:
        compile_source(body("total = b\nreturn total + a"), filename="sum.py")
    assert str(caught.value) == (
        "error[mixed-signs]: `+` of u64 and i64\n"
        " --> sum.py:4:12\n"
        "  |\n"
        "4 |     return total + a\n"
        "  |            ^^^^^^^^^\n"
        "  = help: convert one side: u64(…) or i64(…) checks that the value fits\n"
        "\n"
        "1 error"
    )


def test_a_name_picks_one_of_several_extensions() -> None:
    two = body("return 1") + body("return 2").replace("def f", "def g")
    assert compile_source(two, "g").signature.name == "g"
    assert compile_source(body("return 1"), "other").signature.name == "other"


def test_limits_of_frame_and_code_are_refused() -> None:
    many = "\n".join(f"x{i} = b + {i}" for i in range(600)) + "\nyield\nreturn " + " ^ ".join(f"x{i}" for i in range(50))
    kept = "\n".join(f"b ^= x{i}" for i in range(600))
    assert [d.rule for d in findings(body(many.replace("return", kept + "\nreturn")))] == ["too-large"]
    loops = "\n".join(f"for n{i} in range(b):\n    b += 1" for i in range(400))
    uses = "\n".join(f"b ^= x{i}" for i in range(100))
    start = "\n".join(f"x{i} = b + {i}" for i in range(100))
    assert [d.rule for d in findings(body(f"{start}\n{loops}\n{uses}\nreturn b"))] == ["too-large"]
