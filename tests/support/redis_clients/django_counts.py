"""django-redis where it sends scripts: counts, and locks."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.exceptions import LockNotOwnedError

from tests.support.redis_clients.django_cache import LONG_SECONDS, configured
from tests.support.waiting import wait_for

THREADS, ADDITIONS = 4, 50


def counts(cache: Any) -> None:
    cache.set("n", 10, LONG_SECONDS)
    assert [cache.incr("n"), cache.incr("n", 5), cache.decr("n", 2), cache.get("n")] == [11, 16, 14, 14]
    assert LONG_SECONDS / 2 < cache.ttl("n") <= LONG_SECONDS
    for change in (cache.incr, cache.decr):
        with pytest.raises(ValueError, match="not found"):
            change("nothing")
    assert not cache.has_key("nothing")
    assert [cache.incr("fresh", 5, ignore_key_check=True), cache.incr("fresh", ignore_key_check=True)] == [5, 6]
    assert cache.ttl("fresh") is None and cache.get("fresh") == 6


def beyond_64_bits(cache: Any) -> None:
    """The client takes other ways when the script says that a value is no number of 64 bits."""
    cache.set("large", 2**63 - 1, LONG_SECONDS)
    assert [cache.incr("large"), cache.incr("large"), cache.get("large")] == [2**63, 2**63 + 1, 2**63 + 1]
    assert LONG_SECONDS / 2 < cache.ttl("large") <= LONG_SECONDS
    cache.set("decimal", 1.5, LONG_SECONDS)
    assert cache.incr("decimal") == 2.5 == cache.get("decimal")
    cache.set("least", -(2**63), LONG_SECONDS)
    assert cache.decr("least") == -(2**63) - 1


def by_many(cache: Any) -> None:
    cache.set("sum", 0)

    def add() -> None:
        for _ in range(ADDITIONS):
            cache.incr("sum")

    with ThreadPoolExecutor(THREADS) as pool:
        for adding in [pool.submit(add) for _ in range(THREADS)]:
            adding.result()
    assert cache.get("sum") == THREADS * ADDITIONS


async def asynchronously(cache: Any) -> None:
    await cache.aset("n", 1)
    assert [await cache.aincr("n"), await cache.adecr("n", 3)] == [2, -1]


def locks(cache: Any) -> None:
    with cache.lock("work", timeout=LONG_SECONDS) as lock:
        assert lock.owned() and LONG_SECONDS / 2 < cache.ttl("work") <= LONG_SECONDS
        assert not cache.lock("work", timeout=LONG_SECONDS).acquire(blocking=False)
        assert lock.extend(LONG_SECONDS) and LONG_SECONDS < cache.ttl("work") <= 2 * LONG_SECONDS
    assert not cache.has_key("work")
    with pytest.raises(LockNotOwnedError), cache.lock("work", timeout=0.02):
        wait_for(lambda: not cache.has_key("work"), what="the end of a lock")


def main(url: str) -> None:
    cache = configured(url)
    counts(cache)
    beyond_64_bits(cache)
    by_many(cache)
    asyncio.run(asynchronously(cache))
    locks(cache)


if __name__ == "__main__":
    main(sys.argv[1])
