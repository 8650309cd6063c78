"""Processes that a server started are found by their names; a group of processes is ended whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator

import pytest
from splinter_bench.process import children, end_group, preferred, worker_pid

from splinter.errors import SplinterError

# It names itself as a worker does, says so, and stays until its input ends.
_WORKER = "printf splinter-w3 > /proc/$$/comm; echo named; read line"


@pytest.fixture
def worker() -> Generator[int]:
    with subprocess.Popen(["/bin/sh", "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"named\n"
        yield process.pid


def test_a_child_is_told_with_its_name(worker: int) -> None:
    assert children(os.getpid())[worker] == "splinter-w3"


def test_a_worker_is_found_by_its_slot_and_another_is_missed(worker: int) -> None:
    assert worker_pid(os.getpid(), 3) == worker
    with pytest.raises(SplinterError, match="no worker of core slot 4"):
        worker_pid(os.getpid(), 4)


def test_a_preferred_thread_is_an_ordinary_one_afterwards() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with preferred() as may:
        assert os.getpriority(os.PRIO_PROCESS, 0) == (-20 if may else before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_group_is_ended_with_who_ignores_the_signal() -> None:
    stubborn = "trap '' TERM; echo ignores; sleep 1000"
    with subprocess.Popen(
        ["/bin/sh", "-c", f"({stubborn}); true"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0
    ) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"ignores\n"
        end_group(leader, seconds_max=0.1)
        assert leader.stdout.read() == b""  # nobody has it open any more
    assert leader.returncode < 0
