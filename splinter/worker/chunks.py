"""Who has each UMEM chunk, written so that a successor can tell after a death at any instruction.

One 64-bit word per chunk: ``kind (8) | worker (8) | core (8) | queue (8) | position (32)``. Core and queue name the ring (of
a packet that was stolen, the RX ring of the worker that it was stolen from), the position is the free-running index that
this ring will pass with this step. A word is written *before* the index that makes its step visible moves. So after
worker *w* died, for each word that names *w*:

======  ==================================  ==========================================================
kind    index not yet past position         index past position
======  ==================================  ==========================================================
RX      still in the RX ring                *w* had it: held or reclaimed, see below
TX      a whole reply: the index is moved   the kernel has it, it will complete
DONE    still in the completion ring        *w* had it: reclaim
FILL    *w* still had it: reclaim           the kernel has it
HELD    (no index) *w* had it from its predecessor: held or reclaimed
======  ==================================  ==========================================================

A received chunk becomes HELD, the successor's, when a task owns it or when it is of the batch that *w* was serving and had
not been begun. What *w* had begun to serve and not answered may be done or not: its chunk is reclaimed, the client asks
again.

The fill and completion ring of a queue are moved only under the queue's lock, which names its holder; an RX ring under a
lock of its own (:mod:`splinter.worker.receive`). While recovery looks, a living sibling may take the very packet that a
dead thief had marked and not taken: it writes its own word before the index moves, so recovery, which reads the index
first and then changes the word only if it is still the same, cannot mistake that packet for the dead worker's.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import cas32, cas64, load32, load64, pause, shift_right, store32_release, store64, store64_release
from splinter.net.afxdp import compiled as rings
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import BATCH_BYTES, QUEUE_LOCK_BYTES
from splinter.worker.records import Packet, Worker
from splinter.worker.tasks.layout import TASK_BYTES, TASK_FREE
from splinter.worker.tasks.records import Task

KIND_FILL, KIND_RX, KIND_TX, KIND_DONE, KIND_HELD = 1, 2, 3, 4, 5
KINDS = 6
NOBODY = 0xFF  # worker field of a chunk that the supervisor filled
_RECOVERY_HOLDER = 0xFFFF  # holder of a queue's lock during recovery
_RECOVERY_TRIES = 1000  # to take it: some ten microseconds, and a living holder needs less than one
_CHUNKS = limits.CHUNKS_PER_QUEUE
_MASK32 = 0xFFFFFFFF
_SIGN32 = 0x80000000
_LOST = 0  # no kind: marks a chunk for the moment of recovery


@njit(cache=True)
def chunk_word(kind: int, worker: int, core: int, queue: int, position: int) -> int:
    """The state word of one chunk."""
    return kind << 56 | worker << 48 | core << 40 | queue << 32 | (position & _MASK32)


@njit(cache=True)
def mark(chunks: int, address: int, word: int) -> None:
    """Write the state of the chunk that a UMEM address lies in, after all that was written before."""
    store64_release(chunks + (address // limits.CHUNK_BYTES) * 8, word)


@njit(cache=True, forceinline=True)
def queue_of(address: int) -> int:
    """The queue whose fill ring a chunk goes back to, by the UMEM address of its first byte or of a frame in it."""
    return address // (_CHUNKS * limits.CHUNK_BYTES)


@njit(cache=True, forceinline=True)
def queue_lock(w: int, queue: int) -> int:
    """Address of a queue's lock."""
    return Worker(w).queue_locks + queue * QUEUE_LOCK_BYTES


@njit(cache=True, forceinline=True)
def recycle(w: int, queue: int) -> int:
    """Move what the kernel has sent back into the fill ring, if no other worker is at it. Returns how many chunks."""
    worker = Worker(w)
    xsk = load64(worker.sockets + queue * 8)
    if rings.completion_available(xsk) == 0:
        return 0
    lock = queue_lock(w, queue)
    me = worker.index
    if not cas32(lock, 0, me + 1):
        return 0
    worker_point(w, WorkerPoint.QUEUE_LOCKED)
    chunks = worker.chunks
    count = rings.completion_available(xsk)
    taken = rings.completion_position(xsk)
    filled = rings.fill_position(xsk)
    for k in range(count):
        address = rings.completion_address(xsk, taken + k)
        mark(chunks, address, chunk_word(KIND_DONE, me, me, queue, taken + k))
        worker_point(w, WorkerPoint.COMPLETION_MARKED)
        rings.fill_write(xsk, filled + k, address)
    rings.completion_release(xsk, taken + count)
    worker_point(w, WorkerPoint.COMPLETION_TAKEN)
    for k in range(count):  # the completion ring may be overwritten now; the fill ring not before it is published
        mark(chunks, rings.fill_address(xsk, filled + k), chunk_word(KIND_FILL, me, me, queue, filled + k))
        worker_point(w, WorkerPoint.FILL_MARKED)
    rings.fill_publish(xsk, filled + count)
    worker_point(w, WorkerPoint.FILL_PUBLISHED)
    store32_release(lock, 0)
    return count


@njit(cache=True, forceinline=True)
def return_chunk(w: int, queue: int, address: int) -> None:
    """Put one received chunk that needs no reply back into its queue's fill ring (waits for the queue's lock)."""
    worker = Worker(w)
    lock = queue_lock(w, queue)
    me = worker.index
    if not cas32(lock, 0, me + 1):
        # Held for less than a microsecond; or by one that does not get its core, or is dead until the supervisor buries it.
        store64_release(worker.at.waits, lock)
        while not cas32(lock, 0, me + 1):
            pause()
        store64_release(worker.at.waits, 0)
    worker_point(w, WorkerPoint.QUEUE_LOCKED)
    xsk = load64(worker.sockets + queue * 8)
    filled = rings.fill_position(xsk)
    rings.fill_write(xsk, filled, address)
    mark(worker.chunks, address, chunk_word(KIND_FILL, me, me, queue, filled))
    worker_point(w, WorkerPoint.FILL_MARKED)
    rings.fill_publish(xsk, filled + 1)
    worker_point(w, WorkerPoint.FILL_PUBLISHED)
    store32_release(lock, 0)


@njit(cache=True)
def waits_for_ring(w: int) -> bool:
    """Whether a worker spins for a queue's lock that another one holds: it goes on when that one does, or is recovered."""
    worker = Worker(w)
    lock = worker.waits
    return lock != 0 and load32(lock) not in (0, worker.index + 1)


@njit(cache=True)
def _passed(index: int, position: int) -> bool:
    """Whether a free-running 32-bit ring index has moved past a position."""
    return ((position - index) & _SIGN32) != 0


@njit(cache=True)
def _is_lost(w: int, word: int, queue: int) -> bool:
    """Whether the dead worker had the chunk of this state word (see the table above)."""
    worker = Worker(w)
    kind = shift_right(word, 56)
    position = word & _MASK32
    if kind == KIND_RX:
        owner = load64(worker.workers + (shift_right(word, 40) & 0xFF) * 8)
        return _passed(rings.rx_position(load64(Worker(owner).sockets + queue * 8)), position)
    xsk = load64(worker.sockets + queue * 8)
    if kind == KIND_HELD:
        return True
    if kind == KIND_TX:
        return False
    if kind == KIND_DONE:
        return _passed(rings.completion_position(xsk), position)
    return not _passed(rings.fill_position(xsk), position)


@njit(cache=True)
def _is_mine(w: int, address: int, other_kind: int) -> bool:
    worker = Worker(w)
    word = load64(worker.chunks + (address // limits.CHUNK_BYTES) * 8)
    return shift_right(word, 56) in (KIND_HELD, other_kind) and (shift_right(word, 48) & 0xFF) == worker.index


@njit(cache=True)
def is_held(w: int, address: int) -> bool:
    """Whether recovery kept the chunk of a UMEM address for this worker, and it has not answered it yet."""
    return _is_mine(w, address, KIND_HELD)


@njit(cache=True)
def is_unanswered(w: int, address: int) -> bool:
    """Whether this worker has the chunk of a UMEM address, which left its RX ring, and has not answered it yet."""
    return _is_mine(w, address, KIND_RX)


@njit(cache=True)
def _is_for_successor(w: int, chunk: int) -> bool:
    """Whether a task owns the received chunk, or serving it had not been begun."""
    worker = Worker(w)
    tasks = worker.tasks
    for index in range(worker.tasks_count):
        task = Task(tasks + index * TASK_BYTES)
        if task.state != TASK_FREE and task.chunk // limits.CHUNK_BYTES == chunk:
            return True
    batch = worker.batch
    for k in range(worker.batch_begun, worker.batch_count):
        if Packet(batch + k * BATCH_BYTES).address // limits.CHUNK_BYTES == chunk:
            return True
    return False


@njit(cache=True)
def _publish_replies(w: int, queue: int, xsk: int) -> None:
    """Move the TX ring's index past every reply that stands in it: each was whole before its chunk was marked."""
    worker = Worker(w)
    dead, chunks = worker.index, worker.chunks
    published = end = rings.tx_position(xsk)
    for chunk in range(queue * _CHUNKS, (queue + 1) * _CHUNKS):
        word = load64(chunks + chunk * 8)
        position = word & _MASK32
        if shift_right(word, 56) == KIND_TX and (shift_right(word, 48) & 0xFF) == dead and not _passed(end, position):
            end = (position + 1) & _MASK32
    if end != published:
        rings.tx_publish(xsk, end)


@njit(cache=True)
def ring_locks_held(w: int) -> int:
    """How many locks of rings a dead worker holds."""
    worker = Worker(w)
    holder, held = worker.index + 1, 0
    for queue in range(worker.queues):
        held += load32(queue_lock(w, queue)) == holder
    for ring in range(worker.queues * worker.cores):
        held += load32(worker.rx_locks + ring * QUEUE_LOCK_BYTES) == holder
    return held


@njit(cache=True)
def _lock_for_recovery(lock: int, dead: int) -> bool:
    """Take a queue's lock from a dead worker, or when it is free; false when another one keeps it."""
    for _ in range(_RECOVERY_TRIES):
        if cas32(lock, dead + 1, _RECOVERY_HOLDER) or cas32(lock, 0, _RECOVERY_HOLDER):
            return True
        pause()
    return False


@njit(cache=True)
def _recover_queue(w: int, queue: int) -> int:
    """Sort out a queue's chunks, whose lock is held. Returns how many went back to the kernel."""
    worker = Worker(w)
    dead, chunks = worker.index, worker.chunks
    xsk = load64(worker.sockets + queue * 8)
    # First decide for every chunk, then fill: filling moves the index that decides.
    first = queue * _CHUNKS
    for chunk in range(first, first + _CHUNKS):
        word = load64(chunks + chunk * 8)
        if (shift_right(word, 48) & 0xFF) == dead and _is_lost(w, word, queue):
            kind = shift_right(word, 56)
            if kind in (KIND_RX, KIND_HELD) and _is_for_successor(w, chunk):
                cas64(chunks + chunk * 8, word, chunk_word(KIND_HELD, dead, dead, queue, 0))
            else:
                cas64(chunks + chunk * 8, word, _LOST)
    filled = rings.fill_position(xsk)
    count = 0
    for chunk in range(first, first + _CHUNKS):
        if load64(chunks + chunk * 8) == _LOST:
            rings.fill_write(xsk, filled + count, chunk * limits.CHUNK_BYTES)
            store64(chunks + chunk * 8, chunk_word(KIND_FILL, NOBODY, NOBODY, queue, filled + count))
            count += 1
    rings.fill_publish(xsk, filled + count)
    _publish_replies(w, queue, xsk)
    return count


@njit(cache=True)
def recover_chunks(w: int) -> tuple[int, int]:
    """Sort out the chunks that a dead worker had, and break its locks. Returns how many went back to the kernel, and how many
    queues are left, as somebody else keeps their locks: then call it again, before the worker has a successor.

    Run by the supervisor when the process is dead and its tasks are decided. The other workers go on meanwhile; for the time
    that it needs on a queue, the supervisor holds the queue's lock. It waits for no lock for long: who keeps one may be
    dead or stopped, and only the supervisor can tell and replace it.
    """
    worker = Worker(w)
    dead = worker.index
    reclaimed, left = 0, 0
    for queue in range(worker.queues):
        lock = queue_lock(w, queue)
        if _lock_for_recovery(lock, dead):
            reclaimed += _recover_queue(w, queue)
            store32_release(lock, 0)
        else:
            left += 1
    if left == 0:
        for ring in range(worker.queues * worker.cores):
            cas32(worker.rx_locks + ring * QUEUE_LOCK_BYTES, dead + 1, 0)
    return reclaimed, left


@njit(cache=True)
def fill_all(w: int) -> None:
    """Give every chunk of every queue to the kernel, but for those that workers keep: on new sockets, while no worker runs."""
    worker = Worker(w)
    chunks = worker.chunks
    for queue in range(worker.queues):
        xsk = load64(worker.sockets + queue * 8)
        filled = rings.fill_position(xsk)
        count = 0
        for chunk in range(queue * _CHUNKS, (queue + 1) * _CHUNKS):
            if shift_right(load64(chunks + chunk * 8), 56) != KIND_HELD:
                rings.fill_write(xsk, filled + count, chunk * limits.CHUNK_BYTES)
                store64(chunks + chunk * 8, chunk_word(KIND_FILL, NOBODY, NOBODY, queue, filled + count))
                count += 1
        rings.fill_publish(xsk, filled + count)


@njit(cache=True)
def count_kinds(chunks: int, total: int, out: int) -> None:
    """Add up the chunks by kind into ``KINDS`` u64 at ``out`` (for statistics and tests: at rest all are FILL)."""
    for kind in range(KINDS):
        store64(out + kind * 8, 0)
    for chunk in range(total):
        kind = min(shift_right(load64(chunks + chunk * 8), 56), KINDS - 1)
        store64(out + kind * 8, load64(out + kind * 8) + 1)
