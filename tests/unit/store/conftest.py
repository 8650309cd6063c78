"""A small store, and forked children that use it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator

import pytest

from splinter import limits
from splinter.store.store import Store

TENANT = 1
PARTICIPANTS = 4


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty store with one tenant; whatever the test does, it leaves the store sound."""
    made = Store.create(limits.STORE_BYTES_MIN, participants=PARTICIPANTS)
    made.open_tenant(TENANT)
    yield made
    assert made.problems() == []


@pytest.fixture
def children() -> Iterator[Callable[[list[Callable[[], int]]], list[int]]]:
    """Run functions in forked processes; returns their results (0 … 255), or -signal.

    All processes wait for the last one before they begin, so that even short functions run side by side.
    """
    started: list[int] = []

    def run(functions: list[Callable[[], int]]) -> list[int]:
        pids = []
        ready = mmap.mmap(-1, mmap.PAGESIZE)
        for place, function in enumerate(functions):
            pid = os.fork()
            if pid == 0:
                result = 255
                try:
                    ready[place] = 1
                    while ready[: len(functions)] != b"\1" * len(functions):
                        os.sched_yield()
                    result = function()
                finally:
                    os._exit(result)
            started.append(pid)
            pids.append(pid)
        results = []
        for pid in pids:
            results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            started.remove(pid)
        return results

    yield run
    for pid in started:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
