"""Invokes among the requests of a packet: in their order, once, and none that would have to wait."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.wire import Header, Opcode
from splinter.worker.requests import handle
from splinter.worker.tasks.layout import CALL_CHUNK, NO_CHUNK, TASK_FREE, TASK_READY, TASK_REPLYING, TASK_RUNNING
from splinter.worker.tasks.recovery import blamed_task, recover_tasks
from tests.support.batches import Answer, One, answers
from tests.support.counting import COUNT
from tests.support.sender import SOURCES, TENANT, Sender

READS = """
@extension
def brings(db: Store, key: u64) -> bytes:
    found = db.get(1, key)
    if found is None:
        return b""
    return found

@extension
def reads_late(db: Store, key: u64) -> u64:
    yield
    return 7
"""
ALL = SOURCES + READS
NAMES = [line[len("def ") : line.index("(")] for line in ALL.splitlines() if line.startswith("def ")]
KEY, OTHER = bytes(8), 2


def invoke(name: str, key: bytes = KEY, signature: int = 0) -> One:
    return One(Opcode.INVOKE, name.encode(), key, signature)


def put(key: bytes = KEY, value: bytes = KEY) -> One:
    return One(Opcode.PUT, key, value, table=1)


def get(key: bytes = KEY) -> One:
    return One(Opcode.GET, key, table=1)


@pytest.fixture(scope="module")
def compiled() -> dict[str, CompiledExtension]:
    return {name: compile_source(ALL, name) for name in NAMES} | {"count": compile_source(COUNT)}


@pytest.fixture(scope="module")
def one(compiled: dict[str, CompiledExtension]) -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        for tenant in (TENANT, OTHER):
            made.add_tenant(tenant)
            for each in compiled.values():
                made.install(tenant, each)
        yield made


@pytest.fixture
def worker(one: WorkerInProcess) -> Iterator[WorkerInProcess]:
    """Nothing in table 1, and no task, before and after. Invokes may take long: the machine may have other things to do."""
    block = one._memory.block
    before = {name: block[name].copy() for name in ("cycles_per_millisecond", "young_cycles")}
    block["cycles_per_millisecond"] = block["young_cycles"] = 1 << 40
    yield one
    for name, value in before.items():
        block[name] = value
    for stored in list(one.store.scan(1, tenant=TENANT)):
        one.store.delete(TENANT, 1, stored.key)
    assert one.store.problems() == []
    assert not (one._memory.tasks["state"] != TASK_FREE).any()
    assert one._memory.block["free_length"][0] == len(one._memory.tasks)


@pytest.fixture
def send(worker: WorkerInProcess) -> Sender:
    return Sender(worker, client=np.random.default_rng().integers(1, 1 << 62).item())


def told(send: Sender, packets: list[bytes]) -> list[Answer]:
    """The answers of one reply, which is OK."""
    reply = send.ask(packets)
    assert Header.unpack(reply).status == Status.OK
    return answers(reply[limits.REQUEST_HEADER_BYTES :])


def told_now(worker: WorkerInProcess, packets: list[bytes]) -> list[Answer]:
    """The same, while tasks wait."""
    packet = np.zeros(limits.CHUNK_BYTES, np.uint8)
    packet[: len(packets[0])] = np.frombuffer(packets[0], np.uint8)
    length = handle(worker.address, packet.ctypes.data, len(packets[0]), 0, 0, 0)
    assert Header.unpack(packet.tobytes()).status == Status.OK
    return answers(packet[limits.REQUEST_HEADER_BYTES : length].tobytes())


def number(answer: Answer) -> int:
    assert answer.status == Status.OK
    return int.from_bytes(answer.value, "little")


def test_they_are_executed_in_their_place_and_once(worker: WorkerInProcess, send: Sender):
    packets = send.batch(put(), invoke("adds"), invoke("adds"), put(bytes(8), b"\x64" + bytes(7)), invoke("adds"), get())
    first = told(send, packets)
    assert [number(first[place]) for place in (1, 2, 4)] == [1, 2, 101]
    assert number(first[5]) == 101
    again = told(send, packets)
    assert again[:5] == first[:5] and number(again[5]) == 101
    assert worker.store.get(TENANT, 1, KEY) == b"\x65" + bytes(7)


def test_two_run_by_themselves_are_told_what_the_batch_has_recorded(worker: WorkerInProcess, send: Sender):
    batch = send.batch(invoke("adds"), invoke("tells"))
    found = told(send, batch)
    first = Header.unpack(batch[0])
    for place, name in enumerate((b"adds", b"tells")):
        header = Header(
            opcode=Opcode.INVOKE, tenant=TENANT, client=first.client, sequence=first.sequence + place,
            acknowledged=first.acknowledged, key_length=len(name), value_length=8,
        )  # fmt: skip
        reply = send.ask([header.pack() + name + KEY])
        assert reply[limits.REQUEST_HEADER_BYTES :] == found[place].value
    assert worker.store.get(TENANT, 1, KEY) == (5).to_bytes(8, "little")


@pytest.mark.parametrize("write", [put(), invoke("adds"), One(Opcode.DELETE, KEY, table=1)], ids=["put", "invoke", "delete"])
def test_no_write_is_executed_behind_one_that_only_reads(worker: WorkerInProcess, send: Sender, write: One):
    """A packet that comes again would have it read what the write has made."""
    worker.store.put(TENANT, 1, KEY, (3).to_bytes(8, "little"))
    found = told(send, send.batch(invoke("count"), get(), invoke("count"), write, get()))
    assert [number(each) for each in found] == [3, 3, 3]
    assert worker.store.get(TENANT, 1, KEY) == (3).to_bytes(8, "little")


@pytest.mark.parametrize("name", ["adds_late", "reads_late", "adds_loosely", "tells_loosely", "looks_late"])
def test_what_would_wait_or_could_not_be_taken_back_has_not_happened(worker: WorkerInProcess, send: Sender, name: str):
    before = worker._memory.block["free_length"][0]
    assert told(send, send.batch(invoke(name), put())) == []
    assert worker.store.get(TENANT, 1, KEY) is None
    found = told(send, send.batch(put(), invoke(name), put(b"other")))
    assert [each.status for each in found] == [Status.OK]
    assert worker.store.get(TENANT, 1, KEY) == KEY and worker.store.get(TENANT, 1, b"other") is None
    assert worker._memory.block["free_length"][0] == before


def test_a_tenant_that_has_had_its_share_waits_behind_others(worker: WorkerInProcess, send: Sender):
    """As it does where its invokes come by themselves."""
    block = worker._memory.block
    (waiting,) = send.request(Opcode.INVOKE, b"reads_late", KEY)
    header = Header.unpack(waiting)
    header.tenant = OTHER
    window, active = block["window_cycles"].copy(), block["active"].copy()

    def meanwhile() -> None:
        """While the other's task waits."""
        assert len(told_now(worker, send.batch(invoke("adds"), invoke("adds")))) == 2
        block["window_cycles"], block["active"] = 0, 2  # so it has used more than half of it
        assert len(told_now(worker, send.batch(put(b"before"), invoke("adds"), put(b"behind")))) == 1
        assert told_now(worker, send.batch(invoke("adds"))) == []

    try:
        send.ask([header.pack() + waiting[limits.REQUEST_HEADER_BYTES :]], meanwhile)
    finally:
        block["window_cycles"], block["active"] = window, active
    assert worker.store.get(TENANT, 1, b"behind") is None
    assert worker.store.get(TENANT, 1, KEY) == (2).to_bytes(8, "little")


def test_one_that_fails_says_why_and_the_next_is_executed(worker: WorkerInProcess, send: Sender):
    found = told(send, send.batch(invoke("fails"), invoke("nothing"), invoke("adds"), One(Opcode.INVOKE, b"adds", b"short")))
    assert found[0].status == Status.EXTENSION_ERROR and found[0].version == 7
    assert found[0].value.startswith(b"fails, line ")
    assert found[1] == Answer(Status.NO_EXTENSION, 0, b"")
    assert number(found[2]) == 1
    assert found[3] == Answer(Status.BAD_ARGUMENTS, 0, b"")


def test_nothing_is_executed_behind_one_whose_client_has_to_ask_for_the_signature(worker: WorkerInProcess, send: Sender):
    packets = send.batch(put(), invoke("adds", signature=1), put(b"behind"))
    found = told(send, packets)
    assert [each.status for each in found] == [Status.OK, Status.BAD_SIGNATURE]
    assert told(send, packets) == found
    assert worker.store.get(TENANT, 1, b"behind") is None


def test_the_right_signature_is_taken(worker: WorkerInProcess, send: Sender, compiled: dict[str, CompiledExtension]):
    found = told(send, send.batch(invoke("adds", signature=compiled["adds"].signature.hash), invoke("adds")))
    assert [number(each) for each in found] == [1, 2]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (One(Opcode.INVOKE, b"", KEY), Status.BAD_KEY),
        (One(Opcode.INVOKE, b"adds", KEY, table=limits.TABLES_MAX), Status.BAD_TABLE),
        (One(Opcode.INVOKE, b"x" * (limits.EXTENSION_NAME_BYTES_MAX + 1), KEY), Status.NO_EXTENSION),
    ],
)
def test_what_is_no_invoke_is_told_so(worker: WorkerInProcess, send: Sender, request_: One, status: Status):
    found = told(send, send.batch(request_, invoke("adds")))
    assert [each.status for each in found] == [status, Status.OK]


def test_a_result_that_has_no_room_comes_with_the_next_packet_or_by_itself(worker: WorkerInProcess, send: Sender):
    most = limits.PACKET_BODY_BYTES_MAX
    for size, several, alone in ((most // 2, 1, 1), (most - 12, 1, 1), (most - 11, 0, 0), (most, 0, 0)):
        worker.store.put(TENANT, 1, KEY, bytes(size))
        found = told(send, send.batch(invoke("brings"), invoke("brings")))
        assert [len(each.value) for each in found] == [size] * several
        assert len(told(send, send.batch(invoke("brings")))) == alone
        header = Header.unpack(send.ask(send.request(Opcode.INVOKE, b"brings", KEY)))
        assert (header.status, header.value_length) == (Status.OK, size)


def test_a_packet_whose_invokes_have_had_their_time_ends(worker: WorkerInProcess, send: Sender):
    """Others wait for it. What is no invoke is short."""
    worker._memory.block["cycles_per_millisecond"] = 0
    for _ in range(3):
        assert len(told(send, send.batch(invoke("adds"), invoke("adds")))) == 1
    assert len(told(send, send.batch(put(), invoke("count"), get(), invoke("count")))) == 3
    assert len(told(send, send.batch(invoke("count"), get(), get(), invoke("count")))) == 3


def test_time_of_an_extension_is_its_own(worker: WorkerInProcess, send: Sender):
    counters = worker._memory.extension_counters
    before = counters["invocations"].sum(), counters["errors"].sum()
    told(send, send.batch(put(), invoke("adds"), invoke("fails"), invoke("count"), invoke("reads_late")))
    assert (counters["invocations"].sum() - before[0], counters["errors"].sum() - before[1]) == (3, 1)


# --- deaths ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [TASK_RUNNING, TASK_REPLYING])
@pytest.mark.parametrize(("is_stuck", "has_crashed"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("chunk", [NO_CHUNK, CALL_CHUNK | 5], ids=["batched", "a call"])
def test_it_goes_with_its_worker_and_is_to_blame_for_a_crash_at_once(
    worker: WorkerInProcess, send: Sender, state: int, is_stuck: bool, has_crashed: bool, chunk: int
):
    """Its packet was in the memory of that worker alone, and so was that of a call by the Redis protocol."""
    memory = worker._memory
    index = memory.free_tasks()[-1]
    task = memory.tasks[index : index + 1]
    told(send, send.batch(invoke("adds")))  # by that task
    assert task["chunk"][0] == NO_CHUNK and task["state"][0] == TASK_FREE
    task["state"], task["chunk"] = state, chunk
    memory.block["running_task"] = task.ctypes.data
    blamed = blamed_task(worker.address, is_stuck, has_crashed)
    memory.block["running_task"] = 0
    assert blamed == (task.ctypes.data if is_stuck or has_crashed else 0)
    assert recover_tasks(worker.address, blamed) == (0, 0, 0)
    assert task["state"][0] == TASK_FREE


def test_a_call_that_waits_goes_with_its_worker(worker: WorkerInProcess, send: Sender):
    """An invoke by a packet would go on; this one's packet, and the connection, are gone."""
    memory = worker._memory
    task = memory.tasks[memory.free_tasks()[-1] :][:1]
    task["state"], task["chunk"] = TASK_READY, CALL_CHUNK | 5
    assert recover_tasks(worker.address, 0) == (0, 0, 0)
    assert task["state"][0] == TASK_FREE


def test_an_extension_that_has_cost_a_worker_comes_by_itself(worker: WorkerInProcess, send: Sender):
    counters = worker._memory.extension_counters
    before = counters["invocations"].copy()
    told(send, send.batch(invoke("count")))
    (slot,) = np.flatnonzero(counters["invocations"] - before)
    counters["kills"][slot] += 1
    try:
        assert [each.status for each in told(send, send.batch(invoke("adds"), invoke("count")))] == [Status.OK]
        assert told(send, send.batch(invoke("count"))) == []
        assert Header.unpack(send.ask(send.request(Opcode.INVOKE, b"count", KEY))).status == Status.OK
        counters["released"][slot] += 1
        assert len(told(send, send.batch(invoke("adds"), invoke("count")))) == 2
    finally:
        counters["kills"][slot] = counters["released"][slot] = 0
