"""The Lock of redis.asyncio: taken by two, waited for, given back, extended, lost when it expires; a sum that many add to."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, LockNotOwnedError

from tests.support.waiting import wait_until

LONG_SECONDS = 300
SHORT_SECONDS = 0.02
TASKS, ADDITIONS = 4, 25


class Trying(Lock):
    """A lock that tells when an attempt to take it was in vain."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.was_refused = asyncio.Event()

    async def do_acquire(self, token: str | bytes) -> bool:
        if await super().do_acquire(token):
            return True
        self.was_refused.set()
        return False


async def free(lock: Any) -> None:
    """Returns when nobody has the lock."""

    async def is_free() -> bool:
        return not await lock.locked()

    await wait_until(is_free, what="the end of a lock")


async def taken_by_two(db: Any) -> None:
    one, two = (db.lock("taken", timeout=LONG_SECONDS, sleep=0.005, blocking_timeout=SHORT_SECONDS) for _ in range(2))
    assert await one.acquire() and await one.locked() and await one.owned() and await two.locked() and not await two.owned()
    assert not await two.acquire(blocking=False) and not await two.acquire() and await one.owned()
    await one.release()
    assert not await one.locked() and await two.acquire(blocking=False) and not await one.owned()
    with pytest.raises(LockError):
        await one.release()
    assert await two.owned()
    await two.release()
    assert not await db.exists("taken")


async def waited_for(db: Any) -> None:
    one = db.lock("waited", timeout=LONG_SECONDS)
    two = db.lock("waited", timeout=LONG_SECONDS, sleep=0.002, lock_class=Trying)
    assert await one.acquire()
    taking = asyncio.create_task(two.acquire())
    await two.was_refused.wait()
    assert not taking.done() and await one.owned()
    await one.release()
    assert await taking is True and await two.owned() and not await one.owned()
    await two.release()


async def extended(db: Any) -> None:
    lock = db.lock("extended", timeout=LONG_SECONDS)
    assert await lock.acquire() and LONG_SECONDS * 500 < await db.pttl("extended") <= LONG_SECONDS * 1000
    assert await lock.extend(LONG_SECONDS) and LONG_SECONDS * 1000 < await db.pttl("extended") <= 2 * LONG_SECONDS * 1000
    assert await lock.extend(LONG_SECONDS / 3, replace_ttl=True) and await db.pttl("extended") <= LONG_SECONDS * 1000 / 3
    assert await lock.reacquire() and LONG_SECONDS * 1000 / 3 < await db.pttl("extended") <= LONG_SECONDS * 1000
    # A key that lost its end: nothing is to be added to.
    assert await db.persist("extended")
    with pytest.raises(LockNotOwnedError):
        await lock.extend(1)
    assert await db.ttl("extended") == -1
    await lock.release()


async def lost(db: Any) -> None:
    one, two = db.lock("lost", timeout=SHORT_SECONDS), db.lock("lost", timeout=LONG_SECONDS)
    assert await one.acquire()
    await free(one)
    with pytest.raises(LockNotOwnedError):
        await one.extend(LONG_SECONDS)
    assert await two.acquire(blocking=False)
    for change in (lambda: one.extend(LONG_SECONDS), one.reacquire, one.release):
        with pytest.raises(LockNotOwnedError):
            await change()
    assert await two.owned() and await db.pttl("lost") > LONG_SECONDS * 500
    await two.release()
    with pytest.raises(LockNotOwnedError):
        async with db.lock("lost", timeout=SHORT_SECONDS) as lock:
            await free(lock)


async def added(db: Any) -> None:
    """Adds to a number, which each reads and then writes: only a lock keeps all additions."""

    async def add() -> None:
        for _ in range(ADDITIONS):
            async with db.lock("adding", timeout=LONG_SECONDS, sleep=0.001):
                await db.set("sum", int(await db.get("sum") or 0) + 1)

    await asyncio.gather(*(add() for _ in range(TASKS)))
    assert int(await db.get("sum")) == TASKS * ADDITIONS


async def main(url: str) -> None:
    for decoded in (False, True):
        async with Redis.from_url(url, decode_responses=decoded) as db:
            await db.flushdb()
            for part in (taken_by_two, waited_for, extended, lost, added):
                await part(db)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
