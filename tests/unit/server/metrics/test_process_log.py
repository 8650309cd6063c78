"""What the metrics process logs: it is a fresh interpreter, and must be told how its server logs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from splinter.server import logs
from splinter.server.config import ServerConfig
from splinter.server.supervisor.metrics import Metrics


def said(monkeypatch: pytest.MonkeyPatch, form: str, level: str) -> str:
    """What the process of a server that logs so writes when the control process does not answer its first question."""
    started: list[list[str]] = []
    monkeypatch.setattr(logs, "_least", getattr(logging, level.upper()))
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    monkeypatch.setattr(os, "nice", lambda by: 0)
    monkeypatch.setattr("splinter.server.processes.OomPreference.offer", lambda points: None)
    monkeypatch.setattr(os, "getppid", os.getpid)  # this process is to be its parent
    metrics = Metrics(ServerConfig(metrics="127.0.0.1:0", log_format=form))
    try:
        metrics._run()
        metrics.channel.close()  # so nobody hears what it asks
        passed = [metrics._listener.fileno(), metrics._asking.fileno()]
        with subprocess.Popen(
            started[0], stderr=subprocess.PIPE, pass_fds=passed, executable=sys.executable, text=True
        ) as process:  # fmt: skip
            try:
                with urllib.request.urlopen(metrics.url, timeout=30) as answer:
                    assert b"splinter_up 0.0" in answer.read()
            finally:
                process.kill()
            return process.communicate()[1]
    finally:
        metrics.close()


def test_its_lines_have_the_form_of_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    line: dict[str, Any] = json.loads(said(monkeypatch, "json", "info"))
    assert line["level"] == "warning" and line["time"] and "does not tell the counters" in line["message"]


def test_its_lines_have_time_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, level, text = said(monkeypatch, "text", "warning").split(" ", 2)
    assert moment.endswith("Z") and level == "WARNING" and text.startswith("the control process does not tell")


def test_what_the_server_does_not_log_it_does_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, "text", "error") == ""
