"""Whatever the MTU at either end, every operation is answered at every size; a change is noticed while serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import BadArgumentsError, ReplyTooLargeError
from splinter.limits import FRAGMENT_BYTES, MTU, MTU_MIN, REQUEST_HEADER_BYTES, VALUE_BYTES_MAX
from splinter.net import netns
from splinter.net.lab import End, Lab
from tests.support.servers import RunningServer, running_lab, start_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp

HEADERS_BYTES = 28 + REQUEST_HEADER_BYTES
KEYS = (b"key", b"k" * 255)
SOURCE = """
from splinter.ext import Store, extension, u64


@extension
def echo(db: Store, content: bytes) -> bytes:
    return content


@extension
def read(db: Store, n: u64) -> bytes:
    found = db.get(1, n)
    if found is None:
        return b""
    return found
"""


class Scene:
    def __init__(self, name: str, lab: Lab) -> None:
        self.lab = lab
        self.server: RunningServer = start_server(name, lab)
        self.tenant: TenantInfo = self.server.admin().create_tenant()
        self.client().install_all(SOURCE)

    def client(self, timeout: float = 10.0) -> Client:
        return self.server.client(self.tenant, timeout=timeout)

    def set_mtu(self, server: int, client: int) -> None:
        """At both ends, and wait until the server has noticed."""
        _set_mtu(self.lab.client, client)
        _set_mtu(self.lab.server, server)
        admin = self.server.admin()  # a new connection: TCP's segments would be too large for the old one's other end
        wait_for(lambda: admin.stats()["device"]["mtu"] == server, what="the new MTU")


def _set_mtu(end: End, mtu: int) -> None:
    with netns.inside(end.namespace), IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname=end.device)[0], mtu=mtu)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running_lab("mtu") as lab:
        made = Scene("mtu", lab)
        try:
            yield made
        finally:
            assert made.server.stop() == 0


def sizes(mtu: int, key: bytes) -> list[int]:
    """Of values: around each edge of a packet with and without a key, of fragments, and the largest."""
    room = mtu - HEADERS_BYTES
    edges = {room - len(key), room, room // 8 * 8, MTU - HEADERS_BYTES, FRAGMENT_BYTES, 2 * FRAGMENT_BYTES}
    near = {edge + step for edge in edges for step in (-9, -8, -1, 0, 1)}
    return sorted(near | {0, 3000, VALUE_BYTES_MAX - 1, VALUE_BYTES_MAX})


def content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize(
    ("server", "client"),
    [(mtu, mtu) for mtu in (MTU_MIN, 1005, 1280, 1400, 1460, 1499, MTU)]
    + [(1460, MTU), (MTU, 1460), (MTU_MIN, MTU), (MTU, 577)],
)
def test_every_operation_is_answered_at_every_size(scene: Scene, server: int, client: int) -> None:
    scene.set_mtu(server, client)
    mtu = min(server, client)
    with scene.client() as db:
        for key in KEYS:
            for size in sizes(mtu, key):
                value = content(size)
                version = db.put(key, value, table=1)
                assert db.get_with_version(key, table=1) == (value, version), size
                assert db.multiget([key, b"none", key], table=1) == [value, None, value], size
                assert db.delete(key, table=1)
    with scene.client() as db:  # one that has heard nothing yet
        many = {b"%d" % size: content(size) for size in sizes(mtu, b"1000")}
        assert db.put_many(many.items(), table=1) == len(many)
        assert db.get_many(many, table=1) == list(many.values())
    for size in sizes(mtu, b"echo" + bytes(16)):
        with scene.client() as db:
            try:
                assert db.invoke("echo", content=content(size)) == content(size)
            except BadArgumentsError:
                assert size + len(b"echo") + 8 > mtu - HEADERS_BYTES
            db.put(size, content(size), table=1)
            try:
                assert db.invoke("read", n=size) == content(size)
            except ReplyTooLargeError:
                assert size > (mtu - HEADERS_BYTES) // 8 * 8 - 8


def test_a_client_follows_when_an_mtu_changes(scene: Scene) -> None:
    scene.set_mtu(MTU, MTU)
    client, value = scene.client(), content(1390)
    client.put(b"object", value, table=1)
    for server, own in ((1400, MTU), (MTU, 1400), (MTU_MIN, MTU_MIN), (MTU, MTU)):
        scene.set_mtu(server, own)
        client.ping()  # small: it brings the news
        assert client.get(b"object", table=1) == value
        client.put(b"object", value, table=1)


def test_a_request_that_has_become_too_large_says_so(scene: Scene) -> None:
    """It may have been executed before the MTU changed, so it is not sent again in another form."""
    from splinter.errors import RequestTimeoutError

    scene.set_mtu(MTU, MTU)
    client, value = scene.client(timeout=1.0), content(1390)
    client.put(b"object", value, table=1)
    scene.set_mtu(1400, MTU)
    with pytest.raises(RequestTimeoutError, match="at most 1372 now: an MTU has changed"):
        client.put(b"object", value, table=1)
    client.put(b"object", value, table=1)
    assert client.get(b"object", table=1) == value
    scene.set_mtu(MTU, MTU)
