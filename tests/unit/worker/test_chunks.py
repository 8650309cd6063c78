"""After a worker's death every chunk is found, whatever the instruction it died at."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from splinter import limits
from splinter.layout import offset
from splinter.net.afxdp.record import RINGS, XSK
from splinter.net.afxdp.ring import DESCRIPTOR
from splinter.server.processes import fork_child, is_readable
from splinter.worker import chunks as c
from splinter.worker.layout import BATCH, QUEUE_LOCK, WORKER
from splinter.worker.tasks.layout import TASK, TASK_FREE, TASK_READY, TASK_REFUSED
from tests.support.waiting import WAIT_SECONDS, wait_for

CHUNKS = limits.CHUNKS_PER_QUEUE
DEAD, ALIVE = 0, 1


@dataclass
class Device:
    """One queue's rings in plain memory, in the layout that the kernel's have, and two workers' blocks over them."""

    record: np.ndarray
    indices: np.ndarray  # per ring: producer, consumer, flags
    entries: dict[str, np.ndarray]
    states: np.ndarray
    locks: np.ndarray
    rx_locks: np.ndarray
    blocks: np.ndarray
    addresses: np.ndarray

    def index(self, ring: str, side: str) -> np.ndarray:
        """The producer or consumer index of a ring, as a one-element view."""
        place = RINGS.index(ring) * 3 + ("producer", "consumer", "flags").index(side)
        return self.indices[place : place + 1]

    def worker(self, slot: int) -> int:
        """Address of a worker's block."""
        return int(self.blocks[slot : slot + 1].ctypes.data)

    def filled(self) -> list[int]:
        """Chunks that stand in the fill ring, published and not taken."""
        first, last = int(self.index("fill", "consumer")[0]), int(self.index("fill", "producer")[0])
        return [int(self.entries["fill"][place % CHUNKS]) // limits.CHUNK_BYTES for place in range(first, last)]


def shared(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that forked processes have in common."""
    return np.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype)


@pytest.fixture
def device() -> Device:
    record = np.zeros(1, dtype=XSK)
    indices = np.zeros(3 * len(RINGS), dtype=np.uint32)
    entries = {ring: np.zeros(CHUNKS, dtype=DESCRIPTOR if ring in ("rx", "tx") else np.dtype("<u8")) for ring in RINGS}
    for number, ring in enumerate(RINGS):
        for place, part in enumerate(("producer", "consumer", "flags")):
            record[f"{ring}_{part}"] = indices.ctypes.data + (number * 3 + place) * 4
        record[f"{ring}_entries"] = entries[ring].ctypes.data
        record[f"{ring}_mask"] = CHUNKS - 1
    states = np.zeros(CHUNKS, dtype="<u8")
    locks = shared(1, QUEUE_LOCK)
    rx_locks = np.zeros(2, dtype=QUEUE_LOCK)
    blocks = shared(2, WORKER)
    addresses = np.array([blocks[slot : slot + 1].ctypes.data for slot in (DEAD, ALIVE)], dtype="<u8")
    for slot in (DEAD, ALIVE):
        blocks[slot]["index"] = slot
        blocks[slot]["queues"] = 1
        blocks[slot]["sockets"][0] = record.ctypes.data
        blocks[slot]["chunks"] = states.ctypes.data
        blocks[slot]["queue_locks"] = locks.ctypes.data
        blocks[slot]["rx_locks"] = rx_locks.ctypes.data
        blocks[slot]["cores"] = len(blocks)
        blocks[slot]["workers"] = addresses.ctypes.data
    device = Device(record, indices, entries, states, locks, rx_locks, blocks, addresses)
    c.fill_all(device.worker(DEAD))
    # The kernel has taken them all: from here on each test says where the chunks are.
    device.index("fill", "consumer")[0] = CHUNKS
    return device


def set_state(device: Device, chunk: int, kind: int, worker: int, position: int) -> None:
    device.states[chunk] = np.uint64(c.chunk_word(kind, worker, worker, 0, position) & 0xFFFFFFFFFFFFFFFF)


def recovered(device: Device, worker: int = DEAD) -> int:
    """How many chunks went back to the kernel; no queue is left."""
    reclaimed, left = c.recover_chunks(device.worker(worker))
    assert left == 0
    return int(reclaimed)


def ends(action: Callable[[], None]) -> bool:
    """Whether compiled code ends: in a process of its own, since nothing else can stop it. What it writes is lost."""
    pid, pidfd = fork_child("recovery", action)
    is_over = is_readable(pidfd, WAIT_SECONDS)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and is_over


@pytest.mark.parametrize(
    ("kind", "ring", "side", "index", "lost"),
    [
        pytest.param(c.KIND_RX, "rx", "consumer", 10, False, id="marked received, still in the RX ring"),
        pytest.param(c.KIND_RX, "rx", "consumer", 11, True, id="taken from the RX ring"),
        pytest.param(c.KIND_TX, "tx", "producer", 10, False, id="written to the TX ring, not published"),
        pytest.param(c.KIND_TX, "tx", "producer", 11, False, id="published in the TX ring"),
        pytest.param(c.KIND_DONE, "completion", "consumer", 10, False, id="still in the completion ring"),
        pytest.param(c.KIND_DONE, "completion", "consumer", 11, True, id="taken from the completion ring"),
        pytest.param(c.KIND_FILL, "fill", "producer", CHUNKS, True, id="written to the fill ring, not published"),
        pytest.param(c.KIND_FILL, "fill", "producer", CHUNKS + 1, False, id="published in the fill ring"),
    ],
)
def test_each_step_before_and_after_its_index_moved(
    device: Device, kind: int, ring: str, side: str, index: int, lost: bool
) -> None:
    set_state(device, 77, kind, DEAD, CHUNKS if kind == c.KIND_FILL else 10)
    device.index(ring, side)[0] = index
    before = device.filled()
    reclaimed = recovered(device)
    assert reclaimed == int(lost)
    assert device.filled()[len(before) :] == ([77] if lost else [])


def test_replies_in_the_tx_ring_are_published(device: Device) -> None:
    device.index("tx", "producer")[0] = 0xFFFFFFFF
    set_state(device, 12, c.KIND_TX, DEAD, 0xFFFFFFFE)  # published
    set_state(device, 13, c.KIND_TX, DEAD, 0)
    set_state(device, 11, c.KIND_TX, DEAD, 0xFFFFFFFF)
    set_state(device, 14, c.KIND_TX, ALIVE, 1)
    recovered(device)
    assert device.index("tx", "producer")[0] == 1


@pytest.mark.parametrize(("state", "held"), [(TASK_FREE, False), (TASK_READY, True), (TASK_REFUSED, True)])
def test_a_tasks_chunk_is_kept_for_the_successor(device: Device, state: int, held: bool) -> None:
    tasks = np.zeros(3, TASK)
    tasks[1]["state"], tasks[1]["chunk"] = state, 20 * limits.CHUNK_BYTES + 256  # a packet starts inside its chunk
    device.blocks["tasks"], device.blocks["tasks_count"] = tasks.ctypes.data, len(tasks)
    set_state(device, 20, c.KIND_RX, DEAD, 0)
    device.index("rx", "consumer")[0] = 1
    assert recovered(device) == int(not held)
    assert c.is_held(device.worker(DEAD), 20 * limits.CHUNK_BYTES) == held
    assert recovered(device) == 0  # the successor's death changes nothing: the task has it still
    tasks["state"] = TASK_FREE
    assert recovered(device) == int(held)


def test_what_a_batch_had_not_begun_is_kept_for_the_successor(device: Device) -> None:
    batch = np.zeros(limits.RX_BATCH, BATCH)
    for k, chunk in enumerate((30, 31, 32, 33)):
        batch[k]["address"] = chunk * limits.CHUNK_BYTES + 256
        set_state(device, chunk, c.KIND_RX, DEAD, k)
    device.blocks["batch"], device.blocks["batch_begun"], device.blocks["batch_count"] = batch.ctypes.data, 2, 3
    device.index("rx", "consumer")[0] = 4
    assert recovered(device) == 3  # two were begun, one is not of this batch
    assert c.is_held(device.worker(DEAD), 32 * limits.CHUNK_BYTES)


def test_positions_wrap_around(device: Device) -> None:
    set_state(device, 5, c.KIND_RX, DEAD, 0xFFFFFFFF)
    device.index("rx", "consumer")[0] = 0  # one past 0xFFFFFFFF
    set_state(device, 6, c.KIND_RX, DEAD, 0)
    assert recovered(device) == 1
    assert device.filled() == [5]


def test_other_workers_chunks_are_left_alone(device: Device) -> None:
    set_state(device, 8, c.KIND_RX, ALIVE, 3)
    device.index("rx", "consumer")[0] = 4
    before = device.states.copy()
    assert recovered(device) == 0
    assert np.array_equal(device.states, before)


def test_recovery_breaks_the_dead_workers_lock(device: Device) -> None:
    device.locks["holder"] = DEAD + 1
    recovered(device)
    assert device.locks["holder"][0] == 0


@pytest.mark.parametrize("first", [DEAD, ALIVE])
def test_workers_that_die_together_are_recovered_in_any_order(device: Device, first: int) -> None:
    """One died with the queue's lock, in the midst of filling. Recovery of the other must not wait for that lock."""
    for chunk, worker in ((77, DEAD), (78, ALIVE)):
        set_state(device, chunk, c.KIND_RX, worker, chunk)
    device.index("rx", "consumer")[0] = 100
    set_state(device, 79, c.KIND_FILL, DEAD, CHUNKS)  # written to the fill ring, not published
    device.locks["holder"], device.rx_locks["holder"][0] = DEAD + 1, ALIVE + 1

    def recover_first() -> None:
        c.recover_chunks(device.worker(first))

    assert ends(recover_first)
    if first == ALIVE:
        assert tuple(c.recover_chunks(device.worker(ALIVE))) == (0, 1)
        assert device.locks["holder"][0] == DEAD + 1 and device.rx_locks["holder"][0] == ALIVE + 1
    assert recovered(device) == 2
    assert recovered(device, ALIVE) == 1
    assert device.filled() == [77, 79, 78]
    assert device.locks["holder"][0] == device.rx_locks["holder"][0] == 0


def test_recovered_chunks_are_marked_as_the_kernels(device: Device) -> None:
    set_state(device, 9, c.KIND_RX, DEAD, 0)
    device.index("rx", "consumer")[0] = 1
    assert recovered(device) == 1
    assert recovered(device) == 0


def test_who_waits_for_a_lock_says_so(device: Device) -> None:
    """So that the watchdog does not take it for stuck."""
    waits, w = device.blocks["waits"], device.worker(ALIVE)
    device.locks["holder"] = DEAD + 1

    def return_one() -> None:
        c.return_chunk(w, 0, 5 * limits.CHUNK_BYTES)

    pid, pidfd = fork_child("waiting", return_one)
    wait_for(lambda: waits[ALIVE] != 0, what="the wait")
    assert c.waits_for_ring(w)
    assert not is_readable(pidfd)
    device.locks["holder"] = 0
    assert is_readable(pidfd, WAIT_SECONDS)
    os.close(pidfd)
    assert os.waitpid(pid, 0)[1] == 0
    assert not c.waits_for_ring(w)
    assert waits[ALIVE] == 0


def test_recycle_moves_completions_to_the_fill_ring(device: Device) -> None:
    for place, chunk in enumerate((3, 900, 41)):
        device.entries["completion"][place] = chunk * limits.CHUNK_BYTES + 298  # as transmitted: inside the chunk
        set_state(device, chunk, c.KIND_TX, ALIVE, place)
    device.index("completion", "producer")[0] = 3
    assert c.recycle(device.worker(ALIVE), 0) == 3
    assert device.index("completion", "consumer")[0] == 3
    assert device.filled() == [3, 900, 41]
    assert device.locks["holder"][0] == 0
    kinds = device.states[[3, 900, 41]] >> np.uint64(56)
    assert kinds.tolist() == [c.KIND_FILL] * 3


def test_recycle_leaves_a_held_lock_alone(device: Device) -> None:
    device.index("completion", "producer")[0] = 1
    device.locks["holder"] = DEAD + 1
    assert c.recycle(device.worker(ALIVE), 0) == 0
    assert device.locks["holder"][0] == DEAD + 1


def test_layouts_have_no_gap_between_python_and_offsets() -> None:
    assert offset(QUEUE_LOCK, "holder") == 0
    assert QUEUE_LOCK.itemsize == 64
