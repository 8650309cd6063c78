"""Programs that know nothing of Splinter, by their own clients of Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.redis_server import Door, door_of
from tests.support.servers import running_server

DJANGO = """
import sys, time
from django.conf import settings
settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": sys.argv[1]}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="a secret of a test",
)
import django
django.setup()
from django.core.cache import cache
cache.clear()
assert cache.get("k") is None and cache.get("k", 5) == 5
cache.set("k", {"a": [1, 2, 3]}, 300)
assert cache.get("k") == {"a": [1, 2, 3]} and cache.has_key("k")
assert cache.add("k", 1) is False and cache.add("other", 1) is True
cache.set("n", 10)
assert cache.incr("n") == 11 and cache.decr("n", 2) == 9
assert cache.set_many({f"many:{number}": number for number in range(100)}, 300) == []
some = {f"many:{number}": number for number in range(0, 100, 7)}
assert cache.get_many(list(some)) == some
cache.delete_many([f"many:{number}" for number in range(100)])
assert cache.get("many:7") is None
assert cache.touch("k", 100) is True and cache.touch("nothing", 100) is False
cache.set("gone", 1, 0)
assert cache.get("gone") is None
assert cache.get_or_set("made", lambda: "by the function") == "by the function" == cache.get("made")
cache.set("large", b"x" * 1_000_000)
assert cache.get("large") == b"x" * 1_000_000
assert cache.delete("large") is True
from django.contrib.sessions.backends.cache import SessionStore
session = SessionStore()
session["user"] = 7
session.create()
again = SessionStore(session.session_key)
assert again["user"] == 7
again.flush()
assert not SessionStore().exists(session.session_key)
cache.clear()
assert cache.get("k") is None
"""
BENCHMARK = ("SET", "GET", "INCR", "MSET (10 keys)", "PING_INLINE", "PING_MBULK")


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with running_server(f"t{os.getpid()}xrp", "udp", "--redis-port", "0") as server:
        yield door_of(server, server.admin().create_tenant())


def url_of(door: Door, table: int = 0) -> str:
    return f"redis://{door.user}:{door.password}@{door.host}:{door.port}/{table}"


def test_djangos_cache_and_sessions(door: Door) -> None:
    pytest.importorskip("django", reason="the extra dev has Django")
    done = subprocess.run([sys.executable, "-c", DJANGO, url_of(door, 3)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_redis_py_by_both_protocols(door: Door) -> None:
    redis = pytest.importorskip("redis", reason="the extra dev has redis-py")
    for protocol in (2, 3):
        with redis.Redis.from_url(url_of(door, 4), protocol=protocol, decode_responses=True) as db:
            db.flushdb()
            assert db.set("k", "v", px=100_000, nx=True) is True and db.set("k", "w", nx=True) is None
            assert db.getex("k", persist=True) == "v" and db.ttl("k") == -1
            assert list(db.scan_iter("k*")) == ["k"] and db.type("k") == "string"

            def double(pipe: object) -> None:
                now = int(pipe.get("n") or 1)  # type: ignore[attr-defined]
                pipe.multi()  # type: ignore[attr-defined]
                pipe.set("n", now * 2)  # type: ignore[attr-defined]

            for _ in range(10):
                assert db.transaction(double, "n") == [True]
            assert db.get("n") == "1024"
            with db.pipeline(transaction=False) as pipe:
                for number in range(1000):
                    pipe.incrby("sum", number)
                assert pipe.execute()[-1] == sum(range(1000))
            assert db.client_info()["user"] == door.user and db.info()["redis_version"] == "7.0.0"


@pytest.mark.redis
def test_redis_benchmark_runs(door: Door) -> None:
    command = ["redis-benchmark", "-h", door.host, "-p", str(door.port), "--user", door.user, "-a", door.password]
    options = ["-t", "ping,set,get,incr,mset", "-n", "2000", "-c", "20", "-P", "4", "--csv"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    found = {line.split('"')[1] for line in done.stdout.splitlines() if line.startswith('"')}
    assert set(BENCHMARK) <= found, done.stdout + done.stderr
