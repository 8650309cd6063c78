"""A worker wakes the log process when much waits for it, and for nothing else but replies that wait."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from splinter import limits
from splinter.store.commit_layout import LOG_RING
from splinter.store.layout import STORE
from splinter.worker.durable import press_log
from splinter.worker.layout import WORKER

MUCH = limits.LOG_WAKE_BYTES


@pytest.fixture
def wake() -> Iterator[int]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("head", "tail", "sleeps", "is_woken"),
    [
        (0, MUCH - 1, 1, False),
        (0, MUCH, 1, True),
        (5 * MUCH, 6 * MUCH - 1, 1, False),
        (5 * MUCH, 6 * MUCH + 1, 1, True),
        (0, limits.LOG_RING_BYTES, 0, False),
    ],
)
def test_much_wakes_one_that_sleeps(wake: int, head: int, tail: int, sleeps: int, is_woken: bool) -> None:
    worker, ring, store, scratch = (np.zeros(1, kind) for kind in (WORKER, LOG_RING, STORE, np.dtype("<u8")))
    ring["head"], ring["tail"], store["log_sleeps"] = head, tail, sleeps
    worker["log"], worker["store"], worker["scratch"] = (part.ctypes.data for part in (ring, store, scratch))
    worker["log_wake_fd"] = wake
    press_log(worker.ctypes.data)
    if is_woken:
        assert os.eventfd_read(wake) == 1
    else:
        with pytest.raises(BlockingIOError):
            os.eventfd_read(wake)


def test_a_worker_whose_changes_nobody_keeps_presses_nobody() -> None:
    press_log(np.zeros(1, WORKER).ctypes.data)
