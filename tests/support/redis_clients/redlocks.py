"""Locks by the Redlock algorithm, of redlock-py and of pottery, on a single server; ids by pottery."""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pottery import NextID, Redlock
from pottery.exceptions import ExtendUnlockedLock, QuorumNotAchieved, ReleaseUnlockedLock
from redis import Redis
from redlock import Redlock as Managers

from tests.support.waiting import wait_for

LONG_SECONDS = 300
THREADS, DRAWS = 4, 25


def by_redlock_py(db: Any) -> None:
    manager = Managers([db], retry_count=1)
    lock = manager.lock("resource", LONG_SECONDS * 1000)
    assert (
        lock
        and LONG_SECONDS * 500 < db.pttl("resource") <= LONG_SECONDS * 1000
        and not manager.lock("resource", LONG_SECONDS * 1000)
    )
    manager.unlock(lock._replace(key=b"of another"))
    assert db.exists("resource")
    manager.unlock(lock)
    assert not db.exists("resource") and manager.lock("resource", LONG_SECONDS * 1000)


def by_pottery(db: Any) -> None:
    one, two = (Redlock(key="work", masters={db}, auto_release_time=LONG_SECONDS) for _ in range(2))
    assert one.acquire() and LONG_SECONDS / 2 < one.locked() <= LONG_SECONDS
    assert not two.acquire(blocking=False) and not two.locked()
    assert db.pexpire(one.key, LONG_SECONDS * 100)
    one.extend()
    assert LONG_SECONDS * 500 < db.pttl(one.key) <= LONG_SECONDS * 1000
    for change, error in ((two.extend, ExtendUnlockedLock), (two.release, ReleaseUnlockedLock)):
        with pytest.raises(error):
            change()
    assert one.locked()
    one.release()
    assert not db.exists(one.key) and two.acquire(blocking=False)
    assert db.pexpire(two.key, 20)
    wait_for(lambda: not db.exists(two.key), what="the end of a lock")
    with pytest.raises(ReleaseUnlockedLock):
        two.release()


def ids(db: Any) -> None:
    one, two = (NextID(key="tweets", masters={db}) for _ in range(2))
    assert [next(one), next(one), next(two), next(one)] == [1, 2, 3, 4]

    def drawn(source: Any) -> list[int]:
        found: list[int] = []
        while len(found) < DRAWS:
            with contextlib.suppress(QuorumNotAchieved):  # others were faster, some times in a row
                found.append(next(source))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        drawing = [pool.submit(drawn, NextID(key="tweets", masters={db})) for _ in range(THREADS)]
        every = sorted(number for each in drawing for number in each.result())
    assert len(every) == len(set(every)) == THREADS * DRAWS and every[0] == 5


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        db.flushdb()
        by_redlock_py(db)
        by_pottery(db)
        ids(db)


if __name__ == "__main__":
    main(sys.argv[1])
