"""Tasks of several workers on the same objects, in every order that a few seeds give, and workers dying in between."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from splinter.ext import LocalStore
from splinter.limits import TASK_BUDGET
from tests.support.interleave import InterleavedSide, KilledError, Turns
from tests.support.library import NativeSide, associations, read_list

TASKS = 4
ACCOUNTS, BALANCE = 4, 100
ACCOUNT = struct.Struct("<6Q")
LISTS_TABLE, PAGES_TABLE, ACCOUNTS_TABLE = 33, 34, 40


@pytest.fixture
def store() -> LocalStore:
    return LocalStore()


def quietly(store: LocalStore) -> NativeSide:
    """A side that is alone."""
    side = NativeSide(TASK_BUDGET)
    side.store = side.runner.store = store
    return side


def accounts_of(store: LocalStore) -> list[tuple[int, ...]]:
    return [ACCOUNT.unpack(store.objects[ACCOUNTS_TABLE, number.to_bytes(8, "little")]) for number in range(ACCOUNTS)]


def money_in(accounts: list[tuple[int, ...]]) -> int:
    """Balances, and what is outgoing and has not arrived."""
    total = 0
    for balance, outgoing, receiver, amount, _, _ in accounts:
        total += balance + (amount if outgoing and accounts[receiver][4] != outgoing else 0)
    return total


def transfers(side: InterleavedSide, seed: int, done: list[tuple[int, int, int]], count: int) -> Callable[[], None]:
    def body() -> None:
        generator = random.Random(seed)
        for _ in range(count):
            sender, receiver = generator.sample(range(ACCOUNTS), 2)
            amount = generator.randrange(60)
            try:
                if side.invoke("transfer", sender, receiver, amount):
                    done.append((sender, receiver, amount))
            except KilledError:
                pass  # its successor begins with the next

    return body


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("death", [0.0, 0.05])
def test_money_is_conserved_at_every_moment(store: LocalStore, seed: int, death: float) -> None:
    alone = quietly(store)
    for account in range(ACCOUNTS):
        assert alone.invoke("account_open", account, BALANCE)

    def conserved() -> None:
        assert money_in(accounts_of(store)) == ACCOUNTS * BALANCE

    turns = Turns(seed, death, conserved)
    done: list[tuple[int, int, int]] = []
    turns.run([transfers(InterleavedSide(store, turns), 100 * seed + task, done, 15) for task in range(TASKS)])

    for account in range(ACCOUNTS):
        alone.invoke("settle", account)
    balances = [alone.invoke("account_balance", account) for account in range(ACCOUNTS)]
    assert sum(balances) == ACCOUNTS * BALANCE
    assert all(outgoing == 0 for _, outgoing, *_ in accounts_of(store))
    assert done
    if not death:
        expected = [BALANCE] * ACCOUNTS
        for sender, receiver, amount in done:
            expected[sender] -= amount
            expected[receiver] += amount
        assert balances == expected


def list_changes(side: InterleavedSide, task: int, seed: int, mine: dict[int, bytes], doubtful: set[int]) -> Callable[[], None]:
    """Changes of one list by a task that has ids of its own; reads in between."""

    def body() -> None:
        generator = random.Random(seed)
        for _ in range(12):
            id2 = task + TASKS * generator.randrange(6)
            data = generator.randbytes(200)
            choice = generator.random()
            try:
                if choice < 0.15:
                    check_snapshot(side.invoke("assoc_range", 1, 1, 0, 1000), mine, task, doubtful)
                    continue
                was_doubtful = id2 in doubtful
                doubtful.add(id2)
                if choice < 0.75:
                    is_change = side.invoke("assoc_add", 1, 1, id2, generator.randrange(20), data)
                    assert was_doubtful or is_change == (id2 not in mine)
                    mine[id2] = data
                else:
                    is_change = side.invoke("assoc_delete", 1, 1, id2)
                    assert was_doubtful or is_change == (id2 in mine)
                    mine.pop(id2, None)
                doubtful.discard(id2)
            except KilledError:
                pass

    return body


def check_snapshot(part: bytes, mine: dict[int, bytes], task: int, doubtful: set[int]) -> None:
    """What one reply shows was the list at one moment: ordered, nothing twice, this task's own changes in it."""
    found = associations(part)
    assert len({id2 for id2, _, _ in found}) == len(found)
    assert [time for _, time, _ in found] == sorted((time for _, time, _ in found), reverse=True)
    for id2, _, data in found:
        if id2 % TASKS == task and id2 not in doubtful:
            assert mine[id2] == data


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("death", [0.0, 0.02])
def test_lists_keep_every_change(store: LocalStore, seed: int, death: float) -> None:
    turns = Turns(seed, death)
    contents: list[dict[int, bytes]] = [{} for _ in range(TASKS)]
    doubtful: list[set[int]] = [set() for _ in range(TASKS)]
    turns.run(
        [
            list_changes(InterleavedSide(store, turns), task, 100 * seed + task, contents[task], doubtful[task])
            for task in range(TASKS)
        ]
    )
    alone = quietly(store)
    records = read_list(alone, 1, 1)
    found = {id2: data for id2, _, data in records}
    assert len(found) == len(records) == alone.invoke("assoc_count", 1, 1)
    expected = {id2: data for content in contents for id2, data in content.items()}
    unsure = set().union(*doubtful)
    assert {i: d for i, d in found.items() if i not in unsure} == {i: d for i, d in expected.items() if i not in unsure}
    if not death:
        assert not unsure
        head = store.objects[LISTS_TABLE, struct.pack("<QQ", 1, 1)]
        pages = [key for table, key in store.objects if table == PAGES_TABLE]
        assert len(pages) == (len(head) - 16) // 16  # those of failed tries are gone


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


def test_a_page_number_that_went_to_another_writer_is_not_believed(store: LocalStore) -> None:
    """A writer that lost may take a removed page's number for a moment: a reader with an old head must notice."""
    alone = quietly(store)
    alone.invoke("assoc_add", 1, 1, 5, 100, b"old")
    foreign_page = struct.pack("<QQH", 6, 100, 4) + b"lost"

    def meanwhile() -> None:
        (number,) = struct.unpack_from("<I", store.objects[LISTS_TABLE, struct.pack("<QQ", 1, 1)], 16 + 8)
        alone.invoke("assoc_add", 1, 1, 5, 100, b"new")
        store.put(PAGES_TABLE, struct.pack("<QQQ", 1, 1, number), foreign_page)

    pending = [lambda: None, lambda: None, meanwhile]  # after the reader has the head, before it has the page
    turns = Turns(0, between=lambda: pending.pop(0)() if pending else None)
    reader = InterleavedSide(store, turns)
    found: list[bytes] = []
    turns.run([lambda: found.append(reader.invoke("assoc_range", 1, 1, 0, 10))])
    assert associations(found[0]) == [(5, 100, b"new")]
    assert not pending
