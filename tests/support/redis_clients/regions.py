"""dogpile.cache: a region's values, many at once, and functions whose results are kept, invalidated and made anew."""

from __future__ import annotations

import sys
from typing import Any

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from redis import Redis

from tests.support.waiting import wait_for

LONG_SECONDS = 300


def made(url: str, **arguments: Any) -> Any:
    """A region at this place, whose keys stand there as they are given."""
    return make_region().configure("dogpile.cache.redis", expiration_time=LONG_SECONDS, arguments={"url": url, **arguments})


def values(region: Any) -> None:
    assert region.get("k") is NO_VALUE
    region.set("k", {"a": [1, 2, "ä"]})
    assert region.get("k") == {"a": [1, 2, "ä"]}
    region.set_multi({f"many:{number}": number for number in range(50)})
    assert region.get_multi(["many:7", "nothing", "many:8"]) == [7, NO_VALUE, 8]
    region.delete_multi(["many:7", "nothing"])
    assert region.get_multi(["many:7", "many:8"]) == [NO_VALUE, 8]
    region.delete("k")
    region.delete("k")
    assert region.get("k") is NO_VALUE
    region.set("none", None)
    assert region.get("none") is None


def functions(region: Any) -> None:
    calls: list[Any] = []

    @region.cache_on_arguments()
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    @region.cache_multi_on_arguments()
    def lengths(*names: str) -> list[int]:
        calls.extend(names)
        return [len(name) for name in names]

    assert [double(2), double(2), double(3)] == [4, 4, 6] and calls == [2, 3]
    double.invalidate(2)
    assert [double(2), double(3)] == [4, 6] and calls == [2, 3, 2]
    double.set(100, 2)
    assert double(2) == 100 and double.refresh(2) == 4 and double.get(2) == 4 and double.get(9) is NO_VALUE
    del calls[:]
    assert lengths("a", "bb") == [1, 2] == lengths("a", "bb") and lengths("bb", "ccc") == [2, 3]
    assert sorted(calls) == ["a", "bb", "ccc"]
    assert region.get_or_create("made", lambda: "once") == "once" == region.get_or_create("made", lambda: "twice")
    assert region.get_or_create_multi(["made", "x"], lambda *keys: [f"of {key}" for key in keys]) == ["once", "of x"]


def lives(url: str, db: Any) -> None:
    region = made(url, redis_expiration_time=LONG_SECONDS)
    region.set("k", 1)
    region.set_multi({"x": 1, "y": 2})
    assert all(LONG_SECONDS / 2 < db.ttl(key) <= LONG_SECONDS for key in ("k", "x", "y"))
    short = made(url, redis_expiration_time=1)
    short.set("k", 1)
    wait_for(lambda: short.get("k") is NO_VALUE, what="the end of a life of one second")
    assert short.get_or_create("k", lambda: 2) == 2


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        db.flushdb()
        region = made(url)
        values(region)
        functions(region)
        lives(url, db)


if __name__ == "__main__":
    main(sys.argv[1])
