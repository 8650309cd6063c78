"""The control beside every slice of a measurement: whether the machine's CPUs were there for it.

What is measured and what measures it are this process and all that it started. While a slice runs, the control adds up what
CPU time all *other* programs took (``CLOCK_PROCESS_CPUTIME`` of each process, to the nanosecond) and what the host took
("steal" in ``/proc/stat``, in ticks of 10 ms). A slice in which that was more than a share of its duration is taken again,
a few times, and left out when it never came out well. Nothing that the slice itself found has a say in that.

Kernel threads do not count: they carry the packets. Programs that begin and end within one slice are not seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from splinter.native.clock import SECOND_NS

T = TypeVar("T")
OTHERS_SHARE_MAX = 0.02  # of a slice's duration: CPU time of other programs
STEAL_SHARE_MAX = 0.25  # CPU time of all CPUs that the host took
OTHERS_NS_MIN = 200_000  # less than this never counts: somebody looks at a clock now and then
STEAL_TICKS_MIN = 2  # fewer than these may be what was left over from before
TRIES = 6  # of a slice
RESTLESS = 3  # slices in a row without peace, behind which others have one try each, until one has peace
_KERNEL_PARENT = 2  # kthreadd, whose children the kernel's threads are
_KTHREAD_FLAG = 0x00200000
_PPID, _FLAGS = 1, 6  # fields of /proc/PID/stat behind the name
_STEAL = 8  # of the first line of /proc/stat


@dataclass(frozen=True)
class Taken(Generic[T]):
    """A slice's result; ``is_still``: the machine did nothing else of note meanwhile."""

    result: T
    is_still: bool


@dataclass(frozen=True)
class Others:
    """What others have used so far, in ns: by process, and the host."""

    processes: dict[int, int]
    steal_ticks: int
    time_ns: int


class Control:
    """``ours``: processes besides this one that, with all that they started, are what is measured."""

    def __init__(self, ours: Iterable[int] = ()) -> None:
        self._restless = 0  # slices in a row without peace
        self._is_ours = {1: False, _KERNEL_PARENT: False, os.getpid(): True} | dict.fromkeys(ours, True)

    def take(self, call: Callable[[], T]) -> Taken[T]:
        """Take a slice, again while the machine does something else meanwhile, ``TRIES`` times at most."""
        tries = TRIES if self._restless < RESTLESS else 1
        for _ in range(tries):
            taken = self._try(call)
            if taken.is_still:
                self._restless = 0
                return taken
        self._restless += 1
        return taken

    def once(self, call: Callable[[], T]) -> Taken[T]:
        """Take a slice that cannot be taken again: what it goes on beside will be over."""
        return self._try(call)

    def _try(self, call: Callable[[], T]) -> Taken[T]:
        before = self.read()
        result = call()
        return Taken(result, is_still(before, self.read()))

    def read(self) -> Others:
        """What all other programs and the host have used so far."""
        pids = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
        found = {}
        self._is_ours = {pid: known for pid, known in self._is_ours.items() if pid in pids or pid <= _KERNEL_PARENT}
        for pid in pids:
            try:
                if not self._belongs(pid):
                    found[pid] = time.clock_gettime_ns(~pid << 3 | 2)  # the kernel's number for CPU time of a process
            except (OSError, IndexError, ValueError):  # it has just ended
                continue
        steal = int(Path("/proc/stat").read_text().partition("\n")[0].split()[_STEAL])
        return Others(found, steal, time.monotonic_ns())

    def _belongs(self, pid: int) -> bool:
        """Whether a process is this one, one that it started, or a thread of the kernel."""
        known = self._is_ours.get(pid)
        if known is None:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            parent = int(fields[_PPID])
            is_kernel = bool(int(fields[_FLAGS]) & _KTHREAD_FLAG)
            known = is_kernel or (parent > _KERNEL_PARENT and self._belongs(parent))
            self._is_ours[pid] = known
        return known


def is_still(before: Others, after: Others) -> bool:
    """Whether others used little enough in between. A process that began in between counts with all that it used."""
    elapsed = after.time_ns - before.time_ns
    used = sum(spent - before.processes.get(pid, 0) for pid, spent in after.processes.items())
    ticks = after.steal_ticks - before.steal_ticks
    stolen = ticks * SECOND_NS / os.sysconf("SC_CLK_TCK") > elapsed * STEAL_SHARE_MAX and ticks >= STEAL_TICKS_MIN
    return used <= max(OTHERS_NS_MIN, elapsed * OTHERS_SHARE_MAX) and not stolen
