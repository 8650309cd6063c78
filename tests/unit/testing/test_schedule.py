"""Invokes in all interleavings: how many there are, what goes wrong in them, and that what is told can be repeated."""

from __future__ import annotations

import re
from math import comb
from typing import Any

import pytest

from splinter.errors import BadArgumentsError, CompileError
from splinter.ext import Error, ExtensionFault, LocalStore, Store, extension, u64
from splinter.ext.abi import ExtensionError
from splinter.testing import Invoke, interleavings

VISIT = """
@extension
def visit(db: Store, page: u64) -> u64:
    seen = db.get(1, page)
    yield
    count: u64 = 1 if seen is None else seen.u64(0) + 1
    db.put(1, page, count)
    return count
"""
ALONE = VISIT.replace("@extension", "@extension(isolation='none')")
WITHOUT_YIELD = ALONE.replace("    yield\n", "")
ADD = "@extension(isolation='none')\ndef visit(db: Store, page: u64) -> u64:\n    return db.add(1, page, 1)\n"
SAFE = """
@extension(isolation='none')
def visit(db: Store, page: u64) -> u64:
    while True:
        version = db.version(1, page)
        seen = db.get(1, page)
        count: u64 = 1 if seen is None else seen.u64(0) + 1
        if db.put_if(1, page, count, version):
            return count
"""
UNSAFE = SAFE.replace("        version = db.version(1, page)\n        seen = db.get(1, page)\n",
                      "        seen = db.get(1, page)\n        version = db.version(1, page)\n")  # fmt: skip
LOGGING = """
@extension
def f(db: Store, n: u64, k: bytes) -> u64:
    db.log(k)
    for i in range(n):
        yield
        db.log(k)
    return n
"""
YIELDS = "@extension\ndef f(db: Store, n: u64) -> u64:\n    for i in range(n):\n        yield\n    return n\n"


def counts(store: LocalStore, results: list[Any]) -> None:
    """No visit is lost, and each is told another number."""
    assert store.get(1, 7) == len(results).to_bytes(8, "little")
    assert sorted(results) == list(range(1, len(results) + 1))


def visits(source: str, count: int = 2, **options: Any) -> int:
    return interleavings(LocalStore(), [Invoke(source, page=7)] * count, counts, **options)


@pytest.mark.parametrize(("yields", "expected"), [((0, 0), 2), ((1, 1), 6), ((2, 3), comb(7, 3)), ((1, 1, 1), 90), ((5,), 1)])
def test_all_interleavings_are_run_and_each_once(yields: tuple[int, ...], expected: int) -> None:
    """The log tells whose slice each was."""
    orders: list[bytes] = []

    def check(store: LocalStore, results: list[Any]) -> None:
        assert results == list(yields)
        orders.append(b"".join(store.logged))

    invokes = [Invoke(LOGGING, n, b"abc"[i : i + 1]) for i, n in enumerate(yields)]
    assert interleavings(LocalStore(), invokes, check) == expected
    assert len(orders) == len(set(orders)) == expected


def test_a_transaction_loses_no_count() -> None:
    assert visits(VISIT) >= comb(4, 2)
    assert visits(VISIT, 3) > 90
    assert visits(VISIT, at="calls") > comb(4, 2)
    assert visits(VISIT, 4, at="calls", seeds=300) == 300


def test_without_isolation_a_yield_between_get_and_put_loses_a_count() -> None:
    with pytest.raises(AssertionError) as caught:
        visits(ALONE)
    story = str(caught.value)
    assert "0: <source>(page=7)" in story and "results: [1, 1]" in story
    assert "  0 to a yield\n  1 to a yield\n" in story
    (order,) = re.findall(r"only=\[(.*)\]", story)
    only = list(map(int, order.split(", ")))
    with pytest.raises(AssertionError) as again:
        visits(ALONE, only=only)
    assert str(again.value) == story
    assert visits(ALONE, only=[0, 0, 1, 1]) == 1


def test_other_cores_go_on_between_any_two_calls() -> None:
    assert visits(WITHOUT_YIELD) == 2
    with pytest.raises(AssertionError, match=r"to db\.put"):
        visits(WITHOUT_YIELD, at="calls")
    with pytest.raises(AssertionError):
        visits(UNSAFE, at="calls")


@pytest.mark.parametrize("source", [SAFE, ADD])
def test_what_is_safe_without_isolation(source: str) -> None:
    assert visits(source, at="calls") >= 2
    assert visits(source, 3, at="calls", seeds=200) == 200


@extension
def move(db: Store, amount: u64) -> bool:
    left = db.get(1, 1)
    right = db.get(1, 2)
    assert left is not None and right is not None
    if left.u64(0) < amount:
        raise Error(5)
    db.put(1, 1, left.u64(0) - amount)
    yield
    db.put(1, 2, right.u64(0) + amount)
    return True


@extension
def total(db: Store) -> u64:
    left = db.get(1, 1)
    yield
    right = db.get(1, 2)
    assert left is not None and right is not None
    return left.u64(0) + right.u64(0)


def bank() -> LocalStore:
    store = LocalStore()
    store.put(1, 1, 100)
    store.put(1, 2, 0)
    return store


@pytest.mark.parametrize("at", ["yields", "calls"])
def test_a_reader_sees_all_of_a_transaction_or_nothing(at: Any) -> None:
    store = bank()
    count = interleavings(store, [Invoke(move, amount=30), Invoke(total)], lambda _, results: results == [True, 100], at=at)
    assert count >= comb(4, 2)
    assert store.get(1, 1) == (100).to_bytes(8, "little")  # each interleaving has a copy


def test_an_error_leaves_nothing_and_stands_in_place_of_the_result() -> None:
    def check(store: LocalStore, results: list[Any]) -> None:
        (failed,) = [result for result in results if isinstance(result, ExtensionFault)]
        assert (failed.error, failed.code) == (ExtensionError.RAISED, 5)
        assert store.get(1, 1) == (40).to_bytes(8, "little") and store.get(1, 2) == (60).to_bytes(8, "little")

    assert interleavings(bank(), [Invoke(move, 60), Invoke(move, 60)], check, at="calls") > 2


def test_what_was_in_vain_is_told() -> None:
    with pytest.raises(AssertionError) as caught:
        interleavings(bank(), [Invoke(move, 30), Invoke(move, 30)], lambda *_: False, only=[0, 1, 0, 1, 1, 1])
    assert "the check returned False" in str(caught.value)
    assert "1 to its end, in vain" in str(caught.value)


def test_look_ups_of_multiget_are_calls() -> None:
    reader = "@extension(isolation='none')\ndef f(db: Store, k: bytes) -> u64:\n    n: u64 = 0\n" \
             "    for v in db.multiget(1, k, 8):\n        n += v.u64(0)\n    return n\n"  # fmt: skip
    keys = b"".join(key.to_bytes(8, "little") for key in (1, 2))
    found = set()
    interleavings(bank(), [Invoke(reader, keys), Invoke(move, 30)], lambda _, results: found.add(results[0]), at="calls")
    assert found == {100, 130}


def test_invokes_that_wait_for_each_other_are_told() -> None:
    waits = "@extension(isolation='none')\ndef f(db: Store) -> None:\n    while not db.exists(1, 1):\n        yield\n"
    with pytest.raises(AssertionError, match="have not ended after 10,000 slices"):
        interleavings(LocalStore(), [Invoke(waits)], lambda *_: None)


def test_too_many_interleavings_and_wrong_ones() -> None:
    with pytest.raises(ValueError, match="more than 10,000 interleavings: run some of them with seeds"):
        interleavings(LocalStore(), [Invoke(YIELDS, 9), Invoke(YIELDS, 9)], lambda *_: None)
    for only in ([0, 1], [0, 0, 0], [0, 2], [0, 0, 0, 1, 1]):
        with pytest.raises(ValueError, match="is no interleaving"):
            interleavings(LocalStore(), [Invoke(YIELDS, 1), Invoke(YIELDS, 1)], lambda *_: None, only=only)


def test_what_is_wrong_with_an_invoke_is_raised() -> None:
    with pytest.raises(BadArgumentsError):
        interleavings(LocalStore(), [Invoke(YIELDS, -1)], lambda *_: None)
    with pytest.raises(CompileError):
        interleavings(LocalStore(), [Invoke("def f(db: Store) -> u64:\n    return 1\n")], lambda *_: None)
    with pytest.raises(ZeroDivisionError):  # of the check itself
        interleavings(LocalStore(), [Invoke(YIELDS, 1)], lambda *_: 1 // 0)


def test_the_log_of_what_begins_anew_is_there_twice() -> None:
    logging = VISIT.replace("    yield\n", "    db.log(b'seen')\n    yield\n")
    logged = []
    interleavings(LocalStore(), [Invoke(logging, 7)] * 2, lambda store, _: logged.append(len(store.logged)))
    assert set(logged) == {2, 3}
