"""A tenant can be moved to another core while it is being served, and a flood of one tenant's packets is cut off."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.errors import ControlError, Status, UnknownTenantError
from splinter.wire import Header, Opcode
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
MOVES = 50
ANSWER_SECONDS_MAX = 30.0
OPTIONS = ("--cores", "0,1", "--no-steal", "--no-balance")


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x6{request.param}", request.param, *OPTIONS) as running:
        yield running


def received(server: RunningServer) -> list[int]:
    return [worker["received"] for worker in server.admin().stats()["workers"]]


@pytest.mark.parametrize("home", [0, 1])
def test_a_tenant_is_served_by_the_home_that_it_was_given(server: RunningServer, home: int) -> None:
    tenants = server.admin().create_tenants(2, home=home)  # one of them would live elsewhere by default
    before = received(server)
    for tenant in tenants:
        client = server.client(tenant)
        for _ in range(10):
            client.ping()
    after = received(server)
    assert after[home] - before[home] >= 20
    assert after[1 - home] == before[1 - home]


def test_moving_under_load_loses_no_request(server: RunningServer) -> None:
    admin = server.admin()
    tenants = admin.create_tenants(3, home=0)
    stop = threading.Event()
    done = [0] * 6
    failures: list[BaseException] = []

    def load(slot: int) -> None:
        # Each request is sent once: what is lost is not asked for again.
        raw = RawSocket(server.info)
        tenant = tenants[slot % 3]
        try:
            while not stop.is_set():
                raw.send(request(tenant, Opcode.PING, sequence=done[slot]))
                reply = raw.receive(ANSWER_SECONDS_MAX)
                assert reply is not None and reply[0].sequence == done[slot]
                done[slot] += 1
        except BaseException as error:
            failures.append(error)
        finally:
            raw.close()

    threads = [threading.Thread(target=load, args=(slot,)) for slot in range(6)]
    for thread in threads:
        thread.start()
    try:
        for move in range(MOVES):
            home = (move + 1) % 2
            for tenant in tenants:
                admin.move_tenant(tenant.tenant, home)
            # Who still waits for a reply now was steered to the old home; from the next request on all go to the new one.
            first = list(done)
            wait_for(
                lambda first=first: failures or all(now >= then + 2 for now, then in zip(done, first, strict=True)),
                seconds=30,
                what="everybody's progress",
            )
            assert not failures
        before = received(server)
        reached = sum(done) + 100
        wait_for(lambda: failures or sum(done) >= reached, seconds=30, what="progress")
        after = received(server)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert after[home] - before[home] >= 100
    assert after[1 - home] == before[1 - home]
    assert {tenant.home for tenant in admin.list_tenants() if tenant.tenant in {t.tenant for t in tenants}} == {home}


def test_what_cannot_be_moved_is_refused(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant(home=0)
    with pytest.raises(ControlError, match="'home' is 0 … 1"):
        admin.move_tenant(tenant.tenant, 2)
    with pytest.raises(UnknownTenantError):
        admin.move_tenant(limits.TENANTS_MAX - 1, 0)
    assert admin.get_tenant(tenant.tenant).home == 0


def test_the_udp_transport_refuses_more_homes_than_it_can_follow(server: RunningServer) -> None:
    if server.info.transport != "udp":
        return  # the XDP program reads each tenant's home: there is no limit
    admin = server.admin()
    with pytest.raises(ControlError, match="at most") as refused:
        for _ in range(3):
            admin.create_tenants(limits.HOMES_ELSEWHERE_MAX, home=1)
    assert refused.value.code == "too_many_homes"
    last = admin.list_tenants()[-1]
    assert server.client(admin.get_tenant(last.tenant, token=True)).ping() > 0


def test_a_flood_is_cut_to_the_tenants_limit(server: RunningServer) -> None:
    admin, per_second = server.admin(), 10
    # Of one home: what answers the other one has taken all packets of the flooder that came before.
    flooder = admin.create_tenant(packets_per_second=per_second, home=0)
    other = admin.create_tenant(home=0)
    client = server.client(other)
    raw = RawSocket(server.info)
    packet = request(flooder, Opcode.PING)
    try:
        sent = 20 * limits.RATE_BURST_PACKETS
        answered = 0
        begun = time.monotonic()
        for _ in range(sent):
            raw.send(packet)
            client.ping()
            answered += raw.drain()
        seconds = time.monotonic() - begun
        dropped = admin.get_tenant(flooder.tenant).packets_dropped
        while answered + dropped < sent:
            assert raw.receive() is not None, f"{answered} answered, {dropped} dropped of {sent}"
            answered += 1
        assert answered + dropped == sent
        assert answered <= limits.RATE_BURST_PACKETS + per_second * seconds + 1
        stats = admin.stats()
        assert stats["control"]["packets_dropped"][str(flooder.tenant)] >= dropped
        if "xdp" in stats:
            assert stats["xdp"]["rate_limited"] >= dropped
        else:
            assert sum(worker["rate_limited"] for worker in stats["workers"]) >= dropped
        assert admin.get_tenant(other.tenant).packets_dropped == 0

        admin.limit_tenant(flooder.tenant, packets_per_second=0)
        raw.drain()
        before = admin.get_tenant(flooder.tenant).packets_dropped
        for _ in range(10):
            raw.send(packet)
            assert raw.receive() is not None
        assert admin.get_tenant(flooder.tenant).packets_dropped == before
    finally:
        raw.close()


def test_limits_can_be_changed_one_at_a_time(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant(quota_bytes=1 << 20, packets_per_second=5000, task_yields_max=7)
    changed = admin.limit_tenant(tenant.tenant, quota_bytes=1 << 21)
    assert (changed.quota_bytes, changed.packets_per_second, changed.task_yields_max) == (1 << 21, 5000, 7)
    changed = admin.limit_tenant(tenant.tenant, packets_per_second=100)
    assert (changed.quota_bytes, changed.packets_per_second, changed.task_yields_max) == (1 << 21, 100, 7)
    with pytest.raises(ValueError, match="packets_per_second"):
        admin.limit_tenant(tenant.tenant, packets_per_second=limits.PACKETS_PER_SECOND_MAX + 1)


def request(tenant: TenantInfo, opcode: Opcode, sequence: int = 1) -> bytes:
    return Header(tenant=tenant.tenant, token=tenant.token, opcode=opcode, client=5, sequence=sequence).pack()


@pytest.mark.xdp
def test_the_balancer_spreads_hot_tenants_and_loses_no_request(unique_name: str) -> None:
    with running_server(unique_name, "xdp", "--cores", "0,1") as server:
        admin = server.admin()
        tenants = admin.create_tenants(4, home=0)
        stop = threading.Event()
        source = (
            "from splinter.ext import Store, extension, u64\n@extension\ndef spin(db: Store, n: u64) -> u64:\n"
            "    x = 0\n    for i in range(n):\n        x = (x * 3 + i) % 1000003\n    return x\n"
        )
        for tenant in tenants:
            server.client(tenant).install(source)

        done = [0] * len(tenants)
        failures: list[BaseException] = []

        def load(slot: int) -> None:
            # Each request is sent once: what is lost is not asked for again.
            raw, tenant = RawSocket(server.info), tenants[slot]
            name, turns = b"spin", (300_000).to_bytes(8, "little")
            try:
                while not stop.is_set():
                    raw.start(
                        tenant.tenant, tenant.token, Opcode.INVOKE, name + turns, key_length=len(name), value_length=len(turns)
                    )
                    reply = raw.receive(ANSWER_SECONDS_MAX)
                    assert reply is not None and reply[0].status == Status.OK
                    done[slot] += 1
                    assert reply[0].sequence == done[slot]
            except BaseException as error:
                failures.append(error)
            finally:
                raw.close()

        threads = [threading.Thread(target=load, args=(slot,)) for slot in range(len(tenants))]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: failures or {t.home for t in admin.list_tenants()} == {0, 1}, seconds=60, what="a move")
            first = list(done)
            wait_for(
                lambda: failures or all(now >= then + 2 for now, then in zip(done, first, strict=True)),
                seconds=30,
                what="everybody's progress",
            )
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures
        assert admin.stats()["control"]["balancer_moves"] >= 1
        wait_for(lambda: "moved tenant" in server.log.read_text(), what="the message")
