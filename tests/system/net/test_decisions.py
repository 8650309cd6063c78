"""Every decision of the XDP program, by packets fed to it with BPF_PROG_TEST_RUN: nothing is attached, nothing is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from splinter import limits, wire
from splinter.errors import ServerError
from splinter.net import netns
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.depths import DEPTH
from splinter.net.device import need
from splinter.net.lab import CLIENT_ADDRESS, CLIENT_MAC, SERVER_ADDRESS, SERVER_DEVICE, SERVER_MAC, Lab
from splinter.net.place import Place
from splinter.net.tenants import RATE, TENANT
from splinter.net.xdp import Verdict, XdpProgram
from tests.support.tenants import write_tenant
from tests.support.xdp_runs import Action, map_memory, run_once

pytestmark = pytest.mark.xdp

PORT = 7171
CORES, QUEUES, TENANTS = 2, 2, 16
TENANT_ID, TOKEN = 7, 0xFEDC_BA98_7654_3210
OTHER_ADDRESS = "192.168.7.3"  # ends in two bits of 1, as broadcast addresses do
LINK = {"src": CLIENT_MAC, "dst": SERVER_MAC}
ETHERNET_BYTES, IP_BYTES, UDP_BYTES = 14, 20, 8


class Fixture:
    """The program, its tenants' table, and a socket for (queue 1, core 1) and (queue 0, core 0)."""

    def __init__(self, *, locality: bool = True, steer_away: int = 0, sockets: list[XskSocket] | None = None) -> None:
        self.program = XdpProgram(
            SERVER_DEVICE,
            port=PORT,
            cores=CORES,
            queues=QUEUES,
            tenants_max=TENANTS,
            index_buckets=64,
            slabs=1,
            locality=locality,
            steer_away=steer_away,
        )
        found = need(SERVER_DEVICE).place
        self.place = replace(found, addresses=found.addresses | {OTHER_ADDRESS})
        self.program.serve_at(self.place)
        self.tenants = np.frombuffer(map_memory(self.program, "tenants"), TENANT, TENANTS)
        self.rates = np.frombuffer(map_memory(self.program, "rates"), RATE, TENANTS)
        self.depths = np.frombuffer(map_memory(self.program, "depths"), DEPTH, CORES)
        if sockets is None:
            umem = Umem(16)
            sockets = [XskSocket(umem, SERVER_DEVICE, queue) for queue in range(QUEUES)]
        self.sockets = sockets

    def judge(self, packet: bytes, queue: int = 0) -> tuple[Action, set[Verdict]]:
        """The action, and which counters moved (each by one)."""
        before = self.program.counters()
        action, data = run_once(self.program, packet, queue)
        assert data == packet
        after = self.program.counters()
        moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert set(moved.values()) == {1}, moved
        return action, {Verdict[name.upper()] for name in moved}


@pytest.fixture(scope="module")
def loaded(lab: Lab) -> Iterator[Fixture]:
    with netns.inside(lab.server.namespace):
        fixture = Fixture()
        yield fixture
        for socket in fixture.sockets:
            socket.close()
        fixture.program.close()


@pytest.fixture
def xdp(loaded: Fixture) -> Fixture:
    """As a server of two cores has it, that nothing has gone wrong with."""
    loaded.tenants[:] = 0
    loaded.rates[:] = 0
    write_tenant(loaded.tenants, TENANT_ID, TOKEN)
    for queue in range(QUEUES):
        for core in range(CORES):
            loaded.program.clear_socket(queue, core)
        loaded.program.set_socket(queue, 0, loaded.sockets[queue].fd)
    return loaded


def header(**fields: int) -> bytes:
    return wire.Header(**({"tenant": TENANT_ID, "token": TOKEN, "opcode": wire.Opcode.GET} | fields)).pack()


def frame(payload: bytes | Packet, *, ip: dict | None = None, udp: dict | None = None, ethernet: dict | None = None) -> bytes:
    addresses = {"src": CLIENT_ADDRESS, "dst": SERVER_ADDRESS} | (ip or {})
    ports = {"sport": 40000, "dport": PORT} | (udp or {})
    return bytes(Ether(**(LINK | (ethernet or {}))) / IP(**addresses) / UDP(**ports) / payload)


def tagged(tag: Packet, payload: bytes | None = None) -> bytes:
    body = header() if payload is None else payload
    return bytes(Ether(**LINK) / tag / IP(src=CLIENT_ADDRESS, dst=SERVER_ADDRESS) / UDP(sport=40000, dport=PORT) / body)


def test_a_good_request_is_steered(xdp: Fixture) -> None:
    key = b"dog"
    packet = frame(header(key_length=len(key)) + key)
    assert xdp.judge(packet) == (Action.REDIRECT, {Verdict.STEERED})


@pytest.mark.parametrize("queue", range(QUEUES))
@pytest.mark.parametrize("home", range(CORES))
def test_steering_is_by_queue_and_home_core(xdp: Fixture, queue: int, home: int) -> None:
    for other_queue in range(QUEUES):
        xdp.program.clear_socket(other_queue, 0)
    xdp.program.set_socket(queue, home, xdp.sockets[queue].fd)  # the only socket there is
    for tenant_home in range(CORES):
        xdp.tenants[TENANT_ID]["home"] = tenant_home
        for came_by in range(QUEUES):
            wanted = (
                (Action.REDIRECT, {Verdict.STEERED})
                if (came_by, tenant_home) == (queue, home)
                else (Action.DROP, {Verdict.NO_SOCKET})
            )
            assert xdp.judge(frame(header()), came_by) == wanted


def test_a_home_beyond_the_cores_has_no_socket(xdp: Fixture) -> None:
    # Core 2 of queue 0 would be core 0 of queue 1, which has a socket.
    xdp.tenants[TENANT_ID]["home"] = CORES
    assert xdp.judge(frame(header())) == (Action.DROP, {Verdict.NO_SOCKET})


NOT_OURS: dict[str, Callable[[], bytes]] = {
    "ARP": lambda: bytes(Ether() / ARP()),
    "IPv6": lambda: bytes(Ether(type=0x86DD) / (b"\x60" + bytes(60))),
    "two VLAN tags": lambda: tagged(Dot1Q(vlan=3) / Dot1Q(vlan=4)),
    "a provider's tag": lambda: tagged(Dot1AD(vlan=3)),
    "a tag and nothing behind it": lambda: tagged(Dot1Q(vlan=3))[: ETHERNET_BYTES + 4],
    "half a tag": lambda: tagged(Dot1Q(vlan=3))[: ETHERNET_BYTES + 3],
    "IPv6 behind a tag": lambda: bytes(Ether(**LINK) / Dot1Q(vlan=3, type=0x86DD) / (b"\x60" + bytes(60))),
    "a whole request of another type": lambda: frame(header(), ethernet={"type": 0x88B5}),
    "the same behind a tag": lambda: tagged(Dot1Q(vlan=3, type=0x88B5)),
    "to another station": lambda: frame(header(), ethernet={"dst": "02:53:50:4c:00:03"}),
    "to every station": lambda: frame(header(), ethernet={"dst": "ff:ff:ff:ff:ff:ff"}),
    "to a group of stations": lambda: frame(header(), ethernet={"dst": "01:00:5e:00:00:01"}),
    "from a group of stations": lambda: frame(header(), ethernet={"src": "03:00:00:00:00:01"}),
    "broadcast": lambda: frame(header(), ip={"dst": "255.255.255.255"}),
    "to its network's broadcast address": lambda: frame(header(), ip={"dst": "10.0.0.255"}),
    "multicast": lambda: frame(header(), ip={"dst": "224.0.0.1"}),
    "from a multicast address": lambda: frame(header(), ip={"src": "224.0.0.1"}),
    "from the broadcast address": lambda: frame(header(), ip={"src": "255.255.255.255"}),
    "from its network's broadcast address": lambda: frame(header(), ip={"src": "10.0.0.255"}),
    "from its network's own address": lambda: frame(header(), ip={"src": "10.0.0.0"}),
    "from no address": lambda: frame(header(), ip={"src": "0.0.0.0"}),
    "from a loopback address": lambda: frame(header(), ip={"src": "127.0.0.1"}),
    "from its own address": lambda: frame(header(), ip={"src": SERVER_ADDRESS}),
    "from its own other address": lambda: frame(header(), ip={"src": OTHER_ADDRESS}),
    "TCP to our port": lambda: bytes(Ether(**LINK) / IP(dst=SERVER_ADDRESS) / TCP(dport=PORT)),
    "ICMP": lambda: bytes(Ether(**LINK) / IP(dst=SERVER_ADDRESS) / ICMP()),
    "another port": lambda: frame(header(), udp={"dport": PORT + 1}),
    "from our port": lambda: frame(header(), udp={"sport": PORT, "dport": 53}),
    "another address": lambda: frame(header(), ip={"dst": "10.0.0.3"}),
    "Ethernet alone": lambda: bytes(Ether(type=0x0800)),
    "cut in the IP header": lambda: frame(header())[: ETHERNET_BYTES + IP_BYTES - 1],
    "cut in the ports": lambda: frame(header())[: ETHERNET_BYTES + IP_BYTES + 3],
    "IP version 5": lambda: frame(header(), ip={"version": 5}),
    "IP header of 16 bytes": lambda: frame(header(), ip={"ihl": 4}),
    # Its "port" would be the lower half of the source address: 28.3, which is 7171.
    "IP header of 12 bytes": lambda: frame(header(), ip={"ihl": 3, "src": "10.0.28.3"}),
    "a later fragment": lambda: frame(header(), ip={"frag": 8}),
}


@pytest.mark.parametrize("what", NOT_OURS)
def test_what_is_not_ours_passes(xdp: Fixture, what: str) -> None:
    assert xdp.judge(NOT_OURS[what]()) == (Action.PASS, {Verdict.PASSED})


@pytest.mark.parametrize("source", ["10.0.0.4", "10.0.0.7", "10.0.1.0", "10.0.1.255"])
def test_a_station_whose_address_only_looks_like_a_broadcast_address_is_steered(xdp: Fixture, source: str) -> None:
    assert xdp.judge(frame(header(), ip={"src": source})) == (Action.REDIRECT, {Verdict.STEERED})


TAGS: dict[str, Packet] = {
    "a VLAN": Dot1Q(vlan=3),
    "the last VLAN": Dot1Q(vlan=4094),
    "priority 0 alone": Dot1Q(vlan=0, prio=0),
    "priority 7": Dot1Q(vlan=0, prio=7, dei=1),
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_request_with_a_vlan_tag_is_steered(xdp: Fixture, tag: str) -> None:
    assert xdp.judge(tagged(TAGS[tag])) == (Action.REDIRECT, {Verdict.STEERED})


@pytest.mark.parametrize(("payload", "verdict"), [(b"", Verdict.SHORT), (bytes(64), Verdict.BAD_MAGIC)])
def test_what_stands_behind_a_tag_is_checked(xdp: Fixture, payload: bytes, verdict: Verdict) -> None:
    assert xdp.judge(tagged(Dot1Q(vlan=3), payload)) == (Action.DROP, {verdict})


def test_addresses_that_the_device_has_are_served_and_those_it_had_are_not(xdp: Fixture) -> None:
    old, new, mac = frame(header()), frame(header(), ip={"dst": "10.0.0.77"}), "02:53:50:4c:00:44"
    moved = frame(header(), ethernet={"dst": mac})
    nobody = frame(header(), ip={"dst": "0.0.0.0"}, ethernet={"dst": "00:00:00:00:00:00"})
    steered, passed = (Action.REDIRECT, {Verdict.STEERED}), (Action.PASS, {Verdict.PASSED})
    assert [xdp.judge(packet) for packet in (old, new, moved)] == [steered, passed, passed]
    assert xdp.judge(frame(header(), ip={"dst": OTHER_ADDRESS})) == steered
    assert xdp.judge(frame(header(), ip={"dst": OTHER_ADDRESS}, ethernet={"dst": mac})) == passed
    try:
        xdp.program.serve_at(Place(frozenset(["10.0.0.77"]), frozenset(), frozenset([SERVER_MAC])))
        assert [xdp.judge(packet) for packet in (old, new, moved)] == [passed, steered, passed]
        xdp.program.serve_at(Place(frozenset([SERVER_ADDRESS]), frozenset(), frozenset([mac])))
        assert [xdp.judge(packet) for packet in (old, new, moved)] == [passed, passed, steered]
        xdp.program.serve_at(Place(frozenset(), frozenset(), frozenset()))
        assert [xdp.judge(packet) for packet in (old, new, moved, nobody)] == [passed] * 4
        many = frozenset(f"10.1.{n // 250}.{n % 250 + 1}" for n in range(limits.DEVICE_ADDRESSES_MAX + 1))
        with pytest.raises(ServerError, match="--address"):
            xdp.program.serve_at(Place(many, frozenset(), frozenset([mac])))
    finally:
        xdp.program.serve_at(xdp.place)


_WHOLE = UDP_BYTES + wire.HEADER.itemsize
DROPPED: dict[str, tuple[Verdict, Callable[[], bytes]]] = {
    "cut in the UDP header": (Verdict.TRUNCATED, lambda: frame(header())[: ETHERNET_BYTES + IP_BYTES + 4]),
    "cut in our header": (Verdict.TRUNCATED, lambda: frame(header())[:-1]),
    "UDP length beyond IP's": (Verdict.TRUNCATED, lambda: frame(header(), udp={"len": _WHOLE + 1})),
    "UDP length below IP's": (Verdict.TRUNCATED, lambda: frame(header(), udp={"len": _WHOLE - 1})),
    "UDP length below its header": (Verdict.TRUNCATED, lambda: frame(b"", ip={"len": 27}, udp={"len": 7})),
    "both lengths beyond the frame": (
        Verdict.TRUNCATED,
        lambda: frame(header(), ip={"len": IP_BYTES + _WHOLE + 1}, udp={"len": _WHOLE + 1}),
    ),
    "a first fragment": (Verdict.FRAGMENT, lambda: frame(header(), ip={"flags": "MF"})),
    "empty": (Verdict.SHORT, lambda: frame(b"")),
    "a header less a byte": (Verdict.SHORT, lambda: frame(header()[:-1])),
    "a header less a byte, in a padded frame": (Verdict.SHORT, lambda: frame(header()[:-1]) + bytes(18)),
    "another magic": (Verdict.BAD_MAGIC, lambda: frame(header(magic=wire.MAGIC ^ 1))),
    "a reply": (Verdict.REPLY, lambda: frame(header(flags=wire.FLAG_REPLY))),
    "tenant 0": (Verdict.UNKNOWN_TENANT, lambda: frame(header(tenant=0))),
    "an inactive tenant": (Verdict.UNKNOWN_TENANT, lambda: frame(header(tenant=8))),
    "a tenant beyond the table": (Verdict.UNKNOWN_TENANT, lambda: frame(header(tenant=TENANTS))),
    "the greatest tenant": (Verdict.UNKNOWN_TENANT, lambda: frame(header(tenant=0xFFFFFFFF))),
    "a wrong token": (Verdict.WRONG_TOKEN, lambda: frame(header(token=TOKEN ^ (1 << 63)))),
    "token 0": (Verdict.WRONG_TOKEN, lambda: frame(header(token=0))),
}


@pytest.mark.parametrize("what", DROPPED)
def test_what_is_malformed_or_not_authorised_is_dropped(xdp: Fixture, what: str) -> None:
    verdict, packet = DROPPED[what]
    write_tenant(xdp.tenants, 0, TOKEN)  # even then, 0 is never a tenant
    assert xdp.judge(packet()) == (Action.DROP, {verdict})


NOTED: dict[str, tuple[Verdict, Callable[[], bytes]]] = {
    "another version": (Verdict.BAD_VERSION, lambda: frame(header(version=wire.VERSION + 1))),
    "lengths short of the body": (Verdict.BAD_LENGTH, lambda: frame(header(key_length=2) + b"dog")),
    "lengths beyond the body": (Verdict.BAD_LENGTH, lambda: frame(header(key_length=3, value_length=1) + b"dog")),
    "lengths that wrap around": (
        Verdict.BAD_LENGTH,
        lambda: frame(header(key_length=4, value_length=0xFFFFFFFF) + b"dog"),
    ),
}


@pytest.mark.parametrize("what", NOTED)
def test_mistakes_that_the_worker_answers_are_noted_and_steered(xdp: Fixture, what: str) -> None:
    verdict, packet = NOTED[what]
    assert xdp.judge(packet()) == (Action.REDIRECT, {Verdict.STEERED, verdict})


def test_ip_options_and_padding_do_not_hide_a_request(xdp: Fixture) -> None:
    options = frame(header(), ip={"options": [IPOption_NOP()] * 4})
    assert len(options) > len(frame(header()))
    assert xdp.judge(options) == (Action.REDIRECT, {Verdict.STEERED})
    assert xdp.judge(frame(header()) + bytes(18)) == (Action.REDIRECT, {Verdict.STEERED})


def test_an_inactive_tenant_is_refused_from_the_moment_its_flag_is_cleared(xdp: Fixture) -> None:
    packet = frame(header())
    assert xdp.judge(packet) == (Action.REDIRECT, {Verdict.STEERED})
    xdp.tenants[TENANT_ID]["flags"] = 0
    assert xdp.judge(packet) == (Action.DROP, {Verdict.UNKNOWN_TENANT})


def test_maps_are_memory_of_the_size_that_was_asked_for(xdp: Fixture) -> None:
    for name in ("tenants", "store_index", "store_slabs"):
        memory = map_memory(xdp.program, name)
        assert len(memory) == xdp.program.map_bytes(name)
        memory[len(memory) - 1] = 1
    with pytest.raises(KeyError):
        xdp.program.map_fd("nosuch")


def test_two_tokens_are_valid_while_one_is_being_changed(xdp: Fixture) -> None:
    xdp.tenants[TENANT_ID]["former_token"] = TOKEN ^ 1
    for token, wanted in (
        (TOKEN, (Action.REDIRECT, {Verdict.STEERED})),
        (TOKEN ^ 1, (Action.REDIRECT, {Verdict.STEERED})),
        (TOKEN ^ 2, (Action.DROP, {Verdict.WRONG_TOKEN})),
        (0, (Action.DROP, {Verdict.WRONG_TOKEN})),
    ):
        assert xdp.judge(frame(header(token=token))) == wanted


HOUR_NS = 3600 * 10**9
LONG_AGO_NS = 1  # the clock begins with the machine, perhaps a minute ago: nothing else is surely past


def now_ns() -> int:
    return time.monotonic_ns()


def test_a_tenant_without_a_limit_may_send_at_any_rate(xdp: Fixture) -> None:
    xdp.rates[TENANT_ID]["due"] = now_ns() + HOUR_NS
    assert xdp.judge(frame(header())) == (Action.REDIRECT, {Verdict.STEERED})
    assert xdp.rates[TENANT_ID]["dropped"] == 0


def test_packets_up_to_the_burst_pass_and_the_rest_is_dropped_and_counted(xdp: Fixture) -> None:
    xdp.tenants[TENANT_ID]["packets_per_second"] = 1  # so slow that this test's own time does not matter
    verdicts = [xdp.judge(frame(header()))[1] for _ in range(limits.RATE_BURST_PACKETS + 10)]
    passed = verdicts.count({Verdict.STEERED})
    assert limits.RATE_BURST_PACKETS <= passed <= limits.RATE_BURST_PACKETS + 3
    assert verdicts[passed:] == [{Verdict.RATE_LIMITED}] * (len(verdicts) - passed)
    assert xdp.rates[TENANT_ID]["dropped"] == len(verdicts) - passed


def test_a_packet_conforms_again_when_its_time_has_come(xdp: Fixture) -> None:
    xdp.tenants[TENANT_ID]["packets_per_second"] = 1
    xdp.rates[TENANT_ID]["due"] = now_ns() + HOUR_NS
    assert xdp.judge(frame(header())) == (Action.DROP, {Verdict.RATE_LIMITED})
    xdp.rates[TENANT_ID]["due"] = LONG_AGO_NS
    before = now_ns()
    assert xdp.judge(frame(header())) == (Action.REDIRECT, {Verdict.STEERED})
    # A tenant that was silent all the time has not saved packets for it: the next is due a second from now.
    assert before + 10**9 <= xdp.rates[TENANT_ID]["due"] <= now_ns() + 10**9


def test_a_fast_tenant_may_send_what_its_rate_allows_in_the_time_of_a_burst(xdp: Fixture) -> None:
    xdp.tenants[TENANT_ID]["packets_per_second"] = limits.PACKETS_PER_SECOND_MAX
    xdp.rates[TENANT_ID]["due"] = now_ns() + limits.RATE_BURST_NS // 2
    assert xdp.judge(frame(header())) == (Action.REDIRECT, {Verdict.STEERED})


def test_the_limit_is_the_tenants_own_and_nobody_without_its_token_uses_it_up(xdp: Fixture) -> None:
    write_tenant(xdp.tenants, 8, TOKEN)
    for tenant in (TENANT_ID, 8):
        xdp.tenants[tenant]["packets_per_second"] = 1
    for _ in range(2 * limits.RATE_BURST_PACKETS):
        xdp.judge(frame(header(token=1)))
    assert xdp.judge(frame(header())) == (Action.REDIRECT, {Verdict.STEERED})
    for _ in range(2 * limits.RATE_BURST_PACKETS):
        xdp.judge(frame(header()))
    assert xdp.judge(frame(header())) == (Action.DROP, {Verdict.RATE_LIMITED})
    assert xdp.judge(frame(header(tenant=8))) == (Action.REDIRECT, {Verdict.STEERED})


def test_without_locality_every_core_gets_some(lab: Lab, loaded: Fixture) -> None:
    with netns.inside(lab.server.namespace):
        fixture = Fixture(locality=False, sockets=loaded.sockets)
    try:
        write_tenant(fixture.tenants, TENANT_ID, TOKEN)
        fixture.program.set_socket(0, 0, fixture.sockets[0].fd)  # and none for core 1
        verdicts = [fixture.judge(frame(header()))[1] for _ in range(100)]
        assert {Verdict.STEERED} in verdicts and {Verdict.NO_SOCKET} in verdicts
    finally:
        fixture.program.close()


def test_packets_are_steered_away_from_a_core_for_which_too_many_wait(lab: Lab, loaded: Fixture) -> None:
    with netns.inside(lab.server.namespace):
        fixture = Fixture(steer_away=8, sockets=loaded.sockets)
    try:
        write_tenant(fixture.tenants, TENANT_ID, TOKEN)
        fixture.program.set_socket(0, 0, fixture.sockets[0].fd)
        depths, packet = fixture.depths["packets"], frame(header())
        depths[:] = (8, 0)
        assert fixture.judge(packet)[1] == {Verdict.STEERED}  # not too many yet
        assert depths.tolist() == [9, 0]
        assert fixture.judge(packet)[1] == {Verdict.NO_SOCKET}  # to core 1, which has no socket here
        assert depths.tolist() == [9, 1]
        depths[:] = (9, 9)
        assert fixture.judge(packet)[1] == {Verdict.STEERED}  # nobody is better off
        fixture.tenants[TENANT_ID]["home"] = CORES
        assert fixture.judge(packet)[1] == {Verdict.NO_SOCKET}
    finally:
        fixture.program.close()
