"""dogpile.cache with locks that processes share: one makes a value, the others wait; a lock that ends too early is told."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import LockNotOwnedError

from tests.support.redis_clients.regions import LONG_SECONDS, made
from tests.support.waiting import WAIT_SECONDS, wait_for

CROWD = 6


def locked(url: str, seconds: float) -> Any:
    """A region whose locks are in the store, with clients of its own, as another process would have it."""
    how = {"lock_timeout": seconds, "lock_sleep": 0.002, "lock_blocking_timeout": WAIT_SECONDS, "thread_local_lock": False}
    return made(url, distributed_lock=True, **how)


def crowd(url: str, db: Any) -> None:
    calls = []

    def create() -> str:
        calls.append(db.pttl("_lockmade"))
        return "once"

    with ThreadPoolExecutor(CROWD) as pool:
        getting = [pool.submit(locked(url, LONG_SECONDS).get_or_create, "made", create) for _ in range(CROWD)]
        assert [each.result() for each in getting] == ["once"] * CROWD
    (left,) = calls
    assert LONG_SECONDS * 500 < left <= LONG_SECONDS * 1000 and not db.exists("_lockmade")


def lost(url: str, db: Any) -> None:
    region = locked(url, 0.02)

    def create() -> str:
        wait_for(lambda: not db.exists("_locklost"), what="the end of a lock")
        db.set("_locklost", "of another")
        return "late"

    with pytest.raises(LockNotOwnedError):
        region.get_or_create("lost", create)
    assert db.get("_locklost") == b"of another" and region.get("lost") == "late"


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        db.flushdb()
        crowd(url, db)
        lost(url, db)


if __name__ == "__main__":
    main(sys.argv[1])
