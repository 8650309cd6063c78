"""Django's cache on a running server, beside the one that Django keeps in the process's memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core import signals
from django.core.cache import CacheKeyWarning, cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from examples import django_cache
from examples.django_cache import SplinterCache, _client
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import ValueTooLargeError
from splinter.testing import Server
from tests.support.forks import start
from tests.support.waiting import WAIT_SECONDS

if not settings.configured:
    settings.configure()

TABLE = 3
BACKEND = "examples.django_cache.SplinterCache"
LONG = "k" * 300


@pytest.fixture(autouse=True)
def configured(splinter_arguments: dict[str, Any]) -> Iterator[None]:
    named = splinter_arguments
    options = {"tenant": named["tenant"], "token": named["token"], "table": TABLE, "timeout": WAIT_SECONDS}
    splinter = {"BACKEND": BACKEND, "LOCATION": f"{named['address']}:{named['port']}", "OPTIONS": options}
    prefixed = {**splinter, "KEY_PREFIX": "other", "TIMEOUT": None}
    with override_settings(CACHES={"default": splinter, "prefixed": prefixed}), warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheKeyWarning)
        yield
    _client(named["address"], named["port"], named["tenant"], named["token"], WAIT_SECONDS).close()
    _client.cache_clear()


# --- what it does -----------------------------------------------------------------------------------------------------

KEYS = ["plain", "with spaces\n", "größe", LONG, LONG + "!", "ü" * 200, ""]
VALUES: list[Any] = [0, -1, 1.5, None, True, "text", b"bytes", [1, {"two": (3,)}], 10**30, "v" * 3000]
TIMEOUTS: list[Any] = [None, 0, -1, 300, 0.5e3, 10**12]


def change(dice: random.Random) -> Callable[[Any], Any]:
    """A random call of a cache."""
    key, keys = dice.choice(KEYS), dice.sample(KEYS, 3)
    value, timeout, delta = dice.choice(VALUES), dice.choice(TIMEOUTS), dice.randrange(-5, 5)
    version = dice.choice([None, None, 2])
    some = {each: dice.choice(VALUES) for each in keys}
    calls: list[Callable[[Any], Any]] = [
        lambda on: on.add(key, value, timeout, version),
        lambda on: on.add(key, value),
        lambda on: on.set(key, value, timeout, version),
        lambda on: on.set(key, delta),
        lambda on: on.get(key, "default", version),
        lambda on: on.touch(key, timeout, version),
        lambda on: on.delete(key, version),
        lambda on: (on.has_key(key, version), key in on),
        lambda on: on.incr(key, delta, version),
        lambda on: on.decr(key),
        lambda on: on.get_many(iter(keys), version),
        lambda on: on.set_many(some, timeout, version),
        lambda on: on.delete_many(iter(keys[:2]), version),
        lambda on: on.get_or_set(key, lambda: value, timeout, version),
        lambda on: on.incr_version(key, 1, version),
        lambda on: on.clear(),
    ]
    weights = [2] * (len(calls) - 1) + [0.3]
    (call,) = dice.choices(calls, weights)
    return call


def outcome(call: Callable[[Any], Any], on: Any) -> Any:
    try:
        return call(on)
    except (ValueError, TypeError) as error:
        return type(error)


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_django_s_own(seed: int) -> None:
    dice, own = random.Random(seed), LocMemCache(f"seed {seed}", {})
    found = set()
    for step in range(250):
        call = change(dice)
        ours, theirs = outcome(call, cache), outcome(call, own)
        assert ours == theirs and type(ours) is type(theirs), (step, ours, theirs)
        found.add(repr(ours)[:20])
        for version in (1, 2, 3):
            assert cache.get_many(KEYS, version) == own.get_many(KEYS, version), (step, version)
    assert len(found) > 20


@pytest.mark.parametrize(
    ("timeout", "least", "most"), [(None, float("inf"), float("inf")), (60, 50, 60), (10**12, 3e9, 3.2e9)], ids=str
)
def test_how_long_an_object_lives(splinter_client: Client, timeout: Any, least: float, most: float) -> None:
    def left(key: str) -> float | None:
        return splinter_client.ttl(f":1:{key}", table=TABLE)

    cache.set("set", 1, timeout)
    cache.add("add", 1, timeout)
    cache.set_many({"many": 1}, timeout)
    cache.set("touch", 1, 7)
    cache.touch("touch", timeout)
    cache.incr("set", 5)
    for key in ("set", "add", "many", "touch"):
        assert least <= (left(key) or 0) <= most, key
    cache.set("default", 1)
    assert 290 < (left("default") or 0) <= 300
    caches["prefixed"].set("key", 1)
    assert splinter_client.ttl("other:1:key", table=TABLE) == float("inf")


def test_values_of_any_size() -> None:
    values = {f"of {size} bytes": bytes([size % 256]) * size for size in (0, 1400, 70_000, 1_000_000)}
    cache.set_many(values)
    assert cache.get_many(values) == values
    assert not cache.add("of 70000 bytes", 1) and cache.add("another", bytes(70_000))
    with pytest.raises(ValueTooLargeError):
        cache.set("another", bytes(9 << 20))
    assert cache.get("another") == bytes(70_000)


def test_a_counter_that_is_used_ends_when_it_was_to(splinter_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def requests_take(seconds: int) -> None:
        clock = itertools.count(step=seconds)
        monkeypatch.setattr(django_cache, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    cache.set("visits", 0, 600)
    requests_take(100)
    assert cache.incr("visits") == 1
    assert 480 < (splinter_client.ttl(":1:visits", table=TABLE) or 0) <= 500
    requests_take(1000)
    with pytest.raises(ValueError, match="not found"):
        cache.incr("visits")


def test_keys_of_any_length_are_kept_apart(splinter_client: Client) -> None:
    lengths = range(245, 260)  # with the prefix of three bytes: around the longest that the store takes
    cache.set_many({"k" * length: length for length in lengths})
    assert [cache.get("k" * length) for length in lengths] == list(lengths)
    assert len(list(splinter_client.scan(TABLE, ":1:"))) == 253 - 245


def test_clear_empties_the_table_and_no_other(splinter_client: Client) -> None:
    splinter_client.put(b"of another table", b"value")
    cache.set_many({f"key {number}": number for number in range(2500)})
    caches["prefixed"].set("key", 1)
    cache.clear()
    assert list(splinter_client.scan(TABLE)) == []
    assert list(splinter_client.scan()) == [b"of another table"]


def test_it_can_be_awaited(splinter_client: Client) -> None:
    async def main() -> None:
        assert await cache.aset_many({"key": 1, "other": 7}, None) == []
        told = await asyncio.gather(*(cache.aincr("key") for _ in range(30)), *(cache.adecr("key") for _ in range(10)))
        assert len(told) == 40
        assert await cache.aget_many(["key", "other", "missing"]) == {"key": 21, "other": 7}
        await cache.adelete_many(["other"])
        assert not await cache.ahas_key("other") and await cache.aget_or_set("other", 8) == 8

    asyncio.run(main())
    assert splinter_client.ttl(":1:key", table=TABLE) == float("inf")


def test_sessions(splinter_client: Client) -> None:
    from django.contrib.sessions.backends.base import UpdateError
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["user"] = "Ada"
    session.set_expiry(1000)
    session.create()
    (key,) = splinter_client.scan(TABLE)
    assert 900 < (splinter_client.ttl(key, table=TABLE) or 0) <= 1000
    again = SessionStore(session.session_key)
    assert again["user"] == "Ada" and again.exists(again.session_key)
    again.cycle_key()
    assert not SessionStore().exists(session.session_key)
    assert SessionStore(again.session_key)["user"] == "Ada"
    SessionStore(again.session_key).delete()
    again["user"] = "Grace"
    with pytest.raises(UpdateError):
        again.save()


def test_options_that_lack_something_are_told() -> None:
    with pytest.raises(ImproperlyConfigured, match="lack tenant, token"):
        SplinterCache("127.0.0.1", {})


# --- who asks ---------------------------------------------------------------------------------------------------------


def test_threads_and_forked_children_count_each_once() -> None:
    cache.set("visits", 0)

    def visit(_: int = 0) -> tuple[list[int], bool]:
        return [cache.incr("visits") for _ in range(25)], cache.add("first", "me")

    visit_here = ThreadPoolExecutor(3)
    with visit_here:
        children = [start(visit) for _ in range(2)]
        told = list(visit_here.map(visit, range(3)))
        told += [wait() for wait in children]
    assert sorted(number for numbers, _ in told for number in numbers) == list(range(1, 126))
    assert [is_first for _, is_first in told].count(True) == 1


def test_threads_that_come_and_go_share_a_client(splinter_server: Server, splinter_tenant: TenantInfo) -> None:
    def ask() -> None:
        cache.set("key", 1)
        with contextlib.closing(cache):
            signals.request_finished.send(sender=None)
        cache.incr("key")

    for _ in range(20):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert splinter_server.admin.get_tenant(splinter_tenant.tenant).clients == 1
