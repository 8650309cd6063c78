"""The frames that the load generator in the kernel makes are whole: what a server verifies is right in each."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame
from splinter_bench.generators.kernel import REQUEST, CountProgram, GeneratorProgram, ReplyForm

from splinter.net import netns
from splinter.net.lab import CLIENT_ADDRESS, CLIENT_DEVICE, CLIENT_MAC, SERVER_ADDRESS, SERVER_MAC, Lab
from tests.support.xdp_runs import Action, run_once

pytestmark = pytest.mark.xdp

ROUTE = Route(CLIENT_MAC, SERVER_MAC, CLIENT_ADDRESS, SERVER_ADDRESS, 40_001, 7171)
MARK = b"SPLN"
PLACES = {"TENANT_AT": 8, "TOKEN_AT": 16, "SEQUENCE_AT": 32, "KEY_AT": 64, "VALUE_AT": 72}


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [88, 90, 91, 93, 1400])
def test_checksums_are_right_whatever_numbers_are_written(lab: Lab, shift: int, size: int) -> None:
    """``shift``: where key and value stand at odd offsets, too. A frame comes back as whoever had it left it."""
    places = {name: FRAME_HEADER_BYTES + at + (shift if at >= 64 else 0) for name, at in PLACES.items()}
    schedule = np.zeros(8, REQUEST)
    schedule["number"] = [0, 1, 2**64 - 1, 2**63, 0xFF00FF00FF00FF00, 12345, 2**32 - 1, 2**32]
    schedule["tenant"] = [1, 2, 16383, 0, 7, 8, 9, 10]
    schedule["token"] = schedule["number"][::-1]
    template = frame(ROUTE, bytes(at % 251 for at in range(size)))
    with netns.inside(lab.client.namespace):
        program = GeneratorProgram(CLIENT_DEVICE, template, FRAME_HEADER_BYTES, places, schedule)
    try:
        data = template
        for made in range(16):
            action, data = run_once(program, data[::-1])
            assert action == Action.TX
            request = schedule[made % len(schedule)]
            for name, number, length in (("KEY_AT", request["number"], 8), ("TOKEN_AT", request["token"], 8)):
                assert data[places[name] : places[name] + length] == int(number).to_bytes(length, "little")
            assert data[places["VALUE_AT"] + 8 :] == template[places["VALUE_AT"] + 8 :]
            packet = Ether(data)
            given = packet[IP].chksum, packet[UDP].chksum
            del packet[IP].chksum, packet[UDP].chksum
            whole = Ether(bytes(packet))
            assert (whole[IP].chksum, whole[UDP].chksum) == given
    finally:
        program.close()


@pytest.mark.parametrize(
    ("form", "counted"),
    [
        (ReplyForm(MARK), {0: 1}),
        (ReplyForm(MARK, status_at=6), {3: 1}),
        (ReplyForm(MARK, status_at=5, reply_bytes=64), {0: 1}),
        (ReplyForm(MARK, status_at=5, reply_bytes=65), {-1: 1}),
        (ReplyForm(MARK[::-1]), {-1: 1}),
    ],
)
def test_replies_are_counted_by_status_if_they_are_of_the_form(lab: Lab, form: ReplyForm, counted: dict[int, int]) -> None:
    back = Route(SERVER_MAC, CLIENT_MAC, SERVER_ADDRESS, CLIENT_ADDRESS, 7171, 40_001)
    with netns.inside(lab.client.namespace), CountProgram(CLIENT_DEVICE, 7171, form) as program:
        assert run_once(program, frame(back, MARK + bytes([0, 0, 3]) + bytes(57)))[0] == Action.DROP
        assert program.counts() == counted
