"""The hint of what an extension looks up first: found where the arguments tell, and otherwise not given."""

from __future__ import annotations

import numpy as np
import pytest

from splinter.ext import library, record
from splinter.ext.abi import NO_PARAMETER, RECORD, FirstKey
from splinter.ext.compile import compile_source
from splinter.ext.middle.first_lookup import FirstLookup

HEAD = "@extension\ndef f(db: Store, n: u64, k: bytes, i: i64, t: u64) -> None:\n"
HELPER = "def h(db: Store, a: u64) -> bool:\n    return db.exists(9, a)\n"
UNKNOWN = FirstLookup()


def hint(body: str) -> FirstLookup:
    lines = "\n".join("    " + line for line in body.split("\n"))
    return compile_source(f"{HELPER}{HEAD}{lines}\n").first_lookup


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("db.get(7, n)", FirstLookup(FirstKey.INTEGER, 0, 7)),
        ("db.get(7, i)", FirstLookup(FirstKey.INTEGER, 2, 7)),
        ("db.get(7, k)", FirstLookup(FirstKey.BYTES, 1, 7)),
        ("db.get(t, k)", FirstLookup(FirstKey.BYTES, 1, 0, 3)),
        ("db.exists(i, n)", FirstLookup(FirstKey.INTEGER, 0, 0, 2)),
        ("db.put(7, n, k)", FirstLookup(FirstKey.INTEGER, 0, 7)),
        ("v = db.version(7, n)\nx = db.get(8, t)", FirstLookup(FirstKey.INTEGER, 0, 7)),
        ("if n > 5:\n    raise Error(1)\ndb.get(7, n)", FirstLookup(FirstKey.INTEGER, 0, 7)),
        ("for _ in range(i):\n    v = db.get(t, n)\n    assert v is not None\n    n = v.u64(0)",
         FirstLookup(FirstKey.INTEGER, 0, 0, 3)),
        ("while True:\n    yield\n    db.get(7, k)", FirstLookup(FirstKey.BYTES, 1, 7)),
        ("a = n\nif h(db, a):\n    pass", FirstLookup(FirstKey.INTEGER, 0, 9)),
        ("pass", UNKNOWN),
        ("db.now_ns()", UNKNOWN),
        ("db.get(7, 5)", UNKNOWN),
        ("db.get(7, b'key')", UNKNOWN),
        ("n += 1\ndb.get(7, n)", UNKNOWN),
        ("db.get(7, k[:4])", UNKNOWN),
        ("db.get(n + 1, k)", UNKNOWN),
        ("b = buffer(8)\nb.append_u64(n)\ndb.get(7, b)", UNKNOWN),
        ("for v in db.multiget(7, k, 8):\n    pass", UNKNOWN),
        ("db.get(7, 5)\ndb.get(7, n)", UNKNOWN),  # the first one is what counts
        ("db.exists(7, db.tenant())\ndb.get(7, n)", UNKNOWN),
    ],
)  # fmt: skip
def test_hint(body: str, expected: FirstLookup) -> None:
    assert hint(body) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get", FirstLookup(FirstKey.BYTES, 1, 0, 0)),
        ("scan", FirstLookup(FirstKey.INTEGER, 1, 0, 0)),
        ("tree", FirstLookup(FirstKey.INTEGER, 0, 48)),
        ("forest", FirstLookup(FirstKey.INTEGER, 0, 49)),
        ("obj_get", FirstLookup(FirstKey.INTEGER, 0, 32)),
        ("obj_update", FirstLookup(FirstKey.INTEGER, 0, 32)),
        ("aggregate", UNKNOWN),
        ("assoc_get", UNKNOWN),
    ],
)
def test_hint_of_the_library(name: str, expected: FirstLookup) -> None:
    sources = {one: source for entry in library.NAMES for one, source in library.entry(entry).sources.items()}
    assert compile_source(sources[name], name).first_lookup == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [("db.get(t, k)", (FirstKey.BYTES, 1, 3, 0)), ("db.get(7, n)", (FirstKey.INTEGER, 0, NO_PARAMETER, 7))],
)
def test_the_record_carries_it(body: str, expected: tuple[int, ...]) -> None:
    value = record.build(compile_source(f"{HEAD}    {body}\n"), 0x1000, 0, 1, 0)
    found = np.frombuffer(value, RECORD, 1)[0]
    names = ("first_key", "first_key_parameter", "first_table_parameter", "first_table")
    assert tuple(int(found[name]) for name in names) == expected
