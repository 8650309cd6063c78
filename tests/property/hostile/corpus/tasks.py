"""Programs that never end, take what they can get, or put where they must not."""

# ruff: noqa: E501 (the programs are data, one line each)

from splinter.limits import TRANSACTION_BYTES_MAX, TRANSACTION_READS_MAX, TRANSACTION_WRITES_MAX
from tests.property.hostile.corpus.case import endless, fails, gives
from tests.property.hostile.corpus.memory import I64_MIN, U64_MAX

ENDLESS = [
    endless("while True:\n    pass"),
    endless("while True:\n    yield"),
    endless("while True:\n    continue"),
    endless("while True:\n    if a == 0:\n        break\nreturn 1"),
    endless("while a == a:\n    pass\nreturn 1"),
    endless("while 1:\n    while 1:\n        while 1:\n            a = a ^ 1"),
    endless("while True:\n    for i in range(10):\n        continue"),
    endless("while True:\n    for i in range(10):\n        break"),
    endless("while True:\n    for i in range(0):\n        pass"),
    endless("for i in range(9223372036854775807):\n    a = a ^ i\nreturn a"),
    endless("for i in range(-9223372036854775808, 9223372036854775807):\n    pass\nreturn 1"),
    endless("for i in range(b, 18446744073709551615):\n    pass\nreturn 1"),
    endless("for i in range(9223372036854775807, -9223372036854775808, -1):\n    pass\nreturn 1"),
    endless("for i in range(1 << 62):\n    for j in range(1 << 62):\n        for l in range(1 << 62):\n            pass\nreturn 1"),
    endless("while db.get(1, 77) is None:\n    pass\nreturn 1"),
    endless("while not db.delete(1, 77):\n    pass\nreturn 1"),
    endless("while True:\n    db.put(1, 1, k)\n    db.delete(1, 1)"),
    endless("v = k\nwhile v == k:\n    v = v[:]\nreturn 1"),
    endless("x = 1\nwhile x:\n    x = (x * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF\nreturn 1"),
]  # fmt: skip

LOOPS_THAT_END = [
    gives(0, "x = 0\nfor i in range(a):\n    x += 1\nreturn x", I64_MIN, 0, b""),
    gives(0, "x = 0\nfor i in range(5, -5):\n    x += 1\nreturn x"),
    gives(2, "x = 0\nfor i in range(a, 9223372036854775807, 4611686018427387904):\n    x += 1\nreturn x", 0, 0, b""),
    gives(4, "x = 0\nfor i in range(a, 9223372036854775807, 4611686018427387904):\n    x += 1\nreturn x", I64_MIN, 0, b""),
    gives(1, "x = 0\nfor i in range(b, 18446744073709551615, 9223372036854775807):\n    x += 1\nreturn x", 0, U64_MAX - 1, b""),
    gives(10, "x = 0\nfor i in range(10):\n    i = 0\n    x += 1\nreturn x"),
    gives(10, "n = 10\nx = 0\nfor i in range(n):\n    n = 1000000\n    x += 1\nreturn x"),
    gives(100_000, "x = 0\nwhile x < 100000:\n    x += 1\n    continue\nreturn x"),
    gives(3_000, "x = 0\nfor i in range(3000):\n    x += 1\n    yield\nreturn x"),
    gives(1, "while True:\n    return 1"),
    gives(1, "while True:\n    break\nreturn 1"),
]

STORE = [
    fails("TABLE", 3, "db.put(a, 1, 1)\nreturn 1", 0xFFFF, 0, b""),
    fails("TABLE", 3, "db.put(a, k, k)\nreturn 1", 0xFF00, 0, b"f"),
    fails("TABLE", 3, "db.put(a, 1, 1)\nreturn 1", -1, 0, b""),
    fails("TABLE", 3, "db.put(a, 1, 1)\nreturn 1", I64_MIN, 0, b""),
    fails("TABLE", 3, "db.put(a, 1, 1)\nreturn 1", 1 << 32, 0, b""),
    fails("TABLE", 3, "db.put(a, 1, 1)\nreturn 1", (1 << 32) + 1, 0, b""),
    fails("TABLE", 3, "db.put(b, 1, 1)\nreturn 1", 0, U64_MAX, b""),
    fails("TABLE", 3, "v = db.get(a, k)\nreturn 1", 0xFFFF, 0, b"f"),
    fails("TABLE", 3, "db.delete(a, k)\nreturn 1", 0xFFFF, 0, b"f"),
    fails("TABLE", 3, "x = db.exists(a, k)\nreturn 1", 0xFFFF, 0, b"f"),
    fails("KEY", 3, "db.put(1, k, 1)\nreturn 1", 0, 0, b""),
    fails("KEY", 3, "db.put(1, k, 1)\nreturn 1", 0, 0, b"k" * 256),
    fails("KEY", 3, "v = db.get(1, k)\nreturn 1", 0, 0, b"k" * 1000),
    fails("KEY", 3, "v = db.get(1, k[a:a])\nreturn 1", 1, 0, b"key"),
    fails("KEY", 3, "db.delete(1, k)\nreturn 1", 0, 0, b""),
    gives(1, "db.put(1, k, k)\nv = db.get(1, k)\nreturn int(v == k)", 0, 0, b"k" * 255),
    gives(0, "db.put(1, k, b'')\nv = db.get(1, k)\nassert v is not None\nreturn len(v)"),
    gives(5000, "for i in range(5000):\n    db.put(2, i, k)\nx = 0\nfor i in range(5000):\n    if db.delete(2, i):\n        x += 1\nreturn x",
          name="a storm of puts and deletes", is_long=True),
    gives(30_000, "x = 0\nfor i in range(30000):\n    db.put(3, 1, i)\n    x += 1\nreturn x", name="30,000 puts of one key", is_long=True),
    gives(0, "x = 0\nfor i in range(20000):\n    if db.delete(4, i):\n        x += 1\nreturn x", name="a storm of deletes of nothing", is_long=True),
    fails("TRANSACTION", 4, "for i in range(a):\n    db.put(2, i, k)\nreturn 1", TRANSACTION_WRITES_MAX + 1, 0, b"x"),
    fails("TRANSACTION", 4, "for i in range(a):\n    db.put(2, 1, i)\nreturn 1", TRANSACTION_BYTES_MAX // 48 + 1, 0, b"x", name="puts of one key, more than a transaction may"),
    gives(1, "for i in range(a):\n    db.put(2, 1, i)\nreturn 1", TRANSACTION_BYTES_MAX // 48, 0, b"x", name="as many puts of one key as a transaction may"),
    fails("TRANSACTION", 4, "for i in range(120):\n    db.put(2, i, k)\nreturn 1", 0, 0, b"x" * 1000, name="more bytes than a transaction may put"),
    fails("TRANSACTION", 6, "db.put(1, 1, k)\nx = 0\nfor i in range(a):\n    if db.exists(71, i):\n        x += 1\nreturn x", TRANSACTION_READS_MAX + 1, 0, b""),
    gives(TRANSACTION_READS_MAX, "db.put(1, 1, k)\nx = 0\nfor i in range(a):\n    if not db.exists(71, i):\n        x += 1\nreturn x", TRANSACTION_READS_MAX, 0, b""),
    gives(TRANSACTION_WRITES_MAX, "x = 0\nfor i in range(a):\n    db.put(2, i, k)\n    x += 1\nreturn x", TRANSACTION_WRITES_MAX, 0, b"x"),
    gives(2, "db.put(5, 1, k)\ndb.put(5, 2, k)\nx = int(db.delete(5, 1)) + int(db.delete(5, 2)) + int(db.delete(5, 1))\nreturn x"),
    # Comparisons in a chain stop at the first that is false: the third delete is never made.
    gives(1, "db.put(6, 1, k)\nx = 1 > int(db.delete(6, 2)) > int(db.delete(6, 2)) > int(db.delete(6, 1))\nreturn int(db.exists(6, 1))"),
    gives(1, "db.put(6, 1, k)\nx = a == 2 and db.delete(6, 1)\nreturn int(db.exists(6, 1))"),
    gives(1, "db.put(6, 1, k)\nx = a == 1 or db.delete(6, 1)\nreturn int(db.exists(6, 1))"),
]  # fmt: skip

CASES = ENDLESS + LOOPS_THAT_END + STORE
