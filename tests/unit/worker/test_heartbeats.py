"""The compiled look at heartbeats returns to Python when there is something to do."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from splinter.worker.heartbeats import scan_heartbeats
from splinter.worker.layout import POLLFD, POLLIN, STATE_RUNNING, STATE_SLEEPING, WORKER

NEVER = 1 << 62  # ticks of a heartbeat that does not get old
TICKS, ASLEEP_MS = 1000, 8


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def scan(descriptor: int, *workers: tuple[int, int]) -> bool:
    """``workers``: state and heartbeat of each, seen so before."""
    blocks = np.zeros(len(workers), WORKER)
    for block, (state, heartbeat) in zip(blocks, workers, strict=True):
        block["state"], block["heartbeat"] = state, heartbeat
    addresses = np.array([blocks[index : index + 1].ctypes.data for index in range(len(workers))], np.uint64)
    poll = np.array([(descriptor, POLLIN, 0)], POLLFD)
    seen = np.array([heartbeat for _, heartbeat in workers], np.int64)
    looked_at = poll.ctypes.data, addresses.ctypes.data, len(workers)
    return bool(scan_heartbeats(*looked_at, TICKS, seen.ctypes.data, ASLEEP_MS))


def test_a_heartbeat_that_stands_still_is_reported(pipe: tuple[int, int]) -> None:
    assert scan(pipe[0], (STATE_RUNNING, NEVER), (STATE_RUNNING, 1))
    assert scan(pipe[0], (STATE_SLEEPING, 1))


def test_a_descriptor_that_is_ready_comes_first(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"1")
    assert not scan(pipe[0], (STATE_RUNNING, 1))


def test_fresh_heartbeats_are_left_alone(pipe: tuple[int, int]) -> None:
    assert not scan(pipe[0], (STATE_RUNNING, NEVER), (STATE_SLEEPING, NEVER))
