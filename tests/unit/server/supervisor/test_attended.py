"""A process beside the workers that cannot run: a server ends without one that it needs, and goes on without another."""

from __future__ import annotations

import logging
import os
import selectors
import signal
from collections.abc import Callable, Iterator

import pytest

from splinter.errors import ServerError
from splinter.server.supervisor import attended
from splinter.server.supervisor.attended import AttendedProcess
from splinter.server.supervisor.events import call_ready
from splinter.server.supervisor.forks import Forks
from tests.support.waiting import wait_for


class Attending:
    """What a supervisor does for one process; ``goes``: a pipe that each of them writes into when it begins."""

    def __init__(self, *, fails: bool, is_needed: bool) -> None:
        self.selector, self.forks = selectors.DefaultSelector(), Forks()
        self.begun, self._begin = os.pipe()
        os.set_blocking(self.begun, False)
        self._fails = fails
        self.process = AttendedProcess(
            "t-attended", "metrics process", self.selector, self.forks, self._run, is_needed=is_needed
        )
        self.process.start()

    def _run(self) -> None:
        os.write(self._begin, b".")
        if self._fails:
            raise RuntimeError("it cannot run")
        signal.pause()

    def begins(self) -> int:
        """How many began since it was asked last."""
        try:
            return len(os.read(self.begun, 1000))
        except BlockingIOError:
            return 0

    def attend(self, condition: Callable[[], object]) -> None:
        def turn() -> object:
            call_ready(self.selector, 0)
            self.forks.attempt_again()
            return condition()

        wait_for(turn)

    def close(self) -> None:
        self.process.end()
        self.selector.close()
        for descriptor in (self.begun, self._begin):
            os.close(descriptor)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it takes a process longer than the real time to fail at once."""
    monkeypatch.setattr(attended, "_FAILURE_SECONDS", 60.0)


@pytest.fixture
def attend() -> Iterator[Callable[..., Attending]]:
    made: list[Attending] = []

    def begin(**how: bool) -> Attending:
        made.append(Attending(**how))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def test_one_that_is_needed_ends_the_server(attend: Callable[..., Attending]) -> None:
    attending = attend(fails=True, is_needed=True)
    with pytest.raises(ServerError, match="the metrics process cannot run: it failed 5 times"):
        attending.attend(lambda: False)
    attending.process.pid = 0  # the server would have ended


def test_another_one_is_told_and_tried_again(
    attend: Callable[..., Attending], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attended, "_AGAIN_SECONDS", 0.05)
    attending = attend(fails=True, is_needed=False)
    attending.attend(lambda: any(record.levelno == logging.ERROR for record in caplog.records))
    assert attending.process.pid == 0 and attending.begins() == 5
    attending.attend(lambda: attending.begins() >= 1)


def test_one_that_was_killed_is_replaced_at_once(attend: Callable[..., Attending]) -> None:
    attending = attend(fails=False, is_needed=False)
    attending.attend(attending.begins)
    first = attending.process.pid
    os.kill(first, signal.SIGKILL)
    attending.attend(attending.begins)
    assert attending.process.pid not in (0, first)


def test_the_end_forgets_what_was_to_be_tried_again(
    attend: Callable[..., Attending], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attending = attend(fails=True, is_needed=False)
    attending.attend(lambda: any(record.levelno == logging.ERROR for record in caplog.records))
    assert len(attending.selector.get_map()) == 1  # the timer
    attending.process.end()
    assert len(attending.selector.get_map()) == 0
