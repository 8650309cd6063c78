"""aiocache where it sends scripts: a lock that keeps a crowd from doing the same, values set only if nobody changed them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiocache import cached_stampede
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock

from tests.support.redis_clients.aio_cache import LONG_SECONDS, gone, left, made
from tests.support.waiting import WAIT_SECONDS, wait_until

CROWD = 10
SHORT_SECONDS = 0.02


class Crowd:
    """Many that want the same of whom one makes it, with a lock, while the others find that taken.

    Two races are aiocache's own. Who finds a lock taken before its holder has heard that it holds it does not wait; and who
    releases one while others ask for it may leave it taken. So the others begin when one makes it, and it ends when they wait.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._waiting, self._is_begun, wait = 0, asyncio.Event(), RedLock._wait_for_release

        async def counted(lock: RedLock) -> None:
            self._waiting += 1
            await wait(lock)

        monkeypatch.setattr(RedLock, "_wait_for_release", counted)

    async def all_wait(self) -> None:
        """Called by the one: lets the others begin, and returns when all of them wait."""
        self._is_begun.set()

        async def do_wait() -> bool:
            return self._waiting == CROWD - 1

        await wait_until(do_wait, what="a crowd that waits")

    async def all_get(self, get: Callable[[], Awaitable[Any]]) -> list[Any]:
        """What each of them gets."""
        one = asyncio.ensure_future(get())
        await asyncio.wait_for(self._is_begun.wait(), WAIT_SECONDS)
        return await asyncio.gather(one, *(get() for _ in range(CROWD - 1)))


async def crowd(cache: Any) -> None:
    """Many want what nobody has made yet: one makes it, the others wait."""
    calls = 0

    async def get() -> Any:
        nonlocal calls
        if (found := await cache.get("made")) is None:
            async with RedLock(cache, "made", lease=LONG_SECONDS):
                if (found := await cache.get("made")) is None:
                    calls += 1
                    assert LONG_SECONDS * 500 < await left(cache, "made-lock") <= LONG_SECONDS * 1000
                    await many.all_wait()
                    found = "once"
                    await cache.set("made", found)
        return found

    with pytest.MonkeyPatch.context() as monkeypatch:
        many = Crowd(monkeypatch)
        assert await many.all_get(get) == ["once"] * CROWD
    assert calls == 1 and not await cache.exists("made-lock")


async def decorated(cache: Any) -> None:
    calls = []

    @cached_stampede(lease=LONG_SECONDS, ttl=LONG_SECONDS, key_builder=lambda function, *args, **_: f"double:{args[0]}")
    async def double(number: int) -> int:
        calls.append(number)
        await many.all_wait()
        return 2 * number

    double.cache = cache
    with pytest.MonkeyPatch.context() as monkeypatch:
        many = Crowd(monkeypatch)
        assert await many.all_get(lambda: double(2)) == [4] * CROWD and calls == [2]


async def lost(cache: Any) -> None:
    async with RedLock(cache, "lost", lease=SHORT_SECONDS):
        await gone(cache, "lost-lock")
        await cache.add("lost-lock", "of another")
    assert await cache.get("lost-lock") == "of another"


async def compared(cache: Any) -> None:
    await cache.set("k", "first", ttl=LONG_SECONDS)
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("second") is True
        assert await cache.get("k") == "second" and await left(cache, "k") == -1
        with pytest.raises(OptimisticLockError):
            await lock.cas("third")
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("third", ttl=LONG_SECONDS)
    assert await cache.get("k") == "third" and LONG_SECONDS * 500 < await left(cache, "k") <= LONG_SECONDS * 1000
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("fourth", ttl=float(2 * LONG_SECONDS))
    assert await cache.get("k") == "fourth" and LONG_SECONDS * 1000 < await left(cache, "k") <= 2 * LONG_SECONDS * 1000
    async with OptimisticLock(cache, "k") as lock:
        await cache.set("k", "by another")
        with pytest.raises(OptimisticLockError):
            await lock.cas("fifth", ttl=LONG_SECONDS)
    assert await cache.get("k") == "by another" and await left(cache, "k") == -1
    async with OptimisticLock(cache, "k") as lock:
        await cache.delete("k")
        with pytest.raises(OptimisticLockError):
            await lock.cas("sixth")
    assert not await cache.exists("k")
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("short", ttl=SHORT_SECONDS), "a key that was not there has no conflicts"
    await gone(cache, "k")


async def added(cache: Any) -> None:
    """Adds to a number, which each reads and then writes only if it is as it was."""
    await cache.set("sum", 0)

    async def add() -> None:
        while True:
            async with OptimisticLock(cache, "sum") as lock:
                try:
                    await lock.cas(await cache.get("sum") + 1)
                except OptimisticLockError:
                    continue
                return

    await asyncio.gather(*(add() for _ in range(CROWD)))
    assert await cache.get("sum") == CROWD


async def main(url: str) -> None:
    cache = made(url, "app")
    await cache.client.flushdb()
    for part in (crowd, decorated, lost, compared, added):
        await part(cache)
    await cache.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
