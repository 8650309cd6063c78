"""Whatever a packet holds, the server answers as documented or drops and counts it, and goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import msgpack
import pytest

from splinter import limits
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import Status
from splinter.wire import FLAG_REPLY, H_OPCODE, Header, Opcode
from tests.support.packet_fuzz import fuzz
from tests.support.random_messages import RandomMessages, operations
from tests.support.random_packets import RandomPackets
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
PACKETS, MESSAGES, MINUTES_MAX, SEED = 100_000, 2000, 10.0, 2024


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x9{request.param}", request.param) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: RunningServer) -> Admin:
    return server.admin()


@pytest.fixture(scope="module")
def tenant(admin: Admin) -> TenantInfo:
    return admin.create_tenant()


@pytest.fixture
def raw(server: RunningServer) -> Iterator[RawSocket]:
    raw = RawSocket(server.info)
    yield raw
    raw.close()


KEY = b"key"
BAD_REQUESTS = [
    pytest.param(Status.BAD_VERSION, Opcode.GET, KEY, {"key_length": 3, "version": 9}, id="version"),
    pytest.param(Status.BAD_LENGTH, Opcode.GET, KEY, {"key_length": 4}, id="key beyond the packet"),
    pytest.param(Status.BAD_LENGTH, Opcode.GET, KEY, {"key_length": 2}, id="bytes left over"),
    pytest.param(Status.BAD_LENGTH, Opcode.PUT, KEY, {"key_length": 3, "value_length": 0xFFFFFFFF}, id="huge value"),
    pytest.param(Status.UNKNOWN_OPCODE, max(Opcode) + 1, KEY, {"key_length": 3}, id="the first unknown opcode"),
    pytest.param(Status.UNKNOWN_OPCODE, 255, KEY, {"key_length": 3}, id="opcode 255"),
    pytest.param(Status.BAD_TABLE, Opcode.PUT, KEY, {"key_length": 3, "table": limits.TABLES_MAX}, id="reserved table"),
    pytest.param(
        Status.BAD_TABLE, Opcode.PUT, KEY, {"key_length": 3, "table": limits.TABLE_EXTENSIONS}, id="extensions' table"
    ),
    pytest.param(Status.BAD_KEY, Opcode.GET, b"", {"key_length": 0}, id="empty key"),
    pytest.param(Status.BAD_KEY, Opcode.GET, b"k" * 256, {"key_length": 256}, id="long key"),
    pytest.param(Status.BAD_FRAGMENT, Opcode.PUT, KEY, {"key_length": 3, "fragment_index": 1}, id="fragment of none"),
    pytest.param(
        Status.BAD_FRAGMENT,
        Opcode.PUT,
        KEY + b"short",
        {"key_length": 3, "value_length": 5, "fragment_index": 0, "fragment_count": 2},
        id="short fragment",
    ),
    pytest.param(
        Status.VALUE_TOO_LARGE,
        Opcode.PUT,
        KEY,
        {"key_length": 3, "fragment_count": limits.FRAGMENTS_MAX + 1},
        id="too many fragments",
    ),
    pytest.param(Status.BAD_KEY, Opcode.MULTIGET, b"\0\0", {"value_length": 2}, id="multiget of an empty key"),
    pytest.param(Status.BAD_LENGTH, Opcode.MULTIGET, b"\5\0abc", {"value_length": 5}, id="multiget beyond the packet"),
    pytest.param(Status.BAD_LENGTH, Opcode.MULTIGET, b"\5", {"value_length": 1}, id="multiget of half a length"),
    pytest.param(Status.BAD_LENGTH, Opcode.TRANSACT, b"", {}, id="transaction of nothing"),
    pytest.param(Status.BAD_LENGTH, Opcode.TRANSACT, b"\0" * 15, {"value_length": 15}, id="transaction of half an entry"),
    pytest.param(Status.BAD_KEY, Opcode.TRANSACT, KEY, {"key_length": 3}, id="transaction with a key"),
    pytest.param(Status.BAD_FRAGMENT, Opcode.TRANSACT, b"", {"fragment_count": 2}, id="fragment of a transaction"),
    pytest.param(Status.BAD_LENGTH, Opcode.BATCH, b"", {}, id="batch of nothing"),
    pytest.param(Status.BAD_LENGTH, Opcode.BATCH, b"\1\1\0\0\0\0\0", {"value_length": 7}, id="batch of half a request"),
    pytest.param(Status.UNKNOWN_OPCODE, Opcode.BATCH, bytes(8), {"value_length": 8}, id="batch with a ping"),
    pytest.param(Status.BAD_KEY, Opcode.BATCH, KEY, {"key_length": 3}, id="batch with a key"),
    pytest.param(Status.BAD_FRAGMENT, Opcode.BATCH, b"", {"fragment_count": 2}, id="fragment of a batch"),
    pytest.param(Status.NO_EXTENSION, Opcode.INVOKE, KEY, {"key_length": 3}, id="no such extension"),
    pytest.param(Status.NO_EXTENSION, Opcode.INVOKE, b"k" * 65, {"key_length": 65}, id="extension's name too long"),
    pytest.param(Status.NOT_FOUND, Opcode.GET, KEY, {"key_length": 3}, id="no such object"),
]


@pytest.mark.parametrize(("status", "opcode", "body", "fields"), BAD_REQUESTS)
def test_each_bad_request_has_its_status_and_message(
    raw: RawSocket, tenant: TenantInfo, status: Status, opcode: int, body: bytes, fields: dict[str, int]
) -> None:
    reply = raw.request(tenant.tenant, tenant.token, opcode, body, **fields)
    assert reply is not None
    header, message = reply
    assert Status(header.status) == status
    assert header.flags & FLAG_REPLY
    assert header.token == 0
    assert len(message) > 5
    message.decode()


@pytest.mark.parametrize("count", [1, 500, limits.PACKET_BODY_BYTES_MAX - len(KEY)])
def test_the_value_of_a_get_is_padding(raw: RawSocket, tenant: TenantInfo, count: int) -> None:
    value = bytes(range(1, 201))
    fields = {"key_length": len(KEY), "value_length": len(value), "table": 7}
    assert raw.request(tenant.tenant, tenant.token, Opcode.PUT, KEY + value, **fields) is not None
    reply = raw.request(tenant.tenant, tenant.token, Opcode.GET, KEY + b"?" * count, **{**fields, "value_length": count})
    assert reply is not None
    assert (Status(reply[0].status), reply[0].value_length, reply[1]) == (Status.OK, len(value), value)
    assert raw.request(tenant.tenant, tenant.token, Opcode.DELETE, KEY, **{**fields, "value_length": 0}) is not None


def drops(admin: Admin) -> dict[str, int]:
    """Counts of what was dropped, wherever the transport counts it."""
    stats = admin.stats()
    xdp = stats.get("xdp", {})
    workers = stats["workers"]
    return {
        "wrong_token": xdp.get("wrong_token", 0) + xdp.get("unknown_tenant", 0) + sum(w["wrong_token"] for w in workers),
        "malformed": sum(xdp.get(name, 0) for name in ("short", "bad_magic", "reply", "truncated"))
        + sum(w["malformed"] for w in workers),
    }


@pytest.mark.parametrize(
    ("counter", "change"),
    [
        ("wrong_token", {"token": 1}),
        ("wrong_token", {"tenant": 0}),
        ("wrong_token", {"tenant": limits.TENANTS_MAX - 1}),
        ("wrong_token", {"tenant": limits.TENANTS_MAX}),
        ("wrong_token", {"tenant": 0xFFFFFFFF}),
        ("malformed", {"magic": 0x12345678}),
        ("malformed", {"flags": FLAG_REPLY}),
    ],
)
def test_what_is_not_authentic_is_dropped_and_counted(
    raw: RawSocket, admin: Admin, tenant: TenantInfo, counter: str, change: dict[str, int]
) -> None:
    before = drops(admin)[counter]
    fields = {"tenant": tenant.tenant, "token": tenant.token, "key_length": 3, **change}
    raw.send(Header(opcode=Opcode.GET, **fields).pack() + KEY)
    wait_for(lambda: drops(admin)[counter] == before + 1, what=f"one more in {counter}")
    # The next valid request is answered, and nothing else was: no reply to the dropped one is in between.
    reply = raw.request(tenant.tenant, tenant.token, Opcode.PING)
    assert reply is not None
    assert raw.drain() == 0


@pytest.mark.parametrize("size", [0, 1, 4, 63])
def test_truncated_requests_are_dropped_and_counted(raw: RawSocket, admin: Admin, tenant: TenantInfo, size: int) -> None:
    before = drops(admin)["malformed"]
    raw.send(Header(tenant=tenant.tenant, token=tenant.token, opcode=Opcode.PING).pack()[:size])
    wait_for(lambda: drops(admin)["malformed"] == before + 1, what="one more malformed")


def test_oversized_packet_does_no_harm(raw: RawSocket, server: RunningServer, tenant: TenantInfo) -> None:
    if server.info.transport == "xdp":
        # The veth's MTU makes IP fragments of it, which the XDP program drops; on loopback it arrives whole.
        raw.send(Header(tenant=tenant.tenant, token=tenant.token, opcode=Opcode.PUT).pack() + bytes(4000))
    else:
        reply = raw.request(tenant.tenant, tenant.token, Opcode.PUT, bytes(4000), key_length=3, value_length=3997)
        assert reply is not None
        assert reply[0].status == Status.BAD_LENGTH
    assert raw.request(tenant.tenant, tenant.token, Opcode.PING) is not None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_random_packets_and_messages_beside_honest_tenants(transport: str) -> None:
    """Valid, mutated and random, as a tenant, as the administrator, as nobody. ``scripts/fuzz-packets`` sends millions."""
    verdict = fuzz(transport, PACKETS, MESSAGES, MINUTES_MAX, SEED, print)
    assert not verdict.wrong, verdict.wrong
    assert (verdict.packets, verdict.messages) == (PACKETS, MESSAGES)
    assert verdict.seen > PACKETS // 2, "the packets did not reach the server"
    assert {"ok", "bad_message", "bad_request", "permission_denied", "hung up"} <= set(verdict.replies)


def test_every_operation_and_opcode_is_among_what_is_sent() -> None:
    """Whoever adds one: it is found in the server's own table."""
    attackers, others = [TenantInfo(7, 1234, 0, 0)], [TenantInfo(8, 99, 0, 0)]
    messages = RandomMessages(SEED, "secret", attackers, others)
    asked = set()
    for _ in range(20_000):
        frame, _ = messages.frame()
        with contextlib.suppress(Exception):
            request = msgpack.unpackb(frame[4:], strict_map_key=False)
            asked.add(request["op"])
            assert request.get("credential") != "secret" or request.get("tenant") != 8, "it would be obeyed"
    assert set(operations()) <= asked
    packets, _ = RandomPackets(SEED, attackers, others).batch(20_000)
    assert set(Opcode) <= set(packets[:, H_OPCODE].tolist())
    assert len(set(packets[:, H_OPCODE].tolist())) > 100  # and those that there are not
