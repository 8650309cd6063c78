"""Which workers go on, and which have to be replaced: told from outside, by what cannot be kept from happening.

A worker publishes a heartbeat, the time-stamp counter, with each turn of its loop and each resume of a task. One that sleeps
in ``poll`` says so, and beats whenever it wakes. When a heartbeat is older than the limit:

* The process has ended, or is about to: it is dead.
* It is stopped (SIGSTOP, a debugger): it is replaced.
* It spins for a lock of the store, or of a ring, that another one holds: that one is the trouble, if any.
* It has used the CPU since that heartbeat, half of the limit at least: it is stuck, and replaced. With preemption the
  longest way between two heartbeats is some tens of microseconds.
* It has not: the core is starved by something outside. Another process would fare no better; it is counted, and left alone.

A stuck worker that gets at least half of its core is found within the limit plus one scan.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from enum import Enum

import numpy as np

from splinter import limits
from splinter.layout import offset
from splinter.native.memory import SharedArena
from splinter.server.processes import cpu_ns, is_past_user_code, is_stopped
from splinter.store.journal import waits_for_other
from splinter.worker.chunks import waits_for_ring
from splinter.worker.heartbeats import SLEEP_MS_MAX
from splinter.worker.layout import STATE_SLEEPING, STATE_STARTING, WORKER
from splinter.worker.memory import WorkerMemory

logger = logging.getLogger(__name__)

_WARN_SECONDS = 1.0  # between two messages about starved workers
_TIMES = 1024  # replacements whose duration is remembered
_RECENT = 32
_STARTING_MS_MAX = 1000.0
_STUCK_SHARE = 2  # of the limit: CPU time since the heartbeat that tells a stuck worker from a starved one
_NANOSECONDS_PER_MILLISECOND = 1_000_000
_HEARTBEAT = offset(WORKER, "heartbeat") // 8  # in 64-bit words
_STATE = offset(WORKER, "state") // 8
_STATE_MASK = 0xFFFFFFFF

# What the watchdog did. Writer: the supervisor; read by the control process at any time.
WATCHDOG = np.dtype(
    [
        ("stuck", "<u8"),  # workers killed because they were stuck
        ("stopped", "<u8"),  # because they were stopped
        ("died", "<u8"),  # workers that died otherwise
        ("starved", "<u8"),  # times a worker did not get its core for longer than the limit
        ("writes_recovered", "<u8"),  # dead workers that were in a step of the store: finished or undone
        ("locks_broken", "<u8"),  # of the store and of rings, that dead workers held
        ("tasks_running", "<u8"),  # dead workers that were resuming a task
        ("tasks_continued", "<u8"),  # tasks of dead workers: at a yield point, taken over
        ("tasks_restarted", "<u8"),  # begun anew
        ("tasks_killed", "<u8"),  # answered with KILLED
        ("chunks_reclaimed", "<u8"),  # of dead workers
        ("replaced", "<u8"),  # successors that have begun to serve
        ("times_us", "<u4", _TIMES),  # from the last heartbeat to the successor's first, the last _TIMES of them
    ]
)
_COUNTS = tuple(name for name in WATCHDOG.names or () if name != "times_us")


class Verdict(Enum):
    """What is to be done with a worker."""

    FINE = "fine"
    DEAD = "died"
    STOPPED = "stopped"
    STUCK = "stuck"


@dataclass
class _Seen:
    """A heartbeat, and the CPU time that the worker had used when it had first become old."""

    heartbeat: int = -1
    cpu_ns: int = -1  # -1: not looked at yet
    starved: bool = False


class Watchdog:
    """Judges workers, and keeps the record of what was done."""

    def __init__(self, workers: list[WorkerMemory], store: int, limit_ms: int, cycles_per_millisecond: int) -> None:
        """``store`` is the address of the store's descriptor."""
        self._workers = workers
        self._store = store
        self.limit_ms = float(limit_ms)
        self._ticks = cycles_per_millisecond
        self._words = [worker.block.view(np.uint8).data.cast("Q") for worker in workers]
        self._seen = [_Seen() for _ in workers]
        self._warned = -math.inf  # monotonic seconds: never; the clock may begin with the machine, a moment ago
        self.record = SharedArena(WATCHDOG.itemsize).array(WATCHDOG)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter of the record."""
        self.record[what] += np.uint64(number)

    def heartbeat(self, index: int) -> int:
        """A worker's last heartbeat."""
        return int(self._words[index][_HEARTBEAT])

    def judge(self, index: int, pid: int, now: int) -> Verdict:
        """Look at a worker's process; ``now`` is the time-stamp counter."""
        words, seen = self._words[index], self._seen[index]
        heartbeat, state = words[_HEARTBEAT], words[_STATE] & _STATE_MASK
        if heartbeat != seen.heartbeat:
            seen.heartbeat, seen.cpu_ns, seen.starved = heartbeat, -1, False
        age_ms = (now - heartbeat) / self._ticks
        sleeps = state == STATE_SLEEPING
        limit_ms = SLEEP_MS_MAX if sleeps else self.limit_ms
        if age_ms < (limit_ms if sleeps else limits.WATCHDOG_SCAN_MS):
            return Verdict.FINE
        if is_past_user_code(pid):
            return Verdict.DEAD
        waits = waits_for_other(self._store, index) or waits_for_ring(self._workers[index].address)
        # Judged at the next look at the earliest: this one may be late. What it spins away for a lock does not count, also
        # when it has got the lock by the time that it is judged.
        if seen.cpu_ns < 0 or (waits and age_ms < limit_ms):
            seen.cpu_ns = cpu_ns(pid)
            return Verdict.FINE
        if age_ms < limit_ms:
            return Verdict.FINE
        if is_stopped(pid):
            return Verdict.STOPPED
        if waits:
            seen.cpu_ns = cpu_ns(pid)
            return Verdict.FINE
        if sleeps or (state == STATE_STARTING and age_ms < _STARTING_MS_MAX):
            return Verdict.FINE
        if (cpu_ns(pid) - seen.cpu_ns) * _STUCK_SHARE >= limit_ms * _NANOSECONDS_PER_MILLISECOND:
            return Verdict.STUCK
        if not seen.starved:
            seen.starved = True
            self._note_starved(index, age_ms)
        return Verdict.FINE

    def _note_starved(self, index: int, age_ms: float) -> None:
        self.count("starved")
        now = time.monotonic()
        if now - self._warned >= _WARN_SECONDS:
            self._warned = now
            logger.warning("worker %d is starved: for %.0f ms something else has had its core", index, age_ms)

    def note_replacement(self, ticks: int) -> None:
        """A successor has begun to serve, so long after its predecessor's last heartbeat."""
        number = int(self.record["replaced"][0])
        self.record["times_us"][0, number % _TIMES] = max(0, ticks * 1000 // self._ticks)
        self.record["replaced"] += np.uint64(1)

    def statistics(self) -> dict[str, object]:
        """The record as plain numbers; times in milliseconds, of the last ``_TIMES`` replacements.

        ``replacement_ms_recent`` are the last ``_RECENT`` of them, the oldest first.
        """
        record = self.record[0]
        found: dict[str, object] = {name: int(record[name]) for name in _COUNTS}
        times = record["times_us"][: min(int(record["replaced"]), _TIMES)] / 1000
        found["limit_ms"] = self.limit_ms
        recent = range(max(0, int(record["replaced"]) - _RECENT), int(record["replaced"]))
        found["replacement_ms_recent"] = [int(record["times_us"][number % _TIMES]) / 1000 for number in recent]
        found["replacement_ms_median"] = round(float(np.median(times)), 3) if len(times) else None
        found["replacement_ms_max"] = round(float(times.max()), 3) if len(times) else None
        return found
