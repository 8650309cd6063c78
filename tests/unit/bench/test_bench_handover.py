"""A batch handed to a tenant's process through shared memory: who ends the front's wait, and what it makes of that."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from splinter_bench.experiments import handover

from splinter.native.clock import TIMESPEC_BYTES
from splinter.native.memory import SharedArena

pytestmark = pytest.mark.skipif(not handover.available(), reason="optional: this machine's futex call has no known number")

_SECONDS = 60  # longer than any machine takes; a wait that ends early is what is tested
_STRAY_WAKES = 3
_libc = ctypes.CDLL(None)


class _Front:
    """One packet for one tenant, whose box it shares with a process that a test forks."""

    def __init__(self) -> None:
        arena = SharedArena(handover.BOX_BYTES + SharedArena.rounded(handover.WAITING.itemsize))
        self.box, self.waiting = arena.array(handover.BOX, 1), arena.array(handover.WAITING)
        self._packets, self._lengths = np.zeros(handover.PACKET_BYTES, np.uint8), np.full(1, 16, np.int64)
        self._clock = np.zeros(TIMESPEC_BYTES, np.uint8)
        self._groups = (np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, -1))

    def hand_over(self, seconds: int) -> bool:
        timespec = np.array([seconds, 0], np.int64)
        wait = (timespec.ctypes.data, self._clock.ctypes.data)
        memory = self._packets.ctypes.data, self._lengths.ctypes.data
        return bool(handover.hand_over_boxes(self.box.ctypes.data, self.waiting.ctypes.data, wait, self._groups, *memory))

    def wake(self) -> int:
        """Wake whoever waits for the last answer; returns how many did."""
        word = ctypes.c_void_p(self.waiting.ctypes.data)
        return int(_libc.syscall(handover.SYS_FUTEX, word, handover.FUTEX_WAKE, 1, 0, 0, 0))


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Runs a function in another process, which is killed at the test's end."""
    children: list[int] = []

    def start(run: Callable[[], None]) -> None:
        child = os.fork()
        if not child:
            try:
                run()
            finally:
                os._exit(0)
        children.append(child)

    yield start
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_wake_that_brings_no_answer_does_not_end_the_wait(fork: Callable[[Callable[[], None]], None]) -> None:
    # The last process of a batch counts down, and only then wakes the front, which may have the next batch out by then.
    front = _Front()
    front.hand_over(0)  # compiled, before the fork
    asked = int(front.box["word"][0])

    def answer() -> None:
        while int(front.box["word"][0]) == asked:
            os.sched_yield()
        woken = 0
        while woken < _STRAY_WAKES:  # each of them when the front sleeps
            woken += front.wake()
            os.sched_yield()
        front.waiting["left"][0] = 0
        front.wake()

    fork(answer)
    assert front.hand_over(_SECONDS)


def test_a_batch_that_nobody_answers_is_given_up() -> None:
    assert not _Front().hand_over(0)
