"""aiocache: values, many at once, counts, lives, namespaces; functions whose results are kept."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiocache import Cache, cached, multi_cached
from aiocache.serializers import PickleSerializer
from redis.asyncio.connection import parse_url

from tests.support.waiting import wait_until

LONG_SECONDS = 300


def made(url: str, namespace: str | None, **options: Any) -> Any:
    """A cache at this place. Its serializer is pickle, which needs bytes to come back as they were."""
    place: dict[str, Any] = dict(parse_url(url))
    more = {name: place[name] for name in ("username", "protocol") if name in place}
    return Cache(
        Cache.REDIS, endpoint=place["host"], port=place["port"], db=place["db"], password=place["password"],
        namespace=namespace, connection_pool_kwargs=more, **options,
    )  # fmt: skip


async def gone(cache: Any, key: str) -> None:
    """Returns when the key is not there."""

    async def is_gone() -> bool:
        return not await cache.exists(key)

    await wait_until(is_gone, what="the end of a key")


async def values(cache: Any) -> None:
    assert await cache.get("k") is None and await cache.get("k", default=5) == 5
    assert await cache.set("k", {"a": [1, "ä"]}, ttl=LONG_SECONDS) and await cache.get("k") == {"a": [1, "ä"]}
    try:
        await cache.add("k", 1)
    except ValueError:
        assert await cache.get("k") == {"a": [1, "ä"]}
    else:
        raise AssertionError("a key was added twice")
    assert await cache.add("other", 1, ttl=LONG_SECONDS) and await cache.exists("other") and not await cache.exists("nothing")
    assert await cache.multi_set([(f"many:{number}", number) for number in range(50)])
    assert await cache.multi_set([("x", 1), ("y", None)], ttl=LONG_SECONDS)
    assert await cache.multi_get(["many:7", "nothing", "x", "y"]) == [7, None, 1, None]
    assert await cache.delete("k") == 1 and await cache.delete("k") == 0


async def counts(cache: Any) -> None:
    assert [await cache.increment("n"), await cache.increment("n", 5), await cache.increment("n", delta=-2)] == [1, 6, 4]
    await cache.set("text", "none of a number")
    try:
        await cache.increment("text")
    except TypeError:
        return
    raise AssertionError("a text was counted up")


async def lives(cache: Any) -> None:
    await cache.set("short", 1, ttl=0.02)
    await gone(cache, "short")
    await cache.multi_set([("short", 1), ("shorter", 1)], ttl=0.02)
    await gone(cache, "short")
    await gone(cache, "shorter")
    await cache.set("k", 1)
    assert await cache.expire("k", LONG_SECONDS) and LONG_SECONDS * 500 < await left(cache, "k") <= LONG_SECONDS * 1000
    assert await cache.expire("k", 0) and await left(cache, "k") == -1 and not await cache.expire("nothing", LONG_SECONDS)
    await cache.add("added", 1, ttl=0.02)
    await gone(cache, "added")


async def left(cache: Any, key: str) -> int:
    """For how many milliseconds a key lives, as the server tells it."""
    return int(await cache.raw("pttl", cache.build_key(key)))


async def functions(cache: Any) -> None:
    calls: list[Any] = []

    @cached(ttl=LONG_SECONDS, alias=None, key_builder=lambda function, *args, **_: f"double:{args[0]}")
    async def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    @multi_cached("names", ttl=LONG_SECONDS)
    async def lengths(names: list[str]) -> dict[str, int]:
        calls.extend(names)
        return {name: len(name) for name in names}

    double.cache = lengths.cache = cache  # both make one of their own, which knows no password
    assert [await double(2), await double(2), await double(3)] == [4, 4, 6] and calls == [2, 3]
    assert await lengths(names=["a", "bb"]) == {"a": 1, "bb": 2} == await lengths(names=["a", "bb"])
    assert await lengths(names=["a", "ccc"]) == {"a": 1, "ccc": 3} and calls[2:] == ["a", "bb", "ccc"]


async def namespaces(url: str) -> None:
    one, other = made(url, "one"), made(url, "other")
    await one.set("k", 1)
    await other.set("k", 2)
    assert [await one.get("k"), await other.get("k"), await one.get("k", namespace="other")] == [1, 2, 2]
    assert await one.clear(namespace="one") and await one.get("k") is None and await other.get("k") == 2
    await one.close()
    await other.close()


async def run(url: str) -> None:
    cache = made(url, "app", serializer=PickleSerializer())
    await cache.client.flushdb()
    await values(cache)
    await lives(cache)
    await functions(cache)
    await cache.close()
    plain = made(url, None)
    await counts(plain)
    await namespaces(url)
    assert await plain.clear() and not await plain.exists("n")
    await plain.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
