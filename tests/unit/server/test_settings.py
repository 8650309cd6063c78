"""What a server takes from its file at SIGHUP: what can change, all of it or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from splinter.errors import ConfigurationError
from splinter.server import logs
from splinter.server.config import ServerConfig
from splinter.server.settings import CHANGEABLE, Reload, SharedSettings, Source
from splinter.worker.layout import WORKER

START = 'quarantine_after = 3\nlog_level = "info"\ncores = [0]\n'


@dataclass
class Server:
    """A supervisor's settings, one worker's, and another process's."""

    path: Path
    config: ServerConfig
    worker: Any
    other: ServerConfig
    shared: SharedSettings
    look: Callable[[], bool]
    reload: Reload

    def hang_up(self, text: str | None = None) -> None:
        if text is not None:
            self.path.write_text(text)
        self.reload.run([self.worker])


@pytest.fixture
def server(tmp_path: Path) -> Server:
    path = tmp_path / "splinter.toml"
    path.write_text(START)

    def load() -> ServerConfig:
        return ServerConfig.load(path, task_budget=77)

    config, other, shared = load(), load(), SharedSettings()
    theirs = SharedSettings.__new__(SharedSettings)  # as after a fork: the same memory, and what it has seen of its own
    theirs._record, theirs._seen = shared._record, 0
    worker = SimpleNamespace(block=np.zeros(1, WORKER))
    return Server(path, config, worker, other, shared, lambda: theirs.take(other), Reload(config, Source(path, load), shared))


@pytest.fixture(autouse=True)
def level() -> Any:
    yield
    logs.set_level("info")


def test_what_can_change_changes_in_all_processes(server: Server, caplog: pytest.LogCaptureFixture):
    assert not server.look()
    server.hang_up(START.replace("3", "5").replace("info", "debug") + "keep_store = true\n")
    for config in (server.config, server.other):
        server.look()
        assert (config.quarantine_after, config.log_level, config.keep_store) == (5, "debug", True)
    assert server.worker.block[0]["quarantine_after"] == 5
    assert "quarantine_after = 5" in caplog.text and 'log_level = "debug"' in caplog.text
    assert logging.getLogger("splinter").level == logging.DEBUG
    assert not server.look()


def test_what_cannot_change_is_told_by_name_each_time(server: Server, caplog: pytest.LogCaptureFixture):
    for _ in range(2):
        caplog.clear()
        server.hang_up(START + 'watchdog_ms = 50\nmemory = "32MiB"\n')
        assert "from the next start on: memory_bytes, watchdog_ms" in caplog.text
        assert server.config.watchdog_ms != 50 and not server.look()


def test_options_of_the_command_line_win_again(server: Server):
    server.hang_up(START + "task_budget = 5000\n")
    assert server.config.task_budget == 77


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("quarantine_after = 5\nlog_level = \n", "line 2"),
        ("quarantine_after = 5\nlog_level = 'loud'\n", r"splinter.toml:2: log_level 'loud'"),
        ("quarantine_after = 5\n\nwrong = 1\n", r"splinter.toml:3: unknown setting 'wrong'"),
        ("quarantine_after = 5\nbalance = 1\n", r"splinter.toml:2: balance"),
        ("quarantine_after = 5\nmemory = '1'\n", r"splinter.toml:2: memory"),
        ("quarantine_after = 5\n'memory_bytes' = 1\n", r"splinter.toml:2: memory"),
    ],
)
def test_a_file_with_a_mistake_changes_nothing_and_is_told_with_its_line(
    server: Server, text: str, told: str, caplog: pytest.LogCaptureFixture
):
    server.hang_up(text)
    assert server.config == server.other and server.config.quarantine_after == 3 and not server.look()
    assert "no setting was changed" in caplog.text and told in caplog.text.replace(str(server.path), "splinter.toml")
    with pytest.raises(ConfigurationError, match=told):  # so at a start
        ServerConfig.load(server.path)


def test_what_is_no_file_any_more_is_told(server: Server, caplog: pytest.LogCaptureFixture):
    server.path.unlink()
    server.hang_up()
    assert "no setting was changed" in caplog.text and server.config.quarantine_after == 3


def test_without_a_file_nothing_is_read(caplog: pytest.LogCaptureFixture):
    config = ServerConfig()

    def load() -> ServerConfig:
        raise AssertionError

    Reload(config, Source(None, load), SharedSettings()).run([])
    assert "without --config" in caplog.text


def test_what_is_being_written_is_not_taken(server: Server):
    server.hang_up(START.replace("3", "5"))
    server.shared._record["number"] += 1
    assert not server.look() and server.other.quarantine_after == 3
    server.shared._record["number"] += 1
    assert server.look() and server.other.quarantine_after == 5


def test_all_that_can_change_are_settings():
    assert set(CHANGEABLE) <= {each.name for each in fields(ServerConfig)}
    page = (Path(__file__).parents[3] / "docs/how-to/operations.md").read_text().partition("## Change settings")[2]
    assert all(f"`{name}`" in page.partition("\n## ")[0] for name in CHANGEABLE)
