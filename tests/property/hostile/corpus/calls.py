"""Programs that misuse versions, the log, error codes and mathematics, and long rows of calls."""

# ruff: noqa: E501 (the programs are data, one line each)

from dataclasses import replace

from tests.property.hostile.corpus.case import (
    PARAMETERS,
    Case,
    Failure,
    Refusal,
    Result,
    body,
    fails,
    gives,
    refused,
    refused_body,
)
from tests.property.hostile.corpus.memory import I64_MIN, U64_MAX

VERSIONS = [
    gives(0, "return int(db.put_if(7, 7, k, b))", 0, U64_MAX, b"new", name="a version that means none within the store"),
    gives(0, "return int(db.put_if(7, 7, k, b))", 0, 1 << 63, b"new"),
    gives(0, "return int(db.put_if(7, 7, k, b))", 0, 1, b"new"),
    gives(0, "db.put(1, 1, k)\nreturn int(db.put_if(1, 1, k, 0))"),
    gives(0, "db.put(1, 1, k)\nv = db.version(1, 1)\ndb.put(1, 1, k)\nreturn int(db.put_if(1, 1, b'x', v))"),
    gives(0, "db.put(1, 1, k)\nv = db.version(1, 1)\ndb.delete(1, 1)\ndb.put(1, 1, k)\nreturn int(db.put_if(1, 1, b'x', v))"),
    gives(0, "db.put(1, 1, k)\nv = db.version(1, 1)\ndb.delete(1, 1)\nreturn int(db.put_if(1, 1, b'x', v))"),
    gives(1, "db.put(1, 1, k)\ndb.delete(1, 1)\nassert db.version(1, 1) == 0\nreturn int(db.put_if(1, 1, b'x', db.version(1, 1)))"),
    gives(1, "db.put(1, 1, k)\nv = db.version(1, 1)\nyield\nx = db.put_if(1, 1, b'x', v)\nyield\nreturn int(x and not db.put_if(1, 1, b'x', v))"),
    fails("OVERFLOW", 3, "return int(db.put_if(1, 1, k, a))", -1, 0, b""),
    fails("OVERFLOW", 3, "return int(db.put_if(1, 1, k, a))", I64_MIN, 0, b""),
    fails("TABLE", 3, "return int(db.put_if(a, 1, k, a))", -1, 0, b"", name="a table and a version that are wrong"),
    fails("TABLE", 3, "return int(db.put_if(a, k, k, 0))", 0xFF00, 0, b"f"),
    fails("TABLE", 3, "return i64(db.version(a, k))", 0xFFFF, 0, b"f"),
    fails("KEY", 3, "return int(db.put_if(1, k, k, 7))", 0, 0, b""),
    fails("KEY", 3, "return i64(db.version(1, k))", 0, 0, b"k" * 256),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn int(db.put_if(1, 1, v, 0))"),
    fails("TABLE", 4, "v = db.get(1, 77)\ndb.put(a, v, 1)\nreturn 1", 0xFFFF, 0, b"", name="a table and a key that are wrong"),
    fails("QUOTA", 4, "while True:\n    x = db.put_if(1, 1, k, 7)", 0, 0, b"x" * 1000, name="puts that are refused, without end", is_long=True),
    refused_body("call", "return int(db.put_if(1, 1, k))"),
    refused_body("type", "return int(db.put_if(1, 1, k, k))"),
    refused_body("type", "return int(db.put_if(1, 1, k, 1.0))"),
]  # fmt: skip

COUNTERS = [
    gives(0, "db.put(1, 1, b)\nx = db.add(1, 1, -1)\nreturn i64(db.add(1, 1, 1) - x - 1)", 0, U64_MAX, b""),
    gives(5, "db.put(1, k, 7)\nreturn i64(db.add(1, k, -2))"),
    gives(0, "db.delete(1, 1)\nreturn i64(db.add(1, 1, 0))"),
    gives(I64_MIN + 1, "db.delete(1, 1)\nreturn -i64(db.add(1, 1, a))", (1 << 63) - 1, 0, b""),
    gives(1, "db.put(1, 1, k)\nv = db.delete(1, 1)\nreturn i64(db.add(1, 1, 1))", name="a counter in the place of what was none"),
    gives(0, "db.put(1, 1, k)\nreturn int(db.delete(1, 1, 0))"),
    gives(0, "return int(db.delete(1, 1, 0))"),
    gives(0, "db.put(1, 1, k)\nreturn int(db.delete(1, 1, version=b))", 0, U64_MAX, b"x", name="a delete of a version that means none"),
    gives(0, "db.put(1, 1, k)\nreturn int(db.delete(1, 1, 77))"),
    gives(1, "db.put(1, 1, k)\nv = db.version(1, 1)\nyield\nx = db.delete(1, 1, v)\nreturn int(x and not db.delete(1, 1, v))"),
    gives(0, "db.delete(1, 1)\nx = db.add(1, 1, 5)\nv = db.version(1, 1)\nx = db.add(1, 1, 5)\nreturn int(db.delete(1, 1, v))"),
    fails("OVERFLOW", 4, "db.delete(1, 1)\nreturn i64(db.add(1, 1, -1))"),
    fails("OVERFLOW", 4, "db.delete(1, 1)\nreturn i64(db.add(1, 1, a))", I64_MIN, 0, b""),
    fails("OVERFLOW", 3, "return i64(db.add(1, 1, b))", 0, 1 << 63, b""),
    fails("OVERFLOW", 4, "db.put(1, 1, b)\nreturn i64(db.add(1, 1, 1))", 0, U64_MAX, b""),
    fails("OVERFLOW", 4, "db.put(1, 1, 6)\nreturn i64(db.add(1, 1, -7))"),
    fails("COUNTER", 4, "db.put(1, 1, k)\nreturn i64(db.add(1, 1, 1))"),
    fails("COUNTER", 4, "db.put(1, 1, b'')\nreturn i64(db.add(1, 1, 1))"),
    fails("COUNTER", 4, "db.put(1, 1, k)\nreturn i64(db.add(1, 1, 1))", 0, 0, b"nine byte"),
    fails("TABLE", 3, "return i64(db.add(a, k, b))", 0xFF00, U64_MAX, b"", name="a table, a key and a number that are wrong"),
    fails("OVERFLOW", 3, "return i64(db.add(1, k, b))", 0, U64_MAX, b""),
    fails("OVERFLOW", 3, "return int(db.delete(1, k, a))", -1, 0, b""),
    fails("KEY", 3, "return i64(db.add(1, k, b))", 0, 1, b""),
    fails("KEY", 3, "return i64(db.add(1, k, 1))", 0, 0, b"k" * 256),
    fails("KEY", 3, "return int(db.delete(1, k, b))", 0, 0, b""),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn i64(db.add(1, v, b))", 0, U64_MAX, b""),
    refused_body("call", "return db.add(1, 1)"),
    refused_body("call", "return db.add(1, 1, 1, 1)"),
    refused_body("call", "return int(db.delete(1, 1, 1, 1))"),
    refused_body("call", "return int(db.delete(1, 1, a, version=a))"),
    refused_body("call", "return int(db.delete(1, version=a))"),
    refused_body("type", "return db.add(1, 1, k)"),
    refused_body("type", "return db.add(1, 1, 1.0)"),
    refused_body("type", "return int(db.delete(1, 1, version=k))"),
    refused_body("type", "return int(db.delete(1, 1, None))"),
    refused_body("table", "return db.add(65536, 1, 1)"),
    refused_body("key", "return db.add(1, b'', 1)"),
]  # fmt: skip

LIFETIMES = [
    gives(1, "db.put(1, 1, k, ttl=b)\nreturn int(db.ttl(1, 1) > 0.0)", 0, 60, b"x"),
    gives(1, "db.put(1, 1, k, ttl=60)\ndb.put(1, 1, k)\nreturn int(db.ttl(1, 1) > 1e300)"),
    gives(0, "db.delete(1, 1)\nreturn int(db.ttl(1, 1)) + int(db.expire(1, 1, 5)) + int(db.persist(1, 1))"),
    gives(1, "db.put(1, 1, k, ttl=3_162_240_000)\nassert db.persist(1, 1)\nreturn int(db.expire(1, 1, 0.5))"),
    gives(7, "db.put(1, 1, 5, ttl=60)\nyield\nx = db.add(1, 1, 2)\nassert db.ttl(1, 1) < 61\nreturn i64(x)"),
    *(
        fails("TTL", 3, f"return int(db.expire(1, 1, {ttl}))", -1, U64_MAX, b"x")
        for ttl in ("a", "b", "f64(b)", "f64(a)", "-f64(b) * 1e300", "f64(b) * 1e300 * 1e300", "a - a", "f64(a - a) / 2.0", "b // 4")
    ),
    fails("TTL", 3, "db.put(1, 1, k, ttl=a)\nreturn 1", -1, 0, b"x"),
    fails("TTL", 4, "x = f64(b) * 1e300\nreturn int(db.put_if(1, 1, k, 0, ttl=x * x - x * x))", 0, U64_MAX, b"x", name="a ttl that is no number"),
    fails("TABLE", 3, "return int(db.expire(a, k, a))", -1, 0, b"", name="a table, a key and a ttl that are wrong"),
    fails("KEY", 3, "return int(db.expire(1, k, a))", -1, 0, b""),
    fails("KEY", 3, "return int(db.persist(1, k))", 0, 0, b""),
    fails("KEY", 3, "return int(db.ttl(1, k))", 0, 0, b"k" * 256),
    fails("OVERFLOW", 4, "db.put(1, 1, k)\nreturn int(db.ttl(1, 1))", name="for ever is no integer"),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn int(db.expire(1, v, a))", -1, 0, b""),
    refused_body("call", "return int(db.expire(1, 1))"),
    refused_body("call", "return int(db.put_if(1, 1, k, ttl=5))"),
    refused_body("call", "return int(db.persist(1, 1, ttl=5))"),
    refused_body("type", "return int(db.expire(1, 1, k))"),
    refused_body("type", "return int(db.expire(1, 1, True))"),
    refused_body("type", "db.put(1, 1, k, ttl=None)\nreturn 1"),
    refused_body("ttl", "db.put(1, 1, k, ttl=0)\nreturn 1"),
    refused_body("ttl", "return int(db.expire(1, 1, -0.5))"),
    refused_body("ttl", "return int(db.expire(1, 1, 4_000_000_000))"),
]  # fmt: skip

LOG = [
    gives(1, "db.log(k)\nreturn 1", 0, 0, b"l" * 1000, name="an entry of 1,000 bytes"),
    gives(1, "db.log(k)\nreturn 1", 0, 0, b""),
    gives(20_000, "x = 0\nfor i in range(20000):\n    db.log(k)\n    x += 1\nreturn x", name="a storm of log entries"),
    fails("NONE", 4, "v = db.get(1, 77)\ndb.log(v)\nreturn 1"),
    gives(3, "o = buffer(64)\no.append(k)\ndb.log(o)\ndb.log(o[1:])\nreturn len(o)"),
    refused_body("type", "db.log(a)\nreturn 1"),
    refused_body("store", "db.log(db)\nreturn 1"),
    refused_body("type", "db.log('text')\nreturn 1"),
    refused_body("call", "db.log(k, k)\nreturn 1"),
    refused_body("unsupported", "db.log(f'{db}')\nreturn 1"),
]  # fmt: skip

RAISED = [
    fails("RAISED", 3, "raise Error(a)", I64_MIN, 0, b""),
    fails("RAISED", 3, "raise Error(b)", 0, U64_MAX, b""),
    fails("OVERFLOW", 3, "raise Error(a + 1)", (1 << 63) - 1, 0, b""),
    fails("NONE", 4, "v = db.get(1, 77)\nraise Error(len(v))"),
    fails("RAISED", 5, "for i in range(3):\n    if i == 2:\n        raise Error(i)\nreturn 1"),
    refused_body("raise", "raise Error"),
    refused_body("raise", "raise Error(1, 2)"),
    refused_body("raise", "raise Error(code=1)"),
    refused_body("raise", "raise ValueError(1)"),
    refused_body("raise", "raise"),
    refused_body("raise", "raise Error(1) from Error(2)"),
    refused_body("store", "raise Error(db)"),
    refused_body("type", "raise Error(1.5)"),
    refused_body("unknown-function", "x = Error(1)\nreturn 1"),
]

MATHEMATICS = [
    fails("OVERFLOW", 4, "x = f64(a)\nreturn i64(exp(x))", 710, 0, b""),
    fails("OVERFLOW", 4, "x = f64(a)\nreturn i64(exp(x))", 44, 0, b"", name="e to the 44th fits no i64"),
    fails("OVERFLOW", 4, "x = 1e999\nreturn i64(exp(x))"),
    gives(0, "x = -1e999\nreturn i64(exp(x))"),
    fails("DOMAIN", 4, "x = 0.0\nreturn i64(log(x))"),
    fails("DOMAIN", 4, "x = -0.0\nreturn i64(log(x))"),
    fails("DOMAIN", 4, "x = f64(a)\nreturn i64(log(x))", I64_MIN, 0, b""),
    fails("DOMAIN", 4, "x = f64(a)\nreturn i64(sqrt(x))", -1, 0, b""),
    fails("OVERFLOW", 5, "x = 1e999\ny = x - x\nreturn i64(log(y))"),
    fails("OVERFLOW", 5, "x = 1e999\ny = x - x\nreturn i64(exp(y))"),
    refused_body("type", "return i64(exp(a))"),
    refused_body("type", "return i64(log(k))"),
    refused_body("call", "return i64(log(1.0, 2.0))"),
]


def _helped(helpers: str, text: str) -> str:
    return f"{helpers}@extension\ndef f({PARAMETERS}) -> i64:\n" + "".join(f"    {line}\n" for line in text.split("\n"))


HELPERS = [
    Case("a view of a buffer that the helper overwrites through another name", _helped(
        "def g(v: bytes, o: Buffer) -> i64:\n    o.clear()\n    o.append(b'xyz!')\n    return v[0] + len(v) * 1000\n",
        "o = buffer(8)\no.append(k)\nreturn g(o, o)"), Result(3000 + ord("x"))),
    Case("the same buffer twice", _helped(
        "def g(p: Buffer, q: Buffer) -> None:\n    p.append(q)\n    q.append(p)\n", "o = buffer(16)\no.append(k)\ng(o, o)\nreturn len(o)"), Result(12)),
    Case("the same buffer twice, too small", _helped(
        "def g(p: Buffer, q: Buffer) -> None:\n    p.append(q)\n    q.append(p)\n", "o = buffer(11)\no.append(k)\ng(o, o)\nreturn len(o)"), Failure("CAPACITY", 3)),
    Case("the same array twice", _helped(
        "def g(p: array[i64], q: array[i64]) -> i64:\n    p[0] = 5\n    q[0] += 2\n    return p[-1]\n", "x = array(i64, 1)\nreturn g(x, x)"), Result(7)),
    Case("records of a buffer that a helper clears", _helped(
        "def g(o: Buffer) -> None:\n    o.clear()\n", "x = 0\no = buffer(8)\no.append_u64(1)\nfor r in o.records(1):\n    g(o)\n    x += 1\nreturn x"), Result(8)),
    Case("a helper that raises", _helped("def g(a: i64) -> i64:\n    raise Error(a)\n", "return g(7)"), Failure("RAISED", 2)),
    Case("a helper that gives None where bytes are wanted", _helped(
        "def g(db: Store) -> bytes | None:\n    return db.get(1, 77)\n", "return len(g(db))"), Failure("NONE", 5)),
    refused("an array of other elements", "type", 6, _helped("def g(x: array[u64]) -> None:\n    x[0] = 1\n", "x = array(u8, 4)\ng(x)\nreturn 1")),
    refused("a buffer that is bytes", "type", 5, _helped("def g(o: Buffer) -> i64:\n    return 1\n", "return g(k)")),
    refused("a buffer as a result", "result", 1, _helped("def g(o: Buffer) -> Buffer:\n    return o\n", "return 1")),
    refused("a helper's own buffer", "memory", 2, _helped("def g(a: i64) -> i64:\n    o = buffer(8)\n    return a\n", "return g(a)")),
    refused("a helper that yields", "yield", 2, _helped("def g(a: i64) -> i64:\n    yield\n    return a\n", "return g(a)")),
    refused("a parameter of another buffer", "memory", 2, _helped("def g(o: Buffer) -> i64:\n    o = b'x'\n    return 1\n", "return 1")),
]  # fmt: skip

_ROW = 200  # calls in a straight line: the task looks at its budget many times on the way

ROWS = [
    gives(_ROW, "".join(f"db.put(2, {i}, {i})\n" for i in range(_ROW)) + "x = 0\n"
          + "".join(f"x += int(db.delete(2, {i}))\n" for i in range(_ROW)) + "return x", name="puts and deletes in a row", is_long=True),
    gives(_ROW, "x = 0\n" + "".join(f"db.put(2, x, k[:{i % 4}])\nx += 1\n" for i in range(_ROW)) + "return x", name="puts of computed keys in a row", is_long=True),
    gives(b"key", "o = buffer(64)\no.append(k)\n" + "db.put(2, o, o)\nv = db.get(2, o)\n" * _ROW + "assert v is not None\nreturn v", result="bytes",
          name="a buffer as key and value in a row of puts and gets", is_long=True),
    gives(1, "v = db.version(2, 1)\n" + "assert db.put_if(2, 1, k, v)\nv = db.version(2, 1)\n" * _ROW + "return 1", name="versions in a row", is_long=True),
    fails("KEY", 3 + _ROW, "x = db.exists(2, 1)\n" * _ROW + "db.put(2, k[9:], 1)\nreturn 1", name="an error behind a long row"),
    fails("TABLE", 3, "db.put(a, 1, 1); " * (_ROW - 1) + "db.put(a, 1, 1)\nreturn 1", 0xFFFF, 0, b"", name="a row in one line"),
    refused("a row beyond the limit", "source-size", 1, body("db.get(1, a)\n" * 3_000 + "return 1")),
]  # fmt: skip

ALONE = [
    replace(
        case, name=f"{case.name}, without isolation", source=case.source.replace("@extension", "@extension(isolation='none')")
    )
    for case in COUNTERS + LIFETIMES
    if not isinstance(case.expected, Refusal)
]

CASES = VERSIONS + COUNTERS + LIFETIMES + ALONE + LOG + RAISED + MATHEMATICS + HELPERS + ROWS
