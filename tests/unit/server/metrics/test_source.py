"""What the metrics process makes of the control process's answers."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import msgpack
import pytest

from splinter.server import logs
from splinter.server.metrics.source import Source


@pytest.mark.parametrize(("told", "level"), [("debug", "debug"), ("error", "error"), ("loud", "warning"), (5, "warning")])
def test_it_logs_as_the_server_does_now(monkeypatch: pytest.MonkeyPatch, told: Any, level: str) -> None:
    """SIGHUP may change that while the process runs."""
    monkeypatch.setattr(logs, "_least", logging.WARNING)
    monkeypatch.setattr(logging.getLogger("splinter"), "level", logging.INFO)
    channel, asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def answer() -> None:
        _, (descriptor, *_), _, _ = socket.recv_fds(channel, 1, 1)
        with socket.socket(fileno=descriptor) as stream:
            stream.sendall(msgpack.packb({"log_level": told}))

    with channel, asking:
        thread = threading.Thread(target=answer)
        thread.start()
        assert Source(asking).look() == {"log_level": told}
        thread.join()
    assert logs.level() == level
