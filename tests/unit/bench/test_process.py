"""Processes that a server started are found by their names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator

import pytest
from splinter_bench.process import children, worker_pid

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
