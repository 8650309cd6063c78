"""What has no value, everywhere where a value may stand: it is what Python makes of it, or refused at its line.

Every program runs in all forms of compiled code with poisoned memory: a register that is read before it is assigned gives a
word of the pattern, which is no address of anything.
"""

from __future__ import annotations

import pytest

from splinter.errors import CompileError
from splinter.ext.compile import compile_source
from splinter.limits import TASK_BUDGET
from tests.support.forms import prepare

HELPERS = """def nothing(n: u64) -> None:
    pass
def early(n: u64) -> None:
    if n > 1:
        return
    n += 1
def spoken(n: u64) -> None:
    if n > 1:
        return None
    return nothing(n)
def endless(n: u64) -> None:
    while True:
        n += 1
        if n > 7:
            return
def raising(n: u64) -> None:
    raise Error(n)
def maybe(n: u64, k: bytes) -> bytes | None:
    if n > 1:
        return
    return k if n else nothing(n)
def through(n: u64, x: bytes | None) -> bytes | None:
    return x
def is_none(x: bytes | None) -> bool:
    return x is None
def pair(n: u64, k: bytes) -> tuple[u64, bytes]:
    return n, k
"""
FIRST = HELPERS.count("\n") + 3  # the line of a body's first statement
RAISING = HELPERS.split("\n").index("    raise Error(n)") + 1
GIVES_NOTHING = ("nothing(n)", "early(n)", "early(2)", "spoken(n)", "spoken(2)", "endless(n)", "db.put(1, 1, 1)", "db.log(k)",
                 "o.clear()", "o.append(k)", "o.append_u8(1)", "None")  # fmt: skip


def source(text: str, result: str = "u64") -> str:
    body = "\n".join("    " + line for line in f"o = buffer(64)\n{text}".split("\n"))
    return f"{HELPERS}@extension\ndef f(db: Store, n: u64, k: bytes) -> {result}:\n{body}\n"


POSITIONS = [  # `?` stands for what gives nothing
    "x = ?\nreturn 1 if x is None else 2",
    "x = ?\nyield\nreturn 1 if x is None else 2",
    "x = ?\nif n > 1000:\n    x = db.get(1, 7)\nreturn 1 if x is None else len(x)",
    "x = ?\nyield\nif n > 1000:\n    x = db.get(1, 7)\nif x is not None:\n    return x.u64(0)\nreturn 7",
    "x = db.get(1, 7)\nif n < 1000:\n    x = ?\nyield\nreturn 1 if x is None else len(x)",
    "for i in range(3):\n    x = ?\n    if x is not None:\n        return 9\nreturn 1",
    "x = None\nfor i in range(n):\n    x = ?\nreturn 1 if x is None else 2",
    "x = k if n > 1000 else ?\nreturn 1 if x is None else len(x)",
    "x = ? if n < 1000 else k\nyield\nreturn 1 if x is None else len(x)",
    "return 1 if (? if n else None) is None else 2",
    "x = through(n, ?)\nyield\nreturn 1 if x is None else len(x)",
    "return int(is_none(?))",
    "return int(is_none(x=?))",
    "return int(? is None) + int(? is not None)",
    "x: bytes | None = ?\nyield\nreturn int(x is None)",
    "x: bytes | None = k\nif n < 1000:\n    x = ?\nreturn int(x is None)",
    "x = y = ?\nyield\nif n > 1000:\n    y = db.get(1, 1)\nreturn int(x is None) + int(y is None)",
    "x = k\nx = ?\nyield\nreturn len(x)",  # the error NONE
    "x = None\nx = ?\nif n > 1000:\n    x = k\nreturn x[0]",
    "x = k if n > 1000 else ?\ndb.put(1, 2, x)\nreturn 1",
    "x = k if n > 1000 else ?\nreturn int(x == k) + int(x == k[:0])",
    "x = k if n > 1000 else ?\nfor r in x.records(1):\n    n += 1\nreturn n",
    "?\nreturn 1",
    "n += 1\n?\nreturn n",
]


@pytest.mark.parametrize("text", POSITIONS)
def test_what_gives_nothing_is_none(text: str) -> None:
    whats = [what for what in GIVES_NOTHING if what != "None" or "?" not in text.split("\n")]
    for prepared in prepare(*(source(text.replace("?", what)) for what in whats)):
        for budget in (1, TASK_BUDGET):
            prepared.agree(1, b"key", objects={(1, b"other"): b"value"}, budget=budget)


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("return 1 if ? else 2", "truth", 1),
        ("x = 1\nreturn 1 if not ? else 2", "truth", 2),
        ("return int(bool(?))", "truth", 1),
        ("return 1 if n and ? else 2", "truth", 1),
        ("x = ? or True\nreturn 1", "type", 1),
        ("x = True and ?\nreturn 1", "type", 1),
        ("while ?:\n    pass\nreturn 1", "truth", 1),
        ("assert ?\nreturn 1", "truth", 1),
        ("return 1 if ? == None else 2", "comparison", 1),
        ("return 1 if ? == k else 2", "comparison", 1),
        ("return 1 if k == ? else 2", "comparison", 1),
        ("return 1 if ? < 5 else 2", "comparison", 1),
        ("x, y = ?, 1\nreturn 1", "type", 1),
        ("x, y = ?\nreturn 1", "type", 1),
        ("return ?", "type", 1),
        ("return n, ?", "type", 1),
        ("return n + ?", "type", 1),
        ("return -?", "type", 1),
        ("return len(?)", "type", 1),
        ("return max(n, ?)", "type", 1),
        ("return u64(?)", "type", 1),
        ("return crc32(?)", "type", 1),
        ("return (?).u64(0)", "unknown-method", 1),
        ("return (?)[0]", "type", 1),
        ("x = (?)[0:1]\nreturn 1", "type", 1),
        ("return k[?]", "type", 1),
        ("return len(k[?:])", "type", 1),
        ("for i in range(?):\n    pass\nreturn 1", "type", 1),
        ("for i in ?:\n    pass\nreturn 1", "for", 1),
        ("for r in (?).records(8):\n    pass\nreturn 1", "type", 1),
        ("for r in k.records(?):\n    pass\nreturn 1", "type", 1),
        ("for r in db.multiget(1, ?, 8):\n    pass\nreturn 1", "type", 1),
        ("db.log(?)\nreturn 1", "type", 1),
        ("db.put(1, ?, 1)\nreturn 1", "type", 1),
        ("db.put(1, 1, value=?)\nreturn 1", "type", 1),
        ("db.put(?, 1, 1)\nreturn 1", "type", 1),
        ("o.append(?)\nreturn 1", "type", 1),
        ("o.append_u8(?)\nreturn 1", "type", 1),
        ("nothing(?)\nreturn 1", "type", 1),
        ("maybe(1, ?)\nreturn 1", "type", 1),
        ("c = array(u64, 4)\nc[0] = ?\nreturn 1", "type", 2),
        ("c = array(u64, 4)\nc[?] = 1\nreturn 1", "type", 2),
        ("c = array(u64, 4)\nc[0] += ?\nreturn 1", "type", 2),
        ("x = 1\nx = ?\nreturn 1", "type", 2),
        ("x = 1 if n else ?\nreturn 1", "type", 1),
        ("x: bytes = ?\nreturn 1", "type", 1),
        ("x: u64 = ?\nreturn 1", "type", 1),
        ("x = ?\nx += 1\nreturn 1", "type", 2),
        ("raise Error(?)", "type", 1),
    ],
)
def test_what_gives_nothing_is_refused_where_a_value_must_be(text: str, rule: str, line: int) -> None:
    for what in ("nothing(n)", "early(2)", "db.put(1, 1, 1)", "o.append(k)", "None"):
        with pytest.raises(CompileError) as caught:
            compile_source(source(text.replace("?", what)))
        found = [(finding.rule, finding.line) for finding in caught.value.diagnostics]  # type: ignore[attr-defined]
        assert (rule, FIRST + line) in found, (what, found)
        assert "internal" not in [rule for rule, _ in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = maybe(0, k)\nyield\nreturn int(x is None)", 1),
        ("x = maybe(2, k)\nyield\nreturn int(x is None)", 1),
        ("x = maybe(1, k)\nyield\nreturn len(x)", 3),
        ("x = nothing(n) if n > 5 else maybe(n, k)\nreturn len(x)", 3),
        ("raising(n)\nreturn 1", ("RAISED", RAISING, 1)),
        ("x = raising(n)\nreturn 1 if x is None else 2", ("RAISED", RAISING, 1)),
        ("a, b = pair(n, k)\nyield\nreturn a + len(b)", 4),
        ("a, b = pair(n, k) if n else pair(2, k[1:])\nyield\nreturn a + len(b)", 4),
        ("x = 1\nfor i in range(0):\n    x = i\nreturn x", 1),
        ("x = 1\nwhile n > 5:\n    x = n\n    n -= 1\nyield\nreturn x", 1),
        ("x = 1\nfor r in k[3:].records(8):\n    x = r.u64(0)\nreturn x", 1),
        ("while True:\n    x = n\n    if x:\n        break\nyield\nreturn x", 1),
        ("if n:\n    x = k\n    y = 1\nelse:\n    y = 2\n    x = k[1:]\nyield\nreturn y + len(x)", 4),
        ("for i in range(3):\n    if i == 1:\n        x = i\n    elif i == 2:\n        return 5\n    else:\n        continue\n"
         "    n += x\nreturn n", 5),
        # What is never reached is not looked at twice.
        ("return 1\nreturn c[0]\nc = array(u64, 4)", 1),
        ("while True:\n    if n > 5:\n        return n\n    n += 1\nreturn c[0] + x\nc = array(u64, 4)\nx = y\ny = x", 6),
        ("for i in range(5):\n    if i > 3:\n        return i\n    continue\n    o.append(x)\n    x = k\nreturn 9", 4),
        ("if n:\n    return 1\nelse:\n    return 2\nx = y\nc = array(u8, 3)\nreturn c[x]\ny = 1", 1),
        ("while 1 == 1:\n    if n > 5:\n        break\n    n += 1\nreturn n", 6),
        ("raise Error(3)\nx, y = y, x\nreturn x + y", ("RAISED", FIRST + 1, 3)),
        ("assert False\nreturn 1", ("ASSERTION", FIRST + 1, 0)),
    ],
)  # fmt: skip
def test_what_a_way_assigns_is_there_on_it(text: str, expected: object) -> None:
    (prepared,) = prepare(source(text))
    for budget in (1, TASK_BUDGET):
        assert prepared.agree(1, b"key", budget=budget) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("if n > 5:\n    x = k\nreturn len(x)", "x"),
        ("for i in range(n):\n    x = k\nreturn len(x)", "x"),
        ("for r in k.records(8):\n    pass\nreturn len(r)", "r"),
        ("while n:\n    x = n\n    n -= 1\nreturn x", "x"),
        ("while True:\n    if n:\n        break\n    x = k\nreturn len(x)", "x"),
        ("for i in range(3):\n    n += x\n    x = 1\nreturn n", "x"),
        ("if n:\n    c = array(u64, 4)\nreturn c[0]", "c"),
        ("if n:\n    p = buffer(4)\nreturn len(p)", "p"),
        ("x: u64\nreturn x", "x"),
        ("n += x\nx = 1\nreturn n", "x"),
        ("x, y = 1, x\nreturn x", "x"),
        ("x += 1\nreturn x", "x"),
    ],
)
def test_what_a_way_leaves_out_is_refused(text: str, name: str) -> None:
    with pytest.raises(CompileError) as caught:
        compile_source(source(text))
    messages = [finding.message for finding in caught.value.diagnostics]  # type: ignore[attr-defined]
    assert messages == [f"`{name}` may have no value here"]
