"""Objects that expire on a running server: for every way to look at them, on every transport, in driver and worker."""

from __future__ import annotations

import contextlib
import math
import random
import time
from datetime import timedelta

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import (
    BadTtlError,
    ConflictError,
    ExtensionRuntimeError,
    ProtocolError,
    QuotaExceededError,
    VersionChangedError,
    error_for,
)
from splinter.wire import FLAG_EXPIRES, OBJECT_ABSENT, Opcode
from tests.support.kill_all import kill_everything
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_lab, running_server, serving
from tests.support.waiting import wait_for
from tests.support.young_machine import UPTIME_VARIABLE

LIVE = """
from splinter.ext import extension, Store, u64, f64

@extension
def session(db: Store, key: u64, seconds: f64) -> f64:
    db.put(1, key, u64(7), ttl=seconds)
    return db.ttl(1, key)

@extension
def touch(db: Store, key: u64, seconds: f64) -> bool:
    return db.expire(1, key, seconds)

@extension(isolation="none")
def keep(db: Store, key: u64) -> bool:
    return db.persist(1, key)

@extension
def count(db: Store, key: u64, limit: u64, seconds: u64) -> bool:
    if db.put_if(1, key, u64(1), 0, ttl=seconds):
        return True
    return db.add(1, key, 1) <= limit

@extension
def left(db: Store, key: u64) -> f64:
    return db.ttl(1, key)
"""
SHORT, LONG = 0.4, 3600.0
OTHER_CLOCK = "tests.support.young_machine"
TRIES = 20  # for who has to be there within SHORT seconds
LOOK = """
from splinter.ext import extension, Store, u64

@extension
def length(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    if found is None:
        return u64(999)
    return u64(len(found))

@extension
def create(db: Store, key: u64) -> bool:
    return db.put_if(1, key, u64(7), version=u64(0))
"""


def put_for_a_moment(client: Client, key: bytes | int, value: bytes, *, table: int = 0) -> tuple[float, float]:
    """Put an object for SHORT seconds; returns when it surely is there still, and from when on it surely is not."""
    begun = time.monotonic()
    client.put(key, value, table=table, ttl=SHORT)
    return begun + SHORT, time.monotonic() + SHORT


def look(client: Client, key: bytes, last: float) -> bytes | None:
    """A get, which finds nothing if it begins behind ``last``, however long it takes."""
    begun = time.monotonic()
    found = client.get(key)
    assert found is None or begun < last
    return found


@pytest.mark.parametrize("size", [0, 100, 1400, 5000, limits.VALUE_BYTES_MAX])
def test_it_is_there_until_its_moment_and_never_again(client: Client, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    first, last = put_for_a_moment(client, b"key", value[:size])
    while (found := look(client, b"key", last)) is not None:
        assert found == value[:size]
    assert time.monotonic() >= first
    for _ in range(200):
        assert client.get(b"key") is None
    assert client.multiget([b"key", b"other"]) == [None, None]
    assert client.ttl(b"key") is None
    assert not client.delete(b"key") and not client.expire(b"key", LONG) and not client.persist(b"key")


def test_how_long_it_lives_can_be_asked_and_changed(client: Client) -> None:
    assert client.ttl(b"key") is None
    version = client.put(b"key", b"value")
    assert client.ttl(b"key") == math.inf
    begun = time.monotonic()
    assert client.expire(b"key", timedelta(hours=1))
    left = client.ttl(b"key")
    assert left is not None and LONG - (time.monotonic() - begun) <= left <= LONG
    assert client.get_with_version(b"key")[1] > version
    with pytest.raises(VersionChangedError):
        client.expire(b"key", LONG, if_version=version)
    assert client.persist(b"key") and client.ttl(b"key") == math.inf
    client.put(b"key", b"other", ttl=LONG)
    client.put(b"key", b"last")
    assert client.ttl(b"key") == math.inf and client.get(b"key") == b"last"


def test_conditions_extensions_and_transactions_do_not_see_what_is_over(client: Client) -> None:
    client.install_all(LOOK)
    client.put(5, bytes(16), table=1, ttl=LONG)
    assert client.invoke("length", 5) == 16  # by the kernel, where it runs there
    assert not client.invoke("create", 5)
    put_for_a_moment(client, 5, bytes(16), table=1)
    wait_for(lambda: client.invoke("length", 5) == 999, 30, "its end")
    assert client.invoke("create", 5)
    assert client.ttl(5, table=1) == math.inf

    client.put(b"lock", b"mine", ttl=LONG)
    with pytest.raises(VersionChangedError):
        client.put(b"lock", b"yours", if_version=OBJECT_ABSENT)
    client.expire(b"lock", SHORT)
    wait_for(lambda: client.get(b"lock") is None, 30, "its end")
    client.put(b"lock", b"yours", if_version=OBJECT_ABSENT)

    assert any(a_transaction_outlasts_what_it_read(client) for _ in range(TRIES))
    assert client.get(b"order") is None


def a_transaction_outlasts_what_it_read(client: Client) -> bool:
    """It is in conflict, though nobody has written. False: the machine did something else until the object had expired."""
    put_for_a_moment(client, b"session", b"open")
    with contextlib.suppress(ConflictError), client.transaction() as tx:
        if tx.get(b"session") is None:
            return False
        tx.put(b"order", b"made")
        wait_for(lambda: client.ttl(b"session") is None, 30, "its end")
    return True


def test_extensions_say_and_ask_how_long_objects_live(client: Client) -> None:
    client.install_all(LIVE)
    assert {info.name: info.place for info in client.extensions()}["left"] == "worker"
    assert client.invoke("left", 5) == 0.0
    assert client.invoke("session", 5, LONG) == LONG  # of its own moment
    left = client.ttl(5, table=1)
    assert left is not None and 0 < left <= LONG and 0 < client.invoke("left", 5) <= LONG
    assert client.invoke("touch", 5, 10 * LONG) and not client.invoke("touch", 6, LONG)
    assert LONG < client.invoke("left", 5) <= 10 * LONG
    assert client.invoke("keep", 5) and not client.invoke("keep", 6)
    assert client.invoke("left", 5) == client.ttl(5, table=1) == math.inf
    client.invoke("touch", 5, SHORT)
    wait_for(lambda: client.get(5, table=1) is None, 30, "its end")
    assert client.invoke("left", 5) == 0.0 and not client.invoke("keep", 5)
    assert [client.invoke("count", 9, 3, 3600) for _ in range(5)] == [True] * 3 + [False] * 2
    left = client.ttl(9, table=1)
    assert left is not None and 0 < left <= LONG  # the window is the first one's
    for wrong in (0.0, -1.0, 1e12, math.nan):
        with pytest.raises(ExtensionRuntimeError, match="session, line 6: an object lives for 1 ns to 100 years"):
            client.invoke("session", 5, wrong)
    assert client.get(5, table=1) is None


def test_transactions_say_and_ask_how_long_objects_live(client: Client) -> None:
    client.put(b"old", b"value", ttl=LONG)
    client.put(b"kept", b"value", ttl=LONG)
    with client.transaction() as tx:
        left = tx.ttl(b"old")
        assert left is not None and 0 < left <= LONG
        tx.put(b"new", b"value", ttl=2 * LONG)
        assert tx.expire(b"old", timedelta(hours=5)) and tx.persist(b"kept") and not tx.expire(b"none", 5)
        assert (tx.ttl(b"new"), tx.ttl(b"old"), tx.ttl(b"kept"), tx.ttl(b"none")) == (2 * LONG, 5 * LONG, math.inf, None)
    lives = [client.ttl(key) for key in (b"new", b"old", b"kept")]
    assert lives[2] == math.inf and LONG < lives[0] <= 2 * LONG < lives[1] <= 5 * LONG  # type: ignore[operator]
    assert client.get(b"old") == client.get(b"kept") == b"value"
    with pytest.raises(ConflictError), client.transaction() as tx:
        assert tx.get(b"old") == b"value"
        client.persist(b"old")
        tx.ttl(b"old")
    with client.transaction() as tx:
        tx.put(b"new", b"short", ttl=SHORT)
    wait_for(lambda: client.get(b"new") is None, 30, "its end")


def test_a_full_tenant_has_the_room_of_what_is_over(server: RunningServer) -> None:
    """Whoever asks first, the sweep or the put: what is over does not stand in a put's way for long."""
    client = server.client(server.admin().create_tenant(quota_bytes=1 << 20))
    with pytest.raises(QuotaExceededError):
        for number in range(10_000):
            client.put(b"short %d" % number, bytes(1000), ttl=5)
    wait_for(lambda: client.get(b"short 0") is None, 60, "their end")

    def has_room() -> bool:
        with contextlib.suppress(QuotaExceededError):
            return client.put(b"new", bytes(1000)) > 0
        return False

    wait_for(has_room, 60, "room")


def test_the_driver_answers_for_what_expires_if_there_is_one(server: RunningServer, client: Client) -> None:
    client.put(b"key", b"value", ttl=LONG)

    channel = client._take(None)
    try:
        replies = [channel.request(Opcode.GET, 0, b"key", bytes(32)) for _ in range(20)]
    finally:
        client._give_back(channel)
    assert all(reply.value == b"value" for reply in replies)
    assert any(reply.by_kernel for reply in replies) == (server.info.transport == "xdp")


def test_memory_comes_back(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    def objects() -> int:
        (found,) = [each.objects for each in server.admin().list_tenants() if each.tenant == tenant.tenant]
        return found

    client.put(b"stays", b"value", ttl=LONG)
    before = objects()
    for number in range(200):
        client.put(b"%d" % number, bytes(number), ttl=SHORT)
    wait_for(lambda: objects() == before, 60, "the sweep")
    assert client.get(b"stays") == b"value"


def test_what_cannot_be_is_refused_with_a_reason(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    for wrong in (0, -1, 1e12, math.nan, math.inf, timedelta(0)):
        with pytest.raises(ValueError, match="ttl is a number of seconds"):
            client.put(b"key", b"value", ttl=wrong)
        with pytest.raises(ValueError, match="ttl is a number of seconds"):
            client.expire(b"key", wrong)
    for no_number in ("1", b"1", True, [1]):
        with pytest.raises(TypeError):
            client.put(b"key", b"value", ttl=no_number)  # type: ignore[arg-type]
    client.put(b"key", b"value")
    with contextlib.closing(RawSocket(server.info)) as raw:

        def refusal(opcode: Opcode, value: bytes, flags: int = 0) -> Exception:
            lengths = {"key_length": 3, "value_length": len(value)}
            reply = raw.request(tenant.tenant, tenant.token, opcode, b"key" + value, flags=flags, **lengths)
            assert reply is not None
            return error_for(reply[0].status)

        for ns in (0, limits.TTL_NS_MAX + 1, 1 << 63, (1 << 64) - 1):
            assert isinstance(refusal(Opcode.PUT, b"x" + ns.to_bytes(8, "little"), FLAG_EXPIRES), BadTtlError)
            if ns:
                assert isinstance(refusal(Opcode.EXPIRE, ns.to_bytes(8, "little")), BadTtlError)
        for size in range(8):
            assert isinstance(refusal(Opcode.PUT, bytes(size), FLAG_EXPIRES), ProtocolError)
            assert isinstance(refusal(Opcode.EXPIRE, bytes(size)), ProtocolError)
        assert isinstance(refusal(Opcode.EXPIRE, bytes(9)), ProtocolError)
    assert client.get(b"key") == b"value" and client.ttl(b"key") == math.inf


@pytest.mark.xdp
@pytest.mark.own_clock
@pytest.mark.parametrize("uptime_seconds", [1, 10_000_000])
def test_driver_and_worker_have_one_clock_also_where_the_server_has_its_own(
    unique_name: str, uptime_seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's clock is not that of a time namespace's processes: the driver would end objects at another moment."""
    monkeypatch.setenv(UPTIME_VARIABLE, str(uptime_seconds))
    with running_server(unique_name, "xdp", module=OTHER_CLOCK) as server:
        client = server.client(server.admin().create_tenant())
        client.put(b"key", b"value", ttl=LONG)
        require_one_clock(client)


def require_one_clock(client: Client) -> None:
    """The driver answers gets of an object ``key`` that expires; it is gone, for everybody, when it is to be."""
    channel = client._take(None)
    try:
        replies = [channel.request(Opcode.GET, 0, b"key", bytes(32)) for _ in range(20)]
    finally:
        client._give_back(channel)
    assert any(reply.by_kernel for reply in replies)  # it has not expired for the driver
    first, last = put_for_a_moment(client, b"key", b"value")
    while (found := look(client, b"key", last)) is not None:
        assert found == b"value"
    assert time.monotonic() >= first


@pytest.mark.xdp
@pytest.mark.own_clock
@pytest.mark.parametrize("uptimes", [(1, 10_000_000), (10_000_000, 1)])
def test_a_store_goes_on_by_its_clock_under_a_server_with_another_one(
    unique_name: str, uptimes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server dies, and one of another time namespace attaches its store."""
    monkeypatch.setenv(UPTIME_VARIABLE, str(uptimes[0]))
    with running_lab(unique_name) as lab, serving(unique_name, lab, module=OTHER_CLOCK) as server:
        tenant = server.admin().create_tenant()
        client = server.client(tenant)
        client.put(b"key", b"value", ttl=LONG)
        left, asked = client.ttl(b"key"), time.monotonic()
        kill_everything(server, "at random", random.Random(1))
        monkeypatch.setenv(UPTIME_VARIABLE, str(uptimes[1]))
        server.start_again(lab, module=OTHER_CLOCK)
        client = server.client(tenant)
        still = client.ttl(b"key")
        assert left is not None and still is not None
        assert left - (time.monotonic() - asked) - 1 <= still <= left
        require_one_clock(client)
