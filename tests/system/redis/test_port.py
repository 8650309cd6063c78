"""The port of the Redis protocol: told, refused when it is taken, beside XDP in a namespace, and not there by default."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from splinter.cli.exit_status import ExitStatus
from splinter.errors import ServerError
from splinter.net.netns import inside
from tests.support.resp import Connection, Status
from tests.support.servers import running_server, start_server
from tests.support.waiting import wait_for

OK = Status(b"OK")


def test_a_server_without_it_has_none() -> None:
    with running_server(f"t{os.getpid()}xrn", "udp") as server:
        assert server.info.redis_port is None
        assert "redis:" not in server.started.said()


def test_it_is_told_and_nobody_else_gets_it() -> None:
    with running_server(f"t{os.getpid()}xro", "udp", "--redis-port", "0") as server:
        port = server.info.redis_port
        assert port
        wait_for(lambda: f"redis: 127.0.0.1:{port}\n" in server.started.said(), what="the line that tells the port")
        with pytest.raises(ServerError) as caught:
            start_server(f"t{os.getpid()}xrq", None, "--redis-port", str(port))
        told = str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
        assert f"cannot listen for the Redis protocol on TCP 127.0.0.1:{port}" in told
        tenant = server.admin().create_tenant()
        with Connection("127.0.0.1", port) as connection:  # and the first one goes on
            assert connection.call(b"AUTH", b"%d" % tenant.tenant, b"%016x" % tenant.token) == OK


def test_the_port_of_control_is_refused_at_once() -> None:
    command = [sys.executable, "-m", "splinter", "serve", "--transport", "udp", "--port", "7997", "--redis-port", "7997"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitStatus.CONFIGURATION and "redis_port 7997: that is the port of control" in done.stderr


def test_beside_xdp_in_a_namespace() -> None:
    with running_server(f"t{os.getpid()}xrx", "xdp", "--redis-port", "0", "--cores", "0") as server:
        tenant, port = server.admin().create_tenant(), server.info.redis_port
        assert port
        client = server.client(tenant)
        with inside(server.info.client_netns), Connection(server.info.address, port) as connection:
            assert connection.call(b"AUTH", b"%d" % tenant.tenant, b"%016x" % tenant.token) == OK
            for number in range(200):  # each door's objects at the other
                assert connection.call(b"SET", b"redis", b"%d" % number) == OK
                assert client.get(b"redis") == b"%d" % number
                client.put(b"packet", b"%d" % number)
                assert connection.call(b"GET", b"packet") == b"%d" % number
        with pytest.raises(OSError), socket.create_connection((server.info.address, port), timeout=1):
            pass  # nobody outside of the namespace
