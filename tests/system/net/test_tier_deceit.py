"""Frames that are made to deceive the tier: whole and right at the wrong place, or right by chance."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from splinter import limits, wire
from splinter.net import netns
from splinter.net.lab import CLIENT_ADDRESS, CLIENT_MAC, SERVER_ADDRESS, SERVER_MAC, Lab
from splinter.net.xdp import Verdict
from tests.support.tenants import write_tenant
from tests.support.tier_program import PORT, TENANT_ID, TOKEN, TierProgram, frame, get
from tests.support.xdp_runs import Action

pytestmark = pytest.mark.xdp

VICTIM = 9
KEY, SECRET = b"key", b"the victim's secret"
_UDP, _UDP_BYTES, _WHOLE = 17, 8, 0xFFFF
_CHECKSUM_AT = 14 + 20 + 6


@pytest.fixture(scope="module")
def tier(lab: Lab) -> Iterator[TierProgram]:
    with netns.inside(lab.server.namespace), TierProgram() as program:
        assert program.program.tier_off == ""
        program.set_packet_bytes(limits.UDP_PAYLOAD_BYTES_MAX)
        yield program


def complement(data: bytes) -> bytes:
    """The Internet checksum of whole words."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > _WHOLE:
        total = (total & _WHOLE) + (total >> 16)
    return struct.pack(">H", total ^ _WHOLE)


def pseudo_header(ip: bytes, length: int) -> bytes:
    return ip[12:20] + struct.pack(">HH", _UDP, length)


def test_a_request_in_the_options_of_another_one_is_not_read(tier: TierProgram) -> None:
    """Who takes options for the UDP header finds a whole request there, which lies across the true one, and names the victim.

    The true one is authenticated. The other's token is the true one's first bytes: the attacker's happens to be these.
    """
    token = int.from_bytes(get(b"")[:8], "little")
    write_tenant(tier.tenants, TENANT_ID, token)
    write_tenant(tier.tenants, VICTIM, 0x1234)
    tier.store.open_tenant(VICTIM)
    true_udp = (
        struct.pack("<H", VICTIM) + struct.pack(">HH", PORT, _UDP_BYTES + wire.HEADER.itemsize) + struct.pack("<H", len(KEY))
    )
    key_word = int.from_bytes(KEY, "little")  # the other's body begins where the true one's object_version is
    rest_bytes = 16 - len(KEY)
    true = get(b"", token=token, client=rest_bytes, sequence=0, object_version=key_word)
    other = get(b"")[:8] + true_udp + true
    length = _UDP_BYTES + len(other)
    head = bytearray(bytes(IP(src=CLIENT_ADDRESS, dst=SERVER_ADDRESS, ihl=9, len=20 + length, proto=_UDP, chksum=0))[:20])
    head[10:12] = complement(bytes(head))
    udp = struct.pack(">HHH", 40000, PORT, length)
    udp += complement(pseudo_header(bytes(head), length) + udp + other)
    seen = wire.Header.unpack(other)
    assert (seen.key_length, seen.value_length, seen.object_version, seen.fragment_index) == (len(KEY), rest_bytes, 0, 0)
    assert other[wire.HEADER.itemsize :].startswith(KEY)
    tier.store.put(VICTIM, seen.table | seen.tenant >> 16, KEY, SECRET)
    ran = tier.run(bytes(Ether(src=CLIENT_MAC, dst=SERVER_MAC, type=0x0800)) + bytes(head) + udp + other)
    assert SECRET not in ran.packet
    assert ran.verdicts == {Verdict.OVER_PLAIN, Verdict.NO_SOCKET}


def test_no_checksum_is_none_even_if_it_were_right(tier: TierProgram) -> None:
    """The sum of everything else is whole, so that 0 would be the checksum if 0 were one."""
    write_tenant(tier.tenants, TENANT_ID, TOKEN)
    tier.store.put(TENANT_ID, 0, KEY, b"value")
    sent = Ether(frame(get(KEY, sequence=0)))
    sequence = int.from_bytes(struct.pack(">H", sent[UDP].chksum), "little")  # adds what the sum of the rest lacks
    packet = bytearray(frame(get(KEY, sequence=sequence)))
    assert packet[_CHECKSUM_AT : _CHECKSUM_AT + 2] in (bytes(2), b"\xff\xff")
    packet[_CHECKSUM_AT : _CHECKSUM_AT + 2] = bytes(2)
    ran = tier.run(bytes(packet))
    assert (ran.action, ran.verdicts) == (Action.DROP, {Verdict.OVER_DAMAGED, Verdict.NO_SOCKET})
    assert tier.ask_worker(bytes(packet)) is None
