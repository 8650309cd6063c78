"""``db.add`` and ``db.delete(…, version=)``, compiled and under CPython, as transactions and without isolation."""

from __future__ import annotations

from typing import Any

import pytest

from splinter.ext import LocalStore
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from splinter.ext.types import I64_MAX, I64_MIN, U64_MAX
from tests.support.runner import Runner
from tests.support.worlds import body, both

ISOLATIONS = pytest.mark.parametrize("decorator", ["@extension", "@extension(isolation='none')"])
ADD = body("return db.add(1, key, n)", "key: u64, n: i64", "u64")


def program(decorator: str, text: str, parameters: str, result: str) -> str:
    return body(text, parameters, result).replace("@extension", decorator)


@ISOLATIONS
def test_it_counts(runner: Runner, decorator: str) -> None:
    source = ADD.replace("@extension", decorator)
    assert [both(runner, source, 7, n) for n in (1, 1, 40, 0, -2)] == [1, 2, 42, 42, 40]
    assert runner.store.get(1, 7) == (40).to_bytes(8, "little")


def test_a_counter_that_was_not_there_is_made(runner: Runner) -> None:
    assert both(runner, ADD, 7, 0) == 0
    assert runner.store.exists(1, 7)


@ISOLATIONS
@pytest.mark.parametrize(
    ("before", "n", "after"),
    [
        (0, I64_MAX, I64_MAX), (0, -1, None), (5, -5, 0), (5, -6, None), (U64_MAX, 0, U64_MAX), (U64_MAX, 1, None),
        (U64_MAX, -1, U64_MAX - 1), (U64_MAX, I64_MIN, I64_MAX), (I64_MAX, I64_MIN, None), (1 << 63, I64_MIN, 0),
        (1 << 63, I64_MAX, U64_MAX), ((1 << 63) + 1, I64_MAX, None), (-1, 0, U64_MAX),
    ],
)  # fmt: skip
def test_a_sum_that_no_counter_can_be_changes_nothing(
    runner: Runner, decorator: str, before: int, n: int, after: int | None
) -> None:
    runner.store.put(1, 7, before)
    outcome = both(runner, ADD.replace("@extension", decorator), 7, n)
    assert outcome == (("OVERFLOW", 3) if after is None else after)
    assert runner.store.get(1, 7) == (before & U64_MAX if after is None else after).to_bytes(8, "little")


def test_what_is_added_is_an_i64(runner: Runner) -> None:
    source = body("return db.add(1, 7, n)", "n: u64", "u64")
    assert both(runner, source, I64_MAX) == I64_MAX
    assert both(runner, source, I64_MAX + 1) == ("OVERFLOW", 3)


@pytest.mark.parametrize("value", [b"", b"seven b", b"nine byte", bytes(9)])
def test_an_object_of_another_length_is_no_counter(runner: Runner, value: bytes) -> None:
    runner.store.put(1, 7, value)
    assert both(runner, body("x = 1\nreturn db.add(1, 7,\n    x)", "a: u64", "u64"), 0) == ("COUNTER", 4)
    assert runner.store.get(1, 7) == value
    assert ExtensionError.COUNTER.text == "the object is no counter: a counter has 8 bytes"


@ISOLATIONS
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db.put(1, k, 5)\nx = db.add(1, k, 2)\ndb.add(1, k, 3)\nv = db.get(1, k)\nreturn x if v is None else v.u64(0)", 10),
        ("x = db.add(1, k, 2)\ndb.put(1, k, 50)\nreturn db.add(1, k, 1)", 51),
        ("x = db.add(1, k, 9)\nassert db.delete(1, k)\nassert not db.exists(1, k)\nreturn db.add(1, k, 4)", 4),
        ("db.put(1, k, k)\nx = db.delete(1, k)\nreturn db.add(1, k, 1)", 1),
        ("x = db.add(1, k, 1)\nyield\nx += db.add(1, k, 1)\nyield\nreturn x + db.add(1, k, 1)", 6),
        ("x: u64 = 0\nfor i in range(100):\n    x = db.add(1, i & 3, i)\nreturn x", sum(range(3, 100, 4))),
        ("v = db.add(1, k, 1)\nw = db.version(1, k)\nx = db.add(1, k, 1)\nreturn int(w != db.version(1, k))", 1),
        ("v = db.get(2, 1)\ndb.add(1, k, 1)\nreturn int(v is None)", 1),
    ],
)  # fmt: skip
def test_a_task_sees_what_it_added(runner: Runner, decorator: str, text: str, expected: int) -> None:
    assert both(runner, program(decorator, text, "k: bytes", "u64"), b"key") == expected


def test_a_transaction_that_fails_has_added_nothing(runner: Runner) -> None:
    runner.store.put(1, b"k", 5)
    source = body("x = db.add(1, k, 1)\nx = db.add(2, k, 1)\nraise Error(x)", "k: bytes", "u64")
    assert both(runner, source, b"k") == ("RAISED", 5)
    assert (runner.store.get(1, b"k"), runner.store.get(2, b"k")) == ((5).to_bytes(8, "little"), None)


def test_without_isolation_what_was_added_stays(runner: Runner) -> None:
    source = program("@extension(isolation='none')", "x = db.add(1, k, 1)\nraise Error(x)", "k: bytes", "u64")
    assert both(runner, source, b"k") == ("RAISED", 4)
    assert runner.store.get(1, b"k") == (1).to_bytes(8, "little")


@ISOLATIONS
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return db.delete(1, k, db.version(1, k))", True),
        ("return db.delete(1, k, version=db.version(1, k) + 1)", False),
        ("return db.delete(version=0, key=k, table=1)", False),
        ("return db.delete(1, k, 0xFFFFFFFFFFFFFFFF)", False),
        ("v = db.version(1, k)\ndb.put(1, k, 1)\nreturn db.delete(1, k, v)", False),
        ("db.put(1, k, 1)\nreturn db.delete(1, k, db.version(1, k))", True),
        ("v = db.version(1, k)\nx = db.delete(1, k, v)\nreturn x and not db.delete(1, k, v) and not db.exists(1, k)", True),
        ("x = db.delete(1, k)\nreturn db.delete(1, k, db.version(1, k))", False),
        ("v = db.version(1, k)\nyield\ndb.add(2, k, 1)\nreturn db.delete(1, k, v) and db.delete(2, k, db.version(2, k))", True),
    ],
)  # fmt: skip
def test_a_delete_of_one_version(decorator: str, text: str, expected: bool) -> None:
    source = program(decorator, text, "k: bytes", "bool")
    with Runner() as runner:
        runner.store.put(1, b"key", b"value")
        assert _agree(runner, source, b"key") is expected
        assert runner.store.exists(1, b"key") is ("db.delete(1, k)" not in text and not expected)


def test_a_delete_of_a_version_that_is_none(runner: Runner) -> None:
    source = body("return db.delete(1, k, version=n)", "k: bytes, n: i64", "bool")
    assert both(runner, source, b"k", 0) is False
    assert both(runner, source, b"k", -1) == ("OVERFLOW", 3)
    assert both(runner, source, b"", -1) == ("OVERFLOW", 3)
    assert both(runner, source, b"", 1) == ("KEY", 3)


def _agree(runner: Runner, source: str, *args: Any) -> Any:
    """As :func:`tests.support.worlds.both`, on a store whose objects have versions."""
    local = LocalStore()
    for (table, key), value in runner.store.objects.items():
        local.put(table, key, value)
    result = local.invoke(source, *args)
    assert runner.run(compile_source(source), *args) == result
    assert (runner.store.objects, runner.store.versions) == (local.objects, local.versions)
    return result
