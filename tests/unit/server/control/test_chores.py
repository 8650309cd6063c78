"""What the control process does by itself, in between."""

from __future__ import annotations

import os

import pytest

from splinter.server.control.registry import Registry
from splinter.server.processes import is_readable
from tests.support.waiting import WAIT_SECONDS
from tests.unit.server.control.conftest import Control


def test_a_chore_that_fails_once_is_done_again(control_stopped: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else memory would not be given back any more, until somebody restarts the process."""
    reading, writing = os.pipe()
    real = Registry.upkeep

    def upkeep(registry: Registry) -> None:
        os.write(writing, b".")
        if not calls:
            calls.append(1)
            raise OSError("no room for this at the moment")
        real(registry)

    calls: list[int] = []
    monkeypatch.setattr(Registry, "upkeep", upkeep)
    control_stopped.start()
    for _ in range(2):  # the registry has something to do when it begins
        assert is_readable(reading, WAIT_SECONDS)
        os.read(reading, 1)
    os.close(reading)
    os.close(writing)
