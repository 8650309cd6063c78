"""Where and how long the processes of a benchmark run."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from splinter.errors import SplinterError
from splinter.interrupts import interruptible
from splinter.net.netns import inside
from splinter.testing.process import die_with_parent

AFTERWARDS_SECONDS_MAX = 60  # for removing labs and servers
_END_SECONDS_MAX = 5.0
_NICE_LEAST = -20
_DEATH_SECONDS_MAX, _POLL_SECONDS = 60.0, 0.001  # of a server, whose memory the kernel takes apart


@contextlib.contextmanager
def pinned(core: int) -> Generator[None]:
    """The calling thread, and what it starts, runs on one CPU only. Raises ``OSError`` when there is no such CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def real_time() -> Generator[bool]:
    """The calling thread runs as soon as it can, before all others of its CPU (SCHED_FIFO). Yields whether it may.

    For a load generator that sleeps between its requests and shares its CPU: a spinning one would let nobody else run.
    """
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    least = os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO))
    with _if_allowed(
        lambda: os.sched_setscheduler(0, os.SCHED_FIFO, least), lambda: os.sched_setscheduler(0, before, parameters)
    ) as may:
        yield may


@contextlib.contextmanager
def preferred() -> Generator[bool]:
    """The calling thread runs before ordinary ones of its CPU, by its niceness. Yields whether it may.

    For a load generator that shares its CPU with a worker, which may spin: it need not wait for the end of its slice. Unlike
    :func:`real_time`, this lets the kernel's threads that carry packets have their share.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with _if_allowed(
        lambda: os.setpriority(os.PRIO_PROCESS, 0, _NICE_LEAST), lambda: os.setpriority(os.PRIO_PROCESS, 0, before)
    ) as may:
        yield may


@contextlib.contextmanager
def _if_allowed(change: Callable[[], None], undo: Callable[[], None]) -> Generator[bool]:
    """A change for the block, if the system allows it; yields whether it does."""
    try:
        change()
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        undo()


def start(command: Sequence[str], *, core: int | None = None, netns: str | None = None, **options: Any) -> Any:
    """Start a command on a core, in a namespace; it dies with this process. Returns the ``Popen`` object."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(inside(netns))
        if core is not None:
            stack.enter_context(pinned(core))
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=partial(die_with_parent, os.getpid()), **options)


def end(process: Any, seconds_max: float = _END_SECONDS_MAX) -> None:
    """End a process that :func:`start` started: SIGTERM, and SIGKILL when it takes longer than ``seconds_max``."""
    process.terminate()
    try:
        process.wait(seconds_max)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_group(leader: subprocess.Popen[bytes], seconds_max: float = _END_SECONDS_MAX) -> None:
    """End a process that leads a group of its own, and all of its group: SIGTERM, and SIGKILL when it takes longer."""
    deadline = time.monotonic() + seconds_max
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(leader.pid, number)
            while number == signal.SIGTERM and time.monotonic() < deadline:
                leader.poll()  # one that has ended and is not waited for still counts
                os.killpg(leader.pid, 0)
                time.sleep(_POLL_SECONDS)
    leader.wait()


def children(pid: int) -> dict[int, str]:
    """Names of the processes that a process started and that run still, by pid. Raises ``OSError`` when it has ended."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):  # it ended just now
            found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
    return found


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children at once, and wait for their end. Raises :class:`SplinterError` when they do not go."""
    pids = [process.pid, *children(process.pid)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _DEATH_SECONDS_MAX
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            raise SplinterError("killed processes do not end")
        time.sleep(_POLL_SECONDS)


def worker_pid(supervisor: int, slot: int) -> int:
    """The pid of a server's worker, by its core slot. Raises :class:`SplinterError` when there is none."""
    for pid, name in children(supervisor).items():
        if name == f"splinter-w{slot}":
            return pid
    raise SplinterError(f"process {supervisor} has no worker of core slot {slot}")


@contextlib.contextmanager
def bounded(seconds_max: int) -> Generator[None]:
    """:func:`splinter.interrupts.interruptible`, and ``KeyboardInterrupt`` with a reason when the block takes longer.

    The process ends at once when removing what the block has made takes too long as well.
    """
    with interruptible({signal.SIGALRM: f"took longer than {seconds_max} s"}):
        signal.alarm(seconds_max)
        faulthandler.dump_traceback_later(seconds_max + AFTERWARDS_SECONDS_MAX, exit=True)
        try:
            yield
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
