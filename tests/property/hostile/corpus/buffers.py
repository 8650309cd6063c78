"""Programs that turn arrays, buffers, tables and helper functions against their bounds."""

# ruff: noqa: E501 (the programs are data, one line each)

from tests.property.hostile.corpus.case import PARAMETERS, Case, Failure, body, fails, gives, refused, refused_body
from tests.property.hostile.corpus.memory import I64_MAX, I64_MIN, U64_MAX

ARRAYS = [
    *(
        fails("INDEX", 4, f"x = array({element}, 4)\n{access}\nreturn 1", signed, unsigned, b"",
              name=f"{access} of 4 {element} at {signed or unsigned}")
        for element in ("u8", "u64")
        for access, signed, unsigned in (
            ("x[a] = 1", 4, 0), ("x[a] = 1", -5, 0), ("x[a] = 1", I64_MIN, 0), ("x[a] = 1", I64_MAX, 0), ("x[b] = 1", 0, U64_MAX),
            ("x[b] = 1", 0, 1 << 61), ("x[b] = 1", 0, (1 << 61) + 1), ("y = x[a]", 4, 0), ("y = x[a]", -5, 0),
            ("y = x[b]", 0, U64_MAX), ("x[a] += 1", 1 << 32, 0),
        )
    ),
    fails("INDEX", 5, "x = array(u64, 4)\nfor i in range(5):\n    x[i] = 7\nreturn 1"),
    fails("OVERFLOW", 4, "x = array(u8, 4)\nx[0] = a\nreturn 1", 256, 0, b""),
    fails("OVERFLOW", 4, "x = array(i8, 4)\nx[0] = a\nreturn 1", -129, 0, b""),
    fails("OVERFLOW", 4, "x = array(u64, 4)\nx[0] = a\nreturn 1", -1, 0, b""),
    gives(0, "x = array(u64, 4)\nx[0] = 5\nx[3] = 6\nreturn i64(x[1] + x[2])"),
    refused_body("memory", "x = array(u64, 0)\nreturn 1"),
    refused_body("memory", "x = array(u64, -1)\nreturn 1"),
    refused_body("memory", "x = array(u64, a)\nreturn 1"),
    refused_body("memory", "x = array(u64, 1 << 40)\nreturn 1"),
    refused_body("memory", "x = array(u64, 4)\ny = x\nreturn 1", 4),
    refused_body("memory", "while a:\n    x = array(u64, 4)\nreturn 1", 4),
    refused_body("memory", "x = array(bytes, 4)\nreturn 1"),
    refused_body("memory", "x = array(db, 4)\nreturn 1"),
    refused_body("memory", "x = array(u64, True)\nreturn 1"),
    refused_body("unassigned", "if a:\n    x = array(u64, 4)\nreturn i64(x[0])", 5),
    refused_body("unsupported", "x = array(u64, 4)\nreturn len(x[0:2])", 4),
    refused_body("type", "x = array(u64, 4)\nreturn x", 4),
    refused("an array beyond the frame", "too-large", 1, body("x = array(u64, 4000)\nreturn 1")),
    refused("many arrays", "too-large", 1, body("\n".join(f"x{i} = array(u64, 100)" for i in range(10)) + "\nreturn 1")),
]  # fmt: skip

BUFFERS = [
    fails("CAPACITY", 5, "x = buffer(8)\nx.append_u64(b)\nx.append_u8(1)\nreturn 1"),
    fails("CAPACITY", 4, "x = buffer(2)\nx.append(k)\nreturn 1"),
    fails("CAPACITY", 6, "x = buffer(100)\nx.append_u8(1)\nwhile True:\n    x.append(x)\nreturn 1"),
    fails("CAPACITY", 5, "x = buffer(1)\nwhile True:\n    x.append_u8(0)\nreturn 1"),
    fails("INDEX", 4, "x = buffer(64)\nx.set_u8(a, 1)\nreturn 1", 0, 0, b""),
    fails("INDEX", 5, "x = buffer(64)\nx.append_u64(1)\nx.set_u64(a, 1)\nreturn 1", 1, 0, b""),
    fails("INDEX", 5, "x = buffer(64)\nx.append_u64(1)\nx.set_u64(a, 1)\nreturn 1", -1, 0, b""),
    fails("INDEX", 5, "x = buffer(64)\nx.append_u64(1)\nx.set_u64(b, 1)\nreturn 1", 0, U64_MAX, b""),
    fails("INDEX", 5, "x = buffer(64)\nx.append_u64(1)\nx.set_u64(b, 1)\nreturn 1", 0, U64_MAX - 7, b""),
    fails("INDEX", 6, "x = buffer(64)\nx.append_u64(1)\nx.clear()\nreturn i64(x.u64(0))"),
    fails("INDEX", 4, "x = buffer(64)\nreturn x[a]", 0, 0, b""),
    fails("INDEX", 5, "x = buffer(64)\nx.append_u8(1)\nreturn x[a]", -2, 0, b""),
    fails("OVERFLOW", 4, "x = buffer(64)\nx.append_u8(a)\nreturn 1", 256, 0, b""),
    gives(b"abab", "x = buffer(64)\nx.append(b'ab')\nx.append(x)\nreturn x", result="bytes"),
    gives(b"", "x = buffer(64)\nx.append(k)\nx.clear()\nreturn x", result="bytes"),
    gives(b"key", "x = buffer(64)\nx.append(k)\nyield\ndb.put(1, x, x)\nyield\nv = db.get(1, k)\nassert v is not None\nx.clear()\nreturn v",
          result="bytes"),
    fails("KEY", 4, "x = buffer(64)\ndb.put(1, x, k)\nreturn 1"),
    refused_body("memory", "x = buffer(a)\nreturn 1"),
    refused_body("memory", "x = buffer(0)\nreturn 1"),
    refused_body("memory", "x = buffer(64)\ny = x\nreturn 1", 4),
    refused_body("memory", "while a:\n    x = buffer(64)\nreturn 1", 4),
    refused_body("assignment", "x = buffer(64)\nx[0] = 1\nreturn 1", 4),
    refused_body("type", "x = buffer(64)\nx.append(a)\nreturn 1", 4),
    refused_body("unknown-method", "x = buffer(64)\nx.__class__()\nreturn 1", 4),
    refused("a buffer beyond the frame", "too-large", 1, body("x = buffer(4090)\nreturn 1")),
]  # fmt: skip

_DEFINITION = f"@extension\ndef f({PARAMETERS}) -> i64:\n"


def _helped(helpers: str, text: str) -> str:
    return helpers + _DEFINITION + "".join(f"    {line}\n" for line in text.split("\n"))


_DOUBLING = "def h0(a: i64) -> i64:\n    return a ^ 1\n" + "".join(
    f"def h{i}(a: i64) -> i64:\n    return h{i - 1}(a) ^ h{i - 1}(a + 1)\n" for i in range(1, 40)
)

HELPERS = [
    refused("recursion", "recursion", 2, _helped("def g(a: i64) -> i64:\n    return g(a)\n", "return g(a)")),
    refused("recursion of two", "recursion", 2, _helped(
        "def g(a: i64) -> i64:\n    return h(a)\ndef h(a: i64) -> i64:\n    return g(a)\n", "return g(a)")),
    refused("2**40 copies of a helper", "too-large", 2, _helped(_DOUBLING, "return h39(a)")),
    refused("a helper called len", "reserved-name", 1, _helped("def len(a: i64) -> i64:\n    return a\n", "return len(a)")),
    refused("a helper called as the extension", "reserved-name", 1, _helped("def f(a: i64) -> i64:\n    return a\n", "return f(a)")),
    refused("two helpers of one name", "reserved-name", 3, _helped(
        "def g(a: i64) -> i64:\n    return a\ndef g(a: i64) -> i64:\n    return a\n", "return g(a)")),
    refused("a helper's default", "parameter", 1, _helped("def g(a: i64 = eval('1')) -> i64:\n    return a\n", "return g(a)")),
    refused("a helper with a decorator", "decorator", 1, _helped("@eval\ndef g(a: i64) -> i64:\n    return a\n", "return g(a)")),
    refused("a helper that gives the store away", "result", 1, _helped("def g(db: Store) -> Store:\n    return db\n", "return g(db)")),
    refused("another store for a helper", "store", 5, _helped("def g(db: Store) -> i64:\n    return 1\n", "return g(a)")),
    refused("a helper as a value", "type", 5, _helped("def g(a: i64) -> i64:\n    return a\n", "x = g\nreturn 1")),
    refused("a helper's variable", "unknown-name", 6, _helped("def g(a: i64) -> i64:\n    x = a\n    return x\n", "return x")),
    refused("the extension's variable in a helper", "unknown-name", 2, _helped("def g(a: i64) -> i64:\n    return b\n", "return g(a)")),
    Case("an array that a helper overruns", _helped(
        "def g(x: array[u64], i: i64) -> None:\n    x[i] = 1\n", "x = array(u64, 4)\nfor i in range(9):\n    g(x, i)\nreturn 1"),
        Failure("INDEX", 2)),
    Case("a buffer that a helper overruns", _helped(
        "def g(x: Buffer, v: bytes) -> None:\n    x.append(v)\n", "x = buffer(8)\nfor i in range(9):\n    g(x, k)\nreturn 1"),
        Failure("CAPACITY", 2)),
    Case("an endless helper", _helped("def g(a: i64) -> i64:\n    while True:\n        a = a ^ 1\n", "return g(a)"),
         Failure("BUDGET", 0), is_endless=True),
]  # fmt: skip

TABLES = [
    Case(f"a table at {at}", "T = (1, 2, 3)\n" + body("return T[a]"), Failure("INDEX", 4), (at, 0, b""))
    for at in (3, -4, I64_MIN, I64_MAX)
] + [
    refused("a table that is changed", "assignment", 4, "T = (1, 2, 3)\n" + body("T[0] = 1\nreturn 1")),
    refused("an empty table", "constant", 1, "T = ()\n" + body("return T[0]")),
    refused("a table of texts", "constant", 1, "T = ('a', 'b')\n" + body("return T[0]")),
    refused("a table of tables", "constant", 1, "T = ((1, 2), (3, 4))\n" + body("return T[0][0]")),
    refused("a table of too large numbers", "constant", 1, "T = (1, 1 << 64)\n" + body("return T[0]")),
]

FLOATS = [
    fails("OVERFLOW", 4, "x = 1e300\nreturn i64(x)"),
    fails("OVERFLOW", 4, "x = 1e999\nreturn i64(x)"),
    fails("OVERFLOW", 4, "x = -9223372036854777856.0\nreturn i64(x)"),
    fails("OVERFLOW", 4, "x = 9223372036854775808.0\nreturn i64(x)"),
    fails("OVERFLOW", 5, "x = 1e999\ny = x - x\nreturn i64(y)"),
    fails("DIVISION", 4, "x = 0.0\nreturn i64(1.0 / x)"),
    gives(I64_MIN, "x = -9223372036854775808.0\nreturn i64(x)"),
    gives(0, "x = 1e999\ny = x - x\nreturn int(y == y)"),
    refused_body("type", "return 1.5"),
    refused_body("type", "return k[1.5]"),
    refused_body("type", "return a + 1.5"),
]

CASES = ARRAYS + BUFFERS + HELPERS + TABLES + FLOATS
