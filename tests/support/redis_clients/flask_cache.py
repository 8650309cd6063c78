"""Flask-Caching: values, many at once, counts, views that are cached, functions that are memoized and forgotten."""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask
from flask_caching import Cache
from redis import Redis

from tests.support.waiting import wait_for

LONG_SECONDS = 300


def values(cache: Cache) -> None:
    assert cache.get("k") is None and not cache.has("k")
    assert cache.set("k", {"a": [1, 2, 3]}) and cache.get("k") == {"a": [1, 2, 3]} and cache.has("k")
    assert not cache.add("k", 1) and cache.add("other", 1, timeout=LONG_SECONDS) and cache.get("other") == 1
    assert sorted(cache.set_many({"x": 1, "y": None, "z": b"bytes"}, timeout=LONG_SECONDS)) == ["x", "y", "z"]
    assert cache.get_many("x", "nothing", "z") == [1, None, b"bytes"] and cache.get_dict("x", "y") == {"x": 1, "y": None}
    assert cache.delete("k") and not cache.delete("k")
    assert sorted(cache.delete_many("x", "y")) == ["x", "y"] and cache.get("x") is None
    assert cache.unlink("z", "nothing") == 1 and cache.get("z") is None
    inner: Any = cache.cache
    assert [inner.inc("n"), inner.inc("n", 5), inner.dec("n", 2)] == [1, 6, 4]


def lives(cache: Cache, db: Any) -> None:
    (prefix,) = {cache.cache.key_prefix}
    cache.set("by default", 1)
    cache.set("for ever", 1, timeout=0)
    cache.add("long", 1, timeout=LONG_SECONDS)
    assert 100 < db.ttl(f"{prefix}by default") <= 200 and db.ttl(f"{prefix}for ever") == -1
    assert 200 < db.ttl(f"{prefix}long") <= LONG_SECONDS
    cache.set("short", 1, timeout=1)
    wait_for(lambda: not cache.has("short"), what="the end of a life of one second")
    assert cache.get("short") is None and cache.get("for ever") == 1


def memoized(cache: Cache) -> None:
    calls = []

    @cache.memoize(LONG_SECONDS)
    def added(a: int, b: int = 1) -> int:
        calls.append((a, b))
        return a + b

    class Shop:
        def __repr__(self) -> str:
            return "Shop"

        @cache.memoize(LONG_SECONDS)
        def price(self, thing: str) -> int:
            calls.append((thing, 0))
            return len(thing)

    assert [added(1), added(1), added(1, b=2), added(1, 2), added(2)] == [2, 2, 3, 3, 3]
    assert calls == [(1, 1), (1, 2), (2, 1)]
    cache.delete_memoized(added, 1)
    assert [added(1), added(2)] == [2, 3] and calls[3:] == [(1, 1)]
    cache.delete_memoized(added)
    assert [added(1), added(2)] == [2, 3] and calls[4:] == [(1, 1), (2, 1)]
    shop = Shop()
    assert shop.price("tea") == shop.price("tea") == 3 and calls.count(("tea", 0)) == 1
    cache.delete_memoized(Shop.price)
    assert shop.price("tea") == 3 and calls.count(("tea", 0)) == 2


def views(app: Flask, cache: Cache) -> None:
    seen = []

    @app.get("/page")
    @cache.cached(LONG_SECONDS, query_string=True)
    def page() -> str:
        seen.append(1)
        return f"page {len(seen)}"

    client = app.test_client()
    assert [client.get(place).text for place in ("/page", "/page", "/page?a=1", "/page?a=1")] == [
        "page 1",
        "page 1",
        "page 2",
        "page 2",
    ]
    assert cache.clear()
    assert client.get("/page").text == "page 3"


def main(url: str) -> None:
    app = Flask(__name__)
    # The table stands in the address, but CACHE_REDIS_DB decides.
    table = url.partition("?")[0].rpartition("/")[2]
    cache = Cache(
        app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url, "CACHE_REDIS_DB": table, "CACHE_DEFAULT_TIMEOUT": 200}
    )
    with Redis.from_url(url) as db, app.app_context():
        db.flushdb()
        db.set("another's", 1)
        values(cache)
        lives(cache, db)
        memoized(cache)
    views(app, cache)


if __name__ == "__main__":
    main(sys.argv[1])
