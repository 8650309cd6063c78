"""Which packets an idle worker takes from its siblings' rings, and what a death in between leaves behind."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest

from splinter import limits
from splinter.net.afxdp.record import RINGS, XSK
from splinter.net.afxdp.ring import DESCRIPTOR
from splinter.worker import chunks, receive, steal
from splinter.worker.layout import BATCH, LOOK, QUEUE_LOCK, STATE_RUNNING, STATE_SLEEPING, WORKER

CORES = 3
ENTRIES = limits.RING_ENTRIES
OWNER, THIEF, OTHER = 0, 1, 2
NOW = 1_000_000_000
CYCLES_PER_MS = 2_000_000


@dataclass
class Machine:
    """Workers with a socket each on the one queue of a device, whose rings are plain memory."""

    blocks: np.ndarray
    indices: np.ndarray  # by core: producer, consumer, flags of each ring
    rx: np.ndarray  # by core: descriptors
    states: np.ndarray
    locks: np.ndarray
    rx_locks: np.ndarray
    batches: np.ndarray
    keep: list[np.ndarray]

    def worker(self, core: int) -> int:
        return int(self.blocks[core : core + 1].ctypes.data)

    def arrive(self, core: int, packets: list[int]) -> None:
        """Packets in these chunks arrive at a core's ring."""
        producer = int(self.indices[core, 0])
        for place, chunk in enumerate(packets):
            self.rx[core, (producer + place) % ENTRIES] = (chunk * limits.CHUNK_BYTES, 106, 0)
        self.indices[core, 0] = (producer + len(packets)) & 0xFFFFFFFF

    def waiting(self, core: int) -> int:
        return int(self.indices[core, 0] - self.indices[core, 1])

    def batch(self, core: int, count: int) -> list[int]:
        return [int(address) // limits.CHUNK_BYTES for address in self.batches[core]["address"][:count]]


@pytest.fixture
def machine() -> Machine:
    blocks = np.zeros(CORES, dtype=WORKER)
    indices = np.zeros((CORES, 3 * len(RINGS)), dtype=np.uint32)
    records = np.zeros(CORES, dtype=XSK)
    rx = np.zeros((CORES, ENTRIES), dtype=DESCRIPTOR)
    others = np.zeros((CORES, len(RINGS), ENTRIES), dtype=DESCRIPTOR)
    states = np.zeros(limits.CHUNKS_PER_QUEUE, dtype="<u8")
    locks, rx_locks = np.zeros(1, dtype=QUEUE_LOCK), np.zeros(CORES, dtype=QUEUE_LOCK)
    batches, looks = np.zeros((CORES, limits.RX_BATCH), dtype=BATCH), np.zeros((CORES, CORES), dtype=LOOK)
    scratch = np.zeros((CORES, 64), dtype=np.uint8)
    umem = np.zeros(limits.CHUNKS_PER_QUEUE * limits.CHUNK_BYTES, dtype=np.uint8)
    addresses = np.array([blocks[core : core + 1].ctypes.data for core in range(CORES)], dtype="<u8")
    for core in range(CORES):
        record = records[core : core + 1]
        for number, ring in enumerate(RINGS):
            for place, part in enumerate(("producer", "consumer", "flags")):
                record[f"{ring}_{part}"] = indices[core].ctypes.data + (number * 3 + place) * 4
            entries = rx[core] if ring == "rx" else others[core, number]
            record[f"{ring}_entries"] = entries.ctypes.data
            record[f"{ring}_mask"] = ENTRIES - 1
        block = blocks[core]
        block["index"], block["cores"], block["queues"], block["stealing"] = core, CORES, 1, 1
        block["sockets"][0] = record.ctypes.data
        block["workers"], block["rx_locks"] = addresses.ctypes.data, rx_locks.ctypes.data
        block["queue_locks"], block["chunks"] = locks.ctypes.data, states.ctypes.data
        block["batch"], block["looks"] = batches[core].ctypes.data, looks[core].ctypes.data
        block["scratch"], block["umem"] = scratch[core].ctypes.data, umem.ctypes.data
        block["state"] = STATE_RUNNING
    keep = [records, others, looks, scratch, umem, addresses]
    machine = Machine(blocks, indices, rx, states, locks, rx_locks, batches, keep)
    chunks.fill_all(machine.worker(OWNER))
    indices[OWNER, 3 * RINGS.index("fill") + 1] = limits.CHUNKS_PER_QUEUE  # the kernel has taken them all
    return machine


def steal_until(machine: Machine, now: int) -> tuple[int, int]:
    """Look at every sibling once. Returns the queue that the first packet belongs to, and how many were taken."""
    for _ in range(CORES):
        taken = steal.steal_batch(machine.worker(THIEF), now)
        if taken:
            return chunks.queue_of(int(machine.batches[THIEF]["address"][0])), taken
    return 0, 0


@pytest.mark.parametrize("victim", [OWNER, OTHER])
def test_half_of_what_waits_is_taken_from_any_sibling(machine: Machine, victim: int) -> None:
    machine.arrive(victim, list(range(10)))
    assert steal_until(machine, NOW) == (0, 5)
    assert machine.batch(THIEF, 5) == [0, 1, 2, 3, 4]
    assert machine.waiting(victim) == 5
    assert machine.blocks[THIEF]["counters"]["stolen"] == 5


def test_a_thief_takes_no_more_than_its_own_packets_may_wait_for(machine: Machine) -> None:
    machine.arrive(OWNER, list(range(500)))
    assert steal_until(machine, NOW) == (0, limits.STEAL_PACKETS_MAX)


def test_a_single_packet_is_left_to_its_owner_for_a_while(machine: Machine) -> None:
    machine.arrive(OWNER, [7])
    assert steal_until(machine, NOW) == (0, 0)
    assert steal_until(machine, NOW + limits.STEAL_WAIT_NS - 1) == (0, 0)
    assert steal_until(machine, NOW + limits.STEAL_WAIT_NS) == (0, 1)
    assert machine.batch(THIEF, 1) == [7]


def test_an_owner_that_works_is_not_robbed_of_single_packets(machine: Machine) -> None:
    for number in range(5):
        machine.arrive(OWNER, [number])
        assert steal_until(machine, NOW + number * limits.STEAL_WAIT_NS) == (0, 0)
        assert receive.take_batch(machine.worker(OWNER), OWNER, 0, 1, limits.RX_BATCH) == 1


def test_a_ring_whose_lock_is_held_is_left_alone(machine: Machine) -> None:
    machine.arrive(OWNER, list(range(10)))
    machine.rx_locks["holder"][OWNER] = OTHER + 1
    assert steal_until(machine, NOW) == (0, 0)
    assert receive.take_batch(machine.worker(OWNER), OWNER, 0, 1, limits.RX_BATCH) == 0
    assert machine.waiting(OWNER) == 10


def test_nobody_steals_where_it_is_turned_off(machine: Machine) -> None:
    machine.blocks["stealing"] = 0
    machine.arrive(OWNER, list(range(10)))
    assert steal_until(machine, NOW) == (0, 0)
    assert receive.take_batch(machine.worker(OWNER), OWNER, 0, 1, limits.RX_BATCH) == 10


def test_a_dead_thiefs_packets_are_reclaimed_from_the_ring_that_they_came_from(machine: Machine) -> None:
    machine.indices[THIEF, :2] = 1_000_000  # the thief's own ring is elsewhere: its positions must not decide
    machine.arrive(OWNER, list(range(10)))
    steal_until(machine, NOW)
    machine.rx_locks["holder"][OWNER] = THIEF + 1  # as if it had died before letting go
    machine.blocks["batch_begun"][THIEF] = 2
    assert chunks.recover_chunks(machine.worker(THIEF)) == (2, 0)  # the others are its successor's
    assert machine.rx_locks["holder"].tolist() == [0] * CORES
    assert receive.take_batch(machine.worker(OWNER), OWNER, 0, 1, limits.RX_BATCH) == 5


def test_packets_that_a_dead_thief_marked_and_did_not_take_stay_in_the_ring(machine: Machine) -> None:
    machine.arrive(OWNER, list(range(10)))
    steal_until(machine, NOW)
    machine.indices[OWNER, 1] = 0  # as before the index moved
    machine.rx_locks["holder"][OWNER] = THIEF + 1
    assert chunks.recover_chunks(machine.worker(THIEF)) == (0, 0)
    assert receive.take_batch(machine.worker(OWNER), OWNER, 0, 1, limits.RX_BATCH) == 10
    # The owner has marked them: a second death of the thief finds nothing of its own.
    assert chunks.recover_chunks(machine.worker(THIEF)) == (0, 0)
    machine.blocks["batch_begun"][OWNER] = 10
    assert chunks.recover_chunks(machine.worker(OWNER)) == (10, 0)


@pytest.mark.parametrize(("packet_us", "packets"), [(0.1, limits.RX_BATCH), (limits.BATCH_US / 5, 5), (3 * limits.BATCH_US, 1)])
def test_where_packets_take_long_few_are_taken_at_a_time(machine: Machine, packet_us: float, packets: int) -> None:
    machine.blocks["cycles_per_millisecond"] = CYCLES_PER_MS
    machine.blocks["packet_cycles"][OWNER] = int(packet_us * CYCLES_PER_MS / 1000)
    assert receive.batch_limit(machine.worker(OWNER), OWNER) == packets
    machine.arrive(OWNER, list(range(200)))
    assert steal_until(machine, NOW) == (0, min(packets, limits.STEAL_PACKETS_MAX))
    machine.blocks["stealing"] = 0  # nobody could take what is left
    assert receive.batch_limit(machine.worker(OWNER), OWNER) == limits.RX_BATCH


@pytest.mark.parametrize(
    ("state", "behind_us", "is_busy"),
    [
        (STATE_RUNNING, limits.SIBLING_BUSY_US // 2, False),
        (STATE_RUNNING, limits.SIBLING_BUSY_US * 2, True),
        (STATE_RUNNING, limits.WATCHDOG_MS * 2000, False),  # it is stuck: the watchdog's
        (STATE_SLEEPING, limits.SIBLING_BUSY_US * 2, False),
    ],
)
def test_nobody_sleeps_while_a_sibling_is_at_something_long(
    machine: Machine, state: int, behind_us: int, is_busy: bool
) -> None:
    now = 10**12
    machine.blocks["cycles_per_millisecond"] = CYCLES_PER_MS
    machine.blocks["heartbeat"] = now
    machine.blocks["state"][OWNER] = state
    machine.blocks["heartbeat"][OWNER] = now - behind_us * CYCLES_PER_MS // 1000
    assert steal.is_sibling_busy(machine.worker(THIEF)) == is_busy
    machine.blocks["stealing"] = 0
    assert not steal.is_sibling_busy(machine.worker(THIEF))


def test_one_sleeping_sibling_is_woken_once(machine: Machine) -> None:
    descriptors = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(CORES)]
    try:
        machine.blocks["wake_fd"] = descriptors
        steal.wake_sibling(machine.worker(OWNER))
        assert machine.blocks[OWNER]["counters"]["wakes"] == 0  # all are awake
        machine.blocks["state"][OTHER] = STATE_SLEEPING
        steal.wake_sibling(machine.worker(OWNER))
        steal.wake_sibling(machine.worker(OWNER))
        assert machine.blocks[OWNER]["counters"]["wakes"] == 1
        assert os.eventfd_read(descriptors[OTHER]) == 1
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_sleep_is_short_while_a_sibling_is_awake(machine: Machine) -> None:
    machine.blocks["woken"][THIEF] = 1
    assert steal.allow_waking(machine.worker(THIEF)) == limits.WATCH_MS
    assert machine.blocks["woken"][THIEF] == 0
    machine.blocks["state"] = STATE_SLEEPING
    assert steal.allow_waking(machine.worker(THIEF)) == limits.REST_MS
    machine.blocks["stealing"] = 0
    assert steal.allow_waking(machine.worker(THIEF)) == limits.IDLE_POLL_MS
