"""No long slices: work in a straight line looks at the budget too, and a turn of a loop costs what is in it."""

from __future__ import annotations

import zlib

import pytest

from splinter.ext.compile import CompiledExtension, compile_source
from splinter.ext.python.local import LocalStore
from splinter.limits import (
    BYTES_PER_COST,
    CHECKPOINT_COST,
    DIGESTED_BYTES_PER_COST,
    HELPER_COST,
    INSTRUCTIONS_PER_COST,
    TASK_BUDGET,
    VALUE_BYTES_MAX,
)
from tests.support.runner import Runner

HEAD = """@extension(isolation="none")
def f(db: Store, n: u64) -> u64:
    a = db.get(1, 1)
    b = db.get(1, 2)
    if a is None or b is None:
        return 0
"""
LARGE = bytes(range(256)) * (VALUE_BYTES_MAX // 256)


class Slices(Runner):
    """Keeps what each slice spent."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.spent: list[int] = []

    def resumed(self) -> None:
        self.spent.append(self.budget - int(self._frame["budget"][0]))


def source(body: list[str], loop: str = "") -> str:
    lines = [loop, *(f"    {line}" for line in body)] if loop else body
    return HEAD + "".join(f"    {line}\n" for line in lines) + "    return n\n"


def spent(body: list[str], loop: str = "", argument: int = 0) -> list[int]:
    """What each slice took; the result is CPython's."""
    text = source(body, loop)
    store = LocalStore()
    for key in (1, 2):
        store.put(1, key, LARGE)
    compiled: CompiledExtension = compile_source(text)
    with Slices(store) as runner:
        result = runner.run(compiled, argument)
    assert result == store.invoke(text, argument)
    return runner.spent


INSTRUCTIONS_PER_STATEMENT_MIN = 3  # a product, a sum and a mask
COMPARE = VALUE_BYTES_MAX // BYTES_PER_COST
DIGEST = VALUE_BYTES_MAX // DIGESTED_BYTES_PER_COST


@pytest.mark.parametrize(
    ("statement", "count", "cost"),
    [
        ("n += 1 if a == b else 0", 100, COMPARE),
        ("db.put(2, n, a)", 60, COMPARE),
        ("n += crc32(a) & 255", 10, DIGEST),
        ("n = hash64(a) ^ n", 10, DIGEST),
        ("n += 1 if db.exists(1, n) else 0", 700, HELPER_COST),
    ],
)
def test_work_in_a_row_is_done_in_slices(statement: str, count: int, cost: int) -> None:
    slices = spent([statement] * count)
    assert sum(slices) >= count * cost  # it is paid for
    assert max(slices) <= TASK_BUDGET + CHECKPOINT_COST + COMPARE
    assert len(slices) >= count * cost // (TASK_BUDGET + CHECKPOINT_COST + COMPARE)


def test_branches_are_as_good_as_a_straight_line() -> None:
    slices = spent(["if n & 1 == 0:", "    n += 1 if a == b else 2", "else:", "    n += 3 if b == a else 4"] * 40)
    assert max(slices) <= TASK_BUDGET + CHECKPOINT_COST + COMPARE
    assert len(slices) > 40 * COMPARE // (TASK_BUDGET + CHECKPOINT_COST + COMPARE)


def test_what_is_short_in_fact_does_not_yield() -> None:
    assert len(spent(["n += 1 if a[:8] == b[8:16] else 0"] * 100)) == 1


def test_a_turn_of_a_loop_costs_what_its_body_has() -> None:
    small, large = (sum(spent(["n = (n * 31 + 7) & 0xFFFF"] * count, "for _ in range(1000):")) for count in (1, 200))
    assert large - small > 1000 * 199 * INSTRUCTIONS_PER_STATEMENT_MIN // INSTRUCTIONS_PER_COST


def test_digests_of_several_pieces() -> None:
    text = "@extension\ndef f(db: Store, k: bytes) -> u64:\n    return crc32(k) ^ hash64(k) ^ hash64(k)\n"
    compiled = compile_source(text)
    with Runner(budget=1) as runner:
        for size in (0, 1, 1000, 1400):
            assert runner.run(compiled, LARGE[:size]) == zlib.crc32(LARGE[:size])
    for size in (4095, 4096, 4097, 8192, 65536):
        body = source([f"return crc32(a[:{size}])"])
        store = LocalStore()
        store.put(1, 1, LARGE)
        store.put(1, 2, b"")
        with Runner(store, budget=1) as runner:
            assert runner.run(compile_source(body), 0) == zlib.crc32(LARGE[:size])
            assert runner.resumes == -(-size // 4096)


def test_without_preemption_nothing_yields() -> None:
    store = LocalStore()
    for key in (1, 2):
        store.put(1, key, LARGE)
    with Runner(store) as runner:
        runner.run(compile_source(source(["n += 1 if a == b else 0"] * 100), preempt=False), 0)
        assert runner.resumes == 1
