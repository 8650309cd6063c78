"""What a dead worker left is put right on this page, before anybody takes its seat.

Rows are worked off in this order, each by the function that it names. Each may be run again, should the supervisor die in it.

============================== ============================================ =======================================
left behind                    becomes                                      by
============================== ============================================ =======================================
a step of the store            finished or undone, as its journal says      :func:`splinter.store.recovery.recover`
locks of the store             free                                         the same
the task that is to blame      answered with KILLED, its extension counted  :func:`blamed_task`
every other task               decided by its state                         :func:`recover_tasks`
its epoch                      stays for the tasks that go on; left, when   :func:`splinter.store.recovery.give_up`
                               there are none
locks of rings, packet buffers free, or the tasks'                          the transport's ``recover``
free slots, limbo, staged puts the successor's, who has the same number     nobody: they stay
its seat                       a spare's                                    :mod:`splinter.server.supervisor.seats`
============================== ============================================ =======================================

:mod:`splinter.worker.tasks.recovery` has the table of a task's states.
"""

from __future__ import annotations

from dataclasses import dataclass

from splinter.store.recovery import steps_open
from splinter.store.store import Store
from splinter.worker.chunks import ring_locks_held
from splinter.worker.memory import WorkerMemory
from splinter.worker.tasks.layout import TASK, TASK_RUNNING
from splinter.worker.tasks.recovery import blamed_task, recover_tasks


@dataclass(frozen=True)
class Recovered:
    """What a worker was in the midst of when it died, and what became of it; all but ``blamed`` are counts."""

    writes_recovered: int  # a step of the store that was under way: finished or undone
    locks_broken: int  # of the store and of rings
    tasks_running: int  # a task that was being resumed
    tasks_continued: int  # at a yield point
    tasks_restarted: int  # begun anew
    tasks_killed: int  # answered with KILLED
    blamed: int  # address of the task because of which it died; 0: none


def recover(store: Store, memory: WorkerMemory, *, is_stuck: bool, has_crashed: bool) -> Recovered:
    """Work off the table but for its last three rows: the transport's ``recover`` and the seat come next.

    The process executes nothing any more; ``is_stuck``: it was killed because it made no progress; ``has_crashed``: it died of
    a fault of its own.
    """
    w = memory.address
    steps, store_locks = steps_open(store.address, memory.index)
    locks = store_locks + ring_locks_held(w)
    is_running = _runs_task(memory)
    store.recover(memory.index, tasks_go_on=True)
    blamed = int(blamed_task(w, is_stuck, has_crashed))
    continued, restarted, killed = map(int, recover_tasks(w, blamed))
    if continued + restarted + killed == 0:  # an empty seat must not hold up the re-use of memory
        store.recover(memory.index)
    return Recovered(
        writes_recovered=int(steps), locks_broken=int(locks), tasks_running=int(is_running), tasks_continued=continued,
        tasks_restarted=restarted, tasks_killed=killed, blamed=blamed,
    )  # fmt: skip


def _runs_task(memory: WorkerMemory) -> bool:
    address = int(memory.block["running_task"][0])
    return address != 0 and memory.tasks[(address - memory.tasks.ctypes.data) // TASK.itemsize]["state"] == TASK_RUNNING
