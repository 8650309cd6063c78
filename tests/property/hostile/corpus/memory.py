"""Programs that try to read or write beyond what is theirs: offsets, slices, views that outlive what they were made of."""

# ruff: noqa: E501 (the programs are data, one line each)

from tests.property.hostile.corpus.case import Case, body, fails, gives, refused_body

I64_MIN, I64_MAX, U64_MAX = -(2**63), 2**63 - 1, 2**64 - 1
LONG = bytes(range(64))

READS = [
    fails("INDEX", 3, f"return i64(k.{method}({offset}))", offset_value, unsigned, LONG, name=f"k.{method} at {offset} = {value}")
    for method in ("u8", "u16", "u32", "u64", "i8", "i64")
    for offset, value, offset_value, unsigned in (
        ("a", -1, -1, 0),
        ("a", I64_MIN, I64_MIN, 0),
        ("a", I64_MAX, I64_MAX, 0),
        ("a", len(LONG), len(LONG), 0),
        ("b", U64_MAX, 0, U64_MAX),
        ("b", U64_MAX - 7, 0, U64_MAX - 7),
        ("b", 1 << 63, 0, 1 << 63),
    )
]  # fmt: skip

EDGES = [
    gives(int.from_bytes(LONG[56:], "little"), "return k.i64(56)", 0, 0, LONG),
    fails("INDEX", 3, "return k.i64(57)", 0, 0, LONG),
    gives(63, "return k.u8(63)", 0, 0, LONG),
    fails("INDEX", 3, "return k.u8(0)", 0, 0, b""),
    fails("INDEX", 3, "return k.i64(0)", 0, 0, b"1234567"),
    fails("INDEX", 3, "return k.i64(a - 8)", 0, 0, LONG),
    fails("INDEX", 3, "return k[a]", 64, 0, LONG),
    fails("INDEX", 3, "return k[a]", -65, 0, LONG),
    fails("INDEX", 3, "return k[a]", I64_MIN, 0, LONG),
    fails("INDEX", 3, "return k[a]", I64_MAX, 0, LONG),
    fails("INDEX", 3, "return k[b]", 0, U64_MAX, LONG),
    fails("INDEX", 3, "return k[b]", 0, U64_MAX - 63, LONG),
    gives(0, "return k[a]", -64, 0, LONG),
    gives(63, "return k[-1]", 0, 0, LONG),
    fails("INDEX", 3, "return b'abc'[a]", 3, 0, b""),
    fails("INDEX", 3, "return i64(b'abc'.u64(a))", 0, 0, b""),
]

SLICES = [
    gives(len(LONG[low:high]), "return len(k[a:i64(k.i64(0))])", low, 0, high.to_bytes(8, "little", signed=True) + LONG[8:],
          name=f"k[{low}:{high}]")
    for low in (0, 1, -1, 63, 64, 65, -64, -65, I64_MIN, I64_MAX)
    for high in (0, -1, 64, I64_MIN, I64_MAX)
] + [
    gives(0, "return len(k[b:])", 0, U64_MAX, LONG),
    gives(64, "return len(k[:b])", 0, U64_MAX, LONG),
    gives(0, "return len(k[b:18446744073709551615])", 0, 1 << 63, LONG),
    gives(0, "return len(k[5:2])", 0, 0, LONG),
    gives(b"", "return k[a:b]", I64_MAX, U64_MAX, LONG, result="bytes"),
    gives(LONG, "return k[a:b]", I64_MIN, U64_MAX, LONG, result="bytes"),
    gives(LONG[10:20][2:5], "v = k[10:20]\nv = v[2:5]\nreturn v", 0, 0, LONG, result="bytes"),
    gives(LONG[10:20], "v = k[10:20]\nreturn v[a:b]", I64_MIN, U64_MAX, LONG, result="bytes"),
    fails("INDEX", 4, "v = k[10:20]\nreturn i64(v.u64(3))", 0, 0, LONG),
    fails("INDEX", 4, "v = k[10:20]\nreturn v[a]", -11, 0, LONG),
    fails("INDEX", 4, "v = k[64:]\nreturn v.u8(a)", 0, 0, LONG),
    fails("INDEX", 6, "v = k\nwhile len(v) > 3:\n    v = v[1:]\nreturn i64(v.u64(0))", 0, 0, LONG),
    refused_body("unsupported", "return len(k[::2])"),
    refused_body("unsupported", "return len(k[::-1])"),
    refused_body("unsupported", "return len(k[a:b:0])"),
    refused_body("type", "return len(k[k:])"),
    refused_body("type", "return len(k[None:])"),
    refused_body("type", "return len(k[db.get(1, 1):])"),
]  # fmt: skip

KEPT_VIEWS = [
    gives(b"old", "db.put(1, 1, b'old')\nv = db.get(1, 1)\ndb.put(1, 1, b'new!')\nassert v is not None\nreturn v", result="bytes"),
    gives(b"old", "db.put(1, 1, b'old')\nv = db.get(1, 1)\ndb.delete(1, 1)\nassert v is not None\nreturn v", result="bytes"),
    gives(b"old", "db.put(1, 1, b'old')\nv = db.get(1, 1)\nyield\ndb.delete(1, 1)\nyield\nassert v is not None\nreturn v", result="bytes"),
    gives(b"old", "db.put(1, 1, b'old')\nv = db.get(1, 1)\nfor i in range(20000):\n    db.put(1, 1, i)\nassert v is not None\nreturn v",
          result="bytes", name="a view kept across 20,000 puts of its key", is_long=True),
    gives(b"ld", "db.put(1, 1, b'old')\nv = db.get(1, 1)\ndb.delete(1, 1)\nassert v is not None\nw = v[1:]\nfor i in range(9000):\n"
          "    db.put(1, i, w)\n    db.delete(1, i)\nreturn w", result="bytes", name="a slice of a deleted object, kept", is_long=True),
    gives(b"key", "db.put(1, k, k)\nfor i in range(9000):\n    db.put(1, i, k)\n    db.delete(1, i)\nreturn k", result="bytes",
          name="an argument kept to the end", is_long=True),
    gives(b"key", "v = k[:]\nyield\nyield\nk = b''\nyield\nreturn v", result="bytes"),
    gives(1, "db.put(1, 1, k)\nv = db.get(1, 1)\nassert v is not None\ndb.put(1, v, v)\ndb.put(1, v, b'')\nreturn int(v == k)"),
    gives(b"", "v = db.get(1, 77)\nif v is None:\n    v = k[3:]\nreturn v", result="bytes"),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn v", result="bytes"),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn v.i64(0)"),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn len(v)"),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn len(v[0:1])"),
    fails("NONE", 4, "v = db.get(1, 77)\nreturn v[0]"),
    fails("NONE", 4, "v = db.get(1, 77)\ndb.put(1, v, 1)\nreturn 1"),
    fails("NONE", 4, "v = db.get(1, 77)\ndb.put(1, 1, v)\nreturn 1"),
    fails("NONE", 7, "db.put(1, 1, k)\nv = db.get(1, 1)\nif v is not None:\n    v = db.get(1, 77)\nreturn v.i64(0)"),
    fails("NONE", 6, "db.put(1, 1, k)\nv = db.get(1, 1)\nfor i in range(2):\n    a += v.u8(0)\n    v = db.get(1, 77)\nreturn a"),
    fails("NONE", 4, "v = None if a else k\nreturn len(v)"),
]  # fmt: skip

UNASSIGNED = [
    Case(text, body(text), refused_body("unassigned", text, line).expected)
    for line, text in (
        (3, "return x\nx = 1"),
        (5, "if a:\n    v = k\nreturn len(v)"),
        (5, "for i in range(a):\n    v = k\nreturn len(v)"),
        (5, "while a:\n    v = k\nreturn len(v)"),
        (7, "while True:\n    if a:\n        break\n    v = k\nreturn len(v)"),
        (8, "for i in range(9):\n    if i:\n        break\n    else:\n        v = k\nreturn len(v)"),
        (4, "while a:\n    a = len(v)\n    v = k\nreturn a"),
        (8, "if a:\n    v = k\nelse:\n    if b:\n        v = k\nreturn len(v)"),
        (6, "for i in range(3):\n    continue\n    v = k\nreturn len(v)"),
        (3, "v = v[1:]\nreturn 1"),
        (3, "x += 1\nreturn x"),
    )
]

CASES = READS + EDGES + SLICES + KEPT_VIEWS + UNASSIGNED
