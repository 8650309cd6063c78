"""The workers' processes: who serves which core slot, and how one is replaced.

A worker that died, or that the watchdog condemns, is *recovered* as soon as it executes nothing any more: the store finishes
or undoes its last operation, its tasks are decided, its chunks taken back. Then a spare takes its seat, on the same memory.
What is left of the process is reaped when the kernel is done with it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from splinter.errors import ServerError
from splinter.native.clock import read_ticks
from splinter.server.events import event
from splinter.server.processes import has_crashed, is_fault, is_past_user_code, reap, wait_or_kill
from splinter.server.supervisor.recovery import Recovered, recover
from splinter.server.supervisor.scan import Scan
from splinter.server.supervisor.spares import Spares
from splinter.server.supervisor.watchdog import Verdict, Watchdog
from splinter.store.journal import waits_for_other
from splinter.store.store import Store
from splinter.worker.chunks import waits_for_ring
from splinter.worker.layout import STATE_STARTING
from splinter.worker.memory import WorkerMemory
from splinter.worker.tasks.layout import EXTENSION_COUNTERS_BYTES, TASK

logger = logging.getLogger(__name__)

_LIFE_SECONDS_MIN = 0.01  # between two workers of a slot: one that dies at once must not take the machine with it
_FAILURE_SECONDS, _FAILURES_MAX = 1.0, 5
_DEATH_LOOKS, _DEATH_LOOK_SECONDS = 20, 0.0001  # a killed process is waited for so long before other things are done
_DEAD_NICENESS = 10  # taking a process's memory apart gives way to its successor on the same core
_COUNTED = tuple(each.name for each in fields(Recovered) if each.name != "blamed")  # counters of the watchdog's
_PAUSED_SECONDS = 0.25
_PAUSE_SECONDS_MAX = 0.5  # that a worker has to leave its loop
_UNSETTLED_SECONDS = 0.001  # between looks while a seat is empty


@dataclass
class _Seat:
    """One core slot and the process that serves it."""

    index: int
    pid: int = 0  # 0: vacant
    pidfd: int = -1
    since: float = -math.inf  # monotonic seconds when the process took the seat; never, until the first did
    condemned: Verdict | None = None  # it was sent SIGKILL
    failures: int = 0  # exceptions in a row, each within _FAILURE_SECONDS of a process's start
    has_rings: bool = False  # a dead worker's chunks have not all been sorted out
    predecessor_heartbeat: int = 0  # its last; 0: there was none, or it is accounted for


class Workers:
    """All seats. Used from the supervisor's one thread."""

    def __init__(
        self,
        memories: list[WorkerMemory],
        store: Store,
        recover_rings: Callable[[WorkerMemory], tuple[int, int]],
        spares: Spares,
        watchdog: Watchdog,
        selector: selectors.BaseSelector,
        scan: Scan,
    ) -> None:
        """``selector``'s registrations carry a function to call when their descriptor is readable. ``recover_rings`` is the
        transport's ``recover``."""
        self._memories, self._store, self._recover_rings = memories, store, recover_rings
        self._spares, self._watchdog, self._selector = spares, watchdog, selector
        self._seats = [_Seat(index) for index in range(len(memories))]
        self._scan = scan
        self._is_paused = False

    def rest(self, *, is_short: bool = False) -> float:
        """Until there may be something to do, which can be minutes; a millisecond with ``is_short``. Returns how many seconds
        the selector may still wait."""
        if self._is_paused:
            return _PAUSED_SECONDS
        if is_short or any(seat.pid == 0 or seat.condemned or seat.predecessor_heartbeat for seat in self._seats):
            return _UNSETTLED_SECONDS
        self._scan.wait()
        return 0.0

    def seat_all(self) -> None:
        """At the start: wait until every seat is taken."""
        # Whatever is compiled is loaded when it is called first: now, and not when a worker is to be replaced.
        for memory in self._memories:
            recover(self._store, memory, is_stuck=False, has_crashed=False)
            self._recover_rings(memory)
            waits_for_other(self._store.address, memory.index)
            waits_for_ring(memory.address)
        while any(seat.pid == 0 for seat in self._seats):
            # Those that came while extensions were compiled have been received already, and no more are on their way.
            if not self._spares.has_ready and not self._spares.receive():
                raise ServerError("the process that forks workers ended at once (its error is above)")
            for seat in self._seats:
                if seat.pid == 0:
                    self._fill(seat)

    def watch(self) -> None:
        """Look at every worker: fill empty seats, kill what is stuck, recover what is dead."""
        if self._is_paused:
            return
        now = int(read_ticks())
        for seat in self._seats:
            if seat.pid == 0:
                self._fill(seat)
            elif seat.condemned:
                if is_past_user_code(seat.pid):
                    self._replace(seat, seat.condemned)
            else:
                self._look_at(seat, now)

    def _look_at(self, seat: _Seat, now: int) -> None:
        started = int(self._memories[seat.index].block["started"][0])
        if seat.predecessor_heartbeat and started:
            self._watchdog.note_replacement(started - seat.predecessor_heartbeat)
            seat.predecessor_heartbeat = 0
        verdict = self._watchdog.judge(seat.index, seat.pid, now)
        if verdict is Verdict.DEAD:
            self._replace(seat, verdict, crashed=has_crashed(seat.pid))
        elif verdict is not Verdict.FINE:
            self._condemn(seat, verdict)

    def _condemn(self, seat: _Seat, verdict: Verdict) -> None:
        """Kill a worker; nothing it does or does not do can prevent that."""
        seat.condemned = verdict
        with contextlib.suppress(OSError):  # where we may: it has to be given the CPU once more to die
            os.sched_setscheduler(seat.pid, os.SCHED_FIFO, os.sched_param(1))
        signal.pidfd_send_signal(seat.pidfd, signal.SIGKILL)
        for _ in range(_DEATH_LOOKS):
            if is_past_user_code(seat.pid):
                self._replace(seat, verdict)
                return
            time.sleep(_DEATH_LOOK_SECONDS)

    def _replace(self, seat: _Seat, verdict: Verdict, *, crashed: bool = False) -> None:
        """Put right what a worker left that executes nothing any more, and seat its successor.

        ``crashed``: it died of a fault of its own.
        """
        memory = self._memories[seat.index]
        with contextlib.suppress(OSError):
            os.sched_setscheduler(seat.pid, os.SCHED_OTHER, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, seat.pid, _DEAD_NICENESS)
        left = recover(self._store, memory, is_stuck=verdict is Verdict.STUCK, has_crashed=crashed)
        blame = self._blame(memory, left.blamed) if left.blamed else ""
        seat.predecessor_heartbeat = self._watchdog.heartbeat(seat.index)
        pid = seat.pid
        seat.pid, seat.pidfd, seat.condemned = 0, -1, None
        seat.has_rings = True
        self._fill(seat)  # before what can wait
        self._watchdog.count(verdict.value)
        for name in _COUNTED:
            self._watchdog.count(name, getattr(left, name))
        logger.warning(
            "worker %d (pid %d) %s%s%s; its tasks: %d go on, %d begin anew, %d killed",
            seat.index, pid, "" if verdict is Verdict.DEAD else "was ", verdict.value, blame,
            left.tasks_continued, left.tasks_restarted, left.tasks_killed,
            extra=event("worker.replaced", worker=seat.index, pid=pid, reason=verdict.value, blamed=blame.strip()),
        )  # fmt: skip

    def _blame(self, memory: WorkerMemory, address: int) -> str:
        """Count a kill against the extension of a task; returns words for the log."""
        task = memory.tasks[(address - memory.tasks.ctypes.data) // TASK.itemsize]
        slot = (int(task["counters"]) - memory.extension_counters.ctypes.data) // EXTENSION_COUNTERS_BYTES
        tenant = memory.tenant_of(task)
        kills = int(memory.extension_counters["kills"][slot]) + 1
        for each in self._memories:
            each.extension_counters["kills"][slot] = kills
        return f" in an extension of tenant {tenant} (counters' slot {slot}, its kill number {kills})"

    def _fill(self, seat: _Seat) -> None:
        """Give a vacant seat to a spare, if there is one and the last did not die at once."""
        now = time.monotonic()
        if seat.has_rings and not self._sort_out(seat):
            return
        if now - seat.since < _LIFE_SECONDS_MIN:
            return
        spare = self._spares.take()
        if spare is None:
            return
        block = self._memories[seat.index].block
        block["started"], block["state"], block["running_task"] = 0, STATE_STARTING, 0
        block["waits"] = 0
        block["heartbeat"] = int(read_ticks())
        spare.assign(seat.index)
        seat.pid, seat.pidfd, seat.since = spare.pid, spare.pidfd, now
        self._selector.register(spare.pidfd, selectors.EVENT_READ, lambda: self._ended(seat, spare.pid, spare.pidfd, now))

    def _sort_out(self, seat: _Seat) -> bool:
        """Take back what a dead worker had of its device. False: another worker keeps a lock, and has to let go of it, or to
        be recovered, first."""
        reclaimed, left = self._recover_rings(self._memories[seat.index])
        self._watchdog.count("chunks_reclaimed", reclaimed)
        seat.has_rings = left > 0
        return not seat.has_rings

    def _ended(self, seat: _Seat, pid: int, pidfd: int, since: float) -> None:
        """Reap a process of a seat that it may have left before."""
        self._selector.unregister(pidfd)
        status = reap(pid, pidfd)
        # One that was killed may well live on as its successor; one that raised an exception at once will again.
        lived = time.monotonic() - since
        seat.failures = seat.failures + 1 if status > 0 and lived < _FAILURE_SECONDS else 0
        if seat.failures >= _FAILURES_MAX:
            raise ServerError(f"worker {seat.index} cannot run: it failed {seat.failures} times in a row (its error is above)")
        if seat.pid == pid:
            self._replace(seat, seat.condemned or Verdict.DEAD, crashed=not seat.condemned and is_fault(-status))

    def pause(self, break_locks: Callable[[], None]) -> None:
        """End every worker's process and recover what it leaves; seats stay empty until :meth:`resume`. Tasks are kept.

        ``break_locks`` frees the rings' locks: when it is called all who could hold one are dead.
        """
        self._is_paused = True
        self.stop()
        deadline = time.monotonic() + _PAUSE_SECONDS_MAX
        for seat in self._seats:
            if seat.pid:
                self._selector.unregister(seat.pidfd)
                wait_or_kill(seat.pid, seat.pidfd, deadline)
                seat.pid, seat.pidfd, seat.condemned = 0, -1, None
        break_locks()
        for seat in self._seats:
            seat.failures = seat.predecessor_heartbeat = 0
            recover(self._store, self._memories[seat.index], is_stuck=False, has_crashed=False)
            self._sort_out(seat)

    def resume(self) -> None:
        """Seat workers again, as spares come."""
        for memory in self._memories:
            memory.block["stop"] = 0
        self._is_paused = False

    def stop(self) -> None:
        """Ask every worker to leave its loop."""
        for seat in self._seats:
            self._memories[seat.index].block["stop"] = 1
            self._memories[seat.index].wake()

    def wait(self, deadline: float) -> None:
        """Wait until ``deadline`` (monotonic seconds) for the workers' end, and kill those that are left."""
        for seat in self._seats:
            if seat.pid:
                wait_or_kill(seat.pid, seat.pidfd, deadline)
                seat.pid = 0
