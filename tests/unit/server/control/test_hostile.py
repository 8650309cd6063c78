"""What a careless or hostile peer can send: each gets its answer, and the server goes on."""

from __future__ import annotations

import contextlib
import random
import select
import signal
import socket
import struct
from pathlib import Path

import msgpack
import pytest

from splinter import limits
from splinter.errors import ControlError
from tests.support.waiting import wait_for

LENGTH = struct.Struct("<I")
CREDENTIAL = "the administrator's secret"


def send(peer: socket.socket, body: bytes) -> None:
    peer.sendall(LENGTH.pack(len(body)) + body)


def read_exactly(peer: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (piece := peer.recv(count - len(received))):
        received += piece
    return received


def read(peer: socket.socket) -> dict:
    (length,) = LENGTH.unpack(read_exactly(peer, LENGTH.size))
    return msgpack.unpackb(read_exactly(peer, length))


def has_hung_up(peer: socket.socket) -> bool:
    waiting = select.poll()
    waiting.register(peer, select.POLLIN)
    return bool(waiting.poll(0))


def ask(peer: socket.socket, request: object) -> dict:
    send(peer, msgpack.packb(request))
    return read(peer)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x81", b"\x81\x90\x01", b"\x91" * 5000, b"\xd9\x01\xff", b"\x01\x02", b"\xa3abc"],
)
def test_bad_msgpack_is_refused_and_the_connection_goes_on(control, body):
    with control.raw() as peer:
        assert ask(peer, {"op": "hello", "credential": CREDENTIAL})["ok"]
        send(peer, body)
        assert read(peer)["error"] == "bad_message"
        assert ask(peer, {"op": "hello"})["ok"] is True


@pytest.mark.parametrize("request_", [{}, {"op": 5}, {"op": "no.such"}, {"op": None}, {"op": ["hello"]}, {5: "hello"}])
def test_unknown_operations_are_refused(control, request_):
    with control.raw() as peer:
        assert ask(peer, request_)["error"] in ("unknown_op", "bad_message")
        assert ask(peer, {"op": "hello"})["ok"] is True


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("tenant.create", {"tenant": 0}),
        ("tenant.create", {"tenant": limits.TENANTS_MAX}),
        ("tenant.create", {"tenant": "7"}),
        ("tenant.create", {"tenant": True}),
        ("tenant.create", {"tenant": 1, "count": 2}),
        ("tenant.create", {"count": 0}),
        ("tenant.create", {"count": limits.TENANTS_MAX}),
        ("tenant.create", {"home": 3}),
        ("tenant.create", {"home": -1}),
        ("tenant.create", {"quota_bytes": -1}),
        ("tenant.create", {"quota_bytes": 1.5}),
        ("tenant.list", {"start": -1}),
        ("tenant.list", {"tokens": 1}),
        ("tenant.remove", {}),
        ("tenant.remove", {"tenant": 1 << 40}),
        ("extension.list", {"tenant": None}),
        ("extension.install", {"tenant": 7}),
        ("extension.install", {"tenant": 7, "source": b"bytes"}),
        ("extension.install", {"tenant": 7, "source": ""}),
        ("extension.install", {"tenant": 7, "source": "x" * (limits.SOURCE_BYTES_MAX + 1)}),
        ("extension.install", {"tenant": 7, "source": "pass", "name": ""}),
        ("extension.install", {"tenant": 7, "source": "pass", "name": "x" * 65}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": 1}),
        ("extension.install", {"tenant": 7, "source": "pass", "name": "f", "every": True}),
        ("extension.install", {"tenant": 7, "source": "pass", "names": ["f"]}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": True, "names": "f"}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": True, "names": []}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": True, "names": ["f", 5]}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": True, "names": ["f", None]}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": True, "names": ["no name"]}),
        ("extension.install", {"tenant": 7, "source": "pass", "every": True, "names": ["f"] * 257}),
        ("extension.signature", {"tenant": 7}),
    ],
)
def test_fields_out_of_bounds_are_named(control, op, fields):
    control.admin().create_tenant(7)
    with control.raw() as peer:
        assert ask(peer, {"op": "hello", "credential": CREDENTIAL})["ok"]
        reply = ask(peer, {"op": op, "credential": CREDENTIAL, **fields})
        assert reply["error"] == "bad_request"
        assert "'" in reply["message"]  # the field's name in quotes
        assert ask(peer, {"op": "hello"})["ok"] is True


@pytest.mark.parametrize("credential", [5, b"bytes", "", "x" * 1000, "\udcff", ["a"], {}])
def test_a_credential_of_any_shape_is_refused(control, credential):
    packed = msgpack.packb({"op": "stats", "credential": credential}, unicode_errors="surrogatepass")
    with control.raw() as peer:
        send(peer, packed)
        assert read(peer)["error"] in ("permission_denied", "bad_request", "bad_message")


def test_an_oversized_message_is_refused_before_it_is_read(control):
    with control.raw() as peer:
        peer.sendall(LENGTH.pack(limits.CONTROL_MESSAGE_BYTES_MAX + 1))
        assert read(peer)["error"] == "message_too_large"
        assert peer.recv(1) == b""
    with pytest.raises(ControlError, match="at most"):
        control.connect().request("hello", padding="x" * limits.CONTROL_MESSAGE_BYTES_MAX)
    assert control.connect().request("hello")["ok"]


def test_a_message_cut_short_ends_its_connection_only(control):
    with control.raw() as peer:
        peer.sendall(LENGTH.pack(100) + b"half")
    with control.raw() as peer:
        peer.sendall(b"\x01")
    assert control.connect().request("hello")["ok"]


def test_silence_is_ended_with_a_farewell(control_stopped, monkeypatch):
    monkeypatch.setattr(limits, "CONTROL_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(limits, "CONTROL_STRANGER_SECONDS", 0.05)
    control_stopped.start()
    for greeting in (None, {"op": "hello"}, {"op": "hello", "credential": CREDENTIAL}):
        for silence in (b"", LENGTH.pack(100) + b"half a message is silence too"):
            with control_stopped.raw() as peer:
                if greeting:
                    assert ask(peer, greeting)["ok"]
                peer.sendall(silence)
                assert read(peer)["error"] == "idle"
                assert peer.recv(1) == b""


def test_a_stranger_does_not_stay_by_talking(control_stopped, monkeypatch):
    monkeypatch.setattr(limits, "CONTROL_STRANGER_SECONDS", 0.2)
    control_stopped.start()
    with control_stopped.raw() as peer:
        reply = {"ok": True}
        while reply["ok"]:
            reply = ask(peer, {"op": "hello"})
        assert reply["error"] == "idle"


def test_a_client_survives_being_hung_up_on(control_stopped, monkeypatch):
    monkeypatch.setattr(limits, "CONTROL_STRANGER_SECONDS", 0.05)
    control_stopped.start()
    connection = control_stopped.connect()
    assert connection.request("hello")["ok"]
    wait_for(lambda: all(map(has_hung_up, connection._idle)), what="the farewell")
    assert connection.request("hello")["ok"]


def test_silent_strangers_give_way_to_whoever_comes(control_stopped, monkeypatch):
    """300 of them, more than all places there are: the administrator is served, and so is a tenant that was there before."""
    monkeypatch.setattr(limits, "CONTROL_STRANGER_SECONDS", 600)  # so that nobody leaves because time has passed
    control = control_stopped
    control.start()
    tenant = control.admin().create_tenant()
    known = control.connect()
    assert known.request("extension.list", tenant=tenant.tenant, token=tenant.token)["ok"]
    strangers = [control.raw() for _ in range(300)]
    assert control.admin().get_tenant(tenant.tenant).tenant == tenant.tenant
    assert known.request("extension.list", tenant=tenant.tenant, token=tenant.token)["ok"]
    assert read(strangers[0])["error"] == "too_many_connections"  # the oldest
    assert ask(strangers[-1], {"op": "hello"})["ok"]
    for peer in strangers:
        peer.close()


def test_strangers_large_messages_are_not_read(control):
    """Four that send 1 MiB each, again and again: each is refused by its length."""
    strangers = [control.raw() for _ in range(4)]
    for peer in strangers:
        peer.setblocking(False)
        with contextlib.suppress(OSError):
            peer.send(LENGTH.pack(limits.CONTROL_MESSAGE_BYTES_MAX) + b"\x91" * limits.CONTROL_MESSAGE_BYTES_MAX)
    assert control.admin().create_tenant(5).tenant == 5
    for peer in strangers:
        peer.settimeout(20)
        reply = read(peer)
        assert (reply["error"], str(limits.CONTROL_STRANGER_MESSAGE_BYTES_MAX) in reply["message"]) == (
            "message_too_large",
            True,
        )
        peer.close()


def test_who_is_known_may_send_more(control):
    tenant = control.admin().create_tenant()
    padding = "x" * limits.CONTROL_STRANGER_MESSAGE_BYTES_MAX
    connection = control.connect()
    assert connection.request("hello", credential=CREDENTIAL, padding=padding)["ok"]
    assert connection.request("hello", tenant=tenant.tenant, token=tenant.token, padding=padding)["ok"]
    with control.raw() as peer:
        assert ask(peer, {"op": "hello", "tenant": tenant.tenant, "token": tenant.token + 1})["ok"]  # shows nothing
        send(peer, msgpack.packb({"op": "hello", "padding": padding}))
        assert read(peer)["error"] == "message_too_large"


def test_a_tenant_with_all_its_connections_keeps_nobody_out(control_stopped, monkeypatch):
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_MAX", 8)
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_PER_TENANT_MAX", 6)
    control_stopped.start()
    one, other = control_stopped.admin().create_tenants(2)
    peers = [control_stopped.raw() for _ in range(20)]
    for peer in peers:
        assert ask(peer, {"op": "hello", "tenant": one.tenant, "token": one.token})["ok"]
    assert control_stopped.connect().request("extension.list", tenant=other.tenant, token=other.token)["ok"]
    assert control_stopped.admin().get_tenant(1)
    assert ask(peers[-1], {"op": "hello"})["ok"]
    assert read(peers[0])["error"] == "too_many_connections"
    for peer in peers:
        peer.close()


def test_who_does_not_read_replies_holds_nothing(control_stopped, monkeypatch):
    """Neither a place nor a descriptor, once its time is over."""
    monkeypatch.setattr(limits, "CONTROL_STRANGER_SECONDS", 0.3)
    monkeypatch.setattr(limits, "CONTROL_FAREWELL_SECONDS", 0.1)
    control_stopped.start()
    assert control_stopped.connect().request("hello")["ok"]
    descriptors = Path(f"/proc/{control_stopped.pid}/fd")
    control_stopped.connections[0].close()
    before = len(list(descriptors.iterdir()))
    peers = [control_stopped.raw() for _ in range(8)]
    request = msgpack.packb({"op": "no.such"})
    for peer in peers:
        peer.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                peer.send((LENGTH.pack(len(request)) + request) * 1000)
    wait_for(lambda: len(list(descriptors.iterdir())) <= before, what="the end of all their connections")
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("tenants", [1, 4])
def test_who_does_not_read_replies_gives_way(control_stopped, monkeypatch, tenants):
    """A few tenants that have all places, each with an answer that nobody takes, keep no other tenant out."""
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_MAX", 8)
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_PER_TENANT_MAX", 8 // tenants)
    control_stopped.start()
    admin = control_stopped.admin()
    created = [admin.create_tenant() for _ in range(tenants + 1)]
    peers = []
    for tenant in created[:tenants]:
        request = msgpack.packb({"op": "extension.list", "tenant": tenant.tenant, "token": tenant.token})
        for _ in range(8 // tenants):
            peer = control_stopped.raw()
            peers.append(peer)
            peer.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:  # until no more is read, as nobody takes the answers
                    peer.sendall((LENGTH.pack(len(request)) + request) * 1000)
    other = created[-1]
    for _ in range(3):
        assert control_stopped.connect().request("extension.list", tenant=other.tenant, token=other.token)["ok"]
    for peer in peers:
        peer.close()


def test_random_bytes_do_no_harm(control):
    dice = random.Random(5)
    for _ in range(200):
        with control.raw() as peer:
            body = dice.randbytes(dice.randrange(60))
            send(peer, body)
            read(peer)
            peer.sendall(dice.randbytes(dice.randrange(8)))
    assert control.connect().request("hello")["ok"]


def test_random_fields_do_no_harm(control):
    dice = random.Random(6)
    ops = ["tenant.create", "tenant.list", "extension.install", "extension.uninstall", "extension.list", "extension.signature"]
    values = [None, 0, 1, 7, -1, 1 << 63, 1.5, True, "", "x", b"\xff", [], {}, [1, 2], {"a": 1}, "the administrator's secret"]
    names = ["credential", "tenant", "token", "count", "name", "source", "home", "quota_bytes", "start", "tokens"]
    with control.raw() as peer:
        for _ in range(500):
            fields = {name: dice.choice(values) for name in dice.sample(names, dice.randrange(len(names)))}
            reply = ask(peer, {**fields, "op": dice.choice(ops)})
            assert reply["ok"] or reply["error"] != "internal", (fields, reply)


def test_sigterm_ends_it_in_order_with_connections_open(control):
    with control.raw() as peer:
        assert ask(peer, {"op": "hello"})["ok"]
        peer.sendall(LENGTH.pack(100))
        assert control.end(signal.SIGTERM) == 0
        assert peer.recv(1) == b""
