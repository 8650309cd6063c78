"""The door for the metrics process: it gets statistics and nothing else, and nobody waits for one that does not read."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.server.metrics.source import Source, ask
from tests.support.waiting import wait_for
from tests.unit.server.control.conftest import Control


@pytest.fixture
def asking(control_stopped: Control) -> Iterator[socket.socket]:
    """A running control process, asked through this."""
    shared = control_stopped.shared
    shared.metrics_channel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    shared.config.metrics_most = 2
    shared.config.metrics = "127.0.0.1:0"
    control_stopped.start()
    with ours, shared.metrics_channel:
        ours.setblocking(False)
        yield ours


def test_it_tells_all_counters_and_the_others(control_stopped: Control, asking: socket.socket) -> None:
    admin = control_stopped.admin()
    ids = [admin.create_tenant().tenant for _ in range(4)]
    assert ask(asking)["others"]["tenants"]["requests"] == 0
    for number, tenant in enumerate(ids, 1):
        row = control_stopped.shared.tenant_counters[0]
        row["requests"][tenant], row["cycles"][tenant] = number, number * 10_000_000
    told = ask(asking)
    assert told["control"]["tenants"] == 4
    assert [one["tenant"] for one in told["tenants"]] == [ids[3], ids[2]]
    assert told["tenants"][0]["quota_bytes"] > 0
    assert told["others"]["tenants"] == {
        "requests": 3, "busy": 0, "kernel_gets": 0, "kernel_ms": 0, "core_ms": 30, "task_ms": 0,
    }  # fmt: skip
    assert told["others"]["extensions"] == {"invocations": 0, "errors": 0, "cpu_ms": 0}
    assert told["latencies"]["kinds"] == {}


def test_one_that_does_not_read_holds_up_nobody(control_stopped: Control, asking: socket.socket) -> None:
    kept = []
    for _ in range(3):
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        socket.send_fds(asking, [b"?"], [theirs.fileno()])
        theirs.close()
        kept.append(ours)
    asking.send(b"no descriptor")
    assert control_stopped.admin().stats()["control"]["tenants"] == 0  # others are answered
    assert ask(asking)["control"]["tenants"] == 0
    for ours in kept:
        ours.close()


def test_a_dead_control_process_is_silence_and_its_successor_answers(control_stopped: Control, asking: socket.socket) -> None:
    source = Source(asking)
    os.kill(control_stopped.pid, signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "METRICS_SECONDS", 0.05)
        patch.setattr(limits, "METRICS_SECONDS_MIN", 0.0)
        with contextlib.ExitStack() as undo:
            undo.callback(control_stopped.restart)
            assert source.look() is None
            for _ in range(20):  # more than the channel keeps
                assert source.look() is None
        wait_for(source.look, what="an answer of the successor")
