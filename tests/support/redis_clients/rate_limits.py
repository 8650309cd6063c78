"""limits, also with asyncio: fixed windows, and windows that slide by two counts."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from limits import RateLimitItem, parse
from limits.aio import strategies as aio_strategies
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from redis import Redis

from tests.support.waiting import wait_for

HOUR_SECONDS = 3600
FIVE = parse("5/hour")


def counted(limiter: Any) -> None:
    """What both kinds of windows do as long as theirs has not ended."""
    assert limiter.test(FIVE, "user") and limiter.get_window_stats(FIVE, "user").remaining == 5
    assert [limiter.hit(FIVE, "user") for _ in range(3)] == [True] * 3 and limiter.get_window_stats(FIVE, "user").remaining == 2
    assert not limiter.hit(FIVE, "other", cost=6) and limiter.hit(FIVE, "other", cost=5) and not limiter.test(FIVE, "other")
    assert [limiter.test(FIVE, "user"), limiter.hit(FIVE, "user", cost=2), limiter.hit(FIVE, "user")] == [True, True, False]
    remaining, reset = limiter.get_window_stats(FIVE, "user").remaining, limiter.get_window_stats(FIVE, "user").reset_time
    assert remaining == 0 and HOUR_SECONDS / 2 < reset - time.time() <= HOUR_SECONDS
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
    # A cost beyond the limit counts for fixed windows, so that nothing is left.
    db.flushdb()
    assert not limiter.hit(FIVE, "costly", cost=6) and limiter.get_window_stats(FIVE, "costly").remaining == 0
    (key,) = db.keys("LIMITS:*")
    assert db.get(key) == b"6" and HOUR_SECONDS / 2 < db.ttl(key) <= HOUR_SECONDS
    assert db.expire(key, HOUR_SECONDS * 2) and not limiter.hit(FIVE, "costly") and db.ttl(key) > HOUR_SECONDS, "set once"
    ended(limiter)
    db.set("another's", 1)
    for number in range(20):
        limiter.hit(FIVE, f"user {number}")
    assert storage.reset() >= 21 and db.keys("*") == [b"another's"]


def sliding(url: str, db: Any) -> None:
    limiter = SlidingWindowCounterRateLimiter(storage_from_string(url))
    db.flushdb()
    counted(limiter)
    ended(limiter)
    for is_hit in (True, False):
        shifted(limiter, db, "hit" if is_hit else "looked at", int(is_hit))


def shifted(limiter: Any, db: Any, name: str, hits: int) -> None:
    """What was counted half a window before counts by half, rounded down; a hit or a look makes it the window before."""
    item: RateLimitItem = parse("10/hour")
    assert limiter.hit(item, name, cost=5)
    (current,) = db.keys(f"LIMITS:*{name}*")
    assert HOUR_SECONDS < db.ttl(current) <= 2 * HOUR_SECONDS, "the second half is for the window behind"
    before = limiter.get_window_stats(item, name).remaining
    assert before == 5 and db.expire(current, HOUR_SECONDS // 2)
    for _ in range(hits):
        assert limiter.hit(item, name)
    after = 8 - hits
    assert limiter.get_window_stats(item, name).remaining == after
    (previous,) = set(db.keys(f"LIMITS:*{name}*")) - {current}
    assert db.get(previous) == b"5" and db.ttl(previous) <= HOUR_SECONDS // 2
    assert HOUR_SECONDS < db.ttl(current) <= HOUR_SECONDS * 3 // 2
    assert not limiter.test(item, name, cost=after + 1) and not limiter.hit(item, name, cost=after + 1)
    assert limiter.hit(item, name, cost=after) and not limiter.hit(item, name)


async def asynchronously(url: str) -> None:
    storage: Any = storage_from_string(f"async+{url}", implementation="redispy")
    for kind in (aio_strategies.FixedWindowRateLimiter, aio_strategies.SlidingWindowCounterRateLimiter):
        limiter = kind(storage)
        assert [await limiter.hit(FIVE, kind.__name__) for _ in range(6)] == [True] * 5 + [False]
        assert not await limiter.test(FIVE, kind.__name__)
        assert (await limiter.get_window_stats(FIVE, kind.__name__)).remaining == 0
        await limiter.clear(FIVE, kind.__name__)
        assert await limiter.hit(FIVE, kind.__name__)
    assert await storage.reset() and not await storage.reset()
    await storage.bridge.get_connection().aclose()


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        fixed(url, db)
        sliding(url, db)
        db.flushdb()
        asyncio.run(asynchronously(url))


if __name__ == "__main__":
    main(sys.argv[1])
