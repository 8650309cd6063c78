"""The watch over the device, with a device that says what a test has it say."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import Mock

import pytest

from splinter.errors import ServerError
from splinter.net.device import Device
from splinter.net.place import Place
from splinter.server.device_state import DeviceCondition, DeviceState
from splinter.server.supervisor import device_watch as module
from splinter.server.supervisor.device_watch import DeviceWatch
from splinter.server.supervisor.xdp import XdpTransport

DEVICE = Device(7, "eth0", True, 1500, "", 1, "10.0.0.2", Place(frozenset(), frozenset(), frozenset()), 42)


@pytest.fixture
def transport() -> Mock:
    made = Mock(spec=XdpTransport, netns=None, state=DeviceState(), found=DEVICE, queues=1, device="eth0")
    made.program = Mock(number=DEVICE.program)
    made.look.return_value = DEVICE
    made.is_attached_to.return_value = True
    made.judge.side_effect = lambda device: (DeviceCondition.SERVED if device.is_up else DeviceCondition.DOWN, "")
    return made


@contextlib.contextmanager
def watching(transport: Mock, patience: float) -> Iterator[DeviceWatch]:
    with selectors.DefaultSelector() as selector:
        made = DeviceWatch(transport, Mock(), selector, patience)
        yield made
        made.close()


@pytest.fixture
def watch(transport: Mock) -> Iterator[DeviceWatch]:
    with watching(transport, 0.0) as made:
        yield made


@pytest.fixture
def patient(transport: Mock) -> Iterator[DeviceWatch]:
    with watching(transport, 60.0) as made:
        yield made


def test_a_change_that_cannot_be_followed_ends_nothing(
    watch: DeviceWatch, transport: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as an address too many: what was served before still is, and the statistics tell what is not."""
    transport.follow.side_effect = ServerError("eth0 has more than 1024 addresses")
    for _ in range(3):
        watch.look()
    trouble = "eth0: its changes are not followed: eth0 has more than 1024 addresses"
    assert messages(caplog) == [trouble]
    assert (transport.state.condition, transport.state.reason) == (DeviceCondition.SERVED, trouble)
    transport.follow.side_effect = None
    watch.look()
    assert transport.state.reason == ""
    transport.follow.side_effect = ServerError("eth0 has more than 1024 addresses")
    watch.look()
    assert messages(caplog) == [trouble, "eth0 is as it should be again", trouble]


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_is_not_as_it_should_be_is_told_once(
    watch: DeviceWatch, transport: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    served, down = DeviceCondition.SERVED, DeviceCondition.DOWN
    for condition, reason, message in (
        (served, "eth0 has an MTU of 400", "eth0 has an MTU of 400"),
        (served, "eth0 has an MTU of 500", "eth0 has an MTU of 500"),
        (down, "eth0 has no IPv4 address", "eth0 has no IPv4 address: no request can come in"),
        (down, "", "eth0 is down: no request can come in"),
        (served, "", "eth0 is up again"),
        (down, "eth0 has no IPv4 address", "eth0 has no IPv4 address: no request can come in"),
        (served, "", "eth0 is as it should be again"),
    ):
        caplog.clear()
        transport.judge.side_effect = lambda _, told=(condition, reason): told
        for _ in range(3):
            watch.look()
        assert messages(caplog) == [message]
        assert (transport.state.condition, transport.state.reason) == (condition, reason)
    assert transport.state.statistics()["losses"] == 0


@pytest.mark.parametrize("is_replaced", [True, False], ids=["another device", "the same device"])
def test_why_a_lost_device_is_not_served_yet_is_told_once(
    patient: DeviceWatch, transport: Mock, caplog: pytest.LogCaptureFixture, is_replaced: bool
) -> None:
    """It is lost for one reason and stays so for others: each is told when it is the reason, none once a second."""
    patient._plane.pause.side_effect = lambda: setattr(transport, "queues", 0)
    transport.look.return_value = None
    for _ in range(3):
        patient.look()
    transport.look.return_value = replace(DEVICE, ifindex=DEVICE.ifindex + is_replaced, program=0)
    for mtu in (500, 400):
        transport.open_sockets.side_effect = ServerError(f"eth0 has an MTU of {mtu}")
        for _ in range(3):
            patient.look()
    assert messages(caplog) == [
        "the network device eth0 is gone: no request comes in; waiting for it for 60 s",
        "eth0 cannot be served: eth0 has an MTU of 500; trying again for 60 s",
        "eth0 cannot be served: eth0 has an MTU of 400; trying again for 60 s",
    ]
    assert transport.state.statistics()["losses"] == 1


def test_a_program_that_cannot_be_put_on_again_is_told_once(
    patient: DeviceWatch, transport: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    transport.look.return_value = replace(DEVICE, program=0)
    transport.is_attached_to.return_value = False
    transport.attach.side_effect = ServerError("no XDP program can be attached to eth0")
    for _ in range(3):
        patient.look()
    assert messages(caplog) == [
        "the XDP program was taken off eth0: no request comes in; waiting for it for 60 s",
        "eth0 cannot be served: no XDP program can be attached to eth0; trying again for 60 s",
    ]


def test_another_program_on_a_device_with_other_queues_is_a_loss(watch: DeviceWatch, transport: Mock) -> None:
    """Both between two looks: the sockets are closed for the queues, and cannot be opened again for the program."""
    plane = watch._plane
    plane.pause.side_effect = lambda: setattr(transport, "queues", 0)
    transport.look.return_value = replace(DEVICE, queues=2, program=DEVICE.program + 1)
    transport.is_attached_to.return_value = False
    with pytest.raises(ServerError, match="another XDP program is on eth0, for more than 0 s"):
        for _ in range(2):
            watch.look()
    plane.pause.assert_called_once()
    assert transport.state.condition == DeviceCondition.LOST
    transport.look.return_value = replace(DEVICE, queues=2, program=0)
    transport.open_sockets.side_effect = lambda device: setattr(transport, "queues", device.queues)
    transport.attach.side_effect = lambda: transport.state.become(DeviceCondition.SERVED)
    watch.look()
    plane.resume.assert_called_once()


def test_looks_that_take_long_are_seldom(watch: DeviceWatch, transport: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are hundreds of devices, of which one changes all the time: the workers must be watched meanwhile."""
    now, timers = [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "set_timer", lambda _, first, then: timers.append((round(first, 3), then)))

    def look_long() -> Device:
        now[0] += 0.2
        return DEVICE

    transport.look.side_effect = look_long
    watch._hear()
    now[0] += 1.0
    watch._hear()
    assert transport.look.call_count == 1
    assert timers == [(3.0, module.LOOK_SECONDS)]
    now[0] += 3.0
    watch._tick()
    assert transport.look.call_count == 2
    assert timers[1] == (4.0, module.LOOK_SECONDS)
