"""What the network damaged is not executed, and replies can be checked; with VLAN tags and without."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q
from scapy.packet import Packet

from splinter.client.admin import TenantInfo
from splinter.errors import Status
from splinter.net.lab import Lab
from splinter.wire import HEADER, Header, Opcode
from tests.support.batches import One
from tests.support.entries import puts
from tests.support.servers import RunningServer, running_lab, start_server
from tests.support.waiting import wait_for
from tests.support.wire_tap import WireTap

pytestmark = pytest.mark.xdp

ETHERNET_BYTES = 14
CLIENT = 77
REPLY_SECONDS = 10.0
SOURCE = """
from splinter.ext import Store, extension, u64


@extension
def add(db: Store, n: u64) -> u64:
    db.put(2, n, n)
    return n
"""


class Scene:
    """A server that takes no partial checksums, a tenant with objects, and its wire."""

    def __init__(self, name: str, lab: Lab) -> None:
        self.server: RunningServer = start_server(name, lab, "--partial-checksums", "refuse")
        self.admin = self.server.admin()
        self.tenant: TenantInfo = self.admin.create_tenant()
        self.client = self.server.client(self.tenant)
        self.client.install(SOURCE)
        self.tap = WireTap(lab)
        self.sequence = 0

    def request(self, opcode: Opcode, key: bytes = b"", value: bytes = b"", **fields: int) -> bytes:
        self.sequence += 1
        fields = {"table": 1} | fields
        header = Header(
            tenant=self.tenant.tenant, token=self.tenant.token, opcode=opcode, client=CLIENT, sequence=self.sequence,
            key_length=len(key), value_length=len(value), **fields,
        )  # fmt: skip
        return header.pack() + key + value

    def ask(self, frame: bytes) -> tuple[Header, bytes, Packet, int | None]:
        """Send a frame; the reply to the last request."""
        self.tap.send(frame)

        def answers(packet: Packet) -> bool:
            payload = bytes(packet[UDP].payload)
            if len(payload) < HEADER.itemsize:
                return False
            header = Header.unpack(payload)
            return (header.client, header.sequence) == (CLIENT, self.sequence)

        found = self.tap.receive(REPLY_SECONDS, answers)
        assert found is not None, "no reply"
        packet, tag = found
        payload = bytes(packet[UDP].payload)[: packet[UDP].len - 8]
        return Header.unpack(payload), payload[HEADER.itemsize :], packet, tag

    def handled(self) -> int:
        """Packets that the program has decided about."""
        counters = self.admin.stats()["xdp"]
        return sum(counters.values()) - counters["bad_version"] - counters["bad_length"]

    def executed(self) -> int:
        """Requests that workers began to serve."""
        return sum(sum(worker["requests"].values()) for worker in self.admin.stats()["workers"])


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    name = "damage"
    with running_lab(name) as lab:
        made = Scene(name, lab)
        try:
            yield made
        finally:
            made.tap.close()
            assert made.server.stop() == 0


@pytest.fixture
def objects(scene: Scene) -> dict[bytes, bytes]:
    found = {b"first": b"1000", b"second": b"1001"}
    for key, value in found.items():
        scene.client.put(key, value, table=1)
    return found


OPERATIONS = {
    "ping": lambda scene: scene.request(Opcode.PING),
    "get": lambda scene: scene.request(Opcode.GET, b"first"),
    "put": lambda scene: scene.request(Opcode.PUT, b"first", b"1000", acknowledged=1),
    "delete": lambda scene: scene.request(Opcode.DELETE, b"third"),
    "multiget": lambda scene: scene.request(
        Opcode.MULTIGET, b"", b"".join(struct.pack("<H", len(key)) + key for key in (b"first", b"second"))
    ),
    "transact": lambda scene: scene.request(
        Opcode.TRANSACT, b"", puts(b"first", b"1000", table=1) + puts(b"second", b"1001", table=1), table=0, acknowledged=1
    ),
    "batch": lambda scene: scene.request(
        Opcode.BATCH,
        b"",
        One(Opcode.PUT, b"first", b"1000", table=1).packed() + One(Opcode.PUT, b"second", b"1001", table=1).packed(),
        table=0,
        acknowledged=1,
    ),
    "invoke": lambda scene: scene.request(Opcode.INVOKE, b"add", (5).to_bytes(8, "little"), table=0),
    "fragment": lambda scene: scene.request(
        Opcode.PUT, b"large", b"x" * 224, fragment_count=2, fragment_index=0, status=224 // 8
    ),
}


@pytest.mark.parametrize("tag", [None, Dot1Q(vlan=5)], ids=["untagged", "tagged"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_with_a_flipped_bit_is_executed(
    scene: Scene, objects: dict[bytes, bytes], operation: str, tag: Packet | None
) -> None:
    frame = scene.tap.frame(OPERATIONS[operation](scene), tag)
    reply = scene.ask(frame)[0]
    assert reply.status in (Status.OK, Status.NOT_FOUND)
    executed, handled = scene.executed(), scene.handled()
    first = (ETHERNET_BYTES + (4 if tag is not None else 0)) * 8
    for bit in range(first, len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        scene.tap.send(bytes(damaged))
    wait_for(lambda: scene.handled() >= handled + len(frame) * 8 - first, what="the last packet")
    scene.client.ping()  # by the same ring
    assert scene.executed() == executed + 1
    assert {key: scene.client.get(key, table=1) for key in objects} == objects
    assert scene.client.get(5, table=2) in (None, (5).to_bytes(8, "little"))
    damaged_count = sum(worker["damaged"] for worker in scene.admin.stats()["workers"])
    assert damaged_count > len(frame)


def test_a_datagram_without_a_checksum_is_dropped_and_counted(scene: Scene, objects: dict[bytes, bytes]) -> None:
    before = sum(worker["damaged"] for worker in scene.admin.stats()["workers"])
    scene.tap.send(scene.tap.frame(scene.request(Opcode.PUT, b"first", b"9000"), chksum=0))
    wait_for(lambda: sum(worker["damaged"] for worker in scene.admin.stats()["workers"]) == before + 1, what="the count")
    assert scene.client.get(b"first", table=1) == b"1000"


TAGS = {"none": None, "a VLAN": Dot1Q(vlan=5), "priority 0 alone": Dot1Q(vlan=0), "priority 6": Dot1Q(vlan=0, prio=6)}


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("size", [0, 1, 100, 101, 1300])
def test_replies_carry_the_tag_and_right_checksums(scene: Scene, tag: str, size: int) -> None:
    value = bytes(range(256)) * 6
    scene.client.put(b"sized", value[:size], table=1)
    header, body, packet, seen = scene.ask(scene.tap.frame(scene.request(Opcode.GET, b"sized"), TAGS[tag]))
    assert (header.status, body) == (Status.OK, value[:size])
    assert seen == (None if TAGS[tag] is None else int.from_bytes(bytes(TAGS[tag])[:2], "big"))
    given = packet[IP].chksum, packet[UDP].chksum
    del packet[IP].chksum, packet[UDP].chksum
    whole = IP(bytes(packet[IP]))
    assert (whole.chksum, whole[UDP].chksum) == given


def test_a_task_answers_with_its_requests_tag(scene: Scene) -> None:
    request = scene.request(Opcode.INVOKE, b"add", (9).to_bytes(8, "little"), table=0)
    header, body, _, seen = scene.ask(scene.tap.frame(request, Dot1Q(vlan=5, prio=3)))
    assert (header.status, body) == (Status.OK, (9).to_bytes(8, "little"))
    assert seen == 3 << 13 | 5
