"""The lab comes up once, goes down whole, and repairs itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from pyroute2 import IPRoute

from splinter.cli.main import app
from splinter.errors import ServerError, TransportUnavailableError
from splinter.interrupts import interruptible
from splinter.net import device, netns
from splinter.net.lab import CLIENT_ADDRESS, CLIENT_DEVICE, SERVER_ADDRESS, SERVER_DEVICE, Lab, remove_left
from splinter.net.xdp import EchoProgram, RedirectProgram, pass_through
from tests.support.commands import CliRunner
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp  # which says root


@pytest.fixture
def fresh(unique_name: str) -> Iterator[Lab]:
    lab = Lab(unique_name, queues=3)
    yield lab
    lab.down()


def test_up_is_idempotent_and_down_removes_everything(fresh: Lab) -> None:
    assert not fresh.status().present
    assert fresh.up() is True
    assert fresh.status().up and fresh.status().problems == ()
    assert fresh.up() is False
    fresh.down()
    assert not fresh.status().present
    assert not netns.exists(fresh.server.namespace) and not netns.exists(fresh.client.namespace)
    fresh.down()


def test_packets_go_through_both_ways(fresh: Lab) -> None:
    fresh.up()
    with netns.inside(fresh.server.namespace):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((SERVER_ADDRESS, 7000))
    with netns.inside(fresh.client.namespace):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((CLIENT_ADDRESS, 0))
    with server, client:
        server.settimeout(10)
        client.settimeout(10)
        client.sendto(b"ping", (SERVER_ADDRESS, 7000))
        data, address = server.recvfrom(64)
        assert (data, address[0]) == (b"ping", CLIENT_ADDRESS)
        server.sendto(b"pong", address)
        assert client.recv(64) == b"pong"


def test_a_namespace_that_cannot_be_made_leaves_nothing(unique_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(OSError, match=unique_name):
        patch.setattr(netns, "_MS_BIND", 0)  # the kernel refuses to mount it as if it were a device
        netns.create(unique_name)
    assert not netns.exists(unique_name)
    netns.create(unique_name)
    netns.remove(unique_name)
    assert not netns.exists(unique_name)


@pytest.fixture
def late_signals() -> Iterator[None]:
    """An interrupt that was lost comes again a moment later, perhaps behind the block: then it is nobody's."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    signal.signal(signal.SIGTERM, before)


class _Striking:
    """A profile function (``sys.setprofile``) that sends this process a signal at the ``strike_at``-th call or return.

    They are counted from the ``looks``-th return of ``Lab.status`` on: what netlink takes before differs from run to run.
    """

    def __init__(self, strike_at: int, looks: int = 0) -> None:
        self.strike_at = strike_at
        self.looks = looks
        self.count = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if self.looks:
            self.looks -= event == "return" and frame.f_code is Lab.status.__code__
            return
        self.count += 1
        if self.count == self.strike_at:
            signal.raise_signal(signal.SIGTERM)


def _in_lab(lab: Lab, strike_at: int, looks: int = 0) -> tuple[int, bool]:
    """Calls and returns (see ``_Striking``) until a lab is made and removed; whether it was interrupted at ``strike_at``."""
    striking = _Striking(strike_at, looks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda _: None)
        try:
            with interruptible():
                sys.setprofile(striking)
                try:
                    with lab:
                        pass
                finally:
                    sys.setprofile(None)
        except KeyboardInterrupt:
            return striking.count, True
    return striking.count, False


@pytest.mark.usefixtures("late_signals")
def test_a_lab_that_is_interrupted_anywhere_leaves_nothing(fresh: Lab) -> None:
    """While it is made and removed, and at each step from the last look at what was made until removing it is under way."""
    whole, _ = _in_lab(fresh, 0)
    places = [(place, 0) for place in range(1, whole, whole // 40)] + [(place, 2) for place in range(1, 100)]
    interrupted = left = 0
    for place, looks in places:
        _, was = _in_lab(fresh, place, looks)
        interrupted += was
        left += fresh.status().present
        remove_left()  # as at the end of the process
        assert not fresh.status().present, f"interrupted at {place} of {whole}, after {looks} looks"
    assert interrupted > len(places) // 2  # some are lost in finalizers
    assert left < 10  # between a call of the lab's and its block


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_leaves_a_whole_lab_or_none(fresh: Lab, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "splinter", "lab", "up", "--name", fresh.name, "--queues", "3"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: netns.exists(fresh.server.namespace) or process.poll() is not None)
        process.send_signal(number)
    assert process.returncode in (0, 128 + number)
    status = fresh.status()
    assert status.up if process.returncode == 0 else not status.present, status.problems


@pytest.mark.usefixtures("late_signals")
def test_what_was_there_before_outlives_an_interrupted_start(fresh: Lab) -> None:
    fresh.up()
    with pytest.raises(KeyboardInterrupt), interruptible():
        sys.setprofile(_Striking(50))
        try:
            fresh.up()
        finally:
            sys.setprofile(None)
    assert fresh.status().up


def test_a_half_made_lab_is_rebuilt(fresh: Lab) -> None:
    fresh.up()
    netns.remove(fresh.client.namespace)
    status = fresh.status()
    assert status.present and not status.up
    assert any("missing" in problem for problem in status.problems)  # the kernel may be taking the other end apart meanwhile
    assert fresh.up() is True
    assert fresh.status().up


@pytest.mark.parametrize("damage", ["device", "down", "address", "neighbour"])
def test_damage_is_seen_and_repaired(fresh: Lab, damage: str) -> None:
    fresh.up()
    with netns.inside(fresh.client.namespace), IPRoute() as ip:
        index = ip.link_lookup(ifname=CLIENT_DEVICE)[0]
        match damage:
            case "device":
                ip.link("del", index=index)
            case "down":
                ip.link("set", index=index, state="down")
            case "address":
                ip.flush_addr(index=index)
            case "neighbour":
                ip.neigh("del", ifindex=index, dst=SERVER_ADDRESS)
    assert fresh.status().problems
    assert fresh.up() is True


def test_a_leftover_name_without_a_namespace_is_no_obstacle(fresh: Lab) -> None:
    netns.NAMESPACES.mkdir(exist_ok=True)
    (netns.NAMESPACES / fresh.server.namespace).touch()  # what a crash between two steps of making one leaves
    assert fresh.status().present and not fresh.status().up
    assert fresh.up() is True


def test_another_number_of_queues_is_another_lab(fresh: Lab) -> None:
    fresh.up()
    other = Lab(fresh.name, queues=2)
    assert any("queues" in problem for problem in other.status().problems)
    assert other.up() is True
    assert other.status().up


def test_down_takes_the_devices_even_from_a_namespace_that_lives_on(fresh: Lab) -> None:
    fresh.up()
    with netns.inside(fresh.server.namespace):
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # keeps the namespace alive
        fresh.down()
        assert SERVER_DEVICE not in [name for _, name in socket.if_nameindex()]
    holder.close()


def test_inside_returns_after_an_error(fresh: Lab) -> None:
    here = Path("/proc/thread-self/ns/net")
    outside = here.stat().st_ino
    fresh.up()
    assert here.stat().st_ino == outside
    with pytest.raises(RuntimeError, match="boom"), netns.inside(fresh.client.namespace):
        assert CLIENT_DEVICE in [name for _, name in socket.if_nameindex()]
        raise RuntimeError("boom")
    assert here.stat().st_ino == outside
    with pytest.raises(ServerError, match="no network namespace"), netns.inside(f"{fresh.name}-nosuch"):
        pass
    with netns.inside(None):
        assert here.stat().st_ino == outside


def program_of(lab: Lab) -> int:
    with netns.inside(lab.client.namespace):
        return device.need(lab.client.device).program


def test_the_clients_end_is_woken_for_what_the_servers_driver_sends_back(fresh: Lab) -> None:
    """Without the pass-through program the reply sticks until something else comes."""
    fresh.up()
    with netns.inside(fresh.server.namespace), EchoProgram(SERVER_DEVICE, 7000) as program:
        program.attach()
        with netns.inside(fresh.client.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((SERVER_ADDRESS, 7000))
            for number in range(100):
                client.send(b"%d" % number)
                assert client.recv(64) == b"%d" % number
            assert pass_through.remove(CLIENT_DEVICE) and not pass_through.remove(CLIENT_DEVICE)
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.send(b"sticks")
                client.recv(64)


def test_a_lab_without_its_pass_through_program_is_mended_in_place(fresh: Lab) -> None:
    fresh.up()
    with netns.inside(fresh.client.namespace):
        index = socket.if_nametoindex(CLIENT_DEVICE)
        pass_through.remove(CLIENT_DEVICE)
    assert "has no XDP program" in "; ".join(fresh.status().problems)
    assert fresh.up() is True
    with netns.inside(fresh.client.namespace):
        assert socket.if_nametoindex(CLIENT_DEVICE) == index
    assert fresh.up() is False


def test_the_pass_through_program_makes_room_and_comes_back(fresh: Lab) -> None:
    fresh.up()
    passing = program_of(fresh)
    with netns.inside(fresh.client.namespace):
        program = RedirectProgram(CLIENT_DEVICE, 1, 7171)
        program.attach()
        assert program_of(fresh) == program.number != passing
        with pytest.raises(ServerError, match="another XDP program is attached"):
            pass_through.put_on(CLIENT_DEVICE)
        assert not pass_through.remove(CLIENT_DEVICE)
    assert fresh.status().up  # any program will do
    program.close()  # from another namespace, where the number of the device is another's, or nobody's
    with netns.inside(fresh.client.namespace):
        assert pass_through.is_on(device.need(CLIENT_DEVICE))


def test_an_attachment_that_fails_leaves_the_pass_through_program(fresh: Lab) -> None:
    fresh.up()
    with netns.inside(fresh.client.namespace), RedirectProgram(CLIENT_DEVICE, 1, 7171) as program:
        descriptor, program.program_fd = program.program_fd, os.open("/dev/null", os.O_RDONLY)
        with pytest.raises(TransportUnavailableError):
            program.attach()
        os.close(descriptor)
        assert pass_through.is_on(device.need(CLIENT_DEVICE))


def test_a_pass_through_program_goes_with_its_device_and_not_with_its_process(fresh: Lab) -> None:
    fresh.up()
    assert program_of(fresh)
    fresh.unlink()
    fresh.link()
    assert program_of(fresh)


def test_the_command_attaches_it_once_and_refuses_to_replace_another(fresh: Lab) -> None:
    fresh.up()

    def said(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["pass", "--dev", CLIENT_DEVICE, "--netns", fresh.client.namespace, *options])
        return result.exit_code, result.output + str(result.exception or "")

    assert said() == (0, f"{CLIENT_DEVICE} has the pass-through program already\n")
    assert said("--remove") == (0, f"the pass-through program is off {CLIENT_DEVICE}\n")
    assert said("--remove") == (0, f"there was no pass-through program on {CLIENT_DEVICE}\n")
    with netns.inside(fresh.client.namespace), RedirectProgram(CLIENT_DEVICE, 1, 7171) as program:
        program.attach()
        status, text = said()
        assert status == 1 and "another XDP program is attached" in text
        assert program_of(fresh) == program.number
    assert said() == (0, f"{CLIENT_DEVICE} has the pass-through program\n")


def test_a_device_that_is_not_there_or_can_have_none_is_told(fresh: Lab) -> None:
    fresh.up()
    with netns.inside(fresh.client.namespace):
        with pytest.raises(TransportUnavailableError, match="no network device 'nosuch0'"):
            pass_through.put_on("nosuch0")
        with pytest.raises(TransportUnavailableError, match="lo cannot have an XDP program in its driver"):
            pass_through.put_on("lo")
