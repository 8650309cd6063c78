"""The supervisor where the system has no room for another process, or the run folder none for another file."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from unittest.mock import Mock

import pytest

from splinter.errors import ServerError
from splinter.server.config import ServerConfig
from splinter.server.instance import InstanceInfo
from splinter.server.supervisor import attended, forks
from splinter.server.supervisor.supervisor import Supervisor
from splinter.server.supervisor.xdp import XdpTransport


class Spares:
    """As the real one, with a forker that does nothing."""

    def __init__(self) -> None:
        self.has_forker = False
        self.starts = 0

    def start(self, prepare: Callable[[], None]) -> None:
        attended.fork_child("forker", prepare)
        self.socket, self._other = socket.socketpair()
        self.has_forker = True
        self.starts += 1

    def close(self) -> None:
        self.has_forker = False

    def receive(self) -> bool:
        """It has ended."""
        self.has_forker = False
        return False


class Machine:
    """A system that has room for processes, or has not; those that are forked are pipes."""

    def __init__(self) -> None:
        self.has_room = True
        self.names: list[str] = []

    def fork_child(self, name: str, main: Callable[[], None]) -> tuple[int, int]:
        if not self.has_room:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.names.append(name)
        return len(self.names), os.pipe()[0]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(attended, "fork_child", made.fork_child)
    monkeypatch.setattr(attended, "wait_or_kill", lambda *_: None)
    monkeypatch.setattr(forks, "FORK_SECONDS", 0.0)
    return made


@pytest.fixture
def supervisor(machine: Machine) -> Iterator[Supervisor]:
    made = Supervisor(ServerConfig(), Mock(pidfd=os.pipe()[0]))
    made._workers, made._spares, made._store, made._shared = Mock(), Spares(), Mock(), Mock()  # type: ignore[assignment]
    made._transport, made._memories = Mock(spec=XdpTransport, queues=1), []
    made._start_forker()
    made._control.start()
    yield made
    made._selector.close()


@pytest.mark.parametrize("lacks", ["before the pause", "from the pause on", "from the return on"])
def test_a_device_is_served_again_though_no_process_could_be_forked_meanwhile(
    supervisor: Supervisor, machine: Machine, lacks: str
) -> None:
    if lacks == "before the pause":  # both have ended, and could not be replaced
        machine.has_room = False
        supervisor._control.end()
        supervisor._selector.unregister(supervisor._spares.socket)
        supervisor._spares.close()
        supervisor._forks.attempt(supervisor._start_forker)
        supervisor._forks.attempt(supervisor._control.start)
    machine.has_room = lacks == "from the return on"
    supervisor.pause()
    machine.has_room = False
    supervisor.resume()
    supervisor._workers.resume.assert_called_once()
    assert not supervisor._spares.has_forker and not supervisor._control.pid
    machine.has_room = True
    supervisor._forks.attempt_again()
    assert supervisor._spares.starts == 2 and supervisor._control.pid
    assert not supervisor._forks.are_postponed
    supervisor.pause()  # all is registered once


def test_a_forker_that_ends_at_once_is_not_forked_without_end(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are not watched during a fork."""
    monkeypatch.setattr(forks, "FORK_SECONDS", 60.0)
    spares = supervisor._spares
    supervisor._hear_forker()
    assert spares.starts == 1 and not spares.has_forker
    monkeypatch.setattr(forks, "FORK_SECONDS", 0.0)
    supervisor._forks._postponed_until = 0.0
    supervisor._forks.attempt_again()
    assert spares.starts == 2 and spares.has_forker
    supervisor._hear_forker()  # it has lived for longer than that
    assert spares.starts == 3


def test_news_of_the_device_that_cannot_be_written_end_nothing(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    transport = Mock(spec=XdpTransport, device="eth0", mode="native", queues=1, state=Mock(reason="it is gone"))
    supervisor._transport = transport
    supervisor._info = InstanceInfo(
        "i", 1, "xdp", "", "10.0.0.2", 7171, None, None, "eth0", "native", 1, (0,), 1 << 20, "1"
    )  # fmt: skip
    supervisor._folder = Mock()
    supervisor._folder.publish.side_effect = ServerError("No space left on device")
    supervisor.tell()
    supervisor.tell()
    (record,) = caplog.records
    assert "No space left on device" in record.getMessage()
    supervisor._folder.publish.side_effect = None
    supervisor.tell()
    supervisor.tell()
    assert supervisor._folder.publish.call_count == 3
    assert supervisor._info.trouble == "it is gone"
