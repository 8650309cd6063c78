"""Tasks of several workers on the same objects, in every order that a few seeds give, and workers dying in between."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from splinter.ext import LocalStore
from splinter.ext.compile import compile_source
from splinter.limits import TASK_BUDGET
from tests.support.interleave import InterleavedSide, Turns
from tests.support.library import MONEY, NativeSide, associations, read_list

TASKS = 4
ACCOUNTS, BALANCE = 4, 100
LISTS_TABLE, PAGES_TABLE, ACCOUNTS_TABLE = 33, 34, 40


@pytest.fixture
def store() -> LocalStore:
    return LocalStore()


def quietly(store: LocalStore) -> NativeSide:
    """A side that is alone."""
    side = NativeSide(TASK_BUDGET)
    side.store = side.runner.store = store
    return side


def balances_of(store: LocalStore) -> list[int]:
    return [int.from_bytes(store.objects[ACCOUNTS_TABLE, number.to_bytes(8, "little")], "little") for number in range(ACCOUNTS)]


def transfers(side: InterleavedSide, seed: int, done: list[tuple[int, int, int]], count: int) -> Callable[[], None]:
    def body() -> None:
        generator = random.Random(seed)
        for _ in range(count):
            sender, receiver = generator.sample(range(ACCOUNTS), 2)
            amount = generator.randrange(60)
            if side.invoke("transfer", sender, receiver, amount):
                done.append((sender, receiver, amount))

    return body


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("death", [0.0, 0.05])
def test_money_is_conserved_at_every_moment(store: LocalStore, seed: int, death: float) -> None:
    """And every transfer that says so was made, once."""
    alone = quietly(store)
    for account in range(ACCOUNTS):
        assert alone.invoke("account_open", account, BALANCE)

    def conserved() -> None:
        assert sum(balances_of(store)) == ACCOUNTS * BALANCE

    turns = Turns(seed, death, conserved)
    done: list[tuple[int, int, int]] = []
    turns.run([transfers(InterleavedSide(store, turns), 100 * seed + task, done, 15) for task in range(TASKS)])

    expected = [BALANCE] * ACCOUNTS
    for sender, receiver, amount in done:
        expected[sender] -= amount
        expected[receiver] += amount
    assert done
    assert balances_of(store) == expected
    assert [alone.invoke("account_balance", account) for account in range(ACCOUNTS)] == expected


def sums(side: InterleavedSide, found: list[int], count: int) -> Callable[[], None]:
    def body() -> None:
        found.extend(side.runner.run(compile_source(MONEY), ACCOUNTS) for _ in range(count))

    return body


@pytest.mark.parametrize("seed", range(6))
def test_a_reader_of_all_accounts_sees_all_money(store: LocalStore, seed: int) -> None:
    alone = quietly(store)
    for account in range(ACCOUNTS):
        assert alone.invoke("account_open", account, BALANCE)
    turns = Turns(seed)
    found: list[int] = []
    bodies = [transfers(InterleavedSide(store, turns), 100 * seed + task, [], 15) for task in range(TASKS)]
    turns.run([*bodies, sums(InterleavedSide(store, turns), found, 20)])
    assert found == [ACCOUNTS * BALANCE] * 20


def list_changes(side: InterleavedSide, task: int, seed: int, mine: dict[int, bytes]) -> Callable[[], None]:
    """Changes of one list by a task that has ids of its own; reads in between."""

    def body() -> None:
        generator = random.Random(seed)
        for _ in range(12):
            id2 = task + TASKS * generator.randrange(6)
            data = generator.randbytes(200)
            choice = generator.random()
            if choice < 0.15:
                check_snapshot(side.invoke("assoc_range", 1, 1, 0, 1000), mine, task)
            elif choice < 0.75:
                assert side.invoke("assoc_add", 1, 1, id2, generator.randrange(20), data) == (id2 not in mine)
                mine[id2] = data
            else:
                assert side.invoke("assoc_delete", 1, 1, id2) == (id2 in mine)
                mine.pop(id2, None)

    return body


def check_snapshot(part: bytes, mine: dict[int, bytes], task: int) -> None:
    """What one reply shows was the list at one moment: ordered, nothing twice, this task's own changes in it."""
    found = associations(part)
    assert len({id2 for id2, _, _ in found}) == len(found)
    assert [time for _, time, _ in found] == sorted((time for _, time, _ in found), reverse=True)
    for id2, _, data in found:
        if id2 % TASKS == task:
            assert mine[id2] == data


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("death", [0.0, 0.02])
def test_lists_keep_every_change(store: LocalStore, seed: int, death: float) -> None:
    turns = Turns(seed, death)
    contents: list[dict[int, bytes]] = [{} for _ in range(TASKS)]
    turns.run([
        list_changes(InterleavedSide(store, turns), task, 100 * seed + task, contents[task]) for task in range(TASKS)
    ])  # fmt: skip
    alone = quietly(store)
    records = read_list(alone, 1, 1)
    found = {id2: data for id2, _, data in records}
    assert len(found) == len(records) == alone.invoke("assoc_count", 1, 1)
    assert found == {id2: data for content in contents for id2, data in content.items()}
    head = store.objects[LISTS_TABLE, struct.pack("<QQ", 1, 1)]
    pages = [key for table, key in store.objects if table == PAGES_TABLE]
    assert len(pages) == (len(head) - 16) // 16


def test_objects_get_ids_of_their_own(store: LocalStore) -> None:
    turns = Turns(3)
    ids: list[int] = []

    def body(side: InterleavedSide) -> Callable[[], None]:
        return lambda: ids.extend(side.invoke("obj_add", 1, b"x") for _ in range(20))

    turns.run([body(InterleavedSide(store, turns)) for _ in range(TASKS)])
    assert sorted(ids) == list(range(1, 20 * TASKS + 1))


def test_updates_do_not_bring_back_what_is_deleted(store: LocalStore) -> None:
    for seed in range(10):
        turns = Turns(seed)
        alone = quietly(store)
        number = alone.invoke("obj_add", 1, b"x")
        updater, deleter = InterleavedSide(store, turns), InterleavedSide(store, turns)
        turns.run(
            [lambda: updater.invoke("obj_update", number, b"y"), lambda: deleter.invoke("obj_delete", number)]  # noqa: B023
        )
        assert alone.invoke("obj_get", number) == b""
