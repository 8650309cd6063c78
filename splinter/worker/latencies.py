"""How long requests take: a histogram for each opcode, in the worker's own shared memory.

No clock is read for it. The worker reads the time-stamp counter at the end of each batch, of each resume and of each idle turn
(:mod:`splinter.worker.accounts`), and a latency is the difference of two of these:

* a request that is answered in its batch: from the end of what the worker did before to the end of the batch, when the replies
  of all its packets have been handed to the kernel. So it is the same for all packets of a batch;
* an invoke that yielded: from the last heartbeat before it was begun to the end of its last resume. The reply goes out with
  those of the slices that follow in the same turn;
* a reply that waited for the disk: to the end of the batch or idle turn after which the worker saw that it need not any more.

How long a packet waited for its worker is not in it. A request that is dropped has no reply, and so no latency.
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import bit_length, load64, store64
from splinter.wire import Opcode
from splinter.worker.layout import (
    BATCH_BYTES,
    LATENCY_BOUNDS_NS,
    LATENCY_BYTES,
    LATENCY_LOWEST_BITS,
    LATENCY_SCALE_BITS,
)
from splinter.worker.records import Latency, Packet, Worker
from splinter.worker.tasks.records import Task

_BOUNDS = len(LATENCY_BOUNDS_NS)
_TICKS_MAX = 1 << 38  # a minute and more; times the scale it stays below 63 bits
_INVOKE = int(Opcode.INVOKE)


@njit(cache=True)
def bucket_of(nanoseconds: int) -> int:
    """The bucket that counts a latency: the first whose bound is not below it."""
    before = nanoseconds - 1
    if before < 1 << LATENCY_LOWEST_BITS:
        return 0
    highest = bit_length(before) - 1
    upper_half = before >> (highest - 1) & 1
    return min(2 * (highest - LATENCY_LOWEST_BITS) + 1 + upper_half, _BOUNDS)


@njit(cache=True)
def _nanoseconds(w: int, ticks: int) -> int:
    return max(0, min(ticks, _TICKS_MAX)) * Worker(w).latency_scale >> LATENCY_SCALE_BITS


@njit(cache=True, forceinline=True)
def _add(latency_at: int, bucket: int, nanoseconds: int, requests: int) -> None:
    latency = Latency(latency_at)
    counter = latency.buckets + bucket * 8
    store64(counter, load64(counter) + requests)
    latency.sum_ns += nanoseconds * requests


@njit(cache=True)
def record_batch(w: int, received: int, ticks: int) -> None:
    """Note the latency of all packets of the batch that have a reply. Only where latencies are recorded.

    Requests of one kind that follow each other are added at once: each addition to a counter would wait for the one before.
    """
    worker = Worker(w)
    latencies, batch = worker.latencies, worker.batch
    nanoseconds = _nanoseconds(w, ticks)
    bucket = bucket_of(nanoseconds)
    opcode, requests = 0, 0
    for entry in range(batch, batch + received * BATCH_BYTES, BATCH_BYTES):
        packet = Packet(entry)
        if packet.opcode != opcode:
            _add(latencies + opcode * LATENCY_BYTES, bucket, nanoseconds, requests)
            opcode, requests = packet.opcode, 0
        requests += packet.reply > 0
    _add(latencies + opcode * LATENCY_BYTES, bucket, nanoseconds, requests)


@njit(cache=True)
def record_since(w: int, opcode: int, started: int) -> None:
    """Note the latency of a request that came at ``started`` (time-stamp counter), at the worker's last heartbeat."""
    worker = Worker(w)
    if worker.latencies == 0:
        return
    nanoseconds = _nanoseconds(w, worker.heartbeat - started)
    _add(worker.latencies + opcode * LATENCY_BYTES, bucket_of(nanoseconds), nanoseconds, 1)


@njit(cache=True)
def record_task(w: int, t: int) -> None:
    """Note the latency of a task whose reply is on its way."""
    record_since(w, _INVOKE, Task(t).started)
