"""Spares: forked ahead by the forker, and perhaps killed before they are needed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from splinter.server.processes import is_readable
from splinter.server.supervisor.spares import Spare, Spares
from tests.support.waiting import WAIT_SECONDS

SPARES = 3
SERVED = 40  # exit status of a spare that served slot 0


@pytest.fixture
def spares() -> Iterator[Spares]:
    made = Spares(lambda slot: os._exit(SERVED + slot), SPARES)
    made.start(lambda: None)
    for _ in range(SPARES):
        assert made.receive()
    yield made
    made.close()


def kill(spare: Spare) -> None:
    signal.pidfd_send_signal(spare.pidfd, signal.SIGKILL)
    assert is_readable(spare.pidfd, WAIT_SECONDS)


def status_of(spare: Spare) -> int:
    os.close(spare.pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(spare.pid, 0)[1])


def test_a_spare_that_was_killed_is_passed_over(spares: Spares) -> None:
    dead = spares._ready[:2]
    for spare in dead:
        kill(spare)
    taken = spares.take()
    assert taken is not None
    taken.assign(2)
    assert status_of(taken) == SERVED + 2
    for spare in dead:
        with pytest.raises(ChildProcessError):
            os.waitpid(spare.pid, 0)  # it has been reaped
    for _ in range(SPARES):
        assert spares.receive()  # others were asked for in their place


def test_a_spare_that_is_killed_while_it_is_told_ends_nothing(spares: Spares) -> None:
    taken = spares.take()
    assert taken is not None
    kill(taken)
    taken.assign(0)
    assert status_of(taken) == -signal.SIGKILL
