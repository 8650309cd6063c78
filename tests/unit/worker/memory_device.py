"""A device's queue in shared memory, with a kernel and a client that this process plays, for workers that are forked.

The TX rings' two indices are one word, so that a worker finds nothing to kick; what the kernel has taken is kept here.
"""

from __future__ import annotations

import numpy as np
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame

from splinter import limits
from splinter.native.memory import SharedArena
from splinter.net.afxdp.record import RINGS, XSK
from splinter.net.afxdp.ring import ADDRESS, DESCRIPTOR
from splinter.worker.chunks import KIND_FILL, fill_all, recover_chunks
from splinter.worker.layout import QUEUE_LOCK
from splinter.worker.memory import WorkerMemory

CHUNKS, ENTRIES = limits.CHUNKS_PER_QUEUE, limits.RING_ENTRIES
HEADROOM = 256  # a packet starts inside its chunk
ROUTE = Route("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2", 40_000, limits.PORT_DEFAULT)
_U32, _U64, _MASK32 = np.dtype("<u4"), np.dtype("<u8"), 0xFFFFFFFF


class MemoryDevice:
    """One queue, a socket for each worker; fill and completion ring are common to all."""

    def __init__(self, workers: list[WorkerMemory]) -> None:
        cores = len(workers)
        arena = SharedArena(CHUNKS * (limits.CHUNK_BYTES + 8) + ENTRIES * 64 * (cores + 1))
        self._umem = arena.array(np.dtype("u1"), CHUNKS * limits.CHUNK_BYTES)
        self.states = arena.array(_U64, CHUNKS)
        self.locks, self.rx_locks = arena.array(QUEUE_LOCK), arena.array(QUEUE_LOCK, cores)
        flags = arena.array(_U32)
        self._records = np.zeros(cores, XSK)
        shared = {ring: self._ring(arena, ADDRESS) for ring in ("fill", "completion")}
        self._rings = []
        for core, worker in enumerate(workers):
            rings = {**shared, "rx": self._ring(arena, DESCRIPTOR), "tx": self._ring(arena, DESCRIPTOR)}
            rings["tx"] = (rings["tx"][0], rings["tx"][1], rings["tx"][1])
            self._rings.append(rings)
            record = self._records[core : core + 1]
            record["fd"], record["umem"] = -1, self._umem.ctypes.data
            for name in RINGS:
                entries, producer, consumer = rings[name]
                record[f"{name}_entries"], record[f"{name}_mask"] = entries.ctypes.data, ENTRIES - 1
                record[f"{name}_producer"], record[f"{name}_consumer"] = producer.ctypes.data, consumer.ctypes.data
                record[f"{name}_flags"] = flags.ctypes.data
            block = worker.block
            block["queues"], block["sockets"][0, 0] = 1, record.ctypes.data
            block["queue_locks"], block["rx_locks"] = self.locks.ctypes.data, self.rx_locks.ctypes.data
            block["chunks"], block["umem"] = self.states.ctypes.data, self._umem.ctypes.data
            worker.poll_on([-1])
        self._sent = [0] * cores  # positions up to which the kernel took the TX rings
        self.free: list[int] = []  # chunks that the kernel took from the fill ring
        fill_all(workers[0].address)

    @staticmethod
    def _ring(arena: SharedArena, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return arena.array(dtype, ENTRIES), arena.array(_U32), arena.array(_U32)

    def take_fill(self) -> None:
        """The kernel takes what stands in the fill ring. Raises ``ValueError`` for a chunk that it has already."""
        entries, producer, consumer = self._rings[0]["fill"]
        for _ in range((int(producer[0]) - int(consumer[0])) & _MASK32):
            chunk = int(entries[int(consumer[0]) % ENTRIES]) // limits.CHUNK_BYTES
            if chunk in self.free:
                raise ValueError(f"chunk {chunk} was filled twice")
            self.free.append(chunk)
            consumer[0] = (int(consumer[0]) + 1) & _MASK32

    def deliver(self, core: int, payload: bytes) -> None:
        """A packet arrives at a core's RX ring."""
        self.take_fill()
        address = self.free.pop(0) * limits.CHUNK_BYTES + HEADROOM
        packet = frame(ROUTE, payload)
        self._umem[address : address + len(packet)] = np.frombuffer(packet, np.uint8)
        entries, producer, _ = self._rings[core]["rx"]
        entries[int(producer[0]) % ENTRIES] = (address, len(packet), 0)
        producer[0] = (int(producer[0]) + 1) & _MASK32

    def collect(self) -> list[bytes]:
        """The kernel sends what stands in the TX rings, and completes it; returns the payloads."""
        payloads = []
        done, done_producer, _ = self._rings[0]["completion"]
        for core, rings in enumerate(self._rings):
            entries, producer, _ = rings["tx"]
            while self._sent[core] != int(producer[0]):
                address, length, _ = (int(field) for field in entries[self._sent[core] % ENTRIES])
                payloads.append(self._umem[address + FRAME_HEADER_BYTES : address + length].tobytes())
                done[int(done_producer[0]) % ENTRIES] = address
                done_producer[0] = (int(done_producer[0]) + 1) & _MASK32
                self._sent[core] = (self._sent[core] + 1) & _MASK32
        return payloads

    def recover(self, worker: WorkerMemory) -> None:
        """As the XDP transport."""
        recover_chunks(worker.address)

    def locks_held(self) -> list[int]:
        """The holders of rings' locks that are held."""
        return [int(holder) for holder in [*self.locks["holder"], *self.rx_locks["holder"]] if holder]

    def is_at_rest(self) -> bool:
        """Whether no packet waits anywhere and every chunk is marked as the kernel's to fill."""
        waiting = any(rings[name][1][0] != rings[name][2][0] for rings in self._rings for name in ("rx", "completion"))
        return not waiting and bool(np.all(self.states >> np.uint64(56) == KIND_FILL))

    def problems(self) -> list[str]:
        """Locks that are held, chunks that the kernel does not have; at rest."""
        found = [f"a ring's lock is held by {holder}" for holder in self.locks_held()]
        self.take_fill()
        if sorted(self.free) != list(range(CHUNKS)):
            found.append(f"the kernel has {len(self.free)} of {CHUNKS} chunks")
        return found
