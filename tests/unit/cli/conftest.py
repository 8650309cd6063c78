"""A server for commands, that answers what a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.control_responder import ControlResponder
from tests.unit.client.conftest import Responder


@pytest.fixture
def responders(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Responder, ControlResponder]]:
    """Requests and control at one port, as the command line wants it; commands find them."""
    while True:
        requests = Responder()
        try:
            control = ControlResponder(requests.port)
            break
        except OSError:  # another program has the TCP port of this number
            requests.close()
    for name in ("SPLINTER_INSTANCE", "SPLINTER_TOKEN", "SPLINTER_TENANT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPLINTER_ADDRESS", f"127.0.0.1:{requests.port}")
    monkeypatch.setenv("SPLINTER_CREDENTIAL", "x")
    yield requests, control
    control.close()
    requests.close()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is to be found."""
    monkeypatch.setenv("SPLINTER_RUN_DIR", str(tmp_path / "run"))
    for name in ("SPLINTER_INSTANCE", "SPLINTER_ADDRESS", "SPLINTER_TOKEN", "SPLINTER_TENANT", "SPLINTER_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPLINTER_CREDENTIAL", "none")
    monkeypatch.setattr("splinter.cli.target._TIMEOUT_SECONDS", 0.1)  # nobody ever answers here
    monkeypatch.chdir(tmp_path)
