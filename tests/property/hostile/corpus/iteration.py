"""Programs that turn what a `for` goes over against it: records of bytes, and the objects of packed keys."""

# ruff: noqa: E501 (the programs are data, one line each)

from tests.property.hostile.corpus.case import endless, fails, gives, refused_body
from tests.property.hostile.corpus.memory import I64_MAX, I64_MIN, U64_MAX

LONG = bytes(range(64))

RECORDS = [
    *(
        fails("INDEX", 4, f"x = 0\nfor r in k.records({size}):\n    x += 1\nreturn x", signed, unsigned, LONG,
              name=f"records of {size} = {signed or unsigned} bytes")
        for size, signed, unsigned in (
            ("a", 0, 0), ("a", -1, 0), ("a", -8, 0), ("a", I64_MIN, 0), ("a", I64_MAX, 0), ("a", 63, 0), ("a", 65, 0),
            ("b", 0, 0), ("b", 0, U64_MAX), ("b", 0, 1 << 63), ("b", 0, 1 << 32),
        )
    ),
    gives(0, "x = 0\nfor r in k[a:].records(b):\n    x += 1\nreturn x", I64_MAX, U64_MAX, LONG, name="no records, of any size"),
    fails("INDEX", 4, "for r in k.records(8):\n    a = i64(r.u64(1))\nreturn a", 0, 0, LONG),
    fails("INDEX", 4, "for r in k.records(8):\n    a = r[-9]\nreturn a", 0, 0, LONG),
    gives(bytes(range(56, 64)), "r = k\nfor r in k.records(8):\n    k = k[1:]\nreturn r", 0, 0, LONG, result="bytes",
          name="records of what the body takes away"),
    gives(8, "x = 0\no = buffer(64)\no.append(k)\nfor r in o.records(8):\n    o.clear()\n    x += 1\nreturn x", 0, 0, LONG,
          name="records of a buffer that the body clears"),
    gives(8, "x = 0\ns = 8\nfor r in k.records(s):\n    s = 1\n    x += 1\nreturn x", 0, 0, LONG, name="the size changes in the body"),
    fails("CAPACITY", 6, "o = buffer(64)\no.append(k)\nfor r in o.records(8):\n    o.append(r)\nreturn 1", 0, 0, LONG,
          name="records of a buffer that grows in the body"),
    fails("NONE", 4, "v = db.get(1, 77)\nfor r in v.records(8):\n    a = 1\nreturn a"),
    gives(b"old!", "db.put(1, 1, b'old!')\nv = db.get(1, 1)\nr = k\nfor r in v.records(4):\n    db.delete(1, 1)\n    yield\nreturn r", result="bytes",
          name="a record of an object that the body deletes"),
    endless("while True:\n    for r in k.records(1):\n        a = a ^ r[0]"),
    refused_body("call", "for r in k.records(0):\n    pass\nreturn 1"),
    refused_body("call", "for r in k.records(-1):\n    pass\nreturn 1"),
    refused_body("call", "for r in k.records(8).records(4):\n    pass\nreturn 1"),
    refused_body("type", "for r in k.records(1.5):\n    pass\nreturn 1"),
    refused_body("store", "for r in db:\n    pass\nreturn 1"),
    refused_body("type", "x = array(u64, 4)\nfor r in x.records(8):\n    pass\nreturn 1", 4),
    refused_body("unassigned", "for r in k.records(1):\n    pass\nreturn len(r)", 5),
]  # fmt: skip

MULTIGET = [
    *(
        fails("INDEX", 4, f"x = 0\nfor v in db.multiget(1, k, {size}):\n    x += 1\nreturn x", signed, unsigned, LONG,
              name=f"multiget of keys of {size} = {signed or unsigned} bytes")
        for size, signed, unsigned in (("a", 0, 0), ("a", -1, 0), ("a", I64_MIN, 0), ("b", 0, U64_MAX), ("a", 63, 0))
    ),
    fails("TABLE", 3, "for v in db.multiget(a, k, 8):\n    pass\nreturn 1", 0xFFFF, 0, LONG),
    fails("TABLE", 3, "for v in db.multiget(a, k, 8):\n    pass\nreturn 1", -1, 0, b""),
    fails("TABLE", 3, "for v in db.multiget(b, k, 8):\n    pass\nreturn 1", 0, U64_MAX, LONG),
    fails("TABLE", 3, "for v in db.multiget(b, k, 8):\n    pass\nreturn 1", 0, (1 << 32) + 1, LONG),
    fails("KEY", 3, "for v in db.multiget(1, k, len(k)):\n    pass\nreturn 1", 0, 0, b"k" * 256),
    fails("NONE", 4, "g = db.get(1, 77)\nfor v in db.multiget(1, g, 8):\n    pass\nreturn 1"),
    fails("NONE", 4, "for v in db.multiget(7, k, 3):\n    a = len(v)\nreturn a"),
    gives(b"old", "db.put(1, k, b'old')\nw = k\nfor v in db.multiget(1, k, 3):\n    db.put(1, k, b'new!')\n    yield\n    if v is not None:\n        w = v\nreturn w",
          result="bytes", name="an object of a multiget that the body replaces"),
    gives(2, "x = 0\nfor i in range(4):\n    db.put(1, k[i:i+1], k)\nfor v in db.multiget(1, k[:4], 1):\n    if v is not None:\n        x += 1\n    db.delete(1, b'c')\n    db.delete(1, b'd')\nreturn x",
          0, 0, b"abcd", name="objects of a multiget that the body deletes"),
    gives(8, "x = 0\no = buffer(64)\no.append(k)\nfor v in db.multiget(1, o, 8):\n    o.clear()\n    x += 1\nreturn x", 0, 0, LONG,
          name="keys in a buffer that the body clears"),
    gives(3, "t = 1\nx = 0\nfor v in db.multiget(t, k, 1):\n    t = 65535\n    x += 1\nreturn x", name="the table changes in the body"),
    endless("while True:\n    for v in db.multiget(1, k, 3):\n        a = a ^ 1"),
    refused_body("call", "for v in db.multiget(1, k, 0):\n    pass\nreturn 1"),
    refused_body("table", "for v in db.multiget(65535, k, 8):\n    pass\nreturn 1"),
    refused_body("type", "for v in db.multiget(1, 5, 8):\n    pass\nreturn 1"),
    refused_body("call", "v = db.multiget(1, k, 8)\nreturn 1"),
    refused_body("call", "for v in db.multiget(1, *k):\n    pass\nreturn 1"),
]  # fmt: skip

CASES = RECORDS + MULTIGET
