"""Invokes are transactions: what one sees, what others see of it, and what becomes of two that disturb each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.compile import compile_source
from splinter.worker.replay import NOTES_MAX
from splinter.worker.reply import PENDING
from tests.support.driver import Driver, fresh

TENANT, TABLE = 1, 1
ADD = """
@extension
def add(db: Store, key: u64, turns: u64) -> u64:
    seen = db.get(1, key)
    count = 1 if seen is None else seen.u64(0) + 1
    for i in range(turns):
        yield
    db.put(1, key, count)
    return count
"""
ENDLESS_SLICE = """
from splinter.ext import Store, extension, u64

@extension(isolation="none")
def endless_slice(db: Store, count: u64) -> u64:
    for i in range(count):
        db.exists(1, 1)
    db.put(1, 1, 1)
    return count
"""
SOURCES = f"""
from splinter.ext import Error, Store, buffer, extension, u64

{ADD}
{ADD.replace("@extension", "@extension(isolation='none')").replace("def add", "def loose_add")}
@extension
def tells(db: Store, key: u64) -> bytes:
    out = buffer(1000)
    for i in range(100):
        out.append_u64(i)
    db.put(1, key, 9)
    return out

@extension
def own(db: Store, key: u64) -> u64:
    db.put(1, key, 5)
    first = db.get(1, key)
    db.put(1, key, 6)
    second = db.get(1, key)
    deleted = db.delete(1, key)
    third = db.exists(1, key)
    again = db.delete(1, key)
    db.put(1, key, 7)
    if first is None or second is None or not deleted or third or again:
        return 0
    return first.u64(0) * 10 + second.u64(0)

@extension
def fails(db: Store, key: u64) -> u64:
    db.put(1, key, 1)
    db.delete(1, key + 1)
    raise Error(3)

@extension
def both(db: Store, turns: u64) -> u64:
    one = db.get(1, 1)
    for i in range(turns):
        yield
    other = db.get(1, 2)
    if one is None or other is None:
        return 99
    return one.u64(0) * 10 + other.u64(0)

@extension
def missing(db: Store, turns: u64) -> u64:
    one = db.exists(1, 1)
    for i in range(turns):
        yield
    other = db.exists(1, 2)
    return (1 if one else 0) + (2 if other else 0)

@extension
def many(db: Store, first: u64, count: u64) -> u64:
    for i in range(count):
        db.put(1, first + i, i)
    return count

@extension
def again(db: Store, key: u64, count: u64) -> u64:
    for i in range(count):
        db.put(1, key, i)
    return count

@extension
def reads(db: Store, count: u64) -> u64:
    for i in range(count):
        if db.exists(1, 1000 + i):
            return i
    return count

@extension
def reads_to_write(db: Store, count: u64) -> u64:
    for i in range(count):
        if db.exists(1, 1000 + i):
            return i
    db.put(1, 1, 1)
    return count
"""


@pytest.fixture(scope="module")
def made() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as worker:
        driver = Driver(worker)
        driver.accounts[TENANT] = worker.add_tenant(TENANT)
        names = [line.split()[1].split("(")[0] for line in SOURCES.splitlines() if line.startswith("def ")]
        for name in names:
            worker.install(TENANT, compile_source(_only(name)))
        worker.install(TENANT, compile_source(ENDLESS_SLICE, preempt=False))
        yield worker


def _only(name: str) -> str:
    head, *parts = SOURCES.split("\n@extension")
    return head + "".join(f"\n@extension{part}" for part in parts if f"def {name}(" in part)


class Tasks:
    """Invokes that run slice by slice, and what the store holds."""

    def __init__(self, worker: WorkerInProcess) -> None:
        self.driver = fresh(worker)
        self.driver.accounts[TENANT] = worker.add_tenant(TENANT)
        self.store = worker.store
        for key in range(3000):
            self.store.delete(TENANT, TABLE, key.to_bytes(8, "little"))

    def invoke(self, name: str, *arguments: int, sequence: int = 0) -> int:
        """The status, or PENDING."""
        return self.driver.invoke(TENANT, name, b"".join(value.to_bytes(8, "little") for value in arguments), sequence)

    def result(self, number: int = -1) -> int:
        """What the invoke ``number`` was answered."""
        packet = self.driver.packets[number]
        header = limits.REQUEST_HEADER_BYTES
        return int.from_bytes(packet[header : header + 8].tobytes(), "little")

    def value(self, key: int) -> int | None:
        found = self.store.get(TENANT, TABLE, key.to_bytes(8, "little"))
        return None if found is None else int.from_bytes(found, "little")

    def put(self, key: int, value: int) -> None:
        self.store.put(TENANT, TABLE, key.to_bytes(8, "little"), value.to_bytes(8, "little"))

    def finish(self) -> None:
        """Run until no task waits."""
        for _ in range(10_000):
            if not self.driver.slices(1)[TENANT]:
                return
        raise AssertionError("tasks wait for ever")

    def conflicts(self) -> int:
        return int(self.driver.block["counters"]["conflicts"][0])


@pytest.fixture
def tasks(made: WorkerInProcess) -> Tasks:
    return Tasks(made)


def test_a_task_sees_what_it_has_written(tasks: Tasks) -> None:
    assert tasks.invoke("own", 4) == Status.OK
    assert tasks.result() == 56
    assert tasks.value(4) == 7


def test_an_error_leaves_nothing(tasks: Tasks) -> None:
    tasks.put(5, 50)
    assert tasks.invoke("fails", 4) == Status.EXTENSION_ERROR
    assert (tasks.value(4), tasks.value(5)) == (None, 50)


def test_nothing_is_seen_before_the_end(tasks: Tasks) -> None:
    assert tasks.invoke("add", 1, 3) == PENDING
    assert tasks.value(1) is None
    tasks.finish()
    assert tasks.value(1) == 1


def test_two_that_add_to_one_object_lose_nothing(tasks: Tasks) -> None:
    assert [tasks.invoke("add", 1, 5) for _ in range(6)] == [PENDING] * 6
    tasks.finish()
    assert tasks.value(1) == 6
    assert sorted(tasks.result(-number) for number in range(1, 7)) == [1, 2, 3, 4, 5, 6]
    assert tasks.conflicts() > 0


def test_without_isolation_they_do(tasks: Tasks) -> None:
    for _ in range(6):
        tasks.invoke("loose_add", 1, 5)
    tasks.finish()
    assert tasks.value(1) == 1
    assert tasks.conflicts() == 0


def test_one_that_reads_sees_one_instant(tasks: Tasks) -> None:
    tasks.put(1, 1)
    tasks.put(2, 1)
    assert tasks.invoke("both", 3) == PENDING
    tasks.put(1, 2)
    tasks.put(2, 2)
    tasks.finish()
    assert tasks.result() == 11
    assert tasks.conflicts() == 0


@pytest.mark.parametrize("deletes", [False, True])
def test_what_is_absent_is_of_that_instant_too(tasks: Tasks, deletes: bool) -> None:
    if deletes:
        tasks.put(2, 1)
    assert tasks.invoke("missing", 3) == PENDING
    if deletes:
        tasks.store.delete(TENANT, TABLE, (2).to_bytes(8, "little"))
    else:
        tasks.put(2, 1)
    tasks.finish()
    assert tasks.result() == (2 if deletes else 0)


def test_a_reader_whose_snapshot_is_forgotten_begins_anew(tasks: Tasks) -> None:
    tasks.put(2, 1)
    assert tasks.invoke("missing", 3) == PENDING
    tasks.store.delete(TENANT, TABLE, (2).to_bytes(8, "little"))
    for _ in range(limits.DELETIONS):
        tasks.put(3, 1)
        tasks.store.delete(TENANT, TABLE, (3).to_bytes(8, "little"))
    tasks.finish()
    assert tasks.result() == 0
    assert tasks.conflicts() == 1


def test_one_that_is_disturbed_all_the_time_takes_its_turn(tasks: Tasks) -> None:
    assert tasks.invoke("add", 1, 3) == PENDING
    disturbed = 0
    while not tasks.driver.worker.store.accounts[TENANT]["turn"]:
        tasks.put(1, 100 + disturbed)
        tasks.driver.slices(1)
        disturbed += 1
        assert disturbed < 1000
    assert tasks.conflicts() == limits.CONFLICTS_MAX
    assert tasks.invoke("add", 7, 0) == PENDING  # others of the tenant that write wait: this one, which no conflict is in
    assert tasks.invoke("loose_add", 8, 0) == PENDING
    assert tasks.invoke("both", 0) == Status.OK  # who reads does not
    with pytest.raises(Exception, match="try again"):
        tasks.put(1, 0)
    before = tasks.value(1)
    tasks.finish()
    assert before is not None and tasks.value(1) == before + 1
    assert (tasks.value(7), tasks.value(8)) == (1, 1)
    assert not tasks.driver.worker.store.accounts[TENANT]["turn"]
    tasks.put(1, 0)


def test_a_turn_ends_with_its_task(tasks: Tasks) -> None:
    assert tasks.invoke("add", 1, 3) == PENDING
    number = 0
    while not tasks.driver.worker.store.accounts[TENANT]["turn"]:
        number += 1
        tasks.put(1, number)
        tasks.driver.slices(1)
    tasks.driver.tasks["cycles_max"] = 0  # it ends with an error at its next look
    tasks.finish()
    assert tasks.value(1) == number
    tasks.put(1, 0)


def test_objects_that_one_transaction_may_write(tasks: Tasks) -> None:
    most = limits.TRANSACTION_WRITES_MAX
    tasks.invoke("many", 100, most)
    tasks.finish()
    assert tasks.result() == most
    assert [tasks.value(100 + number) for number in (0, most - 1, most)] == [0, most - 1, None]
    tasks.invoke("many", 500, most + 1)
    tasks.finish()
    assert tasks.value(500) is None
    assert b"isolation" in tasks.driver.packets[-1].tobytes()


def test_bytes_that_one_transaction_may_write(tasks: Tasks) -> None:
    size = 32 + 8 + 8
    most = limits.TRANSACTION_BYTES_MAX // size
    tasks.invoke("again", 1, most)
    tasks.finish()
    assert tasks.value(1) == most - 1
    tasks.invoke("again", 2, most + 1)
    tasks.finish()
    assert tasks.value(2) is None


@pytest.mark.parametrize(("name", "is_limited"), [("reads", False), ("reads_to_write", True)])
def test_look_ups_of_one_transaction(tasks: Tasks, name: str, is_limited: bool) -> None:
    most = limits.TRANSACTION_READS_MAX
    for count in (most, most + 1):
        tasks.invoke(name, count)
        tasks.finish()
        assert (tasks.result() == count) == (count == most or not is_limited)


@pytest.mark.parametrize(("more", "status"), [(0, Status.OK), (1, Status.EXTENSION_ERROR)])
def test_calls_of_one_slice_that_are_noted_without_isolation(tasks: Tasks, more: int, status: Status) -> None:
    """Only code that does not look at its budget makes so many; the put is one of them."""
    assert tasks.invoke("endless_slice", NOTES_MAX - 1 + more) == status
    assert tasks.value(1) == (None if more else 1)
    if more:
        assert b"budget" in tasks.driver.packets[-1].tobytes()


def test_a_reply_that_cannot_be_kept_leaves_nothing_written(tasks: Tasks) -> None:
    tasks.put(4, 1)
    assert tasks.invoke("add", 5, 0, sequence=1) == Status.OK  # the client has its record
    account = tasks.store.accounts[TENANT]
    quota = int(account["quota_bytes"])
    account["quota_bytes"] = account["bytes_used"]  # what replaces an object of its size still fits
    try:
        for _ in range(2):  # the repetition is told the same
            assert tasks.invoke("tells", 4, sequence=2) == Status.EXTENSION_ERROR
            assert b"quota" in tasks.driver.packets[-1].tobytes()
            assert tasks.value(4) == 1
    finally:
        account["quota_bytes"] = quota
    for value in (9, 8):  # the repetition gets the reply that was kept, and does nothing
        assert tasks.invoke("tells", 4, sequence=3) == Status.OK
        assert tasks.driver.packets[-1].tobytes()[limits.REQUEST_HEADER_BYTES :][8:16] == (1).to_bytes(8, "little")
        assert tasks.value(4) == value
        tasks.put(4, 8)


def test_a_repetition_has_no_effect(tasks: Tasks) -> None:
    for turns in (0, 3):  # one that is short, and one that waits
        for _ in range(3):
            tasks.invoke("add", 1, turns, sequence=10 + turns)
            tasks.finish()
            assert tasks.result() == (1 if turns == 0 else 2)
    assert tasks.value(1) == 2
