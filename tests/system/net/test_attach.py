"""Attaching: one program at a time, and none left behind."""

from __future__ import annotations

import os
import signal

import pytest
from pyroute2 import IPRoute

from splinter.errors import ServerError
from splinter.net import netns
from splinter.net.lab import CLIENT_DEVICE, SERVER_DEVICE, Lab
from splinter.net.xdp import EchoProgram, RedirectProgram, XdpProgram, attach

pytestmark = pytest.mark.xdp


def attached(lab: Lab, device: str = SERVER_DEVICE) -> bool:
    """Whether the kernel has an XDP program on a device of the lab's server end."""
    with netns.inside(lab.server.namespace), IPRoute() as ip:
        link = ip.get_links(ip.link_lookup(ifname=device)[0])[0]
        return "IFLA_XDP_PROG_ID" in dict(link.get("xdp")["attrs"])


def server_program(device: str = SERVER_DEVICE) -> XdpProgram:
    return XdpProgram(device, port=7171, cores=1, queues=1, index_buckets=1, slabs=1)


def test_native_attach_and_detach(lab: Lab) -> None:
    with netns.inside(lab.server.namespace), server_program() as program:
        assert program.link_fd is None
        assert program.attach() == "native"
        assert attached(lab) and program.link_fd is not None
        assert program.attach() == "native"  # once more changes nothing
        program.detach()
        assert not attached(lab) and program.link_fd is None
        program.detach()
        program.attach()
    assert not attached(lab)


def test_second_program_is_refused_with_advice(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "_RETRY_SECONDS", 0.0)
    with netns.inside(lab.server.namespace), server_program() as first, EchoProgram(SERVER_DEVICE, 7) as second:
        first.attach()
        with pytest.raises(ServerError, match=f"another XDP program is attached to {SERVER_DEVICE}"):
            second.attach()
        first.detach()
        assert second.attach() == "native"


def test_generic_mode_where_the_driver_has_no_xdp(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with netns.inside(lab.server.namespace), server_program("lo") as program:
        assert program.attach() == "generic"
        assert "generic mode" in caplog.text
        assert attached(lab, "lo")
    assert not attached(lab, "lo")


def test_kernel_detaches_when_the_holder_is_killed(lab: Lab) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with netns.inside(lab.server.namespace):
                program = server_program()
                os.write(writer, program.attach().encode())
                signal.sigtimedwait([], 60)
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 16) == b"native"
        os.close(reader)
        assert attached(lab)
    finally:
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
    # The kernel detaches a little later; attach() waits for that.
    with netns.inside(lab.server.namespace), server_program() as program:
        assert program.attach() == "native"


def test_detach_works_while_a_forked_process_holds_the_link(lab: Lab) -> None:
    with netns.inside(lab.server.namespace), server_program() as program:
        program.attach()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent closes its end
            os._exit(0)
        try:
            program.detach()
            assert not attached(lab)
        finally:
            os.close(writer)
            os.close(reader)
            assert os.waitpid(child, 0)[1] == 0


def test_detach_after_the_device_went_away(unique_name: str) -> None:
    lab = Lab(unique_name)
    lab.up()
    with netns.inside(lab.server.namespace):
        program = server_program()
        program.attach()
        link = program.link_fd
    assert link is not None
    lab.down()
    program.close()
    assert program.link_fd is None


def test_too_large_a_store_says_so(lab: Lab) -> None:
    with netns.inside(lab.server.namespace), pytest.raises(ServerError, match="make the store smaller"):
        XdpProgram(SERVER_DEVICE, port=7171, cores=1, queues=1, index_buckets=1, slabs=(1 << 42) // (128 << 10))


def test_broken_source_shows_the_compiler_s_message(lab: Lab) -> None:
    with netns.inside(lab.server.namespace), pytest.raises(ServerError, match=r"redirect\.c:"):
        RedirectProgram(SERVER_DEVICE, 1, 7171, match="nosuchfield")  # type: ignore[arg-type]


def test_client_end_takes_a_program_too(lab: Lab) -> None:
    with netns.inside(lab.client.namespace), RedirectProgram(CLIENT_DEVICE, 2, 7171) as program:
        assert program.attach() == "native"
