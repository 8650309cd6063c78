"""django-redis as Django's cache: values, their lives, many at once, patterns, versions; with asyncio, too."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from tests.support.waiting import wait_for

LONG_SECONDS = 300


def configured(url: str, **options: Any) -> Any:
    """Django's cache by django-redis at this place."""
    from django.conf import settings

    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}
    settings.configure(CACHES={"default": cache}, SECRET_KEY="a secret of a test", ROOT_URLCONF=__name__)
    import django
    from django.core.cache import cache as configured_cache

    django.setup()
    configured_cache.clear()
    return configured_cache


def values(cache: Any) -> None:
    assert cache.get("k") is None and cache.get("k", 5) == 5
    assert cache.set("k", {"a": [1, 2, 3]}, LONG_SECONDS) is True
    assert cache.get("k") == {"a": [1, 2, 3]} and cache.has_key("k") and "k" in cache
    assert cache.add("k", 1) is False and cache.add("other", 1) is True and cache.get("other") == 1
    assert cache.set("k", 2, nx=True) is False and cache.set("fresh", 2, nx=True) is True
    assert cache.get_or_set("made", lambda: "by the function") == "by the function" == cache.get("made")
    assert cache.delete("made") and not cache.delete("made")
    for value in (0, -7, 2**40, 1.5, "", "ä", b"\x00\xff", None, True, ("t", 1)):
        cache.set("value", value)
        assert cache.get("value", "nothing") == value
    cache.set("large", b"x" * 1_000_000)
    assert cache.get("large") == b"x" * 1_000_000


def lives(cache: Any) -> None:
    cache.set("k", 1, None)
    assert cache.ttl("k") is None and cache.pttl("k") is None and cache.ttl("nothing") == 0 == cache.pttl("nothing")
    assert cache.expire("k", LONG_SECONDS) is True and LONG_SECONDS / 2 < cache.ttl("k") <= LONG_SECONDS
    assert cache.persist("k") is True and cache.ttl("k") is None and cache.persist("k") is False
    assert cache.pexpire("k", LONG_SECONDS * 1000) and LONG_SECONDS * 500 < cache.pttl("k") <= LONG_SECONDS * 1000
    assert cache.expire_at("k", int(time.time()) + 2 * LONG_SECONDS) and LONG_SECONDS < cache.ttl("k") <= 2 * LONG_SECONDS
    assert cache.pexpire_at("k", int(time.time() + 3 * LONG_SECONDS) * 1000) and cache.ttl("k") > 2 * LONG_SECONDS
    assert cache.touch("k", LONG_SECONDS) is True and cache.ttl("k") <= LONG_SECONDS
    assert cache.touch("k", None) is True and cache.ttl("k") is None
    assert cache.touch("nothing", LONG_SECONDS) is False and cache.expire("nothing", LONG_SECONDS) is False
    assert cache.pexpire("k", 20) is True
    wait_for(lambda: cache.get("k") is None, what="the end of a life of 20 ms")
    cache.set("ended", 1, 0)
    cache.set("ended too", 1, -1)
    assert cache.get("ended") is None and cache.get("ended too") is None


def many(cache: Any) -> None:
    cache.clear()
    assert not cache.set_many({f"many:{number}": number for number in range(100)}, LONG_SECONDS)
    some = {f"many:{number}": number for number in range(0, 100, 7)}
    assert cache.get_many([*some, "nothing"]) == some
    assert LONG_SECONDS / 2 < cache.ttl("many:7") <= LONG_SECONDS
    assert cache.delete_many([f"many:{number}" for number in range(50)]) == 50
    assert cache.get("many:7") is None and cache.get("many:77") == 77


def patterns(cache: Any) -> None:
    cache.clear()
    cache.set_many({f"{letter}:{number}": number for letter in "ab" for number in range(25)})
    assert sorted(cache.keys("a:*")) == sorted(f"a:{number}" for number in range(25))
    assert sorted(cache.iter_keys("b:1?", itersize=5)) == sorted(f"b:{number}" for number in range(10, 20))
    assert cache.delete_pattern("a:*") == 25 and cache.delete_pattern("a:*") == 0
    assert len(cache.keys("*")) == 25
    cache.set("of two", "first", version=1)
    assert cache.incr_version("of two") == 2
    assert cache.get("of two") is None and cache.get("of two", version=2) == "first"
    cache.clear()
    assert cache.keys("*") == []


async def asynchronously(cache: Any) -> None:
    await cache.aset("k", [1], LONG_SECONDS)
    assert await cache.aget("k") == [1] and await cache.ahas_key("k") and not await cache.aadd("k", 2)
    await cache.aset_many({"x": 1, "y": 2})
    assert await cache.aget_many(["x", "y", "z"]) == {"x": 1, "y": 2}
    assert await cache.atouch("k", LONG_SECONDS) and await cache.adelete("k") and not await cache.atouch("k", LONG_SECONDS)
    assert await cache.aget_or_set("k", 3) == 3
    await cache.adelete_many(["x", "y"])
    assert await cache.aget("x") is None


def main(url: str) -> None:
    cache = configured(url)
    values(cache)
    lives(cache)
    many(cache)
    patterns(cache)
    asyncio.run(asynchronously(cache))


if __name__ == "__main__":
    main(sys.argv[1])
