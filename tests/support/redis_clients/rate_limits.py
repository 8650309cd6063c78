"""limits, also with asyncio: fixed windows. The other kinds' scripts are not known."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from limits import parse
from limits.aio import strategies as aio_strategies
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter
from redis import Redis

from tests.support.waiting import wait_for

HOUR_SECONDS = 3600
FIVE = parse("5/hour")


def counted(limiter: Any) -> None:
    """What a window does as long as it has not ended."""
    assert limiter.test(FIVE, "user") and limiter.get_window_stats(FIVE, "user").remaining == 5
    assert [limiter.hit(FIVE, "user") for _ in range(3)] == [True] * 3 and limiter.get_window_stats(FIVE, "user").remaining == 2
    assert limiter.hit(FIVE, "other", cost=5) and not limiter.test(FIVE, "other")
    assert [limiter.test(FIVE, "user"), limiter.hit(FIVE, "user", cost=2), limiter.hit(FIVE, "user")] == [True, True, False]
    assert limiter.get_window_stats(FIVE, "user").remaining == 0
    limiter.clear(FIVE, "user")
    assert limiter.hit(FIVE, "user") and not limiter.test(FIVE, "other")


def ended(limiter: Any) -> None:
    """Lets many through again as soon as a window of one second has ended: each of them is told only once."""
    item = parse("1/second")
    for _ in range(2):
        wait_for(lambda: limiter.hit(item, "often"), what="the end of a window of one second")


def fixed(url: str, db: Any) -> None:
    storage = storage_from_string(url)
    limiter = FixedWindowRateLimiter(storage)
    assert storage.check()
    db.flushdb()
    counted(limiter)
    assert HOUR_SECONDS / 2 < limiter.get_window_stats(FIVE, "other").reset_time - time.time() <= HOUR_SECONDS
    # A cost beyond the limit counts for fixed windows, so that nothing is left.
    db.flushdb()
    assert not limiter.hit(FIVE, "costly", cost=6) and limiter.get_window_stats(FIVE, "costly").remaining == 0
    (key,) = db.keys("LIMITS:*")
    assert db.get(key) == b"6" and HOUR_SECONDS / 2 < db.ttl(key) <= HOUR_SECONDS
    assert db.expire(key, HOUR_SECONDS * 2) and not limiter.hit(FIVE, "costly") and db.ttl(key) > HOUR_SECONDS, "set once"
    ended(limiter)


async def asynchronously(url: str) -> None:
    storage: Any = storage_from_string(f"async+{url}", implementation="redispy")
    limiter, name = aio_strategies.FixedWindowRateLimiter(storage), "asynchronous"
    assert [await limiter.hit(FIVE, name) for _ in range(6)] == [True] * 5 + [False]
    assert not await limiter.test(FIVE, name)
    assert (await limiter.get_window_stats(FIVE, name)).remaining == 0
    await limiter.clear(FIVE, name)
    assert await limiter.hit(FIVE, name)
    await storage.bridge.get_connection().aclose()


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        fixed(url, db)
        db.flushdb()
        asyncio.run(asynchronously(url))


if __name__ == "__main__":
    main(sys.argv[1])
