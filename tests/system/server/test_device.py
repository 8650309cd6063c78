"""The served device under the server: its queues, links, names, removal and return, and other programs on it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from splinter.client import Client
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import SplinterError
from splinter.net import netns
from splinter.net.bpf import syscall
from splinter.net.device import need
from splinter.net.lab import Lab
from splinter.net.xdp import EchoProgram
from splinter.server import instance as instances
from tests.support.servers import RunningServer, running_lab, start_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp

QUEUES = 4
_PIDFD_GETFD = 438


def set_queues(lab: Lab, count: int) -> None:
    """What ``ethtool -L`` does. An end with XDP must have as many receive queues as the other end sends by."""
    for end, rx, tx in ((lab.client, None, 1), (lab.server, count, count), (lab.client, None, count)):
        with netns.inside(end.namespace):
            ethtool = IoctlEthtool(end.device)
            channels = ethtool.get_channels()
            channels.rx_count, channels.tx_count = rx or channels.rx_count, tx
            ethtool.set_channels(channels)
            ethtool.close()


class Scene:
    """A server in a lab, and a tenant with one object."""

    def __init__(self, name: str, lab: Lab, *options: str) -> None:
        self.lab = lab
        self.server: RunningServer = start_server(name, lab, *options)
        self.tenant: TenantInfo = self.server.admin().create_tenant()
        self.client().put(b"kept", b"value", table=1)

    def client(self) -> Client:
        return self.server.client(self.tenant, timeout=10.0)

    def answers(self) -> bool:
        """Whether the object is there, and another can be put and deleted."""
        client = self.client()
        client.put(b"new", b"x" * 3000, table=1)
        return client.get(b"kept", table=1) == b"value" and client.delete(b"new", table=1)

    def statistics(self) -> dict:
        with Admin(
            self.server.info.address,
            instances.credential(self.server.info.instance),
            port=self.server.info.port,
            netns=self.lab.client.namespace,
        ) as admin:
            return admin.stats()

    def condition(self) -> str:
        return str(self.statistics()["device"]["condition"])

    def trouble(self) -> str | None:
        return instances.read(self.server.info.instance).trouble

    def set_link(self, **what: object) -> None:
        with netns.inside(self.lab.server.namespace), IPRoute() as route:
            route.link("set", index=route.link_lookup(ifname=self.lab.server.device)[0], **what)

    def end(self) -> int:
        return self.server.stop()


@pytest.fixture
def lab(unique_name: str) -> Iterator[Lab]:
    with running_lab(unique_name, queues=QUEUES) as made:
        yield made


@pytest.fixture
def scene(unique_name: str, lab: Lab) -> Iterator[Scene]:
    made = Scene(unique_name, lab)
    try:
        yield made
    finally:
        status = made.end()
        log = made.server.log.read_text()
        made.server.log.unlink(missing_ok=True)
    assert status == 0, log


def test_only_queues_in_use_are_served(unique_name: str, lab: Lab) -> None:
    set_queues(lab, 2)
    with netns.inside(lab.server.namespace):
        assert need(lab.server.device).queues == 2
    scene = Scene(unique_name, lab)
    try:
        assert scene.server.info.queues == 2
        assert scene.answers()
    finally:
        assert scene.end() == 0


def test_queues_that_are_added_are_served_and_nothing_is_lost(unique_name: str, lab: Lab) -> None:
    """Fewer cannot be set while the server has sockets on them: the kernel refuses that."""
    set_queues(lab, 1)
    scene = Scene(unique_name, lab)
    try:
        for count in (2, QUEUES):
            set_queues(lab, count)
            wait_for(lambda count=count: queues_served(scene) == count, what=f"{count} queues")  # type: ignore[misc]
            assert scene.answers()
            wait_for(lambda count=count: instances.read(unique_name).queues == count, what="the news")  # type: ignore[misc]
        with pytest.raises(OSError, match="Invalid argument"):
            set_queues(lab, 1)
    finally:
        assert scene.end() == 0


def queues_served(scene: Scene) -> int:
    """By the statistics; the control process is replaced meanwhile, which may cut a question short."""
    with contextlib.suppress(SplinterError):
        return int(scene.statistics()["device"]["queues"])
    return 0


def test_a_link_that_goes_down_is_told_and_served_again(scene: Scene) -> None:
    with netns.inside(scene.lab.client.namespace), IPRoute() as route:
        index = route.link_lookup(ifname=scene.lab.client.device)[0]
        route.link("set", index=index, state="down")
        wait_for(lambda: "is down" in scene.server.log.read_text(), what="the message")
        route.link("set", index=index, state="up")
        other = scene.lab.server
        route.neigh("replace", ifindex=index, dst=other.address, lladdr=other.mac, state="permanent")
    wait_for(scene.answers, what="an answer")
    wait_for(lambda: scene.condition() == "served", what="the news")
    wait_for(lambda: "is up again" in scene.server.log.read_text(), what="the message")  # another process writes it


def test_a_device_that_gets_another_name_is_served_under_it(scene: Scene) -> None:
    scene.set_link(ifname="other0")
    wait_for(lambda: instances.read(scene.server.info.instance).device == "other0", what="the new name")
    assert scene.answers()


def test_a_program_that_is_taken_off_is_put_on_again(scene: Scene) -> None:
    detach(scene)
    wait_for(lambda: scene.statistics()["device"]["losses"] == 1, what="the loss")
    wait_for(scene.answers, what="an answer")
    wait_for(lambda: scene.condition() == "served" and scene.trouble() is None, what="the news")  # it works a little earlier


@contextlib.contextmanager
def other_program(scene: Scene) -> Iterator[None]:
    """Another XDP program in the place of ours, for the block; the server does not run while they change places."""
    with netns.inside(scene.lab.server.namespace):
        other = EchoProgram(scene.lab.server.device, port=1)
    os.kill(scene.server.info.pid, signal.SIGSTOP)
    try:
        detach(scene)
        with netns.inside(scene.lab.server.namespace):
            other.attach()
    finally:
        os.kill(scene.server.info.pid, signal.SIGCONT)
    try:
        yield
    finally:
        other.close()


def test_another_program_in_the_place_of_ours_is_told_and_left_alone(scene: Scene) -> None:
    with other_program(scene):
        trouble = wait_for(scene.trouble, what="the loss")
        assert trouble == f"another XDP program is on {scene.lab.server.device}"
        told = scene.statistics()["device"]
        assert told["condition"] == "lost" and told["reason"] == trouble
        with pytest.raises(SplinterError), scene.server.client(scene.tenant, timeout=0.2) as client:
            client.ping()
        with netns.inside(scene.lab.server.namespace):
            assert need(scene.lab.server.device).program != 0
    wait_for(lambda: scene.trouble() is None, what="the return")
    assert scene.answers()
    assert scene.condition() == "served"


def test_another_program_that_stays_ends_the_server(unique_name: str, lab: Lab) -> None:
    scene = Scene(unique_name, lab, "--device-wait", "0")
    with other_program(scene):
        assert scene.server.process.wait(30) != 0
        log = scene.server.log.read_text()
        assert f"another XDP program is on {lab.server.device}" in log and "--device-wait" in log
        assert "Traceback" not in log
        with netns.inside(lab.server.namespace):
            assert need(lab.server.device).program != 0  # it was not taken off with ours


def detach(scene: Scene) -> None:
    """Take our program off, as an administrator with bpftool may."""
    pid = scene.server.info.pid
    (number,) = [int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir() if str(fd.readlink()) == "anon_inode:bpf_link"]
    server = os.pidfd_open(pid)
    link = ctypes.CDLL(None).syscall(_PIDFD_GETFD, server, number, 0)
    syscall.detach_link(link)
    os.close(link)
    os.close(server)


def test_a_device_that_is_removed_and_made_anew_is_served_again(scene: Scene) -> None:
    tenant_client = scene.client()
    tenant_client.install(
        "from splinter.ext import Store, extension, u64\n\n\n"
        "@extension\ndef double(db: Store, n: u64) -> u64:\n    return n + n\n"
    )
    for _ in range(2):
        before = scene.statistics()["device"]["returns"]
        scene.lab.unlink()
        trouble = wait_for(scene.trouble, what="the loss")
        assert scene.lab.server.device in trouble and "gone" in trouble
        assert scene.server.workers() == {}
        scene.lab.link()
        wait_for(lambda: scene.trouble() is None, what="the return")
        assert scene.answers()
        assert scene.client().invoke("double", n=21) == 42
        assert scene.statistics()["device"]["returns"] == before + 1
        wait_for(lambda: scene.condition() == "served", what="the news")
    wait_for(lambda: scene.server.log.read_text().count("is served again") == 2, what="the messages")
    assert scene.server.log.read_text().count("no request comes in") == 2


def test_a_device_that_moves_away_is_lost_and_served_when_it_is_back(scene: Scene, unique_name: str) -> None:
    away, end = f"{unique_name}-away", scene.lab.server
    netns.create(away)
    try:
        scene.set_link(net_ns_fd=away)
        wait_for(scene.trouble, what="the loss")
        with netns.inside(away), IPRoute() as route:
            route.link("set", index=route.link_lookup(ifname=end.device)[0], net_ns_fd=end.namespace)
        scene.lab.configure(end)
        wait_for(lambda: scene.trouble() is None, what="the return")
        assert scene.answers()
    finally:
        netns.remove(away)


def test_a_device_that_does_not_come_back_ends_the_server(unique_name: str, lab: Lab) -> None:
    scene = Scene(unique_name, lab, "--device-wait", "0")
    lab.unlink()
    assert scene.server.process.wait(30) != 0
    log = scene.server.log.read_text()
    assert f"the network device {lab.server.device} is gone" in log and "--device-wait" in log
    assert "Traceback" not in log
    with pytest.raises(SplinterError):
        instances.read(unique_name)


@contextlib.contextmanager
def frozen(scene: Scene) -> Iterator[None]:
    """The server sees what is done to the device when all of it is done."""
    os.kill(scene.server.info.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(scene.server.info.pid, signal.SIGCONT)


def test_a_device_that_comes_back_unfit_is_told_and_served_when_it_is_fit(scene: Scene) -> None:
    scene.lab.unlink()
    wait_for(lambda: "is gone" in (scene.trouble() or ""), what="the loss")
    with frozen(scene):
        scene.lab.link()
        scene.set_link(mtu=500)
    trouble = wait_for(lambda: "MTU of 500" in (scene.trouble() or "") and scene.trouble(), what="the new reason")
    message = f"{scene.lab.server.device} cannot be served: {trouble}"
    wait_for(lambda: message in scene.server.log.read_text(), what="the message")  # another process writes it
    told = scene.statistics()["device"]
    assert (told["condition"], told["reason"], told["losses"]) == ("lost", trouble, 1)
    scene.set_link(mtu=1500)
    wait_for(lambda: scene.trouble() is None, what="the return")
    assert scene.answers()


def test_an_mtu_too_small_is_told_while_the_device_is_served(scene: Scene) -> None:
    """A start would be refused for it; requests and replies that fit still come and go."""
    scene.set_link(mtu=400)
    told = wait_for(lambda: scene.statistics()["device"]["reason"] and scene.statistics()["device"], what="the reason")
    assert told["condition"] == "served" and "has an MTU of 400, at least 576 is needed" in told["reason"]
    assert scene.trouble() is None  # requests come in
    assert scene.client().get(b"kept", table=1) == b"value"
    scene.set_link(mtu=1500)
    wait_for(lambda: scene.statistics()["device"]["reason"] == "", what="the news")
    assert scene.answers()
    assert scene.server.log.read_text().count("has an MTU of 400") == 1


def test_addresses_that_come_and_go_are_followed(scene: Scene) -> None:
    """The second address is served as soon as the device has it; one that it lost is not answered in its name."""
    other = "10.0.0.9"
    end, client_end = scene.lab.server, scene.lab.client
    with netns.inside(client_end.namespace), IPRoute() as route:
        index = route.link_lookup(ifname=client_end.device)[0]
        route.neigh("replace", ifindex=index, dst=other, lladdr=end.mac, state="permanent")

    def pings(timeout: float = 0.2) -> bool:
        with Client(other, scene.tenant.tenant, scene.tenant.token, netns=client_end.namespace, timeout=timeout) as client:
            try:
                return client.ping() > 0
            except SplinterError:
                return False

    assert not pings()
    with netns.inside(end.namespace), IPRoute() as route:
        index = route.link_lookup(ifname=end.device)[0]
        route.addr("add", index=index, address=other, prefixlen=24)
        wait_for(pings, what="the new address")
        route.addr("del", index=index, address=other, prefixlen=24)
        wait_for(lambda: not pings(), what="the address's end")
    assert scene.answers()
